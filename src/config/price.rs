//! `Price`: what a byte across the link costs, as value and as text: `12 EUR/GB`.

use std::fmt;

/// What traffic costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Price {
    /// In millionths.
    amount: u32,
    currency: String,
    unit: Unit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Megabyte,
    Gigabyte,
}

impl Price {
    fn amount(&self) -> f64 {
        f64::from(self.amount) / MILLION
    }

    /// What `bytes` cost, with two decimals.
    pub(crate) fn of(&self, bytes: u64) -> String {
        let unit = match self.unit {
            Unit::Megabyte => 1e6,
            Unit::Gigabyte => 1e9,
        };
        format!("{:.2} {}", bytes as f64 / unit * self.amount(), self.currency)
    }
}

const MILLION: f64 = 1e6;

/// Reads `12 EUR/GB` or `0.05 $/MB`.
///
/// # Errors
/// If it is anything else; says what is expected.
pub(crate) fn parse(text: &str) -> Result<Option<Price>, String> {
    if text == "none" {
        return Ok(None);
    }
    let expected = || "a price is an amount, a currency and a unit: 12 EUR/GB, 0.05 $/MB; or none".to_owned();
    let (amount, rest) = text.trim().split_once(' ').ok_or_else(expected)?;
    let (currency, unit) = rest.trim().split_once('/').ok_or_else(expected)?;
    let amount: f64 = amount.parse().map_err(|_| expected())?;
    let unit = match unit.trim() {
        "MB" => Unit::Megabyte,
        "GB" => Unit::Gigabyte,
        _ => return Err(expected()),
    };
    let currency = currency.trim();
    let is_name =
        !currency.is_empty() && currency.chars().count() <= 8 && !currency.contains(char::is_control);
    let millionths = (amount * MILLION).round();
    if !is_name || !(0.0..=f64::from(u32::MAX)).contains(&millionths) {
        return Err(expected());
    }
    // Checked above: it is a whole number that fits.
    Ok(Some(Price { amount: millionths as u32, currency: currency.to_owned(), unit }))
}

/// As `parse` reads it.
pub(crate) fn print(price: &Option<Price>) -> String {
    price.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string)
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.unit {
            Unit::Megabyte => "MB",
            Unit::Gigabyte => "GB",
        };
        write!(f, "{} {}/{unit}", self.amount(), self.currency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_read_and_printed() {
        for text in ["12 EUR/GB", "0.05 $/MB", "none"] {
            assert_eq!(print(&parse(text).expect(text)), text);
        }
        for text in
            ["", "12", "12 EUR", "12 EUR/kB", "-1 EUR/GB", "nan EUR/GB", "x EUR/GB", "1 /GB", "inf EUR/GB"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
        let price = parse("12 EUR/GB").expect("a price").expect("a price");
        assert_eq!(price.of(1_500_000_000), "18.00 EUR");
    }
}
