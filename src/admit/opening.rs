//! When that is allowed which is forbidden now only because of the hour, and how that is said. Pure: the times are handed
//! in. What is allowed is `access`'s to say.

use std::time::SystemTime;

use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _, Zoned};

use crate::config::Hours;

/// Whatever is a matter of hours of days of the week comes round within so many days.
const DAYS: i64 = 8;

/// Moments of the day that are tried; rules that have more are told of without a time.
const MOST: usize = 16;

/// The first moment after `now` at which any of `hours` begin or end and `is_open` holds, if there is one.
pub(super) fn first<'a>(
    hours: impl Iterator<Item = &'a Hours>,
    now: SystemTime,
    is_open: impl Fn(SystemTime) -> bool,
) -> Option<SystemTime> {
    let mut edges: Vec<(bool, u16)> =
        hours.flat_map(|hours| hours.edges().map(|minute| (hours.utc, minute))).take(MOST).collect();
    edges.sort_unstable();
    edges.dedup();
    let moment = Timestamp::try_from(now).ok()?;
    let mut moments: Vec<Timestamp> = edges
        .iter()
        .flat_map(|(utc, minute)| (0..DAYS).filter_map(|day| edge(moment, *utc, *minute, day)))
        .collect();
    moments.retain(|edge| *edge > moment);
    moments.sort_unstable();
    moments.into_iter().map(SystemTime::from).find(|at| is_open(*at))
}

/// `minute` after the midnight before `moment`, `day` days later.
fn edge(moment: Timestamp, utc: bool, minute: u16, day: i64) -> Option<Timestamp> {
    let zone = if utc { TimeZone::UTC } else { TimeZone::system() };
    let minute = i8::try_from(minute / 60).ok().zip(i8::try_from(minute % 60).ok());
    let time = minute.and_then(|(hour, minute)| Time::new(hour, minute, 0, 0).ok())?;
    let date = moment.to_zoned(zone.clone()).date().checked_add(day.days()).ok()?;
    Some(date.to_datetime(time).to_zoned(zone).ok()?.timestamp())
}

/// `at` as it is said `now` to people who have the clock of `zone` on their wall: `today at 17:00 (CET)`.
pub(super) fn words(at: SystemTime, now: SystemTime, zone: &TimeZone) -> Option<String> {
    let there = |time: SystemTime| Some(Timestamp::try_from(time).ok()?.to_zoned(zone.clone()));
    let (at, now): (Zoned, Zoned) = (there(at)?, there(now)?);
    let day = if at.date() == now.date() {
        "today".to_owned()
    } else if now.date().tomorrow().is_ok_and(|tomorrow| tomorrow == at.date()) {
        "tomorrow".to_owned()
    } else {
        at.strftime("on %A, %-d %B,").to_string()
    };
    Some(format!("{day} at {}", at.strftime("%H:%M (%Z)")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(at: &str, expected: &str) {
        let time = |text: &str| SystemTime::from(text.parse::<Timestamp>().expect("a time"));
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        let words = words(time(at), time("2026-01-01T10:00:00Z"), &zone);
        assert_eq!(words.as_deref(), Some(expected), "{at}");
    }

    #[test]
    fn a_time_is_said_as_people_say_it() {
        check("2026-01-01T16:00:00Z", "today at 17:00 (+01)");
        check("2026-01-01T23:00:00Z", "tomorrow at 00:00 (+01)");
        check("2026-01-05T07:00:00Z", "on Monday, 5 January, at 08:00 (+01)");
    }
}
