//! A row of the self-test: what was measured, what it should have been, and how both are printed for people and for
//! programs.

use serde_json::{Value, json};

/// One figure and its goal.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    metric: String,
    setting: String,
    found: Result<f64, String>,
    unit: Unit,
    goal: Goal,
    /// If it was measured twice: how late a timer was meanwhile, in milliseconds, the first time and the second.
    again: Option<[f64; 2]>,
}

/// What a figure is in.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unit {
    Percent,
    Bytes,
    Milliseconds,
    /// A number without a unit and its decimals.
    Plain(usize),
}

/// What a figure should be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Goal {
    AtMost(f64),
    AtLeast(f64),
    /// As close to the first as the second says.
    Near(f64, f64),
}

impl Row {
    /// `found` of `metric` with the link or load of `setting`.
    pub(super) fn new(
        metric: impl Into<String>,
        setting: impl Into<String>,
        found: f64,
        unit: Unit,
        goal: Goal,
    ) -> Self {
        Self { metric: metric.into(), setting: setting.into(), found: Ok(found), unit, goal, again: None }
    }

    /// A measurement that came to nothing, which is a failure too.
    pub(super) fn trouble(metric: impl Into<String>, why: String) -> Self {
        Self {
            metric: metric.into(),
            setting: String::new(),
            found: Err(why),
            unit: Unit::Plain(0),
            goal: Goal::AtMost(0.0),
            again: None,
        }
    }

    /// Whether the figure is as good as its goal.
    pub(crate) fn passed(&self) -> bool {
        let Ok(found) = self.found else { return false };
        match self.goal {
            Goal::AtMost(most) => found <= most,
            Goal::AtLeast(least) => found >= least,
            Goal::Near(goal, off) => (found - goal).abs() <= off,
        }
    }

    /// It was measured a second time, since a timer was `late[0]` milliseconds late the first time and `late[1]` now.
    pub(super) fn made_again(&mut self, late: [f64; 2]) {
        self.again = Some(late);
    }

    /// The heads of the columns.
    pub(crate) fn heading() -> String {
        line("metric", "setting", "measured", "goal", "")
    }

    /// One line of the table, with its end.
    pub(crate) fn print(&self) -> String {
        let found = match &self.found {
            Ok(found) => self.value(*found),
            Err(why) => return format!("{:<METRIC$}  could not be measured: {why}  FAIL\n", self.metric),
        };
        let goal = match self.goal {
            Goal::AtMost(most) => format!("<= {}", self.unit.print(most)),
            Goal::AtLeast(least) => format!(">= {}", self.unit.print(least)),
            Goal::Near(0.0, off) => format!("+-{}", self.unit.print(off)),
            Goal::Near(goal, off) => format!("{} +-{}", self.unit.print(goal), self.unit.print(off)),
        };
        let mut verdict = if self.passed() { "pass" } else { "FAIL" }.to_owned();
        if let Some([first, second]) = self.again {
            verdict.push_str(&format!(" (again: timers were {first:.0} ms late before, {second:.0} ms now)"));
        }
        line(&self.metric, &self.setting, &found, &goal, &verdict)
    }

    /// The same for programs.
    pub(crate) fn json(&self) -> Value {
        let goal = match self.goal {
            Goal::AtMost(most) => json!({ "at_most": most }),
            Goal::AtLeast(least) => json!({ "at_least": least }),
            Goal::Near(goal, off) => json!({ "near": goal, "within": off }),
        };
        json!({
            "metric": self.metric,
            "setting": self.setting,
            "measured": self.found.as_ref().ok(),
            "unit": self.unit.name(),
            "goal": goal,
            "passed": self.passed(),
            "timers_late_milliseconds_before_and_now": self.again,
            "trouble": self.found.as_ref().err(),
        })
    }

    /// A deviation shows its direction.
    fn value(&self, found: f64) -> String {
        let sign = if matches!(self.goal, Goal::Near(0.0, _)) && found >= 0.0 { "+" } else { "" };
        format!("{sign}{}", self.unit.print(found))
    }
}

impl Unit {
    fn print(self, value: f64) -> String {
        match self {
            Self::Percent if value.abs() >= 1.0 => format!("{value:.1} %"),
            Self::Percent => format!("{value:.3} %"),
            Self::Bytes => format!("{value:.0} B"),
            Self::Milliseconds => format!("{value:.2} ms"),
            Self::Plain(decimals) => format!("{value:.decimals$}"),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Percent => "percent",
            Self::Bytes => "bytes",
            Self::Milliseconds => "milliseconds",
            Self::Plain(_) => "",
        }
    }
}

const METRIC: usize = 42;

fn line(metric: &str, setting: &str, found: &str, goal: &str, verdict: &str) -> String {
    let line = format!("{metric:<METRIC$}  {setting:<22}  {found:>11}  {goal:<16}  {verdict}");
    format!("{}\n", line.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(found: f64, unit: Unit, goal: Goal, expected: &str) {
        let row = Row::new("some figure", "1M", found, unit, goal);
        let printed = row.print();
        let words: Vec<_> = printed.split_whitespace().collect();
        assert_eq!(words.join(" "), format!("some figure 1M {expected}"));
        assert_eq!(row.passed(), expected.ends_with("pass"));
        assert_eq!(row.json()["passed"], row.passed());
    }

    #[test]
    fn figures_stand_beside_their_goals() {
        check(0.0123, Unit::Percent, Goal::Near(0.0, 0.02), "+0.012 % +-0.020 % pass");
        check(-0.0323, Unit::Percent, Goal::Near(0.0, 0.02), "-0.032 % +-0.020 % FAIL");
        check(3000.0, Unit::Bytes, Goal::AtMost(3625.0), "3000 B <= 3625 B pass");
        check(12.0, Unit::Milliseconds, Goal::AtMost(10.0), "12.00 ms <= 10.00 ms FAIL");
        check(0.99995, Unit::Plain(5), Goal::AtLeast(0.9999), "0.99995 >= 0.99990 pass");
        check(1.03, Unit::Plain(2), Goal::Near(1.0, 0.02), "1.03 1.00 +-0.02 FAIL");
    }

    #[test]
    fn what_is_no_number_is_no_pass() {
        for goal in [Goal::AtMost(1.0), Goal::AtLeast(0.0), Goal::Near(0.0, 1.0)] {
            assert!(!Row::new("nothing", "", f64::NAN, Unit::Percent, goal).passed());
        }
        assert_eq!(
            Row::new("nothing", "", f64::NAN, Unit::Percent, Goal::AtMost(1.0)).json()["measured"],
            Value::Null
        );
    }

    #[test]
    fn trouble_is_told_and_fails() {
        let row = Row::trouble("goodput-1M", "connection refused".to_owned());
        assert!(row.print().contains("could not be measured: connection refused  FAIL"));
        assert_eq!((row.passed(), &row.json()["trouble"]), (false, &Value::from("connection refused")));
    }

    #[test]
    fn a_second_try_is_told() {
        let mut row = Row::new("sigma", "1M", 9.0, Unit::Bytes, Goal::AtMost(9.0));
        assert_eq!(row.json()["timers_late_milliseconds_before_and_now"], Value::Null);
        row.made_again([95.0, 0.4]);
        assert!(row.print().ends_with("pass (again: timers were 95 ms late before, 0 ms now)\n"));
    }

    #[test]
    fn columns_stand_below_their_heads() {
        let row = Row::new("goodput error", "512k", 0.001, Unit::Percent, Goal::Near(0.0, 0.02)).print();
        assert_eq!(Row::heading().find("setting"), row.find("512k"));
        assert_eq!(Row::heading().find("goal"), row.find("+-0.020"));
        assert!(row.ends_with("pass\n"));
    }
}
