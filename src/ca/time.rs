//! Moments as certificates write them (RFC 5280 §4.1.2.5) and as people read them: calendar dates of UTC.
//!
//! It reads no clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::CertificateParams;

/// One day.
pub(super) const DAY: Duration = Duration::from_hours(24);

const SECONDS_A_DAY: u64 = 86_400;

/// The last day that a certificate can name, but for one: in the year 9999.
const LAST: u64 = 253_402_128_000;

/// Sets a certificate's validity, to the second. Moments that no certificate can name become the nearest that it can.
pub(super) fn set_validity(params: &mut CertificateParams, from: SystemTime, until: SystemTime) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + Duration::from_secs(seconds(from).min(LAST));
    params.not_after = epoch + Duration::from_secs(seconds(until).min(LAST));
}

fn seconds(moment: SystemTime) -> u64 {
    moment.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The date of a moment, as in `2026-01-31`.
pub(crate) fn date(moment: SystemTime) -> String {
    // Days into years, months and days by the calendar that begins in March, so that the leap day is the last
    // (H. Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`).
    let days = seconds(moment) / SECONDS_A_DAY + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// The whole days from `now` to `until`; none where that is over.
pub(crate) fn days_left(now: SystemTime, until: SystemTime) -> Option<u64> {
    until.duration_since(now).ok().map(|left| left.as_secs() / SECONDS_A_DAY)
}

/// Reads a Time of a certificate: the content of a UTCTime (`YYMMDDHHMMSSZ`) or, where `has_century`, of a
/// GeneralizedTime (`YYYYMMDDHHMMSSZ`).
pub(super) fn parse(content: &[u8], has_century: bool) -> Option<SystemTime> {
    let text = std::str::from_utf8(content).ok()?.strip_suffix('Z')?;
    let (year, rest) = text.split_at_checked(if has_century { 4 } else { 2 })?;
    let year = number(year)?;
    let year = match year {
        year if has_century => year,
        // "Where YY is greater than or equal to 50, the year SHALL be interpreted as 19YY".
        50.. => 1900 + year,
        _ => 2000 + year,
    };
    if rest.len() != 10 {
        return None;
    }
    let part = |at: usize| number(rest.get(at..at + 2)?);
    let (month, day, hour, minute, second) = (part(0)?, part(2)?, part(4)?, part(6)?, part(8)?);
    let in_range = (1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !in_range || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = days_since_epoch(year, month, day) * SECONDS_A_DAY + hour * 3600 + minute * 60 + second;
    Some(UNIX_EPOCH + Duration::from_secs(seconds))
}

fn number(digits: &str) -> Option<u64> {
    digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Days from 1970-01-01 to a date from there on; the other way round of [`date`].
fn days_since_epoch(year: u64, month: u64, day: u64) -> u64 {
    let (year, month_from_march) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(written: &str, expected: Option<&str>) {
        let moment = parse(written.as_bytes(), written.len() == 15);
        assert_eq!(moment.map(date).as_deref(), expected, "{written}");
    }

    #[test]
    fn both_forms_of_time_are_read() {
        check("260101000000Z", Some("2026-01-01"));
        check("491231235959Z", Some("2049-12-31"));
        check("700101000000Z", Some("1970-01-01"));
        check("20500101000000Z", Some("2050-01-01"));
        check("20240229120000Z", Some("2024-02-29"));
        check("99991231235959Z", Some("9999-12-31"));
        check("260101000000", None);
        check("2601010000Z", None);
        check("261301000000Z", None);
        check("260132000000Z", None);
        check("260101240000Z", None);
        check("26010100000+Z", None);
        check("19500101000000Z", None);
        check("", None);
    }

    #[test]
    fn days_that_are_left_are_whole() {
        let day = |days: u64| UNIX_EPOCH + Duration::from_secs(days * SECONDS_A_DAY);
        assert_eq!(days_left(day(1), day(11)), Some(10));
        assert_eq!(days_left(day(1) + Duration::from_secs(1), day(11)), Some(9));
        assert_eq!(days_left(day(2), day(1)), None);
    }

    proptest! {
        #[test]
        fn a_date_is_read_as_it_is_written(day in 0..2_900_000_u64) {
            let moment = UNIX_EPOCH + Duration::from_secs(day * SECONDS_A_DAY);
            let written = format!("{}000000Z", date(moment).replace('-', ""));
            prop_assert_eq!(parse(written.as_bytes(), true), Some(moment));
        }

        #[test]
        fn any_bytes_are_a_time_or_none(content in proptest::collection::vec(any::<u8>(), 0..20), long: bool) {
            parse(&content, long);
        }
    }
}
