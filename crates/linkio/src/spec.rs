//! The link as a user writes it: `512k/128k,rtt=600ms`.
//!
//! Owns the grammar of `LinkSpec` and an error that names the part it is about. It decides nothing about pacing.
//!
//! ```text
//! spec  = rates *( "," option )
//! rates = rate [ "/" rate ]        one for both directions, or down/up
//! rate  = "unlimited" / bits per second such as 512k; 0 closes the direction
//! option = "rtt=" time             600ms, 1.5s, 250us
//! ```

use std::error::Error;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::time::Duration;

use crate::rate::BitRate;
use crate::units::{self, Unit};

const UNLIMITED: &str = "unlimited";
const TIME_UNITS: &[Unit] = &[("ns", 1), ("us", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000)];

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

/// A link specification that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecError {
    /// What was expected.
    pub message: String,
    /// The bytes of the input this is about.
    pub span: Range<usize>,
    input: String,
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = self.input.get(self.span.clone()).unwrap_or_default();
        write!(f, "{:?}: {} at {part:?}", self.input, self.message)
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
    let (down, up) = match part.split_once('/') {
        Some((down, up)) => (rate(input, down)?, rate(input, up)?),
        None => {
            let both = rate(input, part)?;
            (both, both)
        }
    };
    Ok(LinkSpec { down, up, rtt: Duration::ZERO })
}

fn rate(input: &str, part: &str) -> Result<Option<BitRate>, SpecError> {
    match part.trim() {
        UNLIMITED => Ok(None),
        text => text
            .parse()
            .map(Some)
            .map_err(|_| wrong(input, part, "expected a rate such as 512k, 10M or unlimited")),
    }
}

fn option(input: &str, part: &str) -> Result<Duration, SpecError> {
    let expected = "expected an option such as rtt=600ms, in s, ms or us";
    let time = part.trim().strip_prefix("rtt=").ok_or_else(|| wrong(input, part, expected))?;
    let nanos = units::parse(time, TIME_UNITS, expected).map_err(|_| wrong(input, part, expected))?;
    Ok(Duration::from_nanos(nanos))
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
        assert_eq!(LinkSpec::default().to_string(), "unlimited");
    }

    #[test]
    fn an_error_names_the_wrong_part() {
        let error = |text: &str| text.parse::<LinkSpec>().unwrap_err();
        let expected = "\"512q\": expected a rate such as 512k, 10M or unlimited at \"512q\"";
        assert_eq!(error("512q").to_string(), expected);
        assert_eq!(error("512k/ 128q").span, 6..10);
        assert_eq!(error("512k,rtt=600").span, 5..12);
        assert_eq!(error("512k,rtt=1s,rtt=2s").message, "expected rtt only once");
        assert_eq!(error("").span, 0..0);
        assert_eq!(error("512k,").span, 5..5);
        assert_eq!(error("1M/1M/1M").span, 3..8);
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
