//! How a command is called so that it finds what this configuration is of: flags that were given once and that nobody finds
//! again by himself. It opens nothing.

use std::path::{Path, PathBuf};

use crate::config::{Control, Loaded, Source};

impl Loaded {
    /// `bentpipe`, with `--config` and `--control` where they are wanted, for commands that ask the running proxy.
    pub(crate) fn program(&self) -> String {
        let mut words = vec!["bentpipe".to_owned()];
        if let Some(file) = &self.named {
            words.extend(["--config".to_owned(), word(file)]);
        }
        if let Control::Path(path) = &self.config.control
            && self.is_given_once("control.socket")
        {
            words.extend(["--control".to_owned(), word(path)]);
        }
        words.join(" ")
    }

    /// `text` with the commands in it called so.
    pub(crate) fn advised(&self, text: &str) -> String {
        with_program(text, &self.program())
    }

    /// As [`advised`](Self::advised), where a command may be about the authority in `folder`.
    pub(crate) fn advised_of_authority(&self, text: &str, folder: &Path) -> String {
        let mut program = self.program();
        if self.is_given_once("ca.dir") {
            program += &format!(" --ca-dir {}", word(folder));
        }
        with_program(text, &program)
    }

    /// Whether the option `key` was given by a flag or the environment, and not by a file.
    fn is_given_once(&self, key: &str) -> bool {
        let source = self.sources.iter().find(|(row, _)| row.key == key).map(|(_, source)| source);
        matches!(source, Some(Source::Flag(_) | Source::Environment(_)))
    }
}

/// Commands that people are advised to give.
const ADVISED: [&str; 6] = ["ca", "cache", "config", "explain", "link", "reload"];

fn with_program(text: &str, program: &str) -> String {
    let called =
        |text: String, name: &&str| text.replace(&format!("bentpipe {name} "), &format!("{program} {name} "));
    ADVISED.iter().fold(text.to_owned(), called)
}

/// The absolute `path` as a shell takes it for one word.
fn word(path: &Path) -> String {
    let path: PathBuf = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let text = path.display().to_string();
    let is_plain = |character: char| character.is_alphanumeric() || "/._-+=:,@%".contains(character);
    if text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use crate::config::Given;

    fn check(flags: &[&str], expected: &str) {
        let loaded = Given::by_flags(flags).expect("flags").load().expect("values");
        let said = loaded.advised_of_authority("ask bentpipe: bentpipe ca status", &loaded.config.ca_dir);
        assert_eq!(said, format!("ask bentpipe: {expected} ca status"), "{flags:?}");
    }

    #[test]
    fn what_was_given_once_is_given_again() {
        check(&[], "bentpipe");
        check(&["--cache-size=5M"], "bentpipe");
        check(&["--control=/run/b.sock"], "bentpipe --control /run/b.sock");
        check(&["--control=off"], "bentpipe");
        check(&["--control=/run/ann's b.sock"], r"bentpipe --control '/run/ann'\''s b.sock'");
        check(&["--ca-dir=/ca"], "bentpipe --ca-dir /ca");
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("b.toml").display().to_string();
        std::fs::write(&file, "control.socket = '/run/b.sock'\nca.dir = '/ca'\n").expect("written");
        check(&["--config", &file], &format!("bentpipe --config {file}"));
        let here = std::env::current_dir().expect("a folder").display().to_string();
        check(&["--control=b.sock"], &format!("bentpipe --control {here}/b.sock"));
    }
}
