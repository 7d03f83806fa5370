//! `Draft`: a configuration file in the making, option by option, as `bentpipe setup` writes it.
//!
//! A draft begins with what flags say, every value is checked by the rules of all the others when it is put in, and the
//! text reads back as the same configuration. It looks at no file and at no environment, and it writes nothing.

use std::path::Path;

use crate::config::flags::GivenFlag;
use crate::config::load::{Loaded, without_surroundings};
use crate::config::options::{OPTIONS, OptionRow};
use crate::config::{Config, ConfigError, ConfigErrors, Flags, Source, show};

/// How a value that no flag gave is named in errors.
const ANSWER: &str = "answer";

/// What a file is to say: only options that differ in nothing but having been said.
#[derive(Debug)]
pub(crate) struct Draft {
    flags: Flags,
    loaded: Loaded,
}

impl Draft {
    /// A draft of what `flags` say.
    ///
    /// # Errors
    /// All that is wrong with them.
    pub(crate) fn of(flags: &Flags) -> Result<Draft, ConfigErrors> {
        // The file that they name is the one to be written: it is not read.
        let flags = Flags { file: None, given: flags.given.clone() };
        let loaded = without_surroundings(&flags)?;
        Ok(Draft { flags, loaded })
    }

    /// The configuration that the draft amounts to, on a machine of which nothing is known.
    pub(crate) fn config(&self) -> &Config {
        &self.loaded.config
    }

    /// Whether the option `key` is said.
    pub(crate) fn says(&self, key: &str) -> bool {
        !self.loaded.is_default(key)
    }

    /// How the option `key` was last typed, by a flag or as an answer; none where it was not.
    pub(crate) fn typed(&self, key: &str) -> Option<&str> {
        self.flags.given.iter().rev().find(|given| given.key == key)?.value.as_deref()
    }

    /// Says that the option `key` is `text`, in the spelling of flags: a list has commas. What it was before is replaced.
    ///
    /// # Errors
    /// Why it cannot be, in one line a reason; the draft is then as it was.
    pub(crate) fn put(&mut self, key: &str, text: &str) -> Result<(), String> {
        let mut given: Vec<_> = self.flags.given.iter().filter(|given| given.key != key).cloned().collect();
        let value = Some(text.to_owned());
        given.push(GivenFlag { flag: ANSWER.to_owned(), key: key.to_owned(), value });
        let flags = Flags { file: None, given };
        self.loaded = without_surroundings(&flags).map_err(|errors| reasons(&errors))?;
        self.flags = flags;
        Ok(())
    }

    /// The file: what is said, each with what it means, in the order of the option table.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        let mut section = "";
        let said = self.loaded.sources.iter().filter(|(_, source)| *source != Source::Default);
        for (row, _) in said {
            let (within, name) = row.key.split_once('.').unwrap_or(("", row.key));
            if within != section {
                section = within;
                text += &format!("\n[{section}]\n");
            }
            let value = show::toml_value(row, &self.written(row));
            text += &format!("\n{}{name} = {value}\n", show::comment(row.help));
        }
        text
    }

    /// Values in canonical form. Secrets stay as they were typed: they may only say where they stand.
    fn written(&self, row: &OptionRow) -> Vec<String> {
        if !row.secret {
            return (row.get)(&self.loaded.config);
        }
        let given = self.flags.given.iter().filter(|given| given.key == row.key);
        let typed = given.filter_map(|given| given.value.as_deref()).flat_map(|text| text.split(','));
        typed.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()).collect()
    }

    /// Whether a secret itself stands in the file, so that not everybody may read it.
    pub(crate) fn holds_secrets(&self) -> bool {
        let mut secret = OPTIONS.iter().filter(|row| row.secret);
        secret.any(|row| self.written(row).iter().any(|value| !value.starts_with('@')))
    }
}

/// What is wrong, without the places: whoever is asked knows what was just typed.
fn reasons(ConfigErrors(errors): &ConfigErrors) -> String {
    let reasons = errors.iter().map(|error| match error {
        ConfigError::Value { reason, value: Some(value), .. } => format!("{value:?}: {reason}"),
        ConfigError::Value { reason, .. } => reason.clone(),
        other => other.to_string(),
    });
    reasons.collect::<Vec<_>>().join("\n")
}

/// What `path` as the only file amounts to, on this machine.
///
/// # Errors
/// All that is wrong with it.
pub(crate) fn read_alone(path: &Path) -> Result<Loaded, ConfigErrors> {
    super::load_here(&Flags { file: Some(path.to_owned()), given: Vec::new() })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn draft(flags: &[&str]) -> Draft {
        Draft::of(&Flags::parse(flags).unwrap()).unwrap()
    }

    /// The configuration that the text of a draft gives is the draft's.
    fn check(flags: &[&str], puts: &[(&str, &str)]) -> String {
        let mut draft = draft(flags);
        for (key, text) in puts {
            draft.put(key, text).unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bentpipe.toml");
        fs::write(&path, draft.text()).unwrap();
        let read = without_surroundings_but(&path);
        assert_eq!(&read, draft.config(), "{}", draft.text());
        draft.text()
    }

    fn without_surroundings_but(path: &Path) -> Config {
        without_surroundings(&Flags { file: Some(path.to_owned()), given: Vec::new() }).unwrap().config
    }

    #[test]
    fn a_draft_reads_back_as_what_it_says() {
        assert_eq!(check(&[], &[]), "");
        check(&["--link", "512k/128k,rtt=600ms"], &[("listen", "0.0.0.0:3128, [::]:3128")]);
        check(&["--set", "admission.users=ann:se\"same"], &[("cache.size", "500M")]);
        check(&[], &[("tls.intercept.hosts", "*.wikipedia.org"), ("link.spec", "geo")]);
        check(&["--listen", "1", "--listen", "2"], &[("link.spec", "unlimited")]);
        check(
            &["--deny", "games: host=*.games.example; time=Mon-Fri 08:00-17:00"],
            &[("link.price", "12 EUR/GB")],
        );
    }

    #[test]
    fn a_later_answer_replaces_an_earlier_one() {
        let text =
            check(&["--listen", "127.0.0.1:1"], &[("listen", "127.0.0.1:2"), ("listen", "127.0.0.1:3")]);
        assert!(text.contains("\nlisten = [\"127.0.0.1:3\"]\n"), "{text}");
    }

    #[test]
    fn what_cannot_be_changes_nothing() {
        let mut draft = draft(&["--cache-size", "2G"]);
        let error = draft.put("cache.size", "much").unwrap_err();
        assert_eq!(error, r#""much": expected a size such as 10G or 500M"#);
        assert!(draft.put("cache.max_object", "3G").unwrap_err().contains("larger than cache.size"));
        assert!(draft.put("link.spce", "geo").unwrap_err().contains("did you mean link.spec?"));
        assert!(draft.says("cache.size") && !draft.says("cache.max_object"));
        assert!(draft.text().ends_with("\nsize = \"2G\"\n"), "{}", draft.text());
    }

    #[test]
    fn a_secret_is_written_as_it_was_typed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users");
        fs::write(&path, "ann:sesame\n").unwrap();
        let elsewhere = draft(&["--set", &format!("admission.users=@file:{}", path.display())]);
        assert!(!elsewhere.text().contains("sesame"), "{}", elsewhere.text());
        assert!(!elsewhere.holds_secrets());
        assert!(draft(&["--set", "admission.users=ann:sesame"]).holds_secrets());
        assert!(!draft(&["--link", "geo"]).holds_secrets());
    }
}
