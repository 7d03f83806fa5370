//! What `bentpipe setup` asks, and what the answers mean: plain lines in, plain lines out, so that it works on any
//! terminal. What a flag has said is not asked.
//!
//! An answer is checked at once by the option's own rules, and asked for again if it is wrong.

use std::io::{BufRead, Read as _, Write};

use anyhow::bail;

use super::accounts;
use super::place::Place;
use super::{put, sense};
use crate::config::Draft;

/// Bytes of the longest answer.
const LONGEST: u64 = 4096;

/// The disk that is offered where there is so much, in bytes; otherwise half of what is free.
const DISK: u64 = 10_000_000_000;

/// Where a proxy for the whole network listens. Who may ask is another matter: private networks, by default.
const NETWORK: &str = "0.0.0.0:3128";

/// Who asks and who answers.
pub(super) struct Questions<'a> {
    pub(super) input: &'a mut dyn BufRead,
    pub(super) out: &'a mut dyn Write,
    /// Nothing is asked: every answer is the one that is offered.
    pub(super) silent: bool,
}

/// One question.
struct Question<'a> {
    /// What is asked, and what the answers are.
    text: &'a str,
    /// The answer of whoever just presses Enter.
    offered: &'a str,
}

impl Questions<'_> {
    /// Asks all that `draft` does not say yet; `names` are those who need passwords.
    ///
    /// # Errors
    /// If the terminal goes away.
    pub(super) fn all(
        &mut self,
        draft: &mut Draft,
        names: &mut Vec<String>,
        place: &Place,
    ) -> anyhow::Result<()> {
        if !self.silent {
            writeln!(
                self.out,
                "Five questions. Enter takes the answer in brackets; until the last one nothing is written."
            )?;
        }
        self.who(draft)?;
        self.link(draft)?;
        self.disk(draft, place)?;
        self.https(draft)?;
        self.passwords(draft, names)
    }

    fn who(&mut self, draft: &mut Draft) -> anyhow::Result<()> {
        let text = "Question 1 of 5: who may use the proxy? Answer with a word:\n   machine  programs on this machine\n   \
                    network  everybody in private networks that reach this machine\n   or with the address to listen on, \
                    as 10.0.0.5:3128";
        self.option(draft, "listen", &Question { text, offered: "machine" }, |answer| match answer {
            "machine" => "127.0.0.1:3128",
            "network" => NETWORK,
            address => address,
        })
    }

    fn link(&mut self, draft: &mut Draft) -> anyhow::Result<()> {
        let text = "Question 2 of 5: which link is it to keep to?\n   unlimited   none: it takes what it gets\n   512k/128k   down and \
                    up, bits per second; or one rate for both\n   geo         a link with a name: bentpipe link presets\n   \
                    auto=90%    a little less than there is, measured as it goes";
        self.option(draft, "link.spec", &Question { text, offered: "unlimited" }, |answer| answer)
    }

    fn disk(&mut self, draft: &mut Draft, place: &Place) -> anyhow::Result<()> {
        let (folder, free) = place.cache(draft);
        let offered = offered_size(free);
        let room =
            free.map_or_else(String::new, |free| format!(", where {} are free", crate::text::human(free)));
        let text = format!(
            "Question 3 of 5: how much disk may stored responses take? (500M, 10G, ...)\n   They are kept in {}{room}.",
            folder.display()
        );
        self.option(draft, "cache.size", &Question { text: &text, offered: &offered }, |answer| answer)
    }

    fn https(&mut self, draft: &mut Draft) -> anyhow::Result<()> {
        let text = "Question 4 of 5: whose HTTPS is to be opened, so that it can be cached? Whoever runs the proxy can then read it,\n   \
                    and devices must be told to trust it (docs/https.md).\n   none, or hosts such as \
                    *.wikipedia.org,*.wikimedia.org";
        self.option(draft, "tls.intercept.hosts", &Question { text, offered: "none" }, nothing_for_none)
    }

    fn passwords(&mut self, draft: &Draft, names: &mut Vec<String>) -> anyhow::Result<()> {
        let known = ["admission.users", "admission.users_file", "admission.tokens"];
        if !names.is_empty() || known.iter().any(|key| draft.says(key)) {
            return accounts::check_names(names).map_err(anyhow::Error::msg);
        }
        let text = "Question 5 of 5: who needs a password to use it? Everybody else is then refused.\n   none, or names such as \
                    ann,ben; their passwords are made and shown once";
        let question = Question { text, offered: "none" };
        *names = self.until(&question, |answer| {
            let names = nothing_for_none(answer).split(',').map(str::trim).filter(|name| !name.is_empty());
            let names: Vec<_> = names.map(str::to_owned).collect();
            accounts::check_names(&names).map(|()| names)
        })?;
        Ok(())
    }

    /// Whether what is there may be replaced, as `text` asks.
    ///
    /// # Errors
    /// If the terminal goes away.
    pub(super) fn whether_to_replace(&mut self, text: &str) -> anyhow::Result<bool> {
        self.until(&Question { text, offered: "n" }, |answer| match answer.to_ascii_lowercase().as_str() {
            "y" | "yes" => Ok(true),
            "n" | "no" => Ok(false),
            _ => Err("expected y or n".to_owned()),
        })
    }

    /// Asks for the option `key`, unless it is said already.
    fn option(
        &mut self,
        draft: &mut Draft,
        key: &str,
        question: &Question<'_>,
        means: impl for<'a> Fn(&'a str) -> &'a str,
    ) -> anyhow::Result<()> {
        if draft.says(key) {
            return Ok(());
        }
        if self.silent {
            return match means(question.offered) {
                "" => Ok(()),
                text => put(draft, key, text),
            };
        }
        self.until(question, |answer| match means(answer) {
            "" => Ok(()),
            text => {
                if key == "listen" {
                    sense::of_address(answer)?;
                }
                draft.put(key, text)?;
                sense::of(draft, key)
            }
        })
    }

    /// Asks until `judge` takes the answer.
    fn until<T>(
        &mut self,
        question: &Question<'_>,
        mut judge: impl FnMut(&str) -> Result<T, String>,
    ) -> anyhow::Result<T> {
        if self.silent {
            return judge(question.offered).map_err(anyhow::Error::msg);
        }
        writeln!(self.out, "\n{}", question.text)?;
        loop {
            write!(self.out, "   [{}] ", question.offered)?;
            self.out.flush()?;
            let line = self.line()?;
            let answer = if line.is_empty() { question.offered } else { &line };
            match judge(answer) {
                Ok(value) => return Ok(value),
                Err(why) => writeln!(self.out, "   {why}")?,
            }
        }
    }

    /// One line without the white space around it.
    fn line(&mut self) -> anyhow::Result<String> {
        let mut bytes = Vec::new();
        let length = (&mut self.input).take(LONGEST).read_until(b'\n', &mut bytes)?;
        if length == 0 {
            writeln!(self.out)?;
            bail!("the answers ended; nothing was written");
        }
        // The rest of a longer line would be the answer to the next question.
        if length as u64 == LONGEST && bytes.last() != Some(&b'\n') {
            bail!("an answer is longer than {LONGEST} bytes; nothing was written");
        }
        Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
    }
}

fn nothing_for_none(answer: &str) -> &str {
    if ["none", "n", "no", "off"].contains(&answer) { "" } else { answer }
}

/// What is offered of `free` bytes of disk: so much that something else still fits.
fn offered_size(free: Option<u64>) -> String {
    let half = free.map_or(DISK, |free| free / 2);
    match half {
        DISK.. => "10G".to_owned(),
        1_000_000_000.. => format!("{}G", half / 1_000_000_000),
        // Less is of little use, but it is what there is.
        _ => format!("{}M", (half / 1_000_000).max(100)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offered_size_leaves_room() {
        let check = |free: Option<u64>, expected: &str| assert_eq!(offered_size(free), expected, "{free:?}");
        check(None, "10G");
        check(Some(1_000_000_000_000), "10G");
        check(Some(20_000_000_000), "10G");
        check(Some(19_999_999_999), "9G");
        check(Some(1_999_999_999), "999M");
        check(Some(0), "100M");
    }
}
