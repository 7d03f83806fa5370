//! `bentpipe cache rules`: the operator's rules in force, as the configuration says them, in the order in which they are
//! asked. What they do is rfc9111's.

use std::io::Write as _;

use anyhow::Context as _;
use http::Uri;
use rfc9111::Rule;

use crate::config::{CacheConfig, Loaded, rule};
use crate::host::normalised;

/// Prints all rules, or those that may speak of `url`.
pub(crate) fn print(url: Option<&str>, loaded: &Loaded) -> anyhow::Result<()> {
    let expected = "expected a URL such as http://example.org/page";
    let target: Option<Uri> = url.map(str::parse).transpose().context(expected)?;
    let target = target.as_ref().map(normalised);
    write!(std::io::stdout().lock(), "{}", list(target.as_ref(), &loaded.config.cache))?;
    Ok(())
}

fn list(target: Option<&Uri>, cache: &CacheConfig) -> String {
    let packs = cache.packs.iter().map(|pack| (format!("cache.packs: {}", pack.name), &pack.rules));
    let mut text = String::new();
    for (heading, rules) in [("cache.rule".to_owned(), &cache.rules)].into_iter().chain(packs) {
        let speaks = |rule: &&Rule| target.is_none_or(|target| rule.matches_target(target));
        let lines: Vec<_> = rules.iter().filter(speaks).map(rule::print).collect();
        if !lines.is_empty() {
            text += &format!("# {heading}\n{}\n", lines.join("\n"));
        }
    }
    match target {
        _ if !text.is_empty() => text,
        Some(target) => format!("no rule speaks of {target}\n"),
        None => "no rules: responses are treated as they say\n".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[track_caller]
    fn check(url: Option<&'static str>, flags: &[&str], expected: &str) {
        let config = Config::from_flags(flags).unwrap();
        let found = list(url.map(Uri::from_static).as_ref(), &config.cache);
        assert!(found.starts_with(expected), "{found}");
    }

    #[test]
    fn rules_are_listed_in_the_order_in_which_they_are_asked() {
        let flags = ["--cache-rule=a: host=a.example; keep=never", "--cache-packs=apt"];
        check(
            None,
            &flags,
            "# cache.rule\na: host=a.example; keep=never\n# cache.packs: apt\napt-by-hash: path=",
        );
        check(Some("http://a.example/"), &flags, "# cache.rule\na: host=a.example; keep=never\n");
        check(
            Some("http://b.example/dists/x"),
            &flags,
            "# cache.packs: apt\napt-indexes: path=*/dists/*; max-fresh=0s\n",
        );
        check(Some("http://b.example/"), &flags, "no rule speaks of http://b.example/");
        check(None, &[], "no rules: responses are treated as they say");
    }
}
