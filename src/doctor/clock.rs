//! Whether this machine's clock can be right: by itself, and by the dates that origins give to their responses (RFC 9110
//! §6.6.1). Certificates, freshness and the hours of rules are all judged by it.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Finding, seconds};
use crate::ca::RootCertificate;
use crate::ca::time::date;

const NAME: &str = "clock";

/// 2026-01-01: nothing of this program is older.
const BUILT: Duration = Duration::from_secs(1_767_225_600);

/// Certificates and caching suffer.
const WRONG: Duration = Duration::from_hours(1);
const DOUBTFUL: Duration = Duration::from_mins(5);

const SET: &str = "set the clock: timedatectl set-ntp true, or by hand: date -u -s 'YYYY-MM-DD HH:MM'";

/// Judges the clock by itself, beside the certificates that were made with it.
pub(super) fn check(now: SystemTime, published: &[(RootCertificate, PathBuf)]) -> Finding {
    let said = format!("{} (UTC)", in_words(now));
    if now < UNIX_EPOCH + BUILT {
        return Finding::fail(NAME, format!("{said} is before this program was made"), SET);
    }
    match published.iter().find(|(certificate, _)| now < certificate.not_before) {
        Some((certificate, _)) => {
            let from = date(certificate.not_before);
            let text =
                format!("{said} is before the certificate authority of this machine was made ({from})");
            Finding::fail(NAME, text, SET)
        }
        None => Finding::ok(NAME, said),
    }
}

/// Judges the clock by what origins took for the time when it was `now` here: the first of them that speaks for it
/// settles it, since some servers' own clocks are wrong.
pub(super) fn against(dates: &[(SystemTime, SystemTime)]) -> Option<Finding> {
    let apart = |(now, date): &(SystemTime, SystemTime)| {
        let ahead = now.duration_since(*date);
        (ahead.is_ok(), ahead.unwrap_or_else(|error| error.duration()))
    };
    let (is_ahead, by) = dates.iter().map(apart).min_by_key(|(_, by)| *by)?;
    let text =
        format!("{} {} what the origins say", seconds(by), if is_ahead { "ahead of" } else { "behind" });
    Some(if by > WRONG {
        Finding::fail(NAME, format!("{text}: certificates and the age of what is stored are misjudged"), SET)
    } else if by > DOUBTFUL {
        Finding::warn(NAME, text, SET)
    } else {
        Finding::ok(NAME, format!("agrees with what the origins say, to {}", seconds(by)))
    })
}

fn in_words(now: SystemTime) -> String {
    rfc9111::format_date(now).to_str().unwrap_or_default().trim_end_matches(" GMT").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn no_time_is_before_the_program_was_made() {
        assert_eq!(check(at(0), &[]).verdict, Verdict::Fail);
        assert_eq!(check(at(1_767_225_599), &[]).verdict, Verdict::Fail);
        let right = check(at(1_767_225_600), &[]);
        assert_eq!(right, Finding::ok("clock", "Thu, 01 Jan 2026 00:00:00 (UTC)"));
    }

    #[test]
    fn no_time_is_before_the_authority_was_made() {
        let made =
            crate::ca::Made::new("x", &crate::ca::Scope::Any, at(1_900_000_000)).expect("an authority");
        let published = [(made.certificate, PathBuf::new())];
        assert_eq!(check(at(1_800_000_000), &published).verdict, Verdict::Fail);
        assert_eq!(check(at(1_900_000_001), &published).verdict, Verdict::Ok);
    }

    #[test]
    fn an_hour_is_wrong_and_five_minutes_are_doubtful() {
        let check = |ours: u64, theirs: &[u64], expected: Verdict| {
            let dates: Vec<_> = theirs.iter().map(|date| (at(ours), at(*date))).collect();
            assert_eq!(against(&dates).expect("a finding").verdict, expected, "{ours} {theirs:?}");
        };
        check(10_000, &[10_000], Verdict::Ok);
        check(10_300, &[10_000], Verdict::Ok);
        check(10_301, &[10_000], Verdict::Warn);
        check(10_000, &[10_301], Verdict::Warn);
        check(10_000, &[13_601], Verdict::Fail);
        check(13_601, &[10_000], Verdict::Fail);
        check(13_601, &[10_000, 13_600], Verdict::Ok);
        assert_eq!(against(&[]), None);
    }
}
