//! A report as one SVG file: how busy the link was over time, and each transaction as a bar, or where there are too many,
//! how many were done in which time.
//!
//! Owns the drawing. The file stands alone: no script, no font, nothing from elsewhere.

use std::fmt::Write as _;
use std::time::Duration;

use super::axis::{Axis, decades, time_axis};
use super::measure::{percent, rate, time};
use super::report::{Report, Row, Way};
use super::table::{ROWS, used};

const WIDTH: f64 = 960.0;
/// Where plots begin and end from the left.
const LEFT: f64 = 190.0;
const RIGHT: f64 = 930.0;
const PLOT: f64 = 180.0;
const TOP: f64 = 96.0;
/// The height of one bar with its gap.
const BAR: f64 = 16.0;
const DOWN: &str = "#1f5fbf";
const UP: &str = "#d9730d";
/// How busy the link was is shown in at most so many columns.
const COLUMNS: usize = 128;
const PALE: &str = "#b9cdea";

/// The text of an SVG file.
pub(crate) fn chart(report: &Report) -> String {
    let mut drawing = Drawing::default();
    let end = report.simulated_seconds.max(1e-9);
    let axis = time_axis(end);
    let bottom = drawing.usage(report, &axis);
    let bars = report.transactions.len() <= ROWS;
    let height = match bars {
        true => drawing.waterfall(&report.transactions, &axis, bottom + 70.0),
        false => drawing.distribution(report, bottom + 70.0),
    };
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         role=\"img\" font-family=\"sans-serif\" font-size=\"12\" fill=\"#222\">\n\
         <title>bentpipe link simulate: {link}</title>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
        link = escaped(&report.link)
    );
    text.push_str(&heading(report));
    text.push_str(&drawing.0);
    text.push_str("</svg>\n");
    text
}

fn heading(report: &Report) -> String {
    let mut drawing = Drawing::default();
    drawing.label(
        20.0,
        30.0,
        "start",
        &format!("Link {}", shortened(&report.link, 100)),
        " font-size=\"16\" font-weight=\"bold\"",
    );
    let rest = format!(
        "{} \u{b7} seed {} \u{b7} {} done, {} unfinished \u{b7} rates count {}",
        shortened(&report.workload, 80),
        report.seed,
        report.done,
        report.unfinished,
        report.rates_count
    );
    drawing.label(20.0, 50.0, "start", &rest, " fill=\"#555\"");
    drawing.0
}

#[derive(Default)]
struct Drawing(String);

impl Drawing {
    /// How much of each direction was used over time. Returns where it ends.
    fn usage(&mut self, report: &Report, axis: &Axis) -> f64 {
        let limited = [&report.down, &report.up].into_iter().any(|way| way.utilisation.is_some());
        let most = [&report.down, &report.up].into_iter().flat_map(|way| rates(way).1).fold(1.0, f64::max);
        let bottom = TOP + PLOT;
        let title = if limited { "Utilisation of each direction" } else { "Rate of each direction" };
        self.label(LEFT, TOP - 12.0, "start", title, " font-weight=\"bold\"");
        for quarter in 0..=4 {
            let part = f64::from(quarter) / 4.0;
            let y = bottom - part * PLOT;
            self.line(LEFT, y, RIGHT, y, "#e4e4e4");
            let text = if limited { percent(part).replace(".0 ", " ") } else { rate(part * most) };
            self.label(LEFT - 8.0, y + 4.0, "end", &text, "");
        }
        self.ticks(axis, TOP, bottom);
        self.label(
            (LEFT + RIGHT) / 2.0,
            bottom + 36.0,
            "middle",
            &format!("time since the start, {}", axis.unit),
            "",
        );
        for (name, way, colour, x) in
            [("down", &report.down, DOWN, RIGHT - 220.0), ("up", &report.up, UP, RIGHT - 100.0)]
        {
            let (length, parts) = if limited { shares(way) } else { rates(way) };
            let scale = if limited { 1.0 } else { most };
            let parts: Vec<f64> = parts.iter().map(|part| part / scale).collect();
            self.steps(&parts, length, axis, colour);
            let mean = if limited { used(way) } else { rate(way.mean_bits_per_second) };
            self.rect(x, TOP - 21.0, 10.0, 10.0, colour);
            self.label(x + 15.0, TOP - 12.0, "start", &format!("{name} {mean}"), "");
        }
        bottom
    }

    /// An area of steps, from 0 to 1, each of so many seconds.
    fn steps(&mut self, parts: &[f64], length: f64, axis: &Axis, colour: &str) {
        let bottom = TOP + PLOT;
        let mut path = format!("M{LEFT:.1} {bottom:.1}");
        let mut from = 0.0;
        for part in parts {
            let to = (from + length).min(axis.end);
            let y = bottom - part.clamp(0.0, 1.0) * PLOT;
            let _ = write!(path, "L{:.1} {y:.1}H{:.1}", axis.x(from, LEFT, RIGHT), axis.x(to, LEFT, RIGHT));
            from = to;
        }
        let _ = writeln!(
            self.0,
            "<path d=\"{path}V{bottom:.1}Z\" fill=\"{colour}\" fill-opacity=\"0.2\" stroke=\"{colour}\"/>"
        );
    }

    /// A bar for each transaction. Returns the height of the drawing.
    fn waterfall(&mut self, rows: &[Row], axis: &Axis, top: f64) -> f64 {
        let bottom = top + BAR * rows.len() as f64 + 4.0;
        self.label(LEFT, top - 12.0, "start", "Transactions", " font-weight=\"bold\"");
        for (colour, text, x) in
            [(PALE, "until the first byte", RIGHT - 240.0), (DOWN, "until the last", RIGHT - 100.0)]
        {
            self.rect(x, top - 21.0, 10.0, 10.0, colour);
            self.label(x + 15.0, top - 12.0, "start", text, "");
        }
        self.ticks(axis, top, bottom);
        for (number, row) in rows.iter().enumerate() {
            let y = top + 4.0 + BAR * number as f64;
            let name = if row.name.is_empty() { &row.host } else { &row.name };
            let label = shortened(&format!("{} {name}", row.client), 28);
            let end = row.completion_seconds.map_or(axis.end, |time| row.start_seconds + time);
            let first = row.first_byte_seconds.map_or(end, |time| row.start_seconds + time);
            let places = [row.start_seconds, first, end].map(|seconds| axis.x(seconds, LEFT, RIGHT));
            let _ = writeln!(self.0, "<g><title>{}</title>", escaped(&told(row)));
            self.label(LEFT - 8.0, y + 10.0, "end", &label, " font-size=\"11\"");
            self.rect(places[0], y, (places[1] - places[0]).max(0.5), BAR - 4.0, PALE);
            let colour = if row.completion_seconds.is_some() { DOWN } else { "#b3261e" };
            self.rect(places[1], y, (places[2] - places[1]).max(0.5), BAR - 4.0, colour);
            self.0.push_str("</g>\n");
        }
        self.label(
            (LEFT + RIGHT) / 2.0,
            bottom + 36.0,
            "middle",
            &format!("time since the start, {}", axis.unit),
            "",
        );
        bottom + 56.0
    }

    /// Which part of the transactions was done in which time. Returns the height of the drawing.
    fn distribution(&mut self, report: &Report, top: f64) -> f64 {
        let bottom = top + PLOT;
        let mut times: Vec<f64> =
            report.transactions.iter().filter_map(|row| row.completion_seconds).collect();
        times.sort_by(f64::total_cmp);
        self.label(LEFT, top - 12.0, "start", "Transactions done within a time", " font-weight=\"bold\"");
        for quarter in 0..=4 {
            let part = f64::from(quarter) / 4.0;
            let y = bottom - part * PLOT;
            self.line(LEFT, y, RIGHT, y, "#e4e4e4");
            self.label(LEFT - 8.0, y + 4.0, "end", &percent(part).replace(".0 ", " "), "");
        }
        if let (Some(least), Some(most)) = (times.first(), times.last()) {
            let (low, high) = decades(*least, *most);
            let x = |seconds: f64| LEFT + (RIGHT - LEFT) * (seconds.max(1e-9).log10() - low) / (high - low);
            let mut decade = low;
            while decade <= high {
                let at = x(10_f64.powf(decade));
                self.line(at, top, at, bottom, "#e4e4e4");
                let text = time(Duration::try_from_secs_f64(10_f64.powf(decade)).unwrap_or_default());
                self.label(at, bottom + 18.0, "middle", &text.replace(".0 ", " ").replace(".00 ", " "), "");
                decade += 1.0;
            }
            self.curve(&times, report.transactions.len(), x, bottom);
        }
        self.label(
            (LEFT + RIGHT) / 2.0,
            bottom + 36.0,
            "middle",
            "from start to last byte, on a logarithmic scale",
            "",
        );
        bottom + 56.0
    }

    fn curve(&mut self, times: &[f64], all: usize, x: impl Fn(f64) -> f64, bottom: f64) {
        // A point for each pixel of height is enough, however many there are.
        let each = (times.len() / 400).max(1);
        let mut path = String::new();
        let last = times.len().saturating_sub(1);
        for (number, seconds) in
            times.iter().enumerate().filter(|(number, _)| number % each == 0 || *number == last)
        {
            let y = bottom - PLOT * (number + 1) as f64 / all.max(1) as f64;
            let begin = if path.is_empty() { 'M' } else { 'L' };
            let _ = write!(path, "{begin}{:.1} {y:.1}", x(*seconds));
        }
        let _ = writeln!(self.0, "<path d=\"{path}\" fill=\"none\" stroke=\"{DOWN}\" stroke-width=\"2\"/>");
    }

    fn ticks(&mut self, axis: &Axis, top: f64, bottom: f64) {
        for (seconds, text) in axis.ticks() {
            let x = axis.x(seconds, LEFT, RIGHT);
            self.line(x, top, x, bottom, "#e4e4e4");
            self.label(x, bottom + 18.0, "middle", &text, "");
        }
        self.line(LEFT, bottom, RIGHT, bottom, "#888");
    }

    fn line(&mut self, x1: f64, y1: f64, x2: f64, y2: f64, colour: &str) {
        let _ = writeln!(self.0, "<path d=\"M{x1:.1} {y1:.1}L{x2:.1} {y2:.1}\" stroke=\"{colour}\"/>");
    }

    fn rect(&mut self, x: f64, y: f64, width: f64, height: f64, colour: &str) {
        let _ = writeln!(
            self.0,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{colour}\"/>"
        );
    }

    /// A text that is not ours; `more` are attributes that are.
    fn label(&mut self, x: f64, y: f64, anchor: &str, text: &str, more: &str) {
        let text = escaped(text);
        let _ =
            writeln!(self.0, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\"{more}>{text}</text>");
    }
}

/// Bytes that crossed and could have, in each column: several pieces, so that single packets do not show as gaps.
fn columns(way: &Way) -> (f64, Vec<(u64, u64)>) {
    let crossed = &way.over_time.crossed_bytes;
    let each = crossed.len().div_ceil(COLUMNS).max(1);
    let offered = way.over_time.offered_bytes.as_deref().unwrap_or_default();
    let sum = |all: &[u64], from: usize| all.iter().skip(from).take(each).sum();
    let columns = (0..crossed.len()).step_by(each).map(|from| (sum(crossed, from), sum(offered, from)));
    (way.over_time.piece_seconds * each as f64, columns.collect())
}

/// How long a column is, and the part of each that was used.
fn shares(way: &Way) -> (f64, Vec<f64>) {
    let (length, columns) = columns(way);
    let share =
        |(crossed, offered): (u64, u64)| if offered == 0 { 0.0 } else { crossed as f64 / offered as f64 };
    (length, columns.into_iter().map(share).collect())
}

/// How long a column is, and the bits per second of each.
fn rates(way: &Way) -> (f64, Vec<f64>) {
    let (length, columns) = columns(way);
    (length, columns.into_iter().map(|(crossed, _)| crossed as f64 * 8.0 / length).collect())
}

fn told(row: &Row) -> String {
    let shown = |seconds: Option<f64>| match seconds.and_then(|value| Duration::try_from_secs_f64(value).ok())
    {
        Some(value) => time(value),
        None => "never".to_owned(),
    };
    let (first, last) = (shown(row.first_byte_seconds), shown(row.completion_seconds));
    format!("{} {}: {} bytes, first byte {first}, last byte {last}", row.client, row.name, row.down_bytes)
}

fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}\u{2026}", &text[..end]),
        None => text.to_owned(),
    }
}

/// Text as XML has it. Characters that XML has not, even escaped, become question marks.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            char if char.is_control() || matches!(char, '\u{fffe}' | '\u{ffff}') => escaped.push('?'),
            char => escaped.push(char),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped() {
        assert_eq!(escaped("<a href=\"x\">&'\u{1b}é"), "&lt;a href=&quot;x&quot;&gt;&amp;&#39;?é");
        assert_eq!(shortened("éééé", 2), "éé\u{2026}");
    }
}
