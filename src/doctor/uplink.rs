//! Whether the link of the running proxy is open, and whether it is much too thin for what is wanted of it.

use http::Method;
use linkio::BitRate;
use serde_json::Value;

use super::proxy::Running;
use super::{Finding, printable};
use crate::admin::human;
use crate::text::counted;

const NAME: &str = "link";

/// Whoever asks now waits so long before the first byte comes; seconds.
const LONG: f64 = 10.0;

const OPEN: &str = "open it: bentpipe link set 512k/128k (or link.spec in the configuration)";

/// Asks the running proxy.
pub(super) fn check(running: &Running) -> Vec<Finding> {
    if !running.can_be_asked() {
        return vec![Finding::skip(NAME, "no proxy could be asked")];
    }
    judge(&running.ask(&Method::GET, "/v1/link"))
}

fn judge(link: &Value) -> Vec<Finding> {
    let Some(spec) = link["spec"].as_str().map(printable) else {
        return vec![Finding::skip(NAME, "the proxy does not say what its link is")];
    };
    let mut findings: Vec<_> = ["down", "up"].iter().filter_map(|way| direction(link, way, &spec)).collect();
    if findings.is_empty() {
        let rate = |name: &str| {
            link[name].as_u64().map_or_else(
                || "unlimited".to_owned(),
                |bits| BitRate::from_bits_per_second(bits).to_string(),
            )
        };
        let (down, up) = (rate("rate_down_bits_per_second"), rate("rate_up_bits_per_second"));
        let (crossed_down, crossed_up) = (count(&link["down"]), count(&link["up"]));
        let flows = link["flows"].as_u64().unwrap_or(0);
        // Which are those of a preset, or were measured.
        let says_both = (down == up && spec == down) || spec == format!("{down}/{up}");
        let rates = if says_both { spec } else { format!("{spec}: {down} down, {up} up") };
        let text = format!(
            "{rates}; {crossed_down} and {crossed_up} crossed since the start, {} open",
            counted(flows, "flow")
        );
        findings.push(Finding::ok(NAME, text));
    }
    findings
}

/// What is wrong with one direction.
fn direction(link: &Value, way: &str, spec: &str) -> Option<Finding> {
    if link[format!("rate_{way}_bits_per_second")].as_u64() == Some(0) {
        let of = if spec == "0" { String::new() } else { format!(" (of {spec})") };
        return Some(Finding::fail(NAME, format!("the rate {way} is 0{of}: nothing crosses"), OPEN));
    }
    let lane = &link[format!("queue_{way}")];
    match lane.get("queueing_delay_seconds")? {
        Value::Null => {
            let advice = "wait for the end of the outage, or change the link: bentpipe link set SPEC";
            Some(Finding::fail(NAME, format!("it is closed {way} at the moment ({spec})"), advice))
        }
        delay => delay.as_f64().filter(|delay| *delay > LONG).map(|delay| {
            let queued = count(&lane["queued_bytes"]);
            let advice =
                "see who uses it: bentpipe link show; and put what can wait behind people with link.rules";
            Finding::warn(NAME, format!("{queued} wait to go {way}: {delay:.0} s of it"), advice)
        }),
    }
}

fn count(bytes: &Value) -> String {
    human(bytes.as_u64().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::doctor::Verdict::{self, Fail, Ok, Skip, Warn};

    #[track_caller]
    fn check(rate: Option<u64>, delay: Option<f64>, expected: Verdict, part: &str) {
        let lane = |delay: Option<f64>| json!({ "queueing_delay_seconds": delay, "queued_bytes": 5_000 });
        let link = json!({ "spec": "unlimited", "rate_down_bits_per_second": rate, "rate_up_bits_per_second": null, "flows": 2,
                           "queue_down": lane(delay), "queue_up": lane(Some(0.0)), "down": 1_000, "up": 10 });
        let found = judge(&link);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].verdict == expected && found[0].text.contains(part), "{found:?}");
    }

    #[test]
    fn a_link_is_open_or_closed_or_full() {
        check(Some(64_000), Some(0.1), Ok, "unlimited: 64k down, unlimited up; 1 kB and 10 B crossed");
        check(None, Some(0.0), Ok, "unlimited; 1 kB and 10 B crossed");
        check(Some(0), None, Fail, "the rate down is 0 (of unlimited): nothing");
        check(Some(64_000), None, Fail, "closed down");
        check(Some(64_000), Some(11.0), Warn, "5 kB wait to go down: 11 s");
        assert_eq!(judge(&Value::Null)[0].verdict, Skip);
    }

    #[test]
    fn what_is_said_by_the_rates_is_said_once() {
        let check = |spec: &str, [down, up]: [u64; 2], expected: &str| {
            let link =
                json!({ "spec": spec, "rate_down_bits_per_second": down, "rate_up_bits_per_second": up });
            let found = judge(&link);
            assert!(found[0].text.starts_with(expected), "{found:?}");
        };
        check("64k", [64_000; 2], "64k; 0 B");
        check("64k/32k", [64_000, 32_000], "64k/32k; 0 B");
        check("auto=90%", [64_000, 32_000], "auto=90%: 64k down, 32k up; 0 B");
        check("0", [0; 2], "the rate down is 0: nothing crosses");
    }
}
