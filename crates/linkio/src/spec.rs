//! The link as a user writes it: `512k/128k,rtt=600ms`.
//!
//! Owns the grammar of `LinkSpec` and an error that names the part it is about. It decides nothing about pacing.
//!
//! ```text
//! spec  = rates *( "," option )
//! rates = rate [ "/" rate ]        one for both directions, or down/up
//! rate  = "unlimited" / bits per second such as 512k or 10Mbit/s; 0 closes the direction
//! option = "rtt=" time             600ms, 1.5s, 250us, 1m30s
//! ```

use std::error::Error;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::time::Duration;

use crate::rate::BitRate;
use crate::units::{self, Unit};

const UNLIMITED: &str = "unlimited";
const EXPECTED_RATE: &str = "expected a rate in bits per second such as 512k, 10M or unlimited";
const EXPECTED_OPTION: &str = "expected an option such as rtt=600ms";
const EXPECTED_TIME: &str = "expected a time such as rtt=600ms or rtt=1.5s, in h, m, s, ms, us or ns";
const TIME_UNITS: &[Unit] = &[("ns", 1), ("us", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000)];
const TYPED_TIME_UNITS: &[Unit] = &[
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// A link's rates and round-trip time. The default is no limit and no delay.
///
/// ```
/// # use linkio::LinkSpec;
/// let spec: LinkSpec = "512k/128k,rtt=600ms".parse()?;
/// assert_eq!(spec.up.map(|rate| rate.bits_per_second()), Some(128_000));
/// assert_eq!(spec.to_string(), "512k/128k,rtt=600ms");
/// # Ok::<(), linkio::SpecError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkSpec {
    /// The rate towards the clients; `None` is unlimited.
    pub down: Option<BitRate>,
    /// The rate towards the origins; `None` is unlimited.
    pub up: Option<BitRate>,
    /// The round-trip time the link adds; each direction delays by half of it.
    pub rtt: Duration,
}

impl LinkSpec {
    /// Whether nothing can cross in one direction, so that nothing can be asked and answered.
    pub fn is_closed(&self) -> bool {
        [self.down, self.up].contains(&Some(BitRate::ZERO))
    }
}

/// A link specification that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecError {
    /// What was expected.
    pub message: String,
    /// The bytes of the input this is about.
    pub span: Range<usize>,
    input: String,
}

impl SpecError {
    /// What was expected and, where the input has more parts than the wrong one, at which: the error for a place that
    /// shows the input itself.
    pub fn about_part(&self) -> String {
        match self.input.get(self.span.clone()) {
            Some(part) if !part.is_empty() && part != self.input.trim() => {
                format!("{} at {part:?}", self.message)
            }
            _ => self.message.clone(),
        }
    }
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.input, self.about_part())
    }
}

impl Error for SpecError {}

impl FromStr for LinkSpec {
    type Err = SpecError;

    /// # Errors
    /// Names the first part that is not of the grammar above.
    fn from_str(input: &str) -> Result<Self, SpecError> {
        let mut parts = input.split(',');
        let mut spec = rates(input, parts.next().unwrap_or_default())?;
        let mut given = false;
        for part in parts {
            let rtt = option(input, part)?;
            if std::mem::replace(&mut given, true) {
                return Err(wrong(input, part, "expected rtt only once"));
            }
            spec.rtt = rtt;
        }
        Ok(spec)
    }
}

impl fmt::Display for LinkSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let print =
            |rate: Option<BitRate>| rate.map_or_else(|| UNLIMITED.to_owned(), |rate| rate.to_string());
        let mut text = print(self.down);
        if self.up != self.down {
            text = format!("{text}/{}", print(self.up));
        }
        if !self.rtt.is_zero() {
            let nanos = u64::try_from(self.rtt.as_nanos()).unwrap_or(u64::MAX);
            text = format!("{text},rtt={}", units::print(nanos, TIME_UNITS));
        }
        f.pad(&text)
    }
}

fn rates(input: &str, part: &str) -> Result<LinkSpec, SpecError> {
    let (down, up) = match sides(part)[..] {
        [both] => (both, both),
        [down, up] if !down.trim().is_empty() && !up.trim().is_empty() => (down, up),
        _ => return Err(wrong(input, part, "expected one rate, or two as down/up such as 512k/128k")),
    };
    Ok(LinkSpec { down: rate(input, down)?, up: rate(input, up)?, rtt: Duration::ZERO })
}

/// The rates of `part`, which slashes divide, but not the slash of `bit/s`.
fn sides(part: &str) -> Vec<&str> {
    let (mut sides, mut start) = (Vec::new(), 0);
    for (at, slash) in part.match_indices('/') {
        let behind = &part[at + slash.len()..];
        if !behind.split('/').next().is_some_and(|side| side.trim_end().eq_ignore_ascii_case("s")) {
            sides.push(&part[start..at]);
            start = at + slash.len();
        }
    }
    sides.push(&part[start..]);
    sides
}

fn rate(input: &str, part: &str) -> Result<Option<BitRate>, SpecError> {
    let text = part.trim();
    if text.eq_ignore_ascii_case(UNLIMITED) {
        return Ok(None);
    }
    // Whether a link that is "off" carries nothing or everything is not ours to guess.
    if ["off", "none", "no", "max"].iter().any(|word| text.eq_ignore_ascii_case(word)) {
        return Err(wrong(input, part, "expected a rate: unlimited for no limit, 0 for a closed link"));
    }
    text.parse().map(Some).map_err(|_| wrong(input, part, EXPECTED_RATE))
}

fn option(input: &str, part: &str) -> Result<Duration, SpecError> {
    let option = part.trim().split_once('=').filter(|(name, _)| name.trim_end().eq_ignore_ascii_case("rtt"));
    let (_, time) = option.ok_or_else(|| wrong(input, part, EXPECTED_OPTION))?;
    let nanos = units::parse_sum(time.trim(), TYPED_TIME_UNITS);
    nanos.map(Duration::from_nanos).ok_or_else(|| wrong(input, part, EXPECTED_TIME))
}

/// The error about `part`, which is a piece of `input` itself, so that its place is where it points to.
fn wrong(input: &str, part: &str, message: &str) -> SpecError {
    let trimmed = part.trim();
    let start = (trimmed.as_ptr() as usize).saturating_sub(input.as_ptr() as usize);
    SpecError { message: message.to_owned(), span: start..start + trimmed.len(), input: input.to_owned() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, canonical: &str) {
        let spec: LinkSpec = text.parse().unwrap();
        assert_eq!(spec.to_string(), canonical);
        assert_eq!(canonical.parse(), Ok(spec));
    }

    #[test]
    fn specs_as_typed_and_as_printed() {
        check("unlimited", "unlimited");
        check("512k", "512k");
        check("512k/512kbit/s", "512k");
        check("512k/128k", "512k/128k");
        check("unlimited/128k", "unlimited/128k");
        check("25M/unlimited", "25M/unlimited");
        check("512k/128k,rtt=600ms", "512k/128k,rtt=600ms");
        check("unlimited, rtt=1500ms", "unlimited,rtt=1.5s");
        check("0", "0");
        check("56k,rtt=250us", "56k,rtt=250us");
        check("56k,rtt=0s", "56k");
        check("512kbit/s", "512k");
        check("10Mbit/s/512Kbit/S,rtt=1m", "10M/512k,rtt=60s");
        check("10mbps / 512kbps", "10M/512k");
        check("Unlimited,RTT=1s500ms", "unlimited,rtt=1.5s");
        assert_eq!(LinkSpec::default().to_string(), "unlimited");
    }

    #[test]
    fn an_error_names_the_wrong_part() {
        let error = |text: &str| text.parse::<LinkSpec>().unwrap_err();
        let expected = format!("\"512q\": {EXPECTED_RATE}");
        assert_eq!(error("512q").to_string(), expected);
        assert_eq!(error("512k/128q").to_string(), format!("\"512k/128q\": {EXPECTED_RATE} at \"128q\""));
        assert_eq!(error("512k/ 128q").span, 6..10);
        assert_eq!(error("512k,rtt=600").span, 5..12);
        assert_eq!(error("512k,rtt=1s,rtt=2s").message, "expected rtt only once");
        assert_eq!(error("").span, 0..0);
        assert_eq!(error("512k,").span, 5..5);
        assert_eq!(error("512k,").message, EXPECTED_OPTION);
        assert_eq!(
            error("512k,delay=1s").to_string(),
            format!("\"512k,delay=1s\": {EXPECTED_OPTION} at \"delay=1s\"")
        );
        assert!(error("512k,rtt=600").to_string().contains("in h, m, s, ms, us or ns at \"rtt=600\""));
        let sides = "expected one rate, or two as down/up such as 512k/128k";
        assert_eq!(error("64k/").to_string(), format!("\"64k/\": {sides}"));
        assert_eq!(error("64k/,rtt=1s").to_string(), format!("\"64k/,rtt=1s\": {sides} at \"64k/\""));
        assert_eq!(error("1M/1M/1M").message, sides);
        assert!(error("off").message.contains("unlimited"));
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(
            down: Option<u64>, up: Option<u64>, rtt: u64,
        ) {
            let rate = |bits: Option<u64>| bits.map(BitRate::from_bits_per_second);
            let spec = LinkSpec { down: rate(down), up: rate(up), rtt: Duration::from_nanos(rtt) };
            prop_assert_eq!(spec.to_string().parse(), Ok(spec));
        }

        #[test]
        fn any_text_reads_without_panic(text in "[0-9a-zé,/.= ]*|.*") {
            if let Err(error) = text.parse::<LinkSpec>() {
                prop_assert!(text.get(error.span.clone()).is_some());
                prop_assert!(error.to_string().contains("expected"));
            }
        }
    }
}
