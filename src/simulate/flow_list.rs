//! A list of transactions as text, one a line: `START CLIENT UP DOWN [host=NAME] [wait=TIME] [class=CLASS] [name=TEXT]`.
//!
//! Owns the grammar. Blank lines and what follows a `#` at the beginning of a line or after a blank are comments. A
//! name goes to the end of its line.
//!
//! ```text
//! # start  client  up   down
//! 0s       alice   400  120k  host=example.org  name=/index.html
//! 1.5s     bob     600  10M   class=bulk
//! ```

use std::time::Duration;

use linkio::sim::{Begin, Greeting, Transaction};
use linkio::{ByteCount, Class, ClientKey, Moment, Standing};

use super::measure::parse_time;
use super::workload::{Known, Plan};

/// The host of lines that name none.
const HOST: &str = "origin";
const FIELDS: &str = "expected START CLIENT UP DOWN, such as 0s alice 400 120k";
const OPTIONS: &str = "expected host=NAME, wait=TIME, class=interactive|bulk|background or name=TEXT";

/// Reads a list.
///
/// # Errors
/// Names the line and the part of it that is wrong.
pub(super) fn plan(text: &str) -> Result<Plan, String> {
    let mut plan = Plan::default();
    let (mut clients, mut hosts) = (Known::new(), Known::new());
    for (number, line) in text.lines().enumerate() {
        let Some(line) = read_line(line).map_err(|error| format!("line {}: {error}", number + 1))? else {
            continue;
        };
        let client = Plan::place(&mut plan.clients, &mut clients, line.client);
        let host = Plan::place(&mut plan.hosts, &mut hosts, line.host);
        let key = ClientKey(u64::from(client));
        let transaction = Transaction {
            begin: Begin::At(Moment::after_start(line.start)),
            standing: Standing { class: line.class, ..Standing::from(key) },
            host,
            greeting: Greeting::default(),
            up: line.up,
            wait: line.wait,
            down: line.down,
        };
        plan.push(line.name.to_owned(), transaction);
    }
    if plan.names.is_empty() {
        return Err(format!("there is no transaction in it: {FIELDS}"));
    }
    Ok(plan)
}

#[derive(Debug, PartialEq, Eq)]
struct Line<'a> {
    start: Duration,
    client: &'a str,
    up: u64,
    down: u64,
    host: &'a str,
    wait: Duration,
    class: Class,
    name: &'a str,
}

fn read_line(line: &str) -> Result<Option<Line<'_>>, String> {
    let line = without_comment(line).trim();
    if line.is_empty() {
        return Ok(None);
    }
    let mut rest = line;
    let mut field = || next_word(&mut rest).ok_or_else(|| FIELDS.to_owned());
    let (start, client, up, down) = (field()?, field()?, field()?, field()?);
    let mut read = Line {
        start: parse_time(start).map_err(|error| format!("START {error}"))?,
        client,
        up: size("UP", up)?,
        down: size("DOWN", down)?,
        host: HOST,
        wait: Duration::ZERO,
        class: Class::default(),
        name: "",
    };
    let mut given = Vec::new();
    while !rest.is_empty() {
        let option = rest;
        let word = next_word(&mut rest).unwrap_or_default();
        let (key, value) = word.split_once('=').ok_or_else(|| format!("{word:?}: {OPTIONS}"))?;
        if given.contains(&key) {
            return Err(format!("{word:?}: expected {key} only once"));
        }
        given.push(key);
        match key {
            "host" if !value.is_empty() => read.host = value,
            "wait" => read.wait = parse_time(value).map_err(|error| format!("wait {error}"))?,
            "class" => read.class = class(value)?,
            "name" => {
                read.name = option["name=".len()..].trim();
                break;
            }
            _ => return Err(format!("{word:?}: {OPTIONS}")),
        }
    }
    Ok(Some(read))
}

fn size(what: &str, text: &str) -> Result<u64, String> {
    let size: ByteCount = text.parse().map_err(|error| format!("{what} {error}"))?;
    if size.0 == 0 {
        return Err(format!("{what} {text:?}: expected at least 1 byte, since each message has a head"));
    }
    Ok(size.0)
}

fn class(text: &str) -> Result<Class, String> {
    let found = Class::ALL.into_iter().find(|class| class.name().eq_ignore_ascii_case(text));
    found.ok_or_else(|| format!("class {text:?}: expected interactive, bulk or background"))
}

fn next_word<'a>(rest: &mut &'a str) -> Option<&'a str> {
    let (word, behind) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    *rest = behind.trim_start();
    (!word.is_empty()).then_some(word)
}

fn without_comment(line: &str) -> &str {
    let begins = |at: usize| line[..at].chars().next_back().is_none_or(char::is_whitespace);
    line.match_indices('#').find(|(at, _)| begins(*at)).map_or(line, |(at, _)| &line[..at])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_says_who_asks_for_what_and_when() {
        let line =
            read_line("1m0.5s alice 400 120k host=example.org wait=80ms class=Bulk name=/a b#c # never")
                .unwrap();
        let expected = Line {
            start: Duration::from_millis(60_500),
            client: "alice",
            up: 400,
            down: 120_000,
            host: "example.org",
            wait: Duration::from_millis(80),
            class: Class::Bulk,
            name: "/a b#c",
        };
        assert_eq!(line, Some(expected));
        for nothing in ["", "  ", "# 0s alice 1 1", "\t# x"] {
            assert_eq!(read_line(nothing), Ok(None), "{nothing:?}");
        }
    }

    #[test]
    fn names_become_places() {
        let plan = plan("0s a 1 1 name=x\n\n1s b 1 1 host=h\n0s a 1 1\r\n").unwrap();
        assert_eq!(
            (plan.clients, plan.hosts, plan.names),
            (
                vec!["a".to_owned(), "b".to_owned()],
                vec!["origin".to_owned(), "h".to_owned()],
                vec!["x".to_owned(), String::new(), String::new()],
            )
        );
        assert_eq!(plan.workload.transactions[2].standing.client, ClientKey(0));
    }

    fn check(text: &str, expected: &str) {
        let error = plan(text).unwrap_err();
        assert!(error.contains(expected), "{text:?}: {error}");
    }

    #[test]
    fn an_error_names_the_line_and_the_part() {
        check("0s a 1 1\n5 a 1 1", "line 2: START \"5\": expected a time");
        check("0s a 1", "line 1: expected START CLIENT UP DOWN");
        check("0s a 1q 1", "line 1: UP \"1q\": expected a size");
        check("0s a 1 0", "line 1: DOWN \"0\": expected at least 1 byte");
        check("0s a 1 1 hots=x", "line 1: \"hots=x\": expected host=NAME, wait=TIME");
        check("0s a 1 1 host=", "line 1: \"host=\": expected host=NAME");
        check("0s a 1 1 host=a host=b", "line 1: \"host=b\": expected host only once");
        check("0s a 1 1 class=fast", "line 1: class \"fast\": expected interactive, bulk or background");
        check("0s a 1 1 wait=1", "line 1: wait \"1\": expected a time");
        check("# nothing", "there is no transaction in it");
    }

    proptest! {
        #[test]
        fn any_text_reads_without_panic(text in "([0-9a-z#=. \n]|é)*|0s a 1 1 .*") {
            let _ = plan(&text);
        }
    }
}
