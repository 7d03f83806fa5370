//! `Hours`: certain hours of certain days of the week, as value and as text: `Mon-Fri 08:00-17:00`.
//!
//! It reads no clock and knows no time zone: whoever asks says which day and minute it is there.

use std::fmt;

/// Hours of days of the week, by the clock on the wall where bentpipe runs or by UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hours {
    /// The first and last day, both included, from 0 (Monday) to 6; the last may stand before the first in the week.
    /// `None` is every day.
    days: Option<(u8, u8)>,
    /// The first minute of the day and the one behind the last, at most 1440. Where the end is before the beginning, the
    /// hours go on until then the next day.
    from: u16,
    until: u16,
    /// Whether they are hours of UTC.
    pub utc: bool,
}

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

const MINUTES: u16 = 24 * 60;

impl Hours {
    /// Whether it is that time, on `day` (0 is Monday) at `minute` after midnight.
    pub fn hold(&self, day: u8, minute: u16) -> bool {
        if self.from < self.until {
            return self.begins_on(day) && (self.from..self.until).contains(&minute);
        }
        let yesterday = day.checked_sub(1).unwrap_or(6);
        (self.begins_on(day) && minute >= self.from) || (self.begins_on(yesterday) && minute < self.until)
    }

    /// The minutes after midnight at which they begin and end; midnight itself is 0.
    pub(crate) fn edges(&self) -> [u16; 2] {
        [self.from % MINUTES, self.until % MINUTES]
    }

    fn begins_on(&self, day: u8) -> bool {
        match self.days {
            None => true,
            Some((first, last)) if first <= last => (first..=last).contains(&day),
            Some((first, last)) => day >= first || day <= last,
        }
    }
}

const EXPECTED: &str = "expected days, hours or both, such as Mon-Fri 08:00-17:00, Sat-Sun or 22:00-06:00, and UTC \
                        behind them where local time is not meant";

/// Reads `[DAY["-"DAY]] [HH:MM"-"HH:MM] ["UTC"]`.
pub(super) fn parse(text: &str) -> Result<Hours, String> {
    let mut words: Vec<&str> = text.split_ascii_whitespace().collect();
    let utc = words.last().is_some_and(|word| word.eq_ignore_ascii_case("utc"));
    if utc {
        words.pop();
    }
    let (days, hours) = match words.as_slice() {
        [one] if one.contains(':') => (None, Some(*one)),
        [one] => (Some(*one), None),
        [days, hours] => (Some(*days), Some(*hours)),
        _ => return Err(EXPECTED.to_owned()),
    };
    let days = days.map(|days| range(days, day)).transpose()?;
    let (from, until) = hours.map_or(Ok((0, MINUTES)), |hours| match hours.split_once('-') {
        Some((from, until)) => Ok((minute(from)?, minute(until)?)),
        None => Err(EXPECTED.to_owned()),
    })?;
    if from == until || from == MINUTES {
        return Err(EXPECTED.to_owned());
    }
    Ok(Hours { days, from, until, utc })
}

/// One day stands for itself alone.
fn range(text: &str, read: fn(&str) -> Result<u8, String>) -> Result<(u8, u8), String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Ok((read(first)?, read(last)?))
}

fn day(text: &str) -> Result<u8, String> {
    let place = DAYS.iter().position(|day| day.eq_ignore_ascii_case(text));
    place.and_then(|place| u8::try_from(place).ok()).ok_or_else(|| EXPECTED.to_owned())
}

fn minute(text: &str) -> Result<u16, String> {
    let number = |digits: &str| {
        let plain = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<u16>().ok().filter(|_| plain)
    };
    match text.split_once(':').map(|(hour, minute)| (number(hour), number(minute))) {
        Some((Some(hour), Some(minute))) if minute < 60 && hour * 60 + minute <= MINUTES => {
            Ok(hour * 60 + minute)
        }
        _ => Err(EXPECTED.to_owned()),
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |day: u8| DAYS.get(usize::from(day)).copied().unwrap_or_default();
        let whole_day = self.from == 0 && self.until == MINUTES;
        match self.days {
            Some((first, last)) if first == last => formatter.write_str(name(first))?,
            Some((first, last)) => write!(formatter, "{}-{}", name(first), name(last))?,
            None => {}
        }
        if !whole_day || self.days.is_none() {
            let between = if self.days.is_some() { " " } else { "" };
            let [(h, m), (until_h, until_m)] = [self.from, self.until].map(|at| (at / 60, at % 60));
            write!(formatter, "{between}{h:02}:{m:02}-{until_h:02}:{until_m:02}")?;
        }
        formatter.write_str(if self.utc { " UTC" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(written: &str, printed: &str) {
        match parse(written) {
            Ok(hours) => assert_eq!(hours.to_string(), printed, "{written:?}"),
            Err(reason) => assert!(reason.starts_with(printed), "{written:?}: {reason}"),
        }
    }

    #[test]
    fn hours_as_written() {
        check("Mon-Fri 08:00-17:00", "Mon-Fri 08:00-17:00");
        check("mon-FRI   08:00-17:00 utc", "Mon-Fri 08:00-17:00 UTC");
        check("Sat-Sun", "Sat-Sun");
        check("Sun 00:00-24:00", "Sun");
        check("22:00-06:00", "22:00-06:00");
        check("00:00-24:00", "00:00-24:00");
        check("Fri-Mon UTC", "Fri-Mon UTC");
        for wrong in
            ["", "UTC", "Mon-Fri 8:00-17:00", "Mon-Fri 08:00", "08:00-08:00", "08:60-09:00", "24:00-08:00"]
        {
            check(wrong, "expected days, hours or both");
        }
        for wrong in ["08:00-24:01", "Mo-Fr", "Mon Tue Wed", "Mon-Fri 08:00-17:00 CET", "+8:00-09:00"] {
            check(wrong, "expected days, hours or both");
        }
    }

    #[track_caller]
    fn check_hold(written: &str, day: u8, minute: u16, expected: bool) {
        assert_eq!(parse(written).expect("hours").hold(day, minute), expected, "{written} {day} {minute}");
    }

    #[test]
    fn hours_hold_from_their_first_minute_to_the_one_before_their_end() {
        check_hold("Mon-Fri 08:00-17:00", 0, 479, false);
        check_hold("Mon-Fri 08:00-17:00", 0, 480, true);
        check_hold("Mon-Fri 08:00-17:00", 4, 1019, true);
        check_hold("Mon-Fri 08:00-17:00", 4, 1020, false);
        check_hold("Mon-Fri 08:00-17:00", 5, 600, false);
        check_hold("Fri-Mon", 6, 0, true);
        check_hold("Fri-Mon", 2, 0, false);
    }

    #[test]
    fn a_night_belongs_to_the_day_it_begins_on() {
        check_hold("Fri 22:00-06:00", 4, 1380, true);
        check_hold("Fri 22:00-06:00", 5, 300, true);
        check_hold("Fri 22:00-06:00", 5, 1380, false);
        check_hold("Fri 22:00-06:00", 4, 300, false);
        check_hold("Sun 22:00-06:00", 0, 359, true);
    }

    proptest! {
        #[test]
        fn any_text_reads_without_panic_and_reads_back(
            text in "((Mon|Tue|Sun)(-(Fri|Mon))? ?)?([0-9]{2}:[0-9]{2}-[0-9]{2}:[0-9]{2})?( UTC)?|.*",
        ) {
            if let Ok(hours) = parse(&text) {
                prop_assert_eq!(parse(&hours.to_string()), Ok(hours));
            }
        }
    }
}
