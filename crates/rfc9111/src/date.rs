//! HTTP-date (RFC 9110 §5.6.7): read as tolerantly as caches must, written without ever panicking.
//!
//! All three forms are read, with weekday, month and zone in any case and with a wrong weekday forgiven; separators,
//! digits and the zone GMT must be exact. The arithmetic is `httpdate`'s, which insists on case and weekday, so a date
//! is first brought into the form it wants. What a date that cannot be read means is decided by the caller; for
//! Expires it is "in the past" (RFC 9111 §5.3).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderValue;

const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const LONG_WEEKDAYS: [&str; 7] =
    ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The last second an HTTP-date can name: the end of the year 9999, in seconds since 1970.
const LAST_SECOND: u64 = 253_402_300_799;

/// Reads an HTTP-date; `None` where the value is not one, or names a year before 1970.
///
/// `reference` is about now. It settles only the two-digit years of the obsolete RFC 850 form: "MUST interpret a
/// timestamp that appears to be more than 50 years in the future as representing the most recent year in the past that
/// had the same last two digits" (RFC 9110 §5.6.7).
pub fn parse_date(value: &[u8], reference: SystemTime) -> Option<SystemTime> {
    // What nearly every sender sends needs no help; no other form has this length.
    if value.len() == 29
        && let Some(date) =
            std::str::from_utf8(value).ok().and_then(|text| httpdate::parse_http_date(text).ok())
    {
        return Some(date);
    }
    let date = Parts::imf_fixdate(value)
        .or_else(|| Parts::rfc850_date(value, reference))
        .or_else(|| Parts::asctime_date(value))?;
    httpdate::parse_http_date(std::str::from_utf8(&date.imf()?).ok()?).ok()
}

/// Writes a time as an HTTP-date in the preferred form, with times before 1970 and after 9999 clamped to those years.
pub fn format_date(time: SystemTime) -> HeaderValue {
    let second = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs().min(LAST_SECOND);
    let text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second));
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"))
}

/// What the three forms have in common, still as written; `time` is `HH:MM:SS`.
struct Parts<'a> {
    day: u8,
    month: &'a [u8],
    year: u64,
    time: &'a [u8],
}

impl<'a> Parts<'a> {
    /// `Sun, 06 Nov 1994 08:49:37 GMT`
    fn imf_fixdate(value: &'a [u8]) -> Option<Self> {
        let (weekday, rest) = value.split_at_checked(3)?;
        let rest = rest.strip_prefix(b", ")?;
        let (day, month, year) = (rest.get(..2)?, rest.get(3..6)?, rest.get(7..11)?);
        let spaces = [rest.get(2)?, rest.get(6)?, rest.get(11)?];
        let time = utc(rest.get(12..)?)?;
        let known = WEEKDAYS.iter().any(|name| weekday.eq_ignore_ascii_case(name.as_bytes()));
        (known && spaces == [&b' '; 3])
            .then_some(())
            .and_then(|()| Some(Self { day: decimal(day)? as u8, month, year: decimal(year)?, time }))
    }

    /// `Sunday, 06-Nov-94 08:49:37 GMT`
    fn rfc850_date(value: &'a [u8], reference: SystemTime) -> Option<Self> {
        let comma = value.iter().position(|byte| *byte == b',')?;
        let rest = value.get(comma..)?.strip_prefix(b", ")?;
        let (day, month, year) = (rest.get(..2)?, rest.get(3..6)?, rest.get(7..9)?);
        let separators = [rest.get(2)?, rest.get(6)?, rest.get(9)?];
        let time = utc(rest.get(10..)?)?;
        let known = LONG_WEEKDAYS.iter().any(|name| value[..comma].eq_ignore_ascii_case(name.as_bytes()));
        (known && separators == [&b'-', &b'-', &b' ']).then_some(()).and_then(|()| {
            Some(Self { day: decimal(day)? as u8, month, year: century(decimal(year)?, reference), time })
        })
    }

    /// `Sun Nov  6 08:49:37 1994`
    fn asctime_date(value: &'a [u8]) -> Option<Self> {
        let (weekday, rest) = value.split_at_checked(3)?;
        let (month, day, time, year) = (rest.get(1..4)?, rest.get(5..7)?, rest.get(8..16)?, rest.get(17..)?);
        let spaces = [rest.first()?, rest.get(4)?, rest.get(7)?, rest.get(16)?];
        let known = WEEKDAYS.iter().any(|name| weekday.eq_ignore_ascii_case(name.as_bytes()));
        let day = decimal(day.strip_prefix(b" ").unwrap_or(day))? as u8;
        (known && year.len() == 4 && spaces == [&b' '; 4])
            .then_some(())
            .and_then(|()| Some(Self { day, month, year: decimal(year)?, time }))
    }

    /// The same date as an IMF-fixdate with the weekday it really is.
    fn imf(&self) -> Option<[u8; 29]> {
        let month = MONTHS.iter().position(|name| self.month.eq_ignore_ascii_case(name.as_bytes()))?;
        let mut text = *b"   , 00     0000 00:00:00 GMT";
        text[..3].copy_from_slice(WEEKDAYS.get(weekday(self.year, month, self.day))?.as_bytes());
        text[5..7].copy_from_slice(&[b'0' + self.day / 10, b'0' + self.day % 10]);
        text[8..11].copy_from_slice(MONTHS[month].as_bytes());
        for (digit, place) in text[12..16].iter_mut().zip([1000, 100, 10, 1]) {
            *digit = b'0' + (self.year / place % 10) as u8;
        }
        text[17..25].copy_from_slice(self.time);
        if &text[23..25] == b"60" {
            // A leap second has no place in the count of seconds since 1970; it is the second before.
            text[23..25].copy_from_slice(b"59");
        }
        Some(text)
    }
}

/// The eight characters of the time before the zone, which must be GMT.
fn utc(value: &[u8]) -> Option<&[u8]> {
    let (time, zone) = value.split_at_checked(8)?;
    zone.eq_ignore_ascii_case(b" GMT").then_some(time)
}

fn decimal(digits: &[u8]) -> Option<u64> {
    let all_digits = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    all_digits.then(|| digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

/// The year a two-digit year means: the latest one that is not more than 50 years after `reference`.
fn century(year: u64, reference: SystemTime) -> u64 {
    const SECONDS_A_YEAR: u64 = 31_556_952;
    let this_year =
        1970 + reference.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / SECONDS_A_YEAR;
    let latest = this_year + 50;
    latest - (latest - year) % 100
}

/// The weekday of a Gregorian date, Sunday being 0 (Sakamoto's method); `month` counts from 0.
fn weekday(year: u64, month: usize, day: u8) -> usize {
    const OFFSETS: [u64; 12] = [0, 3, 2, 5, 0, 3, 5, 1, 4, 6, 2, 4];
    // Four hundred years are a whole number of weeks; adding them keeps the year 0 from going below zero.
    let year = year + 400 - u64::from(month < 2);
    ((year + year / 4 - year / 100 + year / 400 + OFFSETS[month] + u64::from(day)) % 7) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOVEMBER_1994: u64 = 784_111_777;

    #[track_caller]
    fn check(value: &str, second: impl Into<Option<u64>>) {
        let reference = UNIX_EPOCH + Duration::from_secs(1_790_000_000); // September 2026
        let expected = second.into().map(|second| UNIX_EPOCH + Duration::from_secs(second));
        assert_eq!(parse_date(value.as_bytes(), reference), expected, "{value}");
    }

    #[test]
    fn all_three_forms_are_read_5_6_7() {
        check("Sun, 06 Nov 1994 08:49:37 GMT", NOVEMBER_1994);
        check("Sunday, 06-Nov-94 08:49:37 GMT", NOVEMBER_1994);
        check("Sun Nov  6 08:49:37 1994", NOVEMBER_1994);
        check("Wed Nov 16 08:49:37 1994", NOVEMBER_1994 + 864_000);
        check("Tue, 29 Feb 2000 00:00:00 GMT", 951_782_400);
    }

    #[test]
    fn names_are_read_in_any_case_and_the_weekday_may_be_wrong() {
        check("SUN, 06 nov 1994 08:49:37 gMT", NOVEMBER_1994);
        check("sunDAY, 06-NOV-94 08:49:37 gmt", NOVEMBER_1994);
        check("mon nov  6 08:49:37 1994", NOVEMBER_1994);
        check("Fri, 06 Nov 1994 08:49:37 GMT", NOVEMBER_1994);
    }

    #[test]
    fn a_two_digit_year_is_at_most_50_years_ahead_5_6_7() {
        check("Sunday, 06-Nov-76 00:00:00 GMT", 3_371_846_400); // 2076
        check("Sunday, 06-Nov-77 00:00:00 GMT", 247_622_400); // 1977
        check("Sunday, 06-Nov-26 00:00:00 GMT", 1_793_923_200); // 2026
    }

    #[test]
    fn a_leap_second_is_the_second_before() {
        check("Sat, 31 Dec 2016 23:59:60 GMT", 1_483_228_799);
    }

    #[test]
    fn separators_digits_and_zone_are_exact() {
        for broken in [
            "0",
            "",
            "-1",
            "Thu, 18 Aug 2050 02:01:18 UTC",
            "Thu, 18 Aug 2050 02:01:18 AEST",
            "Thu, 18 Aug 2050 02:01:18",
            "Thu, 18 Aug 2050 02:01:18 GMT+1",
            "Thu, 18 Aug 50 02:01:18 GMT",
            "Thu 18 Aug 2050 02:01:18 GMT",
            "Thu, 18  Aug  2050 02:01:18 GMT",
            "Thu, 18-Aug-2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 02.01.18 GMT",
            "Thu, 18 Aug 2050 2:01:18 GMT",
            "Thu, 8 Aug 2050 02:01:18 GMT",
            "Thx, 18 Aug 2050 02:01:18 GMT",
            "Thu, 31 Feb 2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 24:01:18 GMT",
            "Thu, 18 Aug 0000 02:01:18 GMT",
            "Thu Aug 18 02:01:18 50",
            "Thu Aug 18 02:01:18 12050",
        ] {
            check(broken, None);
        }
    }

    #[test]
    fn times_out_of_range_are_clamped() {
        assert_eq!(format_date(UNIX_EPOCH - Duration::from_secs(1)), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(
            format_date(UNIX_EPOCH + Duration::from_secs(u64::MAX >> 2)),
            "Fri, 31 Dec 9999 23:59:59 GMT"
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(second in 0..=LAST_SECOND) {
            let time = UNIX_EPOCH + Duration::from_secs(second);
            prop_assert_eq!(parse_date(format_date(time).as_bytes(), UNIX_EPOCH), Some(time));
        }

        #[test]
        fn any_bytes_are_read(value: Vec<u8>) {
            parse_date(&value, UNIX_EPOCH);
        }

        #[test]
        fn near_dates_are_read(value in "[A-Za-z]{3,9},? [0-9 -]{2,3}[A-Za-z]{3}[ -][0-9]{2,4} [0-9:]{8} GMT") {
            parse_date(value.as_bytes(), UNIX_EPOCH);
        }
    }
}
