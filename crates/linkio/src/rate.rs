//! Rates and sizes as a user types them and as bentpipe prints them.
//!
//! Owns `BitRate` and `ByteCount`. k, M, G and T are powers of 1000, Ki, Mi, Gi and Ti of 1024; nothing is rounded,
//! and what is printed reads back as the same value. Rates are bits, however they are spelled, and never bytes.

use std::fmt;
use std::str::FromStr;

use crate::units::{self, QuantityError, Unit};

const RATE: &str =
    "a rate such as 512k, 1.5Mbit/s or 9600: bits per second, whole, with k, M or G for powers of 1000";
const SIZE: &str = "a size such as 500M, 10G or 10GiB: whole bytes, with k, M, G or T for powers of 1000";

const RATE_UNITS: &[Unit] = &[("", 1), ("k", 1_000), ("M", 1_000_000), ("G", 1_000_000_000)];
const TYPED_RATE_UNITS: &[Unit] = &[("", 1), ("k", 1_000), ("m", 1_000_000), ("g", 1_000_000_000)];
/// What may stand behind a rate, longer names before those they end with.
const BITS_PER_SECOND: [&str; 5] = ["bits/s", "bit/s", "bits", "bit", "bps"];
const SIZE_UNITS: &[Unit] =
    &[("", 1), ("k", 1_000), ("M", 1_000_000), ("G", 1_000_000_000), ("T", 1_000_000_000_000)];
const BINARY_UNITS: &[Unit] = &[("Ki", 1 << 10), ("Mi", 1 << 20), ("Gi", 1 << 30), ("Ti", 1 << 40)];

/// A rate in whole bits per second. Zero is a closed link.
///
/// ```
/// # use linkio::BitRate;
/// let rate: BitRate = "1.5Mbit/s".parse()?;
/// assert_eq!(rate.bits_per_second(), 1_500_000);
/// assert_eq!(rate.to_string(), "1.5M");
/// # Ok::<(), linkio::QuantityError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BitRate(u64);

impl BitRate {
    /// A closed link.
    pub const ZERO: Self = Self(0);

    /// The rate of `bits` per second.
    pub const fn from_bits_per_second(bits: u64) -> Self {
        Self(bits)
    }

    /// Bits per second.
    pub const fn bits_per_second(self) -> u64 {
        self.0
    }

    /// Whole bytes that cross in `millis` milliseconds at this rate, rounded down; at most `u64::MAX`.
    pub fn bytes_in_millis(self, millis: u64) -> u64 {
        let bytes = u128::from(self.0) * u128::from(millis) / 8000;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

impl FromStr for BitRate {
    type Err = QuantityError;

    /// Reads `512k`, `10M`, `1.5M`, `9600`, `512kbit/s`, `10Mbps`, in letters of either case; k, M and G are decimal.
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        // `Bps` is how bytes per second are written: taken for bits it would be wrong by eight.
        let bits = if text.ends_with("Bps") { text.to_owned() } else { text.to_ascii_lowercase() };
        let number = BITS_PER_SECOND.iter().find_map(|unit| bits.strip_suffix(unit)).unwrap_or(&bits);
        units::parse(number, TYPED_RATE_UNITS, RATE).map(Self).map_err(|error| error.about(text))
    }
}

impl fmt::Display for BitRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&units::print(self.0, RATE_UNITS))
    }
}

/// A number of bytes.
///
/// ```
/// # use linkio::ByteCount;
/// assert_eq!("64k".parse::<ByteCount>()?, ByteCount(64_000));
/// assert_eq!("10GiB".parse::<ByteCount>()?.to_string(), "10GiB");
/// # Ok::<(), linkio::QuantityError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteCount(pub u64);

impl FromStr for ByteCount {
    type Err = QuantityError;

    /// Reads `10G`, `500M`, `64k` (decimal) and `10GiB` (binary), with or without the final `B`.
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let number = text.strip_suffix('B').unwrap_or(text);
        let units = if number.ends_with('i') { BINARY_UNITS } else { SIZE_UNITS };
        units::parse(number, units, SIZE).map(Self).map_err(|error| error.about(text))
    }
}

impl fmt::Display for ByteCount {
    /// The shorter of the decimal and the whole binary form: `10G`, `1.5M`, `10GiB`, `4711`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimal = units::print(self.0, SIZE_UNITS);
        let binary =
            BINARY_UNITS.iter().rev().find(|(_, scale)| self.0 >= *scale && self.0.is_multiple_of(*scale));
        match binary.map(|(name, scale)| format!("{}{name}B", self.0 / scale)) {
            Some(binary) if binary.len() < decimal.len() => f.pad(&binary),
            _ => f.pad(&decimal),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rate(text: &str) -> Option<u64> {
        text.parse::<BitRate>().ok().map(BitRate::bits_per_second)
    }

    fn size(text: &str) -> Option<u64> {
        text.parse::<ByteCount>().ok().map(|count| count.0)
    }

    #[test]
    fn rates_as_typed() {
        assert_eq!(rate("512k"), Some(512_000));
        assert_eq!(rate("10M"), Some(10_000_000));
        assert_eq!(rate("1.5M"), Some(1_500_000));
        assert_eq!(rate("9600"), Some(9600));
        assert_eq!(rate("9600bit/s"), Some(9600));
        assert_eq!(rate("1G"), Some(1_000_000_000));
        for same in ["512K", "512kbit", "512KBIT/S", "512kbps", "512Kbps", "512kbits/s", "512KBPS", "512000"]
        {
            assert_eq!(rate(same), Some(512_000), "{same}");
        }
        for same in ["10m", "10Mbit/s", "10Mbps", "10mbit", "0.01G"] {
            assert_eq!(rate(same), Some(10_000_000), "{same}");
        }
        for wrong in ["", "k", "512q", "1.5", "-1", "bit/s", "bps", "512 k", "512kB", "512kB/s", "512kBps"] {
            assert_eq!(rate(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn sizes_as_typed() {
        assert_eq!(size("10G"), Some(10_000_000_000));
        assert_eq!(size("500MB"), Some(500_000_000));
        assert_eq!(size("64k"), Some(64_000));
        assert_eq!(size("10GiB"), Some(10 << 30));
        assert_eq!(size("1.5Ki"), Some(1536));
        assert_eq!(size("12"), Some(12));
        for wrong in ["", "B", "iB", "10i", "10GG", "1.5", "ten"] {
            assert_eq!(size(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_error_quotes_what_was_typed_and_says_what_is_right() {
        let error = "512qbit/s".parse::<BitRate>().unwrap_err().to_string();
        assert!(error.starts_with("\"512qbit/s\": expected a rate such as 512k"), "{error}");
    }

    #[test]
    fn sizes_print_the_shorter_way() {
        for (bytes, text) in [
            (0, "0"),
            (64_000, "64k"),
            (65_536, "64KiB"),
            (10 << 30, "10GiB"),
            (1_500_000, "1.5M"),
            (4711, "4.711k"),
        ] {
            assert_eq!(ByteCount(bytes).to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(value: u64) {
            prop_assert_eq!(rate(&BitRate(value).to_string()), Some(value));
            prop_assert_eq!(size(&ByteCount(value).to_string()), Some(value));
        }

        #[test]
        fn any_text_reads_without_panic(text in ".*") {
            let _ = (rate(&text), size(&text));
        }
    }
}
