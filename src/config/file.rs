//! A configuration file taken apart: which keys it sets, on which lines, to which texts.
//!
//! It knows TOML and nothing of options but their names, which tell a section from a value. What a text means is
//! `value`'s and what becomes of it `load`'s.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeInteger, DeTable, DeValue};

use crate::config::options::OPTIONS;

/// One key of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The key with its section, joined by dots.
    pub(super) key: String,
    /// The line of the key, from 1.
    pub(super) line: usize,
    pub(super) written: Written,
}

/// What stands behind a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// A string, number or truth value, as text.
    One(String),
    /// An array of such.
    Many(Vec<String>),
    /// A table or an array of tables, for an option that takes such.
    Tables(Vec<Table>),
    /// Something that no option takes, in words.
    Other(&'static str),
}

/// One table that is a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    /// Where it begins, from 1.
    pub(super) line: usize,
    /// In the order of their lines.
    pub(super) fields: Vec<Field>,
}

/// One field of such a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: String,
    /// The line of the name, from 1.
    pub(super) line: usize,
    /// One text or several; none for what is neither.
    pub(super) values: Option<Vec<String>>,
}

/// Where a file stops being TOML.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SyntaxError {
    /// The line, from 1.
    pub(super) line: usize,
    /// The column in characters, from 1.
    pub(super) column: usize,
    pub(super) reason: String,
}

/// Takes the text of a file apart, in the order of its lines.
///
/// # Errors
/// Every line that is not TOML. What could still be read of such a file is not given: a lost bracket
/// would make errors of keys that are right.
pub(super) fn entries(text: &str) -> Result<Vec<Entry>, Vec<SyntaxError>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let mut errors: Vec<_> = errors.iter().map(|error| syntax_error(text, error)).collect();
        // Of one line the first error counts: the others are mostly its consequences.
        errors.sort_by_key(|error| (error.line, error.column));
        errors.dedup_by_key(|error| error.line);
        return Err(errors);
    }
    let mut found = Vec::new();
    collect(table.get_ref(), "", &mut found);
    found.sort_by_key(|(span, _, _)| span.start);
    let entry = |(span, key, value): (Range<usize>, String, &Spanned<DeValue<'_>>)| {
        let line = position(text, span.start).0;
        let takes_tables = OPTIONS.iter().any(|row| row.tables.is_some() && row.key == key);
        let tables = takes_tables.then(|| tables(text, value)).flatten();
        let written = tables.map_or_else(|| written(value.get_ref()), Written::Tables);
        Entry { key, line, written }
    };
    Ok(found.into_iter().map(entry).collect())
}

fn syntax_error(text: &str, error: &toml::de::Error) -> SyntaxError {
    let (line, column) = position(text, error.span().map_or(text.len(), |span| span.start));
    // The reader's message may have several lines, and an error here is one.
    SyntaxError { line, column, reason: error.message().trim().replace('\n', "; ") }
}

fn collect<'a>(
    table: &'a DeTable<'a>,
    section: &str,
    found: &mut Vec<(Range<usize>, String, &'a Spanned<DeValue<'a>>)>,
) {
    for (name, value) in table {
        let key = format!("{section}{}", name.get_ref());
        let below = format!("{key}.");
        match value.get_ref() {
            DeValue::Table(inner) if OPTIONS.iter().any(|row| row.key.starts_with(&below)) => {
                collect(inner, &below, found);
            }
            _ => found.push((name.span(), key, value)),
        }
    }
}

/// A table, or an array of nothing but tables and at least one.
fn tables(text: &str, value: &Spanned<DeValue<'_>>) -> Option<Vec<Table>> {
    let one = |value: &Spanned<DeValue<'_>>| match value.get_ref() {
        DeValue::Table(inner) => Some(table(text, value.span().start, inner)),
        _ => None,
    };
    match value.get_ref() {
        DeValue::Array(array) if !array.is_empty() => array.iter().map(one).collect(),
        _ => one(value).map(|table| vec![table]),
    }
}

fn table(text: &str, start: usize, table: &DeTable<'_>) -> Table {
    let mut fields: Vec<_> = table.iter().map(|(name, value)| (name.span().start, name, value)).collect();
    fields.sort_by_key(|(at, ..)| *at);
    let field = |(at, name, value): (usize, &Spanned<_>, &Spanned<DeValue<'_>>)| Field {
        name: ToString::to_string(name.get_ref()),
        line: position(text, at).0,
        values: match value.get_ref() {
            DeValue::Array(array) => texts(array),
            value => scalar(value).map(|text| vec![text]),
        },
    };
    Table { line: position(text, start).0, fields: fields.into_iter().map(field).collect() }
}

fn written(value: &DeValue<'_>) -> Written {
    match value {
        DeValue::Array(array) => {
            texts(array).map_or(Written::Other("an array of arrays or tables"), Written::Many)
        }
        DeValue::Table(_) => Written::Other("a table"),
        DeValue::Datetime(_) => Written::Other("a date"),
        value => scalar(value).map_or(Written::Other("a number too large"), Written::One),
    }
}

fn texts(array: &DeArray<'_>) -> Option<Vec<String>> {
    array.iter().map(Spanned::get_ref).map(scalar).collect()
}

/// `port = 3128` and `port = "3128"` are the same text: nobody should have to know which one is wanted.
fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.clone().into_owned()),
        DeValue::Integer(number) => decimal(number),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(value) => Some(value.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

fn decimal(number: &DeInteger<'_>) -> Option<String> {
    i64::from_str_radix(number.as_str(), number.radix()).ok().map(|number| number.to_string())
}

/// The line and column, from 1, of a byte.
fn position(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}

/// For tests of what reads the tables of `key`: what those of a file say, a line a rule or a line an error behind its place.
#[cfg(test)]
#[track_caller]
pub(super) fn check_tables(
    read: impl Fn(&Table) -> Result<String, Vec<(usize, String)>>,
    file: &str,
    key: &str,
    expected: &[&str],
) {
    let entries = entries(file).expect("TOML");
    let [entry] = entries.as_slice() else { panic!("one entry: {entries:?}") };
    assert_eq!(entry.key, key);
    let Written::Tables(tables) = &entry.written else { panic!("tables: {entry:?}") };
    let said = tables.iter().flat_map(|table| match read(table) {
        Ok(text) => vec![text],
        Err(errors) => errors.into_iter().map(|(line, reason)| format!("{line}: {reason}")).collect(),
    });
    assert_eq!(said.collect::<Vec<_>>(), expected, "{file}");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: &[(&str, usize, Written)]) {
        let found = entries(text).unwrap();
        let found: Vec<_> = found.into_iter().map(|e| (e.key, e.line, e.written)).collect();
        let expected: Vec<_> =
            expected.iter().map(|(key, line, written)| (key.to_string(), *line, written.clone())).collect();
        assert_eq!(found, expected, "{text}");
    }

    fn one(text: &str) -> Written {
        Written::One(text.to_owned())
    }

    #[test]
    fn keys_come_with_their_sections_and_lines() {
        check(
            "log.level = 'warn'\n[cache]\n\nsize = '1G'\n",
            &[("log.level", 1, one("warn")), ("cache.size", 4, one("1G"))],
        );
        check(
            "cache = { size = '1G', dir = '/a' }",
            &[("cache.size", 1, one("1G")), ("cache.dir", 1, one("/a"))],
        );
        check("", &[]);
    }

    #[test]
    fn numbers_are_the_texts_they_would_be() {
        let many = Written::Many(vec!["443".to_owned(), "8443".to_owned()]);
        check("[destinations]\nconnect_ports = [443, '8443']", &[("destinations.connect_ports", 2, many)]);
        check("[limits]\nconnections = 0x1_0", &[("limits.connections", 2, one("16"))]);
        check("[limits]\nconnections = 1_000", &[("limits.connections", 2, one("1000"))]);
        check("[cache]\nsize = true", &[("cache.size", 2, one("true"))]);
        check("[cache]\nsize = 1.5", &[("cache.size", 2, one("1.5"))]);
    }

    #[test]
    fn what_no_option_takes_is_named() {
        check("[cache]\nsize = 2020-01-01", &[("cache.size", 2, Written::Other("a date"))]);
        check("[cache.size]\na = 1", &[("cache.size", 1, Written::Other("a table"))]);
        check("[caches]\nsize = '1G'\ndir = 'a'", &[("caches", 1, Written::Other("a table"))]);
        check("listen = [['a']]", &[("listen", 1, Written::Other("an array of arrays or tables"))]);
        check("[[cache]]\nsize = 1", &[("cache", 1, Written::Other("an array of arrays or tables"))]);
    }

    #[test]
    fn every_line_that_is_not_toml_has_its_place() {
        let errors = entries("[cache]\nsize = \nä = = 1\n").unwrap_err();
        let places: Vec<_> = errors.iter().map(|error| (error.line, error.column)).collect();
        assert_eq!(places, [(2, 8), (3, 1)], "{errors:?}");
        assert!(errors.iter().all(|error| !error.reason.is_empty() && !error.reason.contains('\n')));
    }

    proptest! {
        #[test]
        fn any_text_is_taken_apart_or_refused_with_places(text in ".*|[\\[\\]a-c=.'\"\n#{}0-9, ]{0,60}") {
            let lines = text.matches('\n').count() + 1;
            match entries(&text) {
                Ok(entries) => prop_assert!(entries.iter().all(|entry| (1..=lines).contains(&entry.line))),
                Err(errors) => prop_assert!(errors.iter().all(|error| (1..=lines).contains(&error.line))),
            }
        }
    }
}
