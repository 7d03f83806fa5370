//! `Rotation` and `Sampling`: how long the access log may become, and how much of it is written; and how these, and the
//! format of its lines, are written as texts. It writes no log: that is `observe`'s.

use std::fmt;
use std::time::Duration;

use linkio::ByteCount;

use crate::config::{AccessFormat, value};

/// When the access log's file is set aside, and what is kept of those that were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Before it would be longer than this, in bytes; `None` for any length.
    pub size: Option<ByteCount>,
    /// When it was begun so long ago; `None` for any age.
    pub age: Option<Duration>,
    /// Files set aside that are kept, compressed; from 1 to 9999.
    pub keep: u32,
}

impl Rotation {
    /// Whether files are set aside at all.
    pub(crate) fn is_on(&self) -> bool {
        self.size.is_some() || self.age.is_some()
    }
}

/// How many of the exchanges that went well are written, by what became of them. Errors, refusals and what was cut short
/// are always written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampling {
    /// Of those served from what is stored.
    pub hit: Share,
    /// Of those for which the origin was asked.
    pub miss: Share,
    /// Of tunnels.
    pub tunnel: Share,
    /// Of all others: our own pages.
    pub own: Share,
}

/// A part of a whole, in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share(u32);

impl Share {
    /// All of it.
    pub const ALL: Self = Self(1_000_000);

    /// From 0 to 1.
    pub(crate) fn fraction(self) -> f64 {
        f64::from(self.0) / 1e6
    }

    /// Whether `lot`, drawn from all numbers of its type, is within it.
    pub(crate) fn takes(self, lot: u64) -> bool {
        u128::from(lot) * 1_000_000 < u128::from(self.0) << 64
    }

    /// Reads `0.1`, with no more than six digits behind the point.
    fn parse(text: &str) -> Option<Self> {
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || part.len() > 6 || text.ends_with('.') || !digits(whole) || !digits(part) {
            return None;
        }
        let millionths: u32 = format!("{part:0<6}").parse().ok()?;
        let share = whole.parse::<u32>().ok()?.checked_mul(1_000_000)?.checked_add(millionths)?;
        (share <= Self::ALL.0).then_some(Self(share))
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

impl Sampling {
    /// Everything is written.
    pub const ALL: Self = Self { hit: Share::ALL, miss: Share::ALL, tunnel: Share::ALL, own: Share::ALL };

    fn parts(&self) -> [(&'static str, Share); 4] {
        [("hit", self.hit), ("miss", self.miss), ("tunnel", self.tunnel), ("own", self.own)]
    }
}

/// Reads `0.1`, or `hit=0.01, tunnel=0.1`: what is not named is written.
pub(super) fn parse_sampling(text: &str) -> Result<Sampling, String> {
    let expected =
        || "expected a share from 0 to 1 such as 0.1, or hit=0.01,miss=0.5,tunnel=1,own=0".to_owned();
    if let Some(share) = Share::parse(text.trim()) {
        return Ok(Sampling { hit: share, miss: share, tunnel: share, own: share });
    }
    let (mut sampling, mut named) = (Sampling::ALL, Vec::new());
    for part in text.split(',') {
        let (name, share) = part.trim().split_once('=').ok_or_else(expected)?;
        let share = Share::parse(share.trim()).ok_or_else(expected)?;
        let place = match name.trim() {
            "hit" => &mut sampling.hit,
            "miss" => &mut sampling.miss,
            "tunnel" => &mut sampling.tunnel,
            "own" => &mut sampling.own,
            _ => return Err(expected()),
        };
        *place = share;
        if named.contains(&name.trim()) {
            return Err(format!("expected each of them once, {:?} is repeated", name.trim()));
        }
        named.push(name.trim());
    }
    Ok(sampling)
}

pub(super) fn print_sampling(sampling: &Sampling) -> String {
    let parts = sampling.parts();
    let first = parts[0].1;
    if parts.iter().all(|(_, share)| *share == first) {
        return first.to_string();
    }
    let less = parts.iter().filter(|(_, share)| *share != Share::ALL);
    less.map(|(name, share)| format!("{name}={share}")).collect::<Vec<_>>().join(",")
}

/// Reads a size, or 0 for none.
pub(super) fn parse_size(text: &str) -> Result<Option<ByteCount>, String> {
    match value::parse_size(text) {
        Ok(ByteCount(0)) => Ok(None),
        Ok(size) if size.0 >= SHORTEST => Ok(Some(size)),
        _ => Err("expected a size from 1k, such as 100M, or 0".to_owned()),
    }
}

/// Shorter files would be mostly names. Bytes.
const SHORTEST: u64 = 1000;

pub(super) fn print_size(size: &Option<ByteCount>) -> String {
    size.map_or_else(|| "0".to_owned(), |size| size.to_string())
}

/// Reads a time, or 0 for none.
pub(super) fn parse_age(text: &str) -> Result<Option<Duration>, String> {
    if text == "0" {
        return Ok(None);
    }
    match value::parse_duration(text) {
        Ok(age) if age >= Duration::from_secs(1) => Ok(Some(age)),
        _ => Err("expected a time of at least 1s, such as 1d or 12h, or 0".to_owned()),
    }
}

pub(super) fn print_age(age: &Option<Duration>) -> String {
    age.map_or_else(|| "0".to_owned(), |age| value::print_duration(&age))
}

pub(super) fn parse_keep(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(keep) if (1..=9999).contains(&keep) => Ok(keep),
        _ => Err("expected a number from 1 to 9999".to_owned()),
    }
}

pub(super) fn parse_format(text: &str) -> Result<AccessFormat, String> {
    let format = FORMATS.iter().find(|(name, _)| *name == text);
    format.map(|(_, format)| *format).ok_or_else(|| "expected squid, common, combined or json".to_owned())
}

pub(super) fn print_format(format: &AccessFormat) -> String {
    let name = FORMATS.iter().find(|(_, named)| named == format);
    name.map_or("squid", |(name, _)| name).to_owned()
}

const FORMATS: [(&str, AccessFormat); 4] = [
    ("squid", AccessFormat::Squid),
    ("common", AccessFormat::Common),
    ("combined", AccessFormat::Combined),
    ("json", AccessFormat::Json),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<&str, &str>) {
        let printed = parse_sampling(text).map(|sampling| print_sampling(&sampling));
        match (printed, expected) {
            (Ok(printed), Ok(expected)) => assert_eq!(printed, expected, "{text}"),
            (Err(error), Err(expected)) => assert!(error.contains(expected), "{text}: {error}"),
            (printed, _) => panic!("{text}: {printed:?}"),
        }
    }

    #[test]
    fn shares_are_read_and_printed() {
        check("1", Ok("1"));
        check("0.10", Ok("0.1"));
        check("0", Ok("0"));
        check("hit=0.01", Ok("hit=0.01"));
        check("tunnel=0, hit = 0.5", Ok("hit=0.5,tunnel=0"));
        check("hit=1", Ok("1"));
        for wrong in ["", "1.1", "2", "-1", "1.", ".5", "0.1234567", "hit", "hit=", "errors=0.1", "0.1,hit=1"]
        {
            check(wrong, Err("expected a share"));
        }
        check("hit=1,hit=0", Err("repeated"));
    }

    #[test]
    fn nothing_and_everything_are_exact() {
        let share = |text| Share::parse(text).expect("a share");
        assert!(!share("0").takes(0) && !share("0").takes(u64::MAX));
        assert!(Share::ALL.takes(0) && Share::ALL.takes(u64::MAX));
        assert!(share("0.5").takes(u64::MAX / 2) && !share("0.5").takes(u64::MAX / 2 + 1));
    }

    proptest! {
        #[test]
        fn a_share_takes_its_share_of_lots(millionths in 0..=1_000_000_u32, seed: u64) {
            let share = Share(millionths);
            let step = u64::MAX / 10_000;
            let taken = (0..10_000).filter(|n| share.takes(seed.wrapping_add(n * step))).count();
            prop_assert!((taken as f64 / 1e4 - share.fraction()).abs() < 0.001);
        }
    }

    #[test]
    fn zero_turns_rotation_off() {
        assert_eq!((parse_size("0"), parse_age("0")), (Ok(None), Ok(None)));
        assert_eq!(print_size(&parse_size("100M").unwrap()), "100M");
        assert_eq!(print_age(&parse_age("24h").unwrap()), "1d");
        assert!(parse_size("999").is_err() && parse_age("0s").is_err() && parse_keep("0").is_err());
    }
}
