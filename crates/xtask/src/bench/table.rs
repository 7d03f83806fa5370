//! What was measured, as a table for people and pages (Markdown) and as JSON: medians, how many times bentpipe's figure each
//! other one is, and whether targets are met.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::scenario::{Figure, Good, Scenario};

/// What is known of one figure of one program.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    /// The figure of each round; infinite where it never came to be.
    Rounds(Vec<f64>),
    /// It cannot do this, or nobody asked.
    None,
    /// What went wrong.
    Failed(String),
}

/// One figure of all programs.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) scenario: &'static Scenario,
    pub(super) figure: &'static Figure,
    pub(super) cells: Vec<Cell>,
}

/// A program in the heading.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) version: String,
}

/// All that was measured; the first column is bentpipe.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Row>,
    /// Peers that are not installed.
    pub(super) missing: Vec<String>,
    /// How it was measured, a sentence.
    pub(super) manner: String,
}

impl Cell {
    /// The median of its rounds; of an even number of them the lower one, which was measured.
    pub(super) fn median(&self) -> Option<f64> {
        let Self::Rounds(rounds) = self else { return None };
        let mut rounds = rounds.clone();
        rounds.sort_by(f64::total_cmp);
        rounds.get(rounds.len().saturating_sub(1) / 2).copied()
    }
}

impl Row {
    /// Whether bentpipe's figure is past its target, if both are there.
    pub(super) fn is_missed(&self) -> bool {
        self.cells.first().and_then(Cell::median).is_some_and(|value| !self.figure.good.is_met(value))
    }

    fn cell(&self, at: usize) -> String {
        match &self.cells[at] {
            Cell::None => "-".to_owned(),
            Cell::Failed(_) => "failed".to_owned(),
            cell @ Cell::Rounds(_) => match cell.median() {
                None => "-".to_owned(),
                Some(value) if value.is_infinite() => "never".to_owned(),
                Some(value) if at == 0 => {
                    format!("{}{}", digits(value), if self.is_missed() { " **!**" } else { "" })
                }
                Some(value) => format!("{}{}", digits(value), self.ratio(value)),
            },
        }
    }

    /// How many times bentpipe's figure `value` is.
    fn ratio(&self, value: f64) -> String {
        match self.cells.first().and_then(Cell::median) {
            Some(own) if own.is_finite() && own > 0.0 => format!(" ({:.2}x)", value / own),
            _ => String::new(),
        }
    }

    fn target(&self) -> String {
        match self.figure.good {
            Good::AtMost(most) => format!("<= {}{}", digits(most), self.figure.remark),
            Good::AtLeast(least) => format!(">= {}{}", digits(least), self.figure.remark),
            Good::Low | Good::High => "-".to_owned(),
        }
    }

    fn title(&self) -> String {
        match self.figure.unit {
            "" => self.figure.title.to_owned(),
            unit => format!("{}, {unit}", self.figure.title),
        }
    }
}

impl Table {
    /// What failed, a line each.
    pub(super) fn failures(&self) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        for row in &self.rows {
            for (cell, column) in row.cells.iter().zip(&self.columns) {
                let Cell::Failed(why) = cell else { continue };
                lines.push(format!("{}, {}: {}", row.scenario, column.name, why.replace('\n', " ")));
            }
        }
        // A scenario with several figures fails once.
        let mut told = HashSet::new();
        lines.retain(|line| told.insert(line.clone()));
        lines
    }

    /// The heading of the Markdown table.
    pub(super) fn heading(&self) -> String {
        let names: Vec<_> = self.columns.iter().map(|column| column.name.as_str()).collect();
        let line = "---|".repeat(names.len() + 2);
        format!("| what | {} | target |\n|{line}", names.join(" | "))
    }

    /// A row of the Markdown table.
    pub(super) fn line(&self, row: &Row) -> String {
        let cells: Vec<_> = (0..self.columns.len()).map(|at| row.cell(at)).collect();
        format!("| {} | {} | {} |", row.title(), cells.join(" | "), row.target())
    }

    /// What stands below the table.
    pub(super) fn notes(&self) -> String {
        let mut lines = vec![String::new(), self.manner.clone()];
        lines.push(
            "In parentheses: how many times bentpipe's figure. `-`: not measured or not possible. `**!**`: past the target."
                .to_owned(),
        );
        if !self.missing.is_empty() {
            lines.push(format!("Not installed: {}.", self.missing.join(", ")));
        }
        let versions: Vec<_> = self.columns.iter().filter(|column| !column.version.is_empty()).collect();
        lines.extend(versions.iter().map(|column| format!("- {}: {}", column.name, column.version)));
        lines.extend(self.failures().iter().map(|line| format!("- failed: {line}")));
        lines.join("\n")
    }

    /// The whole as Markdown.
    pub(super) fn markdown(&self) -> String {
        let shown = self.rows.iter().filter(|row| row.figure.is_shown);
        let lines: Vec<_> = shown.map(|row| self.line(row)).collect();
        format!("{}\n{}\n{}\n", self.heading(), lines.join("\n"), self.notes())
    }

    /// The whole as JSON, with every round.
    pub(super) fn json(&self) -> Value {
        let rows: Vec<_> = self.rows.iter().map(|row| self.row_json(row)).collect();
        let programs: Vec<_> = self
            .columns
            .iter()
            .map(|column| json!({ "name": column.name, "version": column.version }))
            .collect();
        json!({ "manner": self.manner, "programs": programs, "not_installed": self.missing, "rows": rows })
    }

    fn row_json(&self, row: &Row) -> Value {
        let own = row.cells.first().and_then(Cell::median);
        let mut programs = serde_json::Map::new();
        for (cell, column) in row.cells.iter().zip(&self.columns) {
            let told = match cell {
                Cell::None => continue,
                Cell::Failed(why) => json!({ "failed": why }),
                Cell::Rounds(rounds) => {
                    let median = cell.median().filter(|value| value.is_finite());
                    let ratio = median.zip(own).map(|(median, own)| median / own);
                    json!({ "median": median, "ratio": ratio.filter(|ratio| ratio.is_finite()), "rounds": rounds })
                }
            };
            programs.insert(column.name.clone(), told);
        }
        let target = match row.figure.good {
            Good::AtMost(most) => json!({ "at_most": most }),
            Good::AtLeast(least) => json!({ "at_least": least }),
            Good::Low | Good::High => Value::Null,
        };
        json!({
            "scenario": row.scenario.name,
            "figure": row.figure.key,
            "title": row.figure.title,
            "unit": row.figure.unit,
            "target": target,
            "is_missed": row.is_missed(),
            "programs": programs,
        })
    }
}

/// A figure with three digits that count, and thousands apart.
fn digits(value: f64) -> String {
    let size = value.abs();
    if value.fract() == 0.0 && size < 1_000.0 {
        return format!("{value:.0}");
    }
    if size < 10.0 {
        return format!("{value:.2}");
    }
    if size < 100.0 {
        return format!("{value:.1}");
    }
    let plain = format!("{value:.0}");
    let (sign, plain) = plain.strip_prefix('-').map_or(("", plain.as_str()), |plain| ("-", plain));
    let mut grouped = String::new();
    for (index, digit) in plain.chars().enumerate() {
        if index > 0 && (plain.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{sign}{grouped}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::scenario::ALL;

    fn rounds(values: &[f64]) -> Cell {
        Cell::Rounds(values.to_vec())
    }

    fn table(cells: Vec<Cell>) -> Table {
        let column = |name: &str| Column { name: name.to_owned(), version: String::new() };
        let names = ["bentpipe", "floor", "squid"];
        let row = Row { scenario: &ALL[0], figure: &ALL[0].figures[0], cells };
        Table { columns: names.map(column).to_vec(), rows: vec![row], ..Table::default() }
    }

    #[test]
    fn a_median_is_a_round_that_was_measured() {
        assert_eq!(rounds(&[3.0, 1.0, 2.0]).median(), Some(2.0));
        assert_eq!(rounds(&[4.0, 1.0]).median(), Some(1.0));
        assert_eq!(rounds(&[f64::INFINITY, 5.0, 6.0]).median(), Some(6.0));
        assert_eq!(rounds(&[]).median(), None);
        assert_eq!(Cell::None.median(), None);
    }

    #[test]
    fn a_line_has_figures_ratios_and_the_target() {
        let line = |cells| {
            let table = table(cells);
            table.line(&table.rows[0])
        };
        assert_eq!(
            line(vec![rounds(&[8.0]), rounds(&[4.0]), rounds(&[24.0])]),
            "| hit, 1 kB, us | 8 | 4 (0.50x) | 24 (3.00x) | <= 8.50 |"
        );
        assert_eq!(
            line(vec![rounds(&[12.1]), Cell::None, rounds(&[f64::INFINITY])]),
            "| hit, 1 kB, us | 12.1 **!** | - | never | <= 8.50 |"
        );
        assert_eq!(
            line(vec![Cell::Failed("no hit".to_owned()), rounds(&[4.0]), Cell::None]),
            "| hit, 1 kB, us | failed | 4 | - | <= 8.50 |"
        );
    }

    #[test]
    fn json_has_every_round_and_says_what_failed() {
        let table =
            table(vec![rounds(&[8.0, 9.0, 10.0]), rounds(&[18.0]), Cell::Failed("no hit".to_owned())]);
        let told = table.json();
        let programs = &told["rows"][0]["programs"];
        assert_eq!(programs["bentpipe"]["rounds"], json!([8.0, 9.0, 10.0]));
        assert_eq!(programs["floor"]["ratio"], json!(2.0));
        assert_eq!(programs["squid"]["failed"], json!("no hit"));
        assert_eq!(told["rows"][0]["is_missed"], json!(true));
        assert_eq!(table.failures(), ["hit-1k, squid: no hit"]);
    }

    #[test]
    fn figures_are_short() {
        let all = [
            (0.333, "0.33"),
            (12.34, "12.3"),
            (123.4, "123"),
            (1_234_567.0, "1,234,567"),
            (-5_400.4, "-5,400"),
        ];
        for (value, text) in all {
            assert_eq!(digits(value), text);
        }
        assert_eq!(digits(100.0), "100");
        assert_eq!(digits(-5.0), "-5");
    }
}
