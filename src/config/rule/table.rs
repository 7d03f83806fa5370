//! A `[[cache.rule]]` table of a file as the text of one rule, with every error at its line.

use super::{Draft, print};
use crate::config::file::Table;

/// The text of the rule that a table says.
///
/// # Errors
/// All that is wrong, each with its line.
pub(crate) fn text(table: &Table) -> Result<String, Vec<(usize, String)>> {
    let mut errors = Vec::new();
    let name = table.fields.iter().find(|field| field.name == "name");
    let named = match name.map(|field| (field.line, field.values.as_deref())) {
        Some((line, Some([name]))) => Draft::new(name).map_err(|reason| (line, reason)),
        Some((line, _)) => Err((line, "name: expected a text".to_owned())),
        None => Err((table.line, "expected name = \"...\" in every rule".to_owned())),
    };
    let mut draft = named.or_else(|error| {
        errors.push(error);
        // The other fields are checked all the same, under a name that is none's.
        Draft::new("unnamed").map_err(|reason| vec![(table.line, reason)])
    })?;
    for field in table.fields.iter().filter(|field| field.name != "name") {
        let put = match &field.values {
            Some(values) => draft.put(&field.name, &values.iter().map(String::as_str).collect::<Vec<_>>()),
            None => Err("expected texts".to_owned()),
        };
        if let Err(reason) = put {
            let known = !reason.starts_with('"');
            errors.push((field.line, if known { format!("{}: {reason}", field.name) } else { reason }));
        }
    }
    if !errors.is_empty() {
        errors.sort_by_key(|(line, _)| *line);
        return Err(errors);
    }
    draft.finish().map(|rule| print(&rule)).map_err(|reason| vec![(table.line, reason)])
}

#[cfg(test)]
mod tests {
    #[track_caller]
    fn check(file: &str, expected: &[&str]) {
        crate::config::file::check_tables(super::text, file, "cache.rule", expected);
    }

    #[test]
    fn tables_say_what_texts_say() {
        check(
            "[[cache.rule]]\nname = 'apt'\nhost = ['a.example', '*.b.example']\nmin_fresh = '365d'\n\n[[cache.rule]]\nname = \
             'b'\nkeep = 'never'",
            &["apt: host=a.example|*.b.example; min-fresh=365d", "b: keep=never"],
        );
        check("[cache.rule]\nname = 'a'\nignore_query = 'all'", &["a: ignore-query=all"]);
        check("[cache]\nrule = [{ name = 'a', keep = 'always' }]", &["a: keep=always"]);
    }

    #[test]
    fn every_error_has_its_line() {
        check(
            "[[cache.rule]]\nhost = 'a'\nmin_fersh = '1d'\n\n[[cache.rule]]\nname = 'a b'\nreload = 'no'\npath = 1\n\n\
             [[cache.rule]]\nname = 'c'\nhost = 'c'\n[[cache.rule]]\nname = 'd'\nkeep = { a = 1 }",
            &[
                "1: expected name = \"...\" in every rule",
                "3: \"min_fersh\" is no part of a rule; did you mean min-fresh?",
                "6: expected a name of letters, digits, dots and dashes, not \"a b\"",
                "7: reload: expected as-asked, revalidate, ignore",
                "8: path: expected paths such as /pool/* or *.deb",
                "10: expected min-fresh, max-fresh, reload, keep, override, ignore-query in the rule c: it says nothing \
                 (keep=as-stated exempts from later rules)",
                "15: keep: expected texts",
            ],
        );
    }
}
