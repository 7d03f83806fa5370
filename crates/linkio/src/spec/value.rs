//! The values of a link specification: rates, times, shares, cycles, points, and the words that choose.
//!
//! Each reader names what would have been right, with an example a user can copy. Which option a value belongs to,
//! and what several of them mean together, is `parse.rs`'s.

use std::time::Duration;

use super::error::Wrong;
use super::parts::{Accounting, Change, Cycle, Discipline, Framing, Loss, Point, Tcp};
use crate::rate::BitRate;
use crate::units::{self, Unit};

pub(super) const UNLIMITED: &str = "unlimited";
pub(super) const EXPECTED_RATE: &str = "expected a rate in bits per second such as 512k, 10M or unlimited";
const EXPECTED_RATES: &str = "expected one rate, or two as down/up such as 512k/128k";
const TIME_UNITS: &[Unit] = &[
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];
/// Millionths.
const SHARE_UNITS: &[Unit] = &[("%", 10_000)];

/// What a time may be, and how the error says it.
pub(super) struct Limits {
    least: Duration,
    most: Duration,
    words: &'static str,
}

const HOUR: Duration = Duration::from_secs(3600);
const YEAR: Duration = Duration::from_secs(8760 * 3600);
/// Less than this is no longer a change of the link but a property of it, and costs work without end.
const SHORTEST: Duration = Duration::from_millis(100);

pub(super) const DELAY: Limits = Limits { least: Duration::ZERO, most: HOUR, words: "at most 1h" };
pub(super) const PERIOD: Limits = Limits { least: SHORTEST, most: YEAR, words: "from 100ms to 8760h" };
pub(super) const MOMENT: Limits = Limits { least: Duration::ZERO, most: YEAR, words: "at most 8760h" };
const QUEUE: Limits = Limits { least: Duration::from_millis(1), most: HOUR, words: "from 1ms to 1h" };
const LENGTH: Limits =
    Limits { least: Duration::from_nanos(1), most: YEAR, words: "longer than 0s and at most the period" };
/// The silence at a handover lasts up to 420 ms.
pub(super) const SATELLITE: Limits =
    Limits { least: Duration::from_secs(1), most: YEAR, words: "from 1s to 8760h, or none" };

/// A time such as `600ms` or `1m30s`, its units in any case; `None` if it is none.
pub(crate) fn parse_time(text: &str) -> Option<Duration> {
    units::parse_sum(&text.to_ascii_lowercase(), TIME_UNITS).map(Duration::from_nanos)
}

/// A share such as `0.5%`, at most 50 %; `None` if it is none.
pub(crate) fn parse_loss(text: &str) -> Option<Loss> {
    let millionths = units::parse(text, SHARE_UNITS, "a share").ok()?;
    u32::try_from(millionths).ok().filter(|millionths| *millionths <= 500_000).map(Loss)
}

/// Rates for both directions, down and up; `None` is unlimited.
pub(super) fn rates(part: &str) -> Result<(Option<BitRate>, Option<BitRate>), Wrong<'_>> {
    let (down, up) = down_and_up(part)?;
    Ok((rate(down)?, rate(up)?))
}

pub(super) fn rate(part: &str) -> Result<Option<BitRate>, Wrong<'_>> {
    let text = part.trim();
    if is(text, UNLIMITED) {
        return Ok(None);
    }
    // Whether a link that is "off" carries nothing or everything is not ours to guess.
    if ["off", "none", "no", "max", "closed"].iter().any(|word| is(text, word)) {
        return Err(Wrong::new(part, "expected a rate: unlimited for no limit, 0 for a closed link"));
    }
    text.parse().map(Some).map_err(|_| Wrong::new(part, EXPECTED_RATE))
}

fn down_and_up(part: &str) -> Result<(&str, &str), Wrong<'_>> {
    match sides(part)[..] {
        [both] => Ok((both, both)),
        [down, up] if !down.trim().is_empty() && !up.trim().is_empty() => Ok((down, up)),
        _ => Err(Wrong::new(part, EXPECTED_RATES)),
    }
}

/// The rates of `part`, which slashes divide, but not the slash of `bit/s`.
fn sides(part: &str) -> Vec<&str> {
    let (mut sides, mut start) = (Vec::new(), 0);
    for (at, slash) in part.match_indices('/') {
        let behind = &part[at + slash.len()..];
        if !behind.split('/').next().is_some_and(|side| is(side.trim_end(), "s")) {
            sides.push(&part[start..at]);
            start = at + slash.len();
        }
    }
    sides.push(&part[start..]);
    sides
}

/// A time within `limits`; `example` is what the error shows.
pub(super) fn time<'a>(part: &'a str, example: &str, limits: &Limits) -> Result<Duration, Wrong<'a>> {
    let time = parse_time(part.trim()).filter(|time| (limits.least..=limits.most).contains(time));
    time.ok_or_else(|| {
        let words = limits.words;
        Wrong::new(part, format!("expected a time such as {example}, {words}, in h, m, s, ms, us or ns"))
    })
}

/// A time, or `none`.
pub(super) fn time_or_none<'a>(
    part: &'a str,
    example: &str,
    limits: &Limits,
) -> Result<Option<Duration>, Wrong<'a>> {
    if is(part, "none") { Ok(None) } else { time(part, example, limits).map(Some) }
}

/// `LENGTH/PERIOD`, or `none`.
pub(super) fn cycle<'a>(part: &'a str, example: &str) -> Result<Option<Cycle>, Wrong<'a>> {
    if is(part, "none") {
        return Ok(None);
    }
    let filled = |(length, period): &(&str, &str)| !length.trim().is_empty() && !period.trim().is_empty();
    let Some((length, period)) = part.split_once('/').filter(filled) else {
        return Err(Wrong::new(part, format!("expected a length and a period such as {example}, or none")));
    };
    let cycle = Cycle { length: time(length, example, &LENGTH)?, period: time(period, example, &PERIOD)? };
    if cycle.length > cycle.period {
        return Err(Wrong::new(
            length,
            format!("expected a length of at most the period, such as {example}"),
        ));
    }
    Ok(Some(cycle))
}

pub(super) fn loss(part: &str) -> Result<Loss, Wrong<'_>> {
    let expected = "expected a share such as loss=0.5%, at most 50%, with at most 4 decimals";
    parse_loss(part.trim()).ok_or_else(|| Wrong::new(part, expected))
}

/// The percentage of `auto`.
pub(super) fn percent(part: &str) -> Result<u8, Wrong<'_>> {
    let percent = units::parse(part.trim(), &[("%", 1)], "a share").ok();
    let percent = percent.and_then(|percent| u8::try_from(percent).ok());
    percent.filter(|percent| (1..=100).contains(percent)).ok_or_else(|| {
        Wrong::new(part, "expected a share of the real link's rate such as auto=90%, whole, from 1% to 100%")
    })
}

pub(super) fn tcp(part: &str) -> Result<Tcp, Wrong<'_>> {
    let known = [("none", Tcp::None), ("handshake", Tcp::Handshake), ("slow-start", Tcp::SlowStart)];
    let found = known.into_iter().find(|(name, _)| is(part, name));
    let expected = "expected tcp=none, tcp=handshake or tcp=slow-start";
    found.map(|(_, tcp)| tcp).ok_or_else(|| Wrong::new(part, expected))
}

pub(super) fn discipline(part: &str) -> Result<Discipline, Wrong<'_>> {
    match part.split_once(':') {
        None if is(part, "fair") => Ok(Discipline::Fair),
        Some((name, length)) if is(name, "fifo") && !length.trim().is_empty() => {
            time(length, "queue=fifo:500ms", &QUEUE).map(Discipline::Fifo)
        }
        _ => Err(Wrong::new(part, "expected queue=fair, or queue=fifo:500ms with the time the queue holds")),
    }
}

pub(super) fn accounting(part: &str) -> Result<Accounting, Wrong<'_>> {
    match part.split_once(':') {
        None if is(part, "payload") => Ok(Accounting::Payload),
        None if is(part, "wire") => Ok(Accounting::Wire(Framing::default())),
        Some((name, sizes)) if is(name, "wire") => framing(sizes).map(Accounting::Wire),
        _ => Err(Wrong::new(part, "expected count=payload, count=wire or count=wire:1500/52/14")),
    }
}

fn framing(part: &str) -> Result<Framing, Wrong<'_>> {
    let sizes: Option<Vec<u16>> =
        part.split('/').map(|size| digits(size).and_then(|size| size.parse().ok())).collect();
    match sizes.as_deref() {
        // 68 is the least MTU of IPv4; a packet that is mostly header is a slip, and would cost more than it carries.
        Some(&[mtu, header, link]) if mtu >= 68 && header <= mtu / 2 && link <= 1000 => {
            Ok(Framing { mtu, header, link })
        }
        _ => Err(Wrong::new(
            part,
            "expected bytes as MTU/HEADER/LINK such as count=wire:1500/52/14: an MTU from 68 to 65535, of which the \
             header takes at most half, and at most 1000 that the link adds",
        )),
    }
}

/// `TIME:RATES`.
pub(super) fn point<'a>(part: &'a str, change: Change, example: &str) -> Result<Point, Wrong<'a>> {
    let filled = |(at, rates): &(&str, &str)| !at.trim().is_empty() && !rates.trim().is_empty();
    let Some((at, rates)) = part.split_once(':').filter(filled) else {
        return Err(Wrong::new(part, format!("expected a time and rates such as {example}")));
    };
    let at = time(at, example, &MOMENT)?;
    let (down, up) = down_and_up(rates)?;
    let (down, up) = (point_rate(down, example)?, point_rate(up, example)?);
    if (down, up) == (None, None) {
        return Err(Wrong::new(
            rates,
            format!("expected a rate in one direction at least, such as {example}"),
        ));
    }
    Ok(Point { at, change, down, up, rtt: None, jitter: None, loss: None })
}

/// A rate of a point: `-` leaves what was there before.
fn point_rate<'a>(part: &'a str, example: &str) -> Result<Option<BitRate>, Wrong<'a>> {
    match part.trim() {
        "-" => Ok(None),
        text => text.parse().map(Some).map_err(|_| {
            let expected = format!(
                "expected a rate in bits per second as in {example}, 0 for none or - to leave it: a point is never \
                 unlimited"
            );
            Wrong::new(part, expected)
        }),
    }
}

pub(super) fn seed(part: &str) -> Result<u64, Wrong<'_>> {
    let seed = digits(part).and_then(|seed| seed.parse().ok());
    seed.ok_or_else(|| {
        Wrong::new(part, format!("expected a whole number such as seed=7, at most {}", u64::MAX))
    })
}

/// `part` if it is digits and nothing else: `parse` would take a sign too.
fn digits(part: &str) -> Option<&str> {
    let text = part.trim();
    text.bytes().all(|byte| byte.is_ascii_digit()).then_some(text)
}

/// Whether `part` is this word, in any case.
pub(super) fn is(part: &str, word: &str) -> bool {
    part.trim().eq_ignore_ascii_case(word)
}
