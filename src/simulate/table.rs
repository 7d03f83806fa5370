//! A report as a person reads it in a terminal.
//!
//! Owns the layout. All numbers are the report's, rounded.

use std::fmt::Write as _;
use std::time::Duration;

use super::measure::{bytes, count, percent, rate, time};
use super::report::{Client, Percentiles, Report, Row, Way};

/// So many transactions are shown one by one; of more, the slowest of `SLOWEST`, and clients.
pub(super) const ROWS: usize = 200;
const SLOWEST: usize = 20;
/// So many clients are shown, those first that waited longest.
const CLIENTS: usize = 50;
/// Longer names are cut.
const NAME: usize = 48;

/// The text of `report`, which ends with a line end.
pub(crate) fn table(report: &Report) -> String {
    let mut text = head(report);
    if report.transactions.len() <= ROWS {
        text.push_str(&aligned(&rows(report.transactions.iter())));
    } else {
        let mut slowest: Vec<&Row> = report.transactions.iter().collect();
        // Those that were not done come first: nobody knows how slow they are.
        slowest.sort_by(|one, other| slowness(other).total_cmp(&slowness(one)));
        let _ = writeln!(
            text,
            "The slowest {SLOWEST} of {} transactions; --json has all.",
            report.transactions.len()
        );
        text.push_str(&aligned(&rows(slowest.into_iter().take(SLOWEST))));
        text.push('\n');
        text.push_str(&clients(&report.clients));
    }
    text.push('\n');
    text.push_str(&aligned(&directions(report)));
    text.push('\n');
    text.push_str(&aligned(&times(report)));
    text
}

fn head(report: &Report) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<10} {value}");
    };
    line("link", &report.link);
    for (name, trace) in [("down", &report.trace_down), ("up", &report.trace_up)] {
        if let Some(trace) = trace {
            line(name, trace);
        }
    }
    line(
        "rates",
        match report.rates_count {
            "wire" => {
                "wire: the link's rate counts packets with their headers; all bytes and rates below are payload"
            }
            _ => "payload: the HTTP, TLS and tunnel bytes of connections to origins",
        },
    );
    line("workload", &report.workload);
    report.notes.iter().for_each(|note| line("", note));
    line("seed", &report.seed.to_string());
    line("ended", &format!("after {}", time(duration(report.simulated_seconds))));
    let mut fates = vec![format!("{} done", report.done)];
    fates.push(format!("{} unfinished", report.unfinished));
    if report.not_begun > 0 {
        fates.push(format!("{} not begun", report.not_begun));
    }
    let connections = usize::try_from(report.connections).unwrap_or(usize::MAX);
    line(
        "requests",
        &format!("{}, over {}", fates.join(", "), count(connections, "connection", "connections")),
    );
    text.push('\n');
    text
}

fn rows<'a>(rows: impl Iterator<Item = &'a Row>) -> Vec<Vec<String>> {
    let titles = ["START", "CLIENT", "NAME", "UP", "DOWN", "FIRST BYTE", "TOTAL", "RATE"];
    let mut lines = vec![titles.map(str::to_owned).to_vec()];
    lines.extend(rows.map(|row| {
        let name = if row.name.is_empty() { &row.host } else { &row.name };
        vec![
            time(duration(row.start_seconds)),
            cut(&row.client),
            cut(name),
            bytes(row.up_bytes),
            bytes(row.down_bytes),
            seconds(row.first_byte_seconds),
            row.completion_seconds.map_or_else(|| "unfinished".to_owned(), |total| time(duration(total))),
            row.mean_bits_per_second.map_or_else(|| "-".to_owned(), rate),
        ]
    }));
    lines
}

fn slowness(row: &Row) -> f64 {
    row.completion_seconds.unwrap_or(f64::INFINITY)
}

fn clients(clients: &[Client]) -> String {
    let mut slowest: Vec<&Client> = clients.iter().collect();
    let slowness = |client: &Client| client.completion_seconds.p90.unwrap_or(0.0);
    slowest.sort_by(|one, other| slowness(other).total_cmp(&slowness(one)));
    let mut lines =
        vec![["CLIENT", "REQUESTS", "UNFINISHED", "DOWN", "P50", "P90", "MAX"].map(str::to_owned).to_vec()];
    lines.extend(slowest.iter().take(CLIENTS).map(|client| {
        let times = &client.completion_seconds;
        let mut cells =
            vec![cut(&client.name), client.transactions.to_string(), client.unfinished.to_string()];
        cells.push(bytes(client.down_bytes));
        cells.extend([times.p50, times.p90, times.max].map(seconds));
        cells
    }));
    let mut text = aligned(&lines);
    if clients.len() > CLIENTS {
        let _ = writeln!(text, "and {} more", count(clients.len() - CLIENTS, "client", "clients"));
    }
    text
}

/// How much of a direction was used.
pub(super) fn used(way: &Way) -> String {
    match (way.utilisation, way.offered_bytes) {
        (Some(used), _) => percent(used),
        (None, Some(_)) => "closed".to_owned(),
        (None, None) => "no limit".to_owned(),
    }
}

fn directions(report: &Report) -> Vec<Vec<String>> {
    let mut lines = vec![["", "UTILISATION", "CROSSED", "MEAN RATE"].map(str::to_owned).to_vec()];
    let line = |name: &str, way: &Way| {
        vec![name.to_owned(), used(way), bytes(way.crossed_bytes), rate(way.mean_bits_per_second)]
    };
    lines.extend([line("down", &report.down), line("up", &report.up)]);
    lines
}

fn times(report: &Report) -> Vec<Vec<String>> {
    let mut lines = vec![["", "P50", "P90", "P95", "P99", "MAX"].map(str::to_owned).to_vec()];
    let all: [(&str, &Percentiles); 4] = [
        ("first byte", &report.first_byte_seconds),
        ("completion", &report.completion_seconds),
        ("queueing delay down", &report.down.queueing_delay_seconds),
        ("queueing delay up", &report.up.queueing_delay_seconds),
    ];
    lines.extend(all.map(|(name, of)| {
        let mut cells = vec![name.to_owned()];
        cells.extend([of.p50, of.p90, of.p95, of.p99, of.max].map(seconds));
        cells
    }));
    lines
}

/// Columns two blanks apart, words to the left and numbers to the right.
fn aligned(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let cells = |column: usize| lines.iter().filter_map(move |line| line.get(column));
    let widths: Vec<usize> = (0..columns)
        .map(|column| cells(column).map(|cell| cell.chars().count()).max().unwrap_or(0))
        .collect();
    let to_left: Vec<bool> = (0..columns)
        .map(|column| matches!(cells(column).next().map_or("", String::as_str), "" | "CLIENT" | "NAME"))
        .collect();
    let mut text = String::new();
    for line in lines {
        let mut padded = String::new();
        for (column, cell) in line.iter().enumerate() {
            let width = widths.get(column).copied().unwrap_or(0);
            let gap = if column == 0 { "" } else { "  " };
            let _ = match to_left.get(column) {
                Some(true) => write!(padded, "{gap}{cell:<width$}"),
                _ => write!(padded, "{gap}{cell:>width$}"),
            };
        }
        text.push_str(padded.trim_end());
        text.push('\n');
    }
    text
}

/// A name as one short line: it may come from a file that means to write elsewhere on the screen.
fn cut(name: &str) -> String {
    let mut shown: String = name.chars().take(NAME).map(|c| if c.is_control() { '?' } else { c }).collect();
    if name.chars().nth(NAME).is_some() {
        shown.pop();
        shown.push('…');
    }
    shown
}

fn seconds(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| time(duration(value)))
}

fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let cells = [["CLIENT", "DOWN"], ["é", "1 B"], ["bob", "120 kB"]];
        let lines: Vec<Vec<String>> = cells.iter().map(|line| line.map(str::to_owned).to_vec()).collect();
        assert_eq!(aligned(&lines), "CLIENT    DOWN\né          1 B\nbob     120 kB\n");
    }

    #[test]
    fn names_are_short_and_harmless() {
        assert_eq!(cut("a\u{1b}[2Jb"), "a?[2Jb");
        assert_eq!(cut(&"é".repeat(60)).chars().count(), NAME);
    }
}
