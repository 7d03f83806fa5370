//! Checks `docs/conformance.md` against the tree: every sentence has a state, and every test it names is there. It does
//! not know whether a test tests what its row says; who writes the row does.

use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn every_sentence_names_tests_that_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("docs/conformance.md")).expect("docs/conformance.md is there");
    let rows: Vec<_> = text.lines().filter_map(row).collect();
    assert!(rows.len() > 100, "docs/conformance.md has no tables of sentences");
    let faults: Vec<_> = rows.iter().flat_map(|row| faults(root, row)).collect();
    assert!(faults.is_empty(), "docs/conformance.md and the tree disagree:\n{}", faults.join("\n"));
}

/// The cells of a row of a table of sentences: section, sentence, state, tests.
fn row(line: &str) -> Option<[&str; 4]> {
    let cells: Vec<_> = line.trim().strip_prefix('|')?.strip_suffix('|')?.split('|').map(str::trim).collect();
    let cells: [&str; 4] = cells.try_into().ok()?;
    cells[0].starts_with(|first: char| first.is_ascii_digit()).then_some(cells)
}

fn faults(root: &Path, [section, sentence, state, tests]: &[&str; 4]) -> Vec<String> {
    let told = |what: String| format!("§{section} {sentence}: {what}");
    let mut faults = Vec::new();
    if !["done", "deviates: ", "not ours: ", "open: "].iter().any(|word| state.starts_with(word)) {
        faults.push(told(format!("no such state: {state}")));
    }
    let tests: Vec<_> = tests.split('`').skip(1).step_by(2).collect();
    let needs_a_test = state.starts_with("done") || state.starts_with("deviates");
    if needs_a_test && tests.is_empty() {
        faults.push(told("names no test".to_owned()));
    }
    let missing = tests.iter().filter(|test| !is_there(root, test));
    faults.extend(missing.map(|test| told(format!("{test} is not there"))));
    faults
}

/// Whether a test exists: `scenario name`, `it::module::name` or `crate::module::name`.
fn is_there(root: &Path, test: &str) -> bool {
    if let Some(name) = test.strip_prefix("scenario ") {
        return root.join("fixtures/scenarios").join(format!("{name}.txt")).is_file();
    }
    let mut path: Vec<_> = test.split("::").collect();
    let Some(name) = path.pop().filter(|_| path.len() > 1) else { return false };
    let folder = match path.remove(0) {
        "bentpipe" => PathBuf::from("src"),
        "it" => PathBuf::from("tests/it"),
        library => Path::new("crates").join(library).join("src"),
    };
    let file = root.join(folder).join(path.join("/"));
    let texts = [file.with_extension("rs"), file.join("mod.rs")].map(fs::read_to_string);
    texts.into_iter().flatten().any(|text| text.contains(&format!("fn {name}(")))
}

#[test]
fn a_test_that_is_not_there_is_found() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    assert!(is_there(root, "it::conformance::a_test_that_is_not_there_is_found"));
    for missing in ["it::conformance::no_such_test", "scenario no-such-scenario", "rfc9111::nowhere::x", "x"]
    {
        assert!(!is_there(root, missing), "{missing}");
    }
    assert!(!faults(root, &["1", "a sentence", "done", "-"]).is_empty());
    assert!(!faults(root, &["1", "a sentence", "perhaps", "-"]).is_empty());
    assert!(faults(root, &["1", "a sentence", "open: later", "-"]).is_empty());
}
