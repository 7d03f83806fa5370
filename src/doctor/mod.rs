//! `bentpipe doctor`: whether everything that bentpipe stands on is as it should be, and what to do where it is not.
//!
//! Each check is a file that asks, and a pure function in it that judges what was found. Nothing is changed, and nobody
//! beyond this machine is asked but for the URLs that the user names. How findings are printed is `cli`'s.

mod answer;
mod authority;
mod clock;
mod disk;
mod lookup;
mod proxy;
mod settings;
mod uplink;
pub(crate) mod visit;
mod way;

use std::time::SystemTime;

use serde::Serialize;

use crate::config::Loaded;
pub(crate) use visit::{Account, Target};
pub(crate) use way::Tried;

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    /// All is well.
    Ok,
    /// It could not be told, or there is nothing to tell.
    Skip,
    /// It works, and somebody should know of it.
    Warn,
    /// It does not work, or must not stay so.
    Fail,
}

impl Verdict {
    /// As it stands at the beginning of a line.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Skip => "skip",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        }
    }
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// The check, in a word or two.
    pub(crate) name: &'static str,
    pub(crate) verdict: Verdict,
    /// What was found, in a line.
    pub(crate) text: String,
    /// What to do; the exact command or option.
    pub(crate) advice: Option<String>,
}

impl Finding {
    fn ok(name: &'static str, text: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Ok, text: text.into(), advice: None }
    }

    fn skip(name: &'static str, text: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Skip, text: text.into(), advice: None }
    }

    fn warn(name: &'static str, text: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Warn, text: text.into(), advice: Some(advice.into()) }
    }

    fn fail(name: &'static str, text: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Fail, text: text.into(), advice: Some(advice.into()) }
    }
}

/// Carries all checks out, and hands each finding to `tell` as soon as it is there. `now` tells the time.
pub(crate) fn examine(
    loaded: &Loaded,
    tried: Tried<'_>,
    now: impl Fn() -> SystemTime,
    mut tell: impl FnMut(Finding),
) {
    let config = &loaded.config;
    let published = crate::ca::Folder::new(&config.ca_dir).published();
    let mut tell_all = |findings: Vec<Finding>| findings.into_iter().for_each(&mut tell);
    tell_all(settings::check(loaded, published.as_ref().is_ok_and(|published| !published.is_empty())));
    tell_all(vec![clock::check(now(), published.as_deref().unwrap_or_default())]);
    let (running, findings) = proxy::check(loaded);
    tell_all(findings);
    tell_all(disk::check(config, &running));
    tell_all(authority::check(config, &running, now()));
    tell_all(uplink::check(&running));
    tell_all(lookup::counted(&running));
    let targets = tried.targets;
    if targets.is_empty() {
        let text =
            "the way out was not tried; give it a URL that should work: bentpipe doctor https://example.org/";
        tell_all(vec![Finding::skip("reachability", text)]);
        return;
    }
    for target in targets {
        tell_all(vec![lookup::check(config, target)]);
    }
    way::check(config, &running, tried, now, tell);
}

/// Text that came from elsewhere, as a line that no terminal acts on.
fn printable(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).take(500).collect()
}

/// A time as people read it.
fn seconds(time: std::time::Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 1.0 { format!("{:.0} ms", seconds * 1e3) } else { format!("{seconds:.1} s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_elsewhere_is_one_line() {
        assert_eq!(printable("a\u{1b}[2J\r\nb"), "a [2J  b");
        assert_eq!(printable(&"x".repeat(9_000)).len(), 500);
    }

    #[test]
    fn a_verdict_is_a_word() {
        let words = [Verdict::Ok, Verdict::Skip, Verdict::Warn, Verdict::Fail].map(Verdict::word);
        assert_eq!(words, ["ok", "skip", "warn", "FAIL"]);
    }
}
