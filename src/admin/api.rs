//! The control interface: JSON over HTTP. Routes and their spelling; what they do is `Admin`'s. The same function
//! answers on the socket of a running proxy and for a cache folder that no proxy has open.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use linkio::{Accounting, BitRate, Class, ClientKey, LaneState, Usage};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::debug;
use super::explain::Asker;
use super::routes::{self, Asked, Found, Route, Run};
use super::selection::NO_URL;
use super::stock::Purge;
use super::who::Who;
use super::{Admin, Uplink};
use crate::dashboard::Viewer;
use crate::observe::debugging::Debugging;
use crate::text::plain_json;
use crate::upgrade::Successor;
use crate::upstream::estimate::Summary;

/// A status and what to say with it.
pub(crate) type Reply = (StatusCode, Value);

/// Carries out one request of an operator on a cache folder that no proxy has open.
pub(crate) fn answer(admin: &Admin, method: &Method, path: &str, content: &[u8]) -> Reply {
    match routes::find(method, path) {
        Found::Route(Route { run: Run::Now(run), .. }, key) => {
            let (headers, content) = (HeaderMap::new(), Bytes::copy_from_slice(content));
            let (who, query) = (Who::CommandLine, String::new());
            run(admin, &Asked { who, key, query, headers, content, upgrade: None })
        }
        Found::Route(..) => failed(StatusCode::CONFLICT, "no proxy is running"),
        Found::OtherMethods(_) => failed(StatusCode::METHOD_NOT_ALLOWED, "it takes other methods"),
        Found::Nothing => failed(StatusCode::NOT_FOUND, "there is no such route"),
    }
}

/// The answer of a route that is none.
pub(super) fn nothing() -> Reply {
    failed(StatusCode::NOT_FOUND, "there is no such route")
}

pub(super) fn survey(admin: &Admin) -> Reply {
    (StatusCode::OK, admin.survey())
}

pub(super) fn responses(admin: &Admin) -> Reply {
    (StatusCode::OK, json!({ "responses": admin.list() }))
}

pub(super) fn list(admin: &Admin, asked: &Asked) -> Reply {
    with(&asked.content, |given| carried(given, |listing| admin.list_selected(listing)))
}

pub(super) fn pin(admin: &Admin, asked: &Asked) -> Reply {
    with(&asked.content, |given| carried(given, |pin| admin.pin_selected(pin)))
}

pub(super) fn verification(admin: &Admin) -> Reply {
    (StatusCode::OK, admin.verifications().progress())
}

pub(super) fn verify(admin: &Admin, asked: &Asked) -> Reply {
    with(&asked.content, |given| carried(given, |verify| admin.verify(verify)))
}

pub(super) fn cache(admin: &Admin) -> Reply {
    let (folder, stats, answers) = (admin.folder(), admin.stats(), admin.answers());
    (StatusCode::OK, json!({ "folder": folder, "stats": stats, "answers": answers }))
}

pub(super) fn show(admin: &Admin, asked: &Asked) -> Reply {
    with(&asked.content, |given| match given["url"].as_str() {
        Some(url) => told(admin.show(url)),
        None => failed(StatusCode::BAD_REQUEST, NO_URL),
    })
}

pub(super) fn failed(status: StatusCode, why: impl Into<String>) -> Reply {
    (status, json!({ "error": why.into() }))
}

fn with(content: &[u8], carry_out: impl FnOnce(Value) -> Reply) -> Reply {
    match serde_json::from_slice(content) {
        Ok(given) => carry_out(given),
        Err(error) => failed(StatusCode::BAD_REQUEST, format!("the content is not JSON: {error}")),
    }
}

/// Which program this is, where clients connect to it, and how much is under way.
pub(super) fn proxy(admin: &Admin) -> Reply {
    match admin.uplink() {
        Some(uplink) => {
            let version = env!("CARGO_PKG_VERSION");
            let [listen, secure] = &uplink.listening;
            let reply = json!({
                "version": version,
                "process": std::process::id(),
                "listen": listen,
                "https_listen": secure,
                "under_way": uplink.under_way.counted(),
                "log_lines_lost": uplink.metrics.lost_lines(),
            });
            (StatusCode::OK, reply)
        }
        None => failed(StatusCode::CONFLICT, "no proxy is running"),
    }
}

pub(super) fn link(admin: &Admin) -> Reply {
    match admin.uplink() {
        Some(uplink) => (StatusCode::OK, shown(&uplink, &admin.trace())),
        None => failed(StatusCode::CONFLICT, "no proxy is running, so there is no link"),
    }
}

/// The state of the proxy in a few figures.
pub(super) fn overview(admin: &Admin) -> Reply {
    match admin.uplink() {
        Some(uplink) => (StatusCode::OK, json!(uplink.dashboard.overview(Viewer::Operator, SERIES))),
        None => failed(StatusCode::CONFLICT, "no proxy is running"),
    }
}

/// Seconds of which an overview tells.
const SERIES: usize = 300;

/// What is under way.
pub(super) fn exchanges(admin: &Admin) -> Reply {
    match admin.uplink() {
        Some(uplink) => {
            let traffic = &uplink.dashboard.traffic;
            let begun = traffic.observers.begun();
            (StatusCode::OK, json!({ "begun": begun, "exchanges": traffic.shown() }))
        }
        None => failed(StatusCode::CONFLICT, "no proxy is running, so nothing is under way"),
    }
}

/// Breaks exchanges off by their numbers.
pub(super) fn stop(admin: &Admin, asked: &Asked) -> Reply {
    let Some(uplink) = admin.uplink() else {
        return failed(StatusCode::CONFLICT, "no proxy is running, so nothing is under way");
    };
    with(&asked.content, |given| {
        let numbers = read::<Stop>(given).map(|given| given.numbers);
        told(numbers.map(|numbers| json!({ "stopped": uplink.dashboard.traffic.stop(&numbers) })))
    })
}

/// Puts exchanges into a class of the link by their numbers.
pub(super) fn classify(admin: &Admin, asked: &Asked) -> Reply {
    let Some(uplink) = admin.uplink() else {
        return failed(StatusCode::CONFLICT, "no proxy is running, so nothing is under way");
    };
    with(&asked.content, |given| {
        told(read::<Classify>(given).and_then(|Classify { numbers, class }| {
            let chosen = Class::ALL.into_iter().find(|known| known.name() == class);
            if chosen.is_none() && class != "rules" {
                return Err(format!(
                    "{class:?} is no class; there are interactive, bulk, background, and rules"
                ));
            }
            let (changed, crossing) = uplink.dashboard.traffic.choose(&numbers, chosen);
            Ok(json!({ "changed": changed, "crossing": crossing }))
        }))
    })
}

/// `{"numbers": [7], "class": "bulk"}`; `rules` gives it back to the rules.
#[derive(serde::Deserialize)]
struct Classify {
    numbers: Vec<u64>,
    class: String,
}

/// `{"numbers": [7, 12]}`
#[derive(serde::Deserialize)]
struct Stop {
    numbers: Vec<u64>,
}

/// `GET /v1/debug`
pub(super) fn debug_shown(admin: &Admin) -> Reply {
    debugging(admin, debug::shown)
}

/// `POST /v1/debug`
pub(super) fn debug_asked(admin: &Admin, asked: &Asked) -> Reply {
    with(&asked.content, |given| match read(given) {
        Ok(asked) => debugging(admin, |debugging| debug::ask(debugging, &asked)),
        Err(why) => failed(StatusCode::BAD_REQUEST, why),
    })
}

/// Whose exchanges are shown step by step.
fn debugging(admin: &Admin, answer: impl FnOnce(&Debugging) -> Reply) -> Reply {
    match admin.uplink() {
        Some(uplink) => answer(&uplink.dashboard.traffic.debugging),
        None => failed(StatusCode::CONFLICT, "no proxy is running, so there is nothing to watch"),
    }
}

/// Has another process take over, and waits for it.
pub(super) fn upgrade(admin: &Admin, asked: &Asked) -> Reply {
    let Some(uplink) = admin.uplink() else {
        return failed(StatusCode::CONFLICT, "no proxy is running");
    };
    with(&asked.content, |given| {
        let binary = given["binary"].as_str().map(Into::into);
        if binary.is_some() && !matches!(asked.who, Who::Process { .. }) {
            // A token opens the proxy, and not whatever can be run on its machine.
            return failed(StatusCode::FORBIDDEN, "only a command on this machine may name another program");
        }
        match uplink.upgrade.upgrade(binary) {
            Ok(Successor { process, version, .. }) => (
                StatusCode::OK,
                json!({ "process": process, "version": version, "before": std::process::id() }),
            ),
            Err(why) => failed(StatusCode::CONFLICT, why),
        }
    })
}

/// How names were looked up.
pub(super) fn dns(admin: &Admin) -> Reply {
    match admin.uplink() {
        Some(uplink) => (StatusCode::OK, json!(uplink.names.counted())),
        None => failed(StatusCode::CONFLICT, "no proxy is running, so no name is looked up"),
    }
}

/// What came of the tunnels that were to be looked into.
pub(super) fn authority(admin: &Admin) -> Reply {
    let Some(uplink) = admin.uplink() else {
        return failed(StatusCode::CONFLICT, "no proxy is running, so no tunnel is looked into");
    };
    // Whoever asks may stand elsewhere.
    let folder = admin.configured().map(|configured| configured.loaded().config.ca_dir.clone());
    let folder = folder.map(|folder| std::path::absolute(&folder).unwrap_or(folder));
    let Some(interception) = &uplink.interception else {
        return (StatusCode::OK, json!({ "folder": folder, "leaves": 0, "spliced": [] }));
    };
    let spliced = interception.refused().into_iter().map(|refused| {
        let since = rfc9111::format_date(refused.since);
        let since = since.to_str().unwrap_or_default();
        json!({ "client": refused.client, "host": refused.host, "since": since, "reason": refused.because.text() })
    });
    (
        StatusCode::OK,
        json!({ "folder": folder, "leaves": interception.leaves(), "spliced": spliced.collect::<Vec<_>>() }),
    )
}

/// Lets every client be tried again.
pub(super) fn forget(admin: &Admin) -> Reply {
    let interception = admin.uplink().and_then(|uplink| uplink.interception.clone());
    let forgotten = interception.map_or(0, |interception| interception.forget_refused());
    (StatusCode::OK, json!({ "forgotten": forgotten }))
}

/// The link as JSON. Bytes are payload.
fn shown(uplink: &Uplink, trace: &str) -> Value {
    let Uplink { link, standings, gauge, .. } = uplink;
    let (state, shares) = (link.snapshot(), link.shares());
    let lane = |lane: &LaneState| {
        json!({
            "queued_bytes": lane.backlog,
            "queueing_delay_seconds": lane.queueing_delay.map(|delay| delay.as_secs_f64()),
            "utilisation": (lane.utilisation * 1000.0).round() / 1000.0,
        })
    };
    let classes = Class::ALL.iter().zip(shares.classes);
    let classes: Map<String, Value> = classes
        .map(|(class, used)| (class.name().to_owned(), json!({ "down": used.down, "up": used.up })))
        .collect();
    let name = |client| standings.name(client).unwrap_or_else(|| "others".into());
    let client = |(client, used): &(ClientKey, Usage)| json!({ "client": &*name(*client), "down": used.down, "up": used.up });
    let rate = |rate: Option<BitRate>| rate.map(BitRate::bits_per_second);
    let (down, up) = link.rates();
    json!({
        "spec": state.spec.to_string(),
        "trace": trace,
        "rates_count": if state.spec.accounting == Accounting::Payload { "payload" } else { "wire" },
        "rate_down_bits_per_second": rate(down),
        "rate_up_bits_per_second": rate(up),
        "down": state.usage.down,
        "up": state.usage.up,
        "flows": state.flows,
        "queue_down": lane(&state.down),
        "queue_up": lane(&state.up),
        "classes": classes,
        "clients": shares.clients.iter().take(CLIENTS).map(client).collect::<Vec<_>>(),
        "passive": passive(&gauge.summary()),
    })
}

/// Clients that are listed, of those who used most.
const CLIENTS: usize = 100;

/// What passing traffic has told of the real uplink; null if nothing.
fn passive(seen: &Summary) -> Value {
    if seen.rtt.is_none() && seen.down.is_none() && seen.up.is_none() {
        return Value::Null;
    }
    json!({
        "rtt_seconds": seen.rtt.map(|rtt| rtt.as_secs_f64()),
        "median_rtt_seconds": seen.median_rtt.map(|rtt| rtt.as_secs_f64()),
        "rtt_samples": seen.rtt_samples,
        "down_bits_per_second": seen.down.map(BitRate::bits_per_second),
        "down_was_busy": seen.down_was_busy,
        "up_bits_per_second": seen.up.map(BitRate::bits_per_second),
        "since_seconds": seen.since.as_secs_f64(),
    })
}

/// What a purge may say in place of a whole [`Purge`]: a URL, everything that begins with it where it ends in `*`, or
/// all.
pub(super) fn purge(admin: &Admin, asked: &Asked) -> Reply {
    with(&asked.content, |given| purge_given(admin, given))
}

fn purge_given(admin: &Admin, given: Value) -> Reply {
    let asked = if given.get("selection").is_some() {
        read(given)
    } else {
        read(given).map(|selection| Purge { selection, ..Purge::default() })
    };
    told(asked.and_then(|asked| admin.purge_selected(&asked)))
}

/// Reads what was given and has it carried out.
fn carried<T: DeserializeOwned>(given: Value, carry_out: impl FnOnce(&T) -> Result<Value, String>) -> Reply {
    told(read(given).and_then(|given| carry_out(&given)))
}

fn read<T: DeserializeOwned>(given: Value) -> Result<T, String> {
    serde_json::from_value(given).map_err(|error| format!("not what is expected here: {error}"))
}

fn told(reply: Result<Value, String>) -> Reply {
    match reply {
        Ok(reply) => (StatusCode::OK, reply),
        Err(why) => failed(StatusCode::BAD_REQUEST, why),
    }
}

pub(super) fn explain(admin: &Admin, asked: &Asked) -> Reply {
    with(&asked.content, |given| explain_given(admin, &given))
}

fn explain_given(admin: &Admin, given: &Value) -> Reply {
    let Some(target) = given["url"].as_str().and_then(|url| url.parse::<Uri>().ok()) else {
        return failed(StatusCode::BAD_REQUEST, NO_URL);
    };
    let mut headers = HeaderMap::new();
    for field in given["headers"].as_array().map_or(&[][..], Vec::as_slice) {
        let name = field[0].as_str().and_then(|name| name.parse::<HeaderName>().ok());
        let value = field[1].as_str().and_then(|value| value.parse::<HeaderValue>().ok());
        let (Some(name), Some(value)) = (name, value) else {
            return failed(StatusCode::BAD_REQUEST, format!("not a field: {field}"));
        };
        headers.append(name, value);
    }
    let asker = match Asker::read(given) {
        Ok(asker) => asker,
        Err(why) => return failed(StatusCode::BAD_REQUEST, why),
    };
    match admin.explain(&target, &headers, &asker) {
        Some(explanation) => (StatusCode::OK, json!(explanation)),
        None => failed(StatusCode::BAD_REQUEST, NO_URL),
    }
}

/// `reply` as the content of a response.
pub(crate) fn content(reply: &Value) -> Bytes {
    let mut text = plain_json(&reply.to_string());
    text.push('\n');
    text.into()
}
