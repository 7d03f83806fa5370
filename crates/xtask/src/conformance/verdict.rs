//! What the outcomes of the suite come to: counts, the list of what is not passed, and whether the page of
//! explanations says the same.
//!
//! Pure: it runs nothing and reads no file. An outcome is the suite's own judgement, as `driver.mjs` names it.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::Value;

/// The heading of the page's section, which ends at the next heading of its level.
const HEADING: &str = "## The public cache test suite";

/// What came of every test.
#[derive(Debug)]
pub(super) struct Results {
    tests: Vec<Test>,
}

/// One test. `kind` is `required`, `optimal` or `check`; the last is a question without a right answer.
#[derive(Debug)]
struct Test {
    suite: String,
    id: String,
    kind: String,
    outcome: String,
    detail: String,
}

/// The section of the page: the sentence for each test that is not passed, and the section's text.
#[derive(Debug)]
pub(super) struct Page {
    explanations: BTreeMap<String, String>,
    text: String,
}

/// How many tests of one kind there are. `not_asked` ones are the browsers': of private caches and of `fetch`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Score {
    passed: usize,
    asked: usize,
    not_asked: usize,
}

impl Page {
    /// Reads the rows of the section's tables: the first cell is a test's name in backticks, the last one explains it.
    pub(super) fn parse(text: &str) -> Self {
        let lines = text.lines().skip_while(|line| line.trim_end() != HEADING).skip(1);
        let section: Vec<_> = lines.take_while(|line| !line.starts_with("## ")).collect();
        let row = |line: &&str| {
            let cells: Vec<_> = line.strip_prefix('|')?.trim_end().strip_suffix('|')?.split('|').collect();
            let id = cells.first()?.trim().strip_prefix('`')?.strip_suffix('`')?;
            Some((id.to_owned(), cells.get(1..)?.last()?.trim().to_owned()))
        };
        let explanations = section.iter().filter_map(row).collect();
        Self { explanations, text: section.join("\n") }
    }
}

impl Results {
    /// Reads what the driver printed; `None` where it is anything else, or no test at all.
    pub(super) fn parse(json: &str) -> Option<Self> {
        let json: Value = serde_json::from_str(json).ok()?;
        let test = |test: &Value| {
            let text = |key: &str| test[key].as_str().map(str::to_owned);
            Some(Test {
                suite: text("suite")?,
                id: text("id")?,
                kind: text("kind")?,
                outcome: text("outcome")?,
                detail: text("detail")?,
            })
        };
        let tests: Vec<_> = json["tests"].as_array()?.iter().map(test).collect::<Option<_>>()?;
        (!tests.is_empty()).then_some(Self { tests })
    }

    /// The whole report: a line a suite, the score, the answers, and what is not passed.
    pub(super) fn describe(&self, page: &Page) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = writeln!(text, "{:<62} {:>9} {:>9} {:>6} {:>4}", "suite", "required", "optimal", "yes", "no");
        let mut suites: Vec<&str> = self.tests.iter().map(|test| test.suite.as_str()).collect();
        suites.dedup();
        for suite in suites {
            let score = |kind| self.score(kind, |test| test.suite == suite).fraction();
            let answers = |outcome| self.count(|test| test.suite == suite && test.answers(outcome));
            let (yes, no) = (answers("yes"), answers("no"));
            let (required, optimal) = (score("required"), score("optimal"));
            let _ = writeln!(text, "{suite:<62} {required:>9} {optimal:>9} {yes:>6} {no:>4}");
        }
        let _ = writeln!(text, "\n{}", self.score_line());
        let _ = writeln!(text, "\nquestions without a right answer:");
        for test in self.tests.iter().filter(|test| test.kind == "check") {
            let _ = writeln!(text, "  {:<12} {}", test.outcome, test.id);
        }
        let _ = writeln!(text, "\nnot passed:");
        for test in self.tests.iter().filter(|test| test.is_not_passed()) {
            let explanation = page.explanations.get(&test.id).map_or("NOT EXPLAINED", String::as_str);
            let Test { id, kind, outcome, detail, .. } = test;
            let _ = writeln!(text, "  {id} ({kind}, {outcome}: {detail})\n      {explanation}");
        }
        text
    }

    /// The sentence with the scores, which the page repeats.
    fn score_line(&self) -> String {
        let score = |kind| self.score(kind, |_| true);
        let (required, optimal) = (score("required"), score("optimal"));
        format!(
            "Required: {} of {}. Optimal: {} of {}. For browsers only: {}.",
            required.passed,
            required.asked,
            optimal.passed,
            optimal.asked,
            required.not_asked + optimal.not_asked,
        )
    }

    /// What the page does not say, or says although it is not so.
    pub(super) fn faults(&self, page: &Page) -> Vec<String> {
        let not_passed = self.tests.iter().filter(|test| test.is_not_passed());
        let unexplained = not_passed.filter(|test| !page.explanations.contains_key(&test.id));
        let mut faults: Vec<_> = unexplained
            .map(|test| format!("{} is not passed and not explained: {}", test.id, test.detail))
            .collect();
        for id in page.explanations.keys() {
            match self.tests.iter().find(|test| test.id == *id) {
                None => faults.push(format!("{id} is explained but there is no such test")),
                Some(test) if !test.is_not_passed() => {
                    faults.push(format!("{id} is explained but its outcome is {}", test.outcome));
                }
                Some(_) => {}
            }
        }
        let line = self.score_line();
        if !page.text.contains(&line) {
            faults.push(format!("the score is not stated as it is: {line}"));
        }
        faults
    }

    fn score(&self, kind: &str, of: impl Fn(&Test) -> bool) -> Score {
        let all = || self.tests.iter().filter(|test| test.kind == kind && of(test));
        let not_asked = all().filter(|test| test.outcome == "not_asked").count();
        let passed = all().filter(|test| test.outcome == "pass").count();
        Score { passed, asked: all().count() - not_asked, not_asked }
    }

    fn count(&self, of: impl Fn(&Test) -> bool) -> usize {
        self.tests.iter().filter(|test| of(test)).count()
    }
}

impl Test {
    /// Whether bentpipe should have passed and did not, for whatever reason.
    fn is_not_passed(&self) -> bool {
        self.kind != "check" && !matches!(self.outcome.as_str(), "pass" | "not_asked")
    }

    fn answers(&self, outcome: &str) -> bool {
        self.kind == "check" && self.outcome == outcome
    }
}

impl Score {
    fn fraction(&self) -> String {
        if self.asked == 0 { "-".to_owned() } else { format!("{}/{}", self.passed, self.asked) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Results from lines of `KIND ID OUTCOME`.
    fn results(tests: &str) -> Results {
        let test = |line: &str| {
            let words: Vec<_> = line.split_whitespace().collect();
            serde_json::json!({
                "suite": "s", "name": "n", "detail": "d", "kind": words[0], "id": words[1], "outcome": words[2],
            })
        };
        let tests: Vec<_> = tests.lines().map(test).collect();
        Results::parse(&serde_json::json!({ "tests": tests }).to_string()).expect("results")
    }

    /// The faults of a page with these rows, but for what they say of the score.
    #[track_caller]
    fn check(tests: &str, rows: &str, expected: &[&str]) {
        let results = results(tests);
        let page = Page::parse(&format!("{HEADING}\n{}\n{rows}", results.score_line()));
        assert_eq!(results.faults(&page), expected, "{tests} | {rows}");
    }

    #[test]
    fn what_is_not_passed_needs_an_explanation() {
        check("required a fail", "| `a` | why |", &[]);
        check("required a fail", "", &["a is not passed and not explained: d"]);
        check(
            "optimal a dependency\nrequired b retry\nrequired c setup",
            "| `a` | x |\n| `b` | x |\n| `c` | x |",
            &[],
        );
        check("optimal a pass\nrequired b not_asked\ncheck c no\ncheck d yes\ncheck e setup", "", &[]);
    }

    #[test]
    fn an_explanation_needs_a_test_that_is_not_passed() {
        check("required a pass", "| `a` | why |", &["a is explained but its outcome is pass"]);
        check("check a no", "| `a` | why |", &["a is explained but its outcome is no"]);
        check("required a pass", "| `b` | why |", &["b is explained but there is no such test"]);
    }

    #[test]
    fn the_page_states_the_score() {
        let results =
            results("required a pass\nrequired b fail\noptimal c not_asked\ncheck d yes\noptimal e pass");
        let score = "Required: 1 of 2. Optimal: 1 of 1. For browsers only: 1.";
        assert_eq!(results.score_line(), score);
        let page = Page::parse(&format!("{HEADING}\nRequired: 2 of 2.\n| `b` | why |"));
        assert_eq!(results.faults(&page), [format!("the score is not stated as it is: {score}")]);
    }

    #[test]
    fn only_the_rows_of_the_section_count() {
        let text = format!(
            "| `a` | x |\n{HEADING}\n| test | why |\n|---|---|\n| `b` | required | why |\n\n## C\n| `c` | x |"
        );
        let page = Page::parse(&text);
        let found: Vec<_> = page.explanations.into_iter().collect();
        assert_eq!(found, [("b".to_owned(), "why".to_owned())]);
    }

    #[test]
    fn the_report_names_the_reason() {
        let results = results("required a fail\ncheck b no\noptimal c pass");
        let report = results.describe(&Page::parse(&format!("{HEADING}\n| `a` | because |")));
        for part in ["a (required, fail: d)\n      because", "no           b", "0/1", "1/1"] {
            assert!(report.contains(part), "{part}: {report}");
        }
    }

    #[test]
    fn anything_else_is_no_result() {
        for text in ["", "{}", "{\"tests\":[]}", "{\"tests\":[{\"id\":\"a\"}]}"] {
            assert!(Results::parse(text).is_none(), "{text}");
        }
    }
}
