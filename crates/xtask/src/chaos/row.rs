//! What a scenario says at its end: its figures, each beside the goal it was measured against, and the verdict.
//!
//! It measures nothing itself.

use std::fmt;

/// Faults of a kind that are shown; the rest is counted.
const FAULTS: usize = 12;

/// The outcome of one scenario, printed as one row and the faults below it.
#[derive(Debug, Default)]
pub(super) struct Row {
    name: String,
    figures: Vec<String>,
    faults: Vec<String>,
    skipped: Option<String>,
    missed: usize,
}

impl Row {
    /// A row with no figures yet.
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// A scenario that cannot be had here, and why.
    pub(super) fn skipped(name: &str, why: impl fmt::Display) -> Self {
        Self { skipped: Some(why.to_string()), ..Self::new(name) }
    }

    /// A scenario that could not be carried out.
    pub(super) fn broken(name: &str, error: &anyhow::Error) -> Self {
        let mut row = Self::new(name);
        row.goal(format!("not carried out: {error:#}"), "", false);
        row
    }

    /// Adds a figure without a goal.
    pub(super) fn figure(&mut self, figure: impl Into<String>) {
        self.figures.push(figure.into());
    }

    /// Adds a figure with its goal, and whether it was met.
    pub(super) fn goal(&mut self, figure: impl Into<String>, goal: &str, is_met: bool) {
        let mark = if is_met { "" } else { " !!" };
        let goal = if goal.is_empty() { String::new() } else { format!(" (goal {goal})") };
        self.figures.push(format!("{}{goal}{mark}", figure.into()));
        self.missed += usize::from(!is_met);
    }

    /// Adds a share of `whole` in percent, which should be at least `least`. Nothing of nothing is a failure too: the
    /// scenario has shown nothing then.
    pub(super) fn share(&mut self, what: &str, part: usize, whole: usize, least: f64) {
        let percent = if whole == 0 { 0.0 } else { 100.0 * to_float(part) / to_float(whole) };
        let figure = format!("{what} {part} of {whole} = {percent:.2} %");
        self.goal(figure, &format!(">= {least} %"), percent >= least);
    }

    /// Adds a count that should be nought, with the first of what was counted below the row.
    pub(super) fn none_of(&mut self, what: &str, counted: &[String]) {
        self.goal(format!("{} {what}", counted.len()), "0", counted.is_empty());
        self.faults.extend(counted.iter().take(FAULTS).map(|fault| format!("{what}: {fault}")));
    }

    /// Whether every goal was met.
    pub(super) fn is_good(&self) -> bool {
        self.missed == 0
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(why) = &self.skipped {
            return write!(f, "SKIPPED {:<18} {why}", self.name);
        }
        let verdict = if self.is_good() { "ok" } else { "FAIL" };
        write!(f, "{verdict:<7} {:<18} {}", self.name, self.figures.join("; "))?;
        self.faults.iter().try_for_each(|fault| write!(f, "\n          {fault}"))
    }
}

/// A count as a number for people; counts here stay far below 2^32.
fn to_float(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(fill: impl FnOnce(&mut Row), is_good: bool, text: &str) {
        let mut row = Row::new("name");
        fill(&mut row);
        assert_eq!(row.is_good(), is_good);
        assert!(row.to_string().contains(text), "{row}");
    }

    #[test]
    fn a_row_is_good_when_every_goal_is_met() {
        check(|row| row.figure("7 rounds"), true, "ok      name               7 rounds");
        check(|row| row.share("kept", 995, 1000, 99.5), true, "kept 995 of 1000 = 99.50 % (goal >= 99.5 %)");
        check(|row| row.share("kept", 994, 1000, 99.5), false, "!!");
        check(|row| row.share("kept", 0, 0, 99.5), false, "FAIL");
        check(|row| row.none_of("wrong", &[]), true, "0 wrong (goal 0)");
        check(|row| row.none_of("wrong", &["/a: differs".into()]), false, "wrong: /a: differs");
    }

    #[test]
    fn what_is_skipped_says_why() {
        assert_eq!(Row::skipped("power", "no root").to_string(), "SKIPPED power              no root");
    }
}
