//! Times, sizes and rates: times as they are typed, and all three as a person reads them.
//!
//! Owns their spelling only. What is printed here is rounded; JSON has the exact values.

use std::time::Duration;

/// The longest time that can be given: a year.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);
const EXPECTED: &str = "expected a time such as 90s, 1.5s, 250ms or 1h30m, at most a year";
/// From large to small, as the parts of a sum stand. Milliseconds come before minutes and so on where one name begins
/// another: a unit is all the letters behind its number.
const UNITS: [(&str, u64); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// Reads `90s`, `1.5s`, `250ms`, `1h30m` or `0`.
///
/// # Errors
/// Says what is expected if it is no time, has no unit or is longer than a year.
pub(crate) fn parse_time(text: &str) -> Result<Duration, String> {
    let nanos = if text == "0" { Some(0) } else { nanos(text) };
    let time = nanos.map(Duration::from_nanos).filter(|time| *time <= LONGEST);
    time.ok_or_else(|| format!("{text:?}: {EXPECTED}"))
}

fn nanos(text: &str) -> Option<u64> {
    let (mut total, mut units, mut rest) = (0_u64, UNITS.as_slice(), text);
    while !rest.is_empty() {
        let (number, behind) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != '.')?);
        let end = behind.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(end);
        let place = units.iter().position(|(name, _)| *name == unit)?;
        total = total.checked_add(exact(number, units[place].1)?)?;
        units = &units[place + 1..];
        rest = behind;
    }
    (!text.is_empty()).then_some(total)
}

/// `number`, which may have decimals, times `scale`; `None` if that is not whole.
fn exact(number: &str, scale: u64) -> Option<u64> {
    let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
    let count = u32::try_from(decimals.len()).ok().filter(|count| (1..=18).contains(count))?;
    let parts = 10_u128.pow(count);
    let fraction = u128::from(decimals.parse::<u64>().ok()?) * u128::from(scale);
    let whole = u128::from(whole.parse::<u64>().ok()?) * u128::from(scale);
    (fraction % parts == 0).then(|| u64::try_from(whole + fraction / parts).ok()).flatten()
}

/// A time with three or so digits: `612 ms`, `12.3 s`, `1m23s`, `23h05m`.
pub(super) fn time(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    // Each limit is where rounding would reach the next unit.
    if time.is_zero() {
        "0 s".to_owned()
    } else if seconds < 0.00995 {
        format!("{:.1} ms", seconds * 1e3)
    } else if seconds < 0.9995 {
        format!("{:.0} ms", seconds * 1e3)
    } else if seconds < 9.995 {
        format!("{seconds:.2} s")
    } else if seconds < 59.95 {
        format!("{seconds:.1} s")
    } else {
        let whole = time.as_secs() + u64::from(time.subsec_millis() >= 500);
        match whole {
            0..3600 => format!("{}m{:02}s", whole / 60, whole % 60),
            _ => format!("{}h{:02}m", whole / 3600, whole % 3600 / 60),
        }
    }
}

/// Bytes with three digits: `12.3 kB`.
pub(super) fn bytes(bytes: u64) -> String {
    scaled(bytes as f64, &["B", "kB", "MB", "GB", "TB", "PB"])
}

/// A rate with three digits: `98.3 kbit/s`.
pub(super) fn rate(bits_per_second: f64) -> String {
    scaled(bits_per_second, &["bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"])
}

/// A share as a percentage.
pub(super) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// Many things are counted; one is one.
pub(super) fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

fn scaled(value: f64, units: &[&str]) -> String {
    let (mut value, mut units) = (value, units.iter());
    let mut unit = units.next().unwrap_or(&"");
    while value >= 999.5 {
        let Some(next) = units.next() else { break };
        value /= 1000.0;
        unit = next;
    }
    let number = if value >= 99.95 { format!("{value:.0}") } else { format!("{value:.1}") };
    format!("{} {unit}", number.strip_suffix(".0").unwrap_or(&number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, millis: Option<u64>) {
        assert_eq!(parse_time(text).ok(), millis.map(Duration::from_millis), "{text}");
    }

    #[test]
    fn times_as_typed() {
        check("0", Some(0));
        check("0s", Some(0));
        check("1.5s", Some(1500));
        check("250ms", Some(250));
        check("1h30m", Some(5_400_000));
        check("1d", Some(86_400_000));
        check("365d", Some(31_536_000_000));
        check("366d", None);
        for text in [
            "",
            "5",
            "s",
            "1s1m",
            "1s1s",
            "-1s",
            "1..5s",
            ".5s",
            "1.s",
            "1 s",
            "1sé",
            "99999999999999999999s",
            "0.1ns",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn times_as_read() {
        let check = |nanos: u64, text: &str| assert_eq!(time(Duration::from_nanos(nanos)), text);
        check(0, "0 s");
        check(1, "0.0 ms");
        check(9_940_000, "9.9 ms");
        check(612_400_000, "612 ms");
        check(999_600_000, "1.00 s");
        check(12_340_000_000, "12.3 s");
        check(59_960_000_000, "1m00s");
        check(83_000_000_000, "1m23s");
        check(3_599_500_000_000, "1h00m");
        check(86_340_000_000_000, "23h59m");
    }

    #[test]
    fn numbers_have_three_digits() {
        assert_eq!((bytes(0), bytes(999), bytes(12_345)), ("0 B".into(), "999 B".into(), "12.3 kB".into()));
        assert_eq!(
            (rate(98_300.0), rate(1e6), percent(0.5)),
            ("98.3 kbit/s".into(), "1 Mbit/s".into(), "50.0 %".into())
        );
        assert_eq!(rate(100_000.0), "100 kbit/s");
    }
}
