//! A `[[admission.allow]]` or `[[admission.deny]]` table of a file as the text of one rule, with every error at its line.

use super::Draft;
use crate::config::file::Table;

/// The text of the rule that a table says.
///
/// # Errors
/// All that is wrong, each with its line.
pub(crate) fn text(table: &Table) -> Result<String, Vec<(usize, String)>> {
    let mut errors = Vec::new();
    let mut draft = Draft::default();
    for field in &table.fields {
        let values: Option<Vec<&str>> =
            field.values.as_ref().map(|values| values.iter().map(String::as_str).collect());
        let put = match (field.name.as_str(), values.as_deref()) {
            ("name", Some([name])) => draft.name(name),
            ("name", _) => Err("expected a text".to_owned()),
            (_, None) => Err("expected texts".to_owned()),
            (name, Some(values)) => draft.put(name, values),
        };
        if let Err(reason) = put {
            let unknown = reason.starts_with('"');
            errors.push((field.line, if unknown { reason } else { format!("{}: {reason}", field.name) }));
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    draft.finish().map(|rule| rule.to_string()).map_err(|reason| vec![(table.line, reason)])
}

#[cfg(test)]
mod tests {
    #[track_caller]
    fn check(file: &str, expected: &[&str]) {
        let key = if file.contains("deny") { "admission.deny" } else { "admission.allow" };
        crate::config::file::check_tables(super::text, file, key, expected);
    }

    #[test]
    fn tables_say_what_texts_say() {
        check(
            "[[admission.deny]]\nname = 'games'\nhost = ['*.games.example', 'play.example']\ntime = 'Mon-Fri \
             08:00-17:00'\n\n[[admission.deny]]\nclient = '10.0.0.7'\nport = [25, '1000-1999']",
            &[
                "games: host=*.games.example|play.example; time=Mon-Fri 08:00-17:00",
                "client=10.0.0.7; port=25|1000-1999",
            ],
        );
    }

    #[test]
    fn every_error_has_its_line() {
        check(
            "[[admission.allow]]\nclinet = 'any'\nport = 0\n[[admission.allow]]\nname = 'a b'\n[[admission.allow]]\nuser = { a = 1 }\n[[admission.allow]]\nname = 'a'",
            &[
                "2: \"clinet\" is no condition of a rule; did you mean client?",
                "3: port: expected ports such as 80 or 8000-8999",
                "5: name: expected a name of letters, digits, dots and dashes, not \"a b\"",
                "7: user: expected texts",
                "8: expected a condition such as client=10.0.0.0/8, host=*.example.org, port=80, method=POST, \
                 time=Mon-Fri 08:00-17:00 or user=ann; client=any is everybody",
            ],
        );
    }
}
