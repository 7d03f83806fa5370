//! Decimal numbers with a unit, exactly: the shared grammar of rates, sizes and times.
//!
//! Owns `number["."fraction]unit` in both directions, sums of such, and the error that says what would have been
//! right. It knows no unit itself and never rounds: what is not a whole number of the smallest unit is refused.

use std::error::Error;
use std::fmt;

/// A rate, size or time that could not be read. Its text quotes the input and says what is expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuantityError {
    input: String,
    expected: &'static str,
}

impl QuantityError {
    /// What would have been right, such as `a rate such as 512k`.
    pub fn expected(&self) -> &'static str {
        self.expected
    }

    /// The same error about the whole of what was typed, of which only a part was read as a number.
    pub(crate) fn about(self, input: &str) -> Self {
        Self { input: input.to_owned(), ..self }
    }
}

impl fmt::Display for QuantityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: expected {}", self.input, self.expected)
    }
}

impl Error for QuantityError {}

/// A unit's name and how many of the smallest unit it is.
pub(crate) type Unit = (&'static str, u64);

/// Reads `text` as a number with one of `units`; `expected` completes the error's sentence.
pub(crate) fn parse(text: &str, units: &[Unit], expected: &'static str) -> Result<u64, QuantityError> {
    exact(text, units).ok_or_else(|| QuantityError { input: text.to_owned(), expected })
}

/// Reads a sum such as `1h30m`: each number with its unit, larger units first. `units` ascend, and none is empty.
pub(crate) fn parse_sum(text: &str, units: &[Unit]) -> Option<u64> {
    let (mut total, mut units, mut rest) = (0_u64, units, text);
    while !rest.is_empty() {
        let letters = rest.find(|c: char| c.is_ascii_alphabetic())?;
        let behind = |c: char| !c.is_ascii_alphabetic();
        let end = rest[letters..].find(behind).map_or(rest.len(), |length| letters + length);
        let (part, behind) = rest.split_at(end);
        total = total.checked_add(exact(part, units)?)?;
        let used = units.iter().position(|(name, _)| *name == &part[letters..])?;
        units = &units[..used];
        rest = behind;
    }
    (!text.is_empty()).then_some(total)
}

/// Prints `value` in the largest of `units` (ascending) that needs at most three decimals.
pub(crate) fn print(value: u64, units: &[Unit]) -> String {
    units
        .iter()
        .rev()
        .find_map(|&(name, scale)| in_unit(value, name, scale))
        .unwrap_or_else(|| value.to_string())
}

fn exact(text: &str, units: &[Unit]) -> Option<u64> {
    let number = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(number);
    let scale = units.iter().find(|(name, _)| *name == unit).map(|(_, scale)| u128::from(*scale))?;
    let (whole, fraction) = match number.split_once('.') {
        Some((_, "")) => return None,
        Some((whole, fraction)) => (whole, fraction.trim_end_matches('0')),
        None => (number, ""),
    };
    let whole = u128::from(whole.parse::<u64>().ok()?).checked_mul(scale)?;
    let part = if fraction.is_empty() {
        0
    } else {
        // Nineteen digits are more than any unit here can use; a longer fraction cannot be exact.
        let digits = u128::from(fraction.parse::<u64>().ok()?).checked_mul(scale)?;
        let parts = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        (digits % parts == 0).then_some(digits / parts)?
    };
    u64::try_from(whole.checked_add(part)?).ok()
}

fn in_unit(value: u64, name: &str, scale: u64) -> Option<String> {
    let (whole, rest) = (value / scale, value % scale);
    let thousandths = u128::from(rest) * 1000;
    if whole == 0 || !thousandths.is_multiple_of(u128::from(scale)) {
        return None;
    }
    let fraction = format!("{:03}", thousandths / u128::from(scale));
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    Some(format!("{whole}{point}{fraction}{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNITS: &[Unit] = &[("", 1), ("k", 1000), ("M", 1_000_000)];

    #[test]
    fn numbers_are_exact_or_refused() {
        for (text, value) in
            [("0", 0), ("7", 7), ("1.5k", 1500), ("1.500k", 1500), ("0.001k", 1), ("2.000001M", 2_000_001)]
        {
            assert_eq!(parse(text, UNITS, "x"), Ok(value), "{text}");
        }
        for text in [
            "",
            ".",
            "1.",
            ".5k",
            "1.5",
            "0.0001k",
            "-1",
            "+1",
            "1 k",
            "1kk",
            "1..2k",
            "99999999999999999999",
            "१",
        ] {
            assert!(parse(text, UNITS, "x").is_err(), "{text}");
        }
    }

    #[test]
    fn sums_go_from_large_to_small() {
        const TIMES: &[Unit] = &[("ms", 1), ("s", 1000), ("m", 60_000)];
        for (text, value) in
            [("5ms", 5), ("1m", 60_000), ("1m30s", 90_000), ("1.5s", 1500), ("1m1ms", 60_001)]
        {
            assert_eq!(parse_sum(text, TIMES), Some(value), "{text}");
        }
        for text in ["", "5", "s", "1s1m", "1s1s", "1m30", "1ms5", "1 s", "1s é", "99999999999999999999m"] {
            assert_eq!(parse_sum(text, TIMES), None, "{text}");
        }
    }

    #[test]
    fn printing_takes_the_largest_readable_unit() {
        for (value, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1k"),
            (9600, "9.6k"),
            (1_500_000, "1.5M"),
            (1_234_567, "1234.567k"),
        ] {
            assert_eq!(print(value, UNITS), text);
        }
    }
}
