//! The table of exchanges: its columns, and which of them a narrow screen goes without. It sorts nothing.

use super::{Row, speed};
use crate::admin::human;
use crate::cli::shown::{fitted, time};

/// What an exchange is about, so that it can be told from another, takes so many columns.
const WHAT: usize = 25;

/// Columns of a client on a screen; an address of IPv6 loses its middle.
const CLIENT: usize = 15;

/// One column but the last.
struct Column {
    title: &'static str,
    /// Of which there are more where a text is longer.
    width: usize,
    /// In which order a narrow screen goes without; what has no number is always there.
    goes: Option<u8>,
    text: fn(&Row) -> String,
}

const COLUMNS: [Column; 8] = [
    Column { title: "NUMBER", width: 6, goes: None, text: |row| row.number.to_string() },
    Column { title: "CLIENT", width: CLIENT, goes: Some(6), text: |row| row.client.clone() },
    Column {
        title: "CLASS",
        width: 11,
        goes: Some(1),
        text: |row| row.class.clone().unwrap_or_else(|| "-".to_owned()),
    },
    Column { title: "AGE", width: 7, goes: Some(4), text: |row| time(row.age) },
    Column { title: "RATE", width: 10, goes: Some(7), text: |row| speed(row.rate()) },
    Column { title: "CROSSED", width: 8, goes: Some(2), text: |row| human(row.bytes) },
    Column { title: "OF", width: 8, goes: Some(3), text: |row| row.announced.map_or_else(unknown, human) },
    Column { title: "ETA", width: 7, goes: Some(5), text: |row| row.eta.map_or_else(unknown, time) },
];

fn unknown() -> String {
    "?".to_owned()
}

impl Column {
    /// Words begin, and figures end, one below the other.
    fn cell(&self, text: &str) -> String {
        let width = self.width;
        if ["CLIENT", "CLASS"].contains(&self.title) {
            format!("{text:<width$}  ")
        } else {
            format!("{text:>width$}  ")
        }
    }
}

/// The table of `rows` with its heading, in so many columns of a screen if there is one.
pub(super) fn of(rows: &[&Row], screen: Option<usize>) -> String {
    let columns = chosen(screen);
    let heading: String = columns.iter().map(|column| column.cell(column.title)).collect();
    let mut text = heading + "WHAT\n";
    for row in rows {
        let mut line: String =
            columns.iter().map(|column| column.cell(&within(column, row, screen))).collect();
        line += &format!("{} ", row.method);
        match screen {
            Some(width) => line += &fitted(&row.url, width.saturating_sub(line.chars().count())),
            None => line += &row.url,
        }
        text += &line;
        text.push('\n');
    }
    text
}

fn within(column: &Column, row: &Row, screen: Option<usize>) -> String {
    let text = (column.text)(row);
    if column.title == "CLIENT" && screen.is_some() { fitted(&text, CLIENT) } else { text }
}

/// Those that leave room for what it is about.
fn chosen(screen: Option<usize>) -> Vec<&'static Column> {
    let mut columns: Vec<_> = COLUMNS.iter().collect();
    let Some(screen) = screen else { return columns };
    while columns.iter().map(|column| column.width + 2).sum::<usize>() + WHAT > screen {
        let next = columns.iter().filter_map(|column| column.goes).min();
        if next.is_none() {
            break;
        }
        columns.retain(|column| column.goes != next);
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_narrow_screen_goes_without_what_matters_least() {
        let check = |screen: usize, expected: &[&str]| {
            let titles: Vec<_> = chosen(Some(screen)).iter().map(|column| column.title).collect();
            assert_eq!(titles, expected, "{screen}");
        };
        check(113, &["NUMBER", "CLIENT", "CLASS", "AGE", "RATE", "CROSSED", "OF", "ETA"]);
        check(112, &["NUMBER", "CLIENT", "AGE", "RATE", "CROSSED", "OF", "ETA"]);
        check(80, &["NUMBER", "CLIENT", "AGE", "RATE", "ETA"]);
        check(40, &["NUMBER"]);
        check(0, &["NUMBER"]);
        assert_eq!(chosen(None).len(), COLUMNS.len());
    }
}
