//! How commands write things for people on a terminal: times, durations, and texts that somebody else chose.

use std::fmt::Display;
use std::io::{IsTerminal as _, stdout};

use crate::text::plain_json;

/// Whether what is printed may have colours: on a terminal that knows them, unless NO_COLOR is set.
pub(super) fn has_colours() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    stdout().is_terminal() && !is_set("NO_COLOR") && !is_dumb()
}

/// Whether the terminal can do nothing but print.
pub(super) fn is_dumb() -> bool {
    std::env::var_os("TERM").is_none_or(|term| term == "dumb" || term.is_empty())
}

/// A value of JSON as it is printed, over several lines, the last of which is ended.
pub(super) fn json(value: &impl Display) -> String {
    plain_json(&format!("{value:#}\n"))
}

/// `text` in at most `width` characters; where that is too few, its middle goes.
pub(super) fn fitted(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return text.to_owned();
    }
    let kept = width.saturating_sub(1);
    let end = kept / 3;
    let beginning: String = text.chars().take(kept - end).collect();
    let end: String = text.chars().skip(length - end).collect();
    format!("{beginning}\u{2026}{end}")
}

/// A duration, in two or three digits.
pub(super) fn time(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match seconds {
        seconds if seconds < 0.9995 => format!("{:.0} ms", seconds.max(0.0) * 1e3),
        seconds if seconds < 9.95 => format!("{seconds:.1} s"),
        seconds if seconds < 99.5 => format!("{seconds:.0} s"),
        _ if whole < 3600 => format!("{}m{:02}s", whole / 60, whole % 60),
        _ if whole < 360_000 => format!("{}h{:02}m", whole / 3600, whole / 60 % 60),
        _ => format!("{}d", whole / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_or_three_digits() {
        let shown =
            [0.0, 0.0123, 0.9996, 9.94, 9.96, 99.4, 100.0, 3599.4, 3600.0, 90_000.0, 864_000.0].map(time);
        let expected =
            ["0 ms", "12 ms", "1.0 s", "9.9 s", "10 s", "99 s", "1m40s", "59m59s", "1h00m", "25h00m", "10d"];
        assert_eq!(shown, expected);
    }

    #[test]
    fn what_does_not_fit_loses_its_middle() {
        assert_eq!(fitted("http://a/b", 10), "http://a/b");
        assert_eq!(fitted("http://example.org/c", 10), "http:/\u{2026}g/c");
        assert_eq!(fitted("abc", 1), "\u{2026}");
    }
}
