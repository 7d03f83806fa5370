//! Secrets that stand elsewhere: a value of a secret option may be `@file:/path`, whose lines are the values, or
//! `@env:NAME`. Whatever is wrong with one is said with its place and never with the secret itself.
//!
//! It does not know what the values mean.

use std::path::Path;

use crate::config::options::OptionRow;
use crate::named_file;

/// A value, and where it was read if that is not where it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) text: String,
    /// `file, line 3` or the name of a variable.
    pub(super) place: Option<String>,
}

/// No secrets are longer, all of a file together, in bytes.
const LONGEST: u64 = 1_000_000;

/// The values that `given` stands for: itself, or, for a secret option, what is in the file or the variable that it
/// names. A list has a value in each line of a file, apart from empty ones and comments behind `#`; any other option has
/// the whole of it as its one.
///
/// # Errors
/// A file that cannot be read or is too large, a variable that is not set, and either without any value: no accounts
/// would be no lock at all, and who names a file of them means one.
pub(super) fn look_up(
    given: &str,
    row: &OptionRow,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<Found>, String> {
    let elsewhere = ["@file:", "@env:"].iter().any(|start| given.starts_with(start));
    if !row.secret || !elsewhere {
        return Ok(vec![Found { text: given.to_owned(), place: None }]);
    }
    let found = look_up_secret(given, row.list, env)?;
    if found.is_empty() { Err(format!("there is no value in {given:?}")) } else { Ok(found) }
}

fn look_up_secret(
    given: &str,
    is_list: bool,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<Found>, String> {
    if let Some(name) = given.strip_prefix("@env:") {
        let value = env(name).filter(|value| !value.is_empty());
        let value = value.ok_or_else(|| format!("the variable {name:?} is not set"))?;
        let found = |text: &str| Found { text: text.trim().to_owned(), place: Some(name.to_owned()) };
        let listed =
            is_list.then(|| value.split([',', '\n']).map(found).filter(|found| !found.text.is_empty()));
        return Ok(listed.map_or_else(|| vec![found(&value)], Iterator::collect));
    }
    let Some(path) = given.strip_prefix("@file:") else {
        return Ok(vec![Found { text: given.to_owned(), place: None }]);
    };
    let text = read(path).map_err(|reason| format!("{path:?} cannot be read: {reason}"))?;
    if !is_list {
        return Ok(vec![Found { text: text.trim().to_owned(), place: Some(path.to_owned()) }]);
    }
    let lines = text.lines().zip(1_usize..).map(|(line, number)| (line.trim(), number));
    let values = lines.filter(|(line, _)| !line.is_empty() && !line.starts_with('#'));
    let found = |(line, number): (&str, usize)| Found {
        text: line.to_owned(),
        place: Some(format!("{path}, line {number}")),
    };
    Ok(values.map(found).collect())
}

fn read(path: &str) -> Result<String, String> {
    named_file::text(Path::new(path), LONGEST).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(given: &str, is_list: bool, expected: Result<&[(&str, Option<&str>)], &str>) {
        let env = |name: &str| (name == "SET").then(|| "ann:a, bob:b".to_owned());
        let found = look_up_secret(given, is_list, &env)
            .map(|found| found.into_iter().map(|Found { text, place }| (text, place)).collect::<Vec<_>>());
        let expected = expected.map(|values| {
            let owned = |(text, place): &(&str, Option<&str>)| (text.to_string(), place.map(str::to_owned));
            values.iter().map(owned).collect::<Vec<_>>()
        });
        assert_eq!(found, expected.map_err(str::to_owned), "{given}");
    }

    #[test]
    fn a_lock_without_keys_is_no_open_door() {
        let users = crate::config::options::find("admission.users").expect("an option");
        let env = |_: &str| Some(" , ".to_owned());
        assert_eq!(look_up("@env:USERS", users, &env), Err("there is no value in \"@env:USERS\"".to_owned()));
        let plain = crate::config::options::find("log.access").expect("an option");
        assert_eq!(look_up("@env:USERS", plain, &env).map(|found| found.len()), Ok(1));
    }

    #[test]
    fn values_stand_for_themselves_or_for_what_they_name() {
        check("ann:secret", true, Ok(&[("ann:secret", None)]));
        check("@ann:secret", true, Ok(&[("@ann:secret", None)]));
        check("@env:SET", true, Ok(&[("ann:a", Some("SET")), ("bob:b", Some("SET"))]));
        check("@env:SET", false, Ok(&[("ann:a, bob:b", Some("SET"))]));
        check("@env:UNSET", true, Err("the variable \"UNSET\" is not set"));
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("users").display().to_string();
        let given = format!("@file:{path}");
        let gone = format!("{path:?} cannot be read: No such file or directory (os error 2)");
        check(&given, true, Err(&gone));
        std::fs::write(&path, "# none\n\n").expect("written");
        check(&given, true, Ok(&[]));
        std::fs::write(&path, "# accounts\n\nann:a\r\n bob:b \n").expect("written");
        let places = [3, 4].map(|line| format!("{path}, line {line}"));
        check(&given, true, Ok(&[("ann:a", Some(&places[0])), ("bob:b", Some(&places[1]))]));
        std::fs::write(&path, "http://ann:a@192.0.2.1:3128\n").expect("written");
        check(&given, false, Ok(&[("http://ann:a@192.0.2.1:3128", Some(&path))]));
    }
}
