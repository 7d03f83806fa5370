//! `cache.rule`: a rule about stored responses as text, `apt: host=*.debian.org; path=*.deb; min-fresh=365d`.
//!
//! What a rule does is rfc9111's. Tables of a file become such texts in `table`, so that there is one reader.

pub(super) mod table;

use std::fmt::Write as _;
use std::time::Duration;

use rfc9111::{Directive, IgnoredQuery, Keep, Pattern, Reload, Rule};

use crate::config::host::{self, Also};
use crate::config::{nearest, value};

const DAY: Duration = Duration::from_hours(24);

/// Longer lifetimes are typing errors.
const MOST_DAYS: u64 = 3650;

/// The parts of a rule behind its name, in the order in which they are printed.
const PARTS: [&str; 9] =
    ["host", "path", "type", "min-fresh", "max-fresh", "reload", "keep", "override", "ignore-query"];

const RELOADS: [(&str, Reload); 3] =
    [("as-asked", Reload::AsAsked), ("revalidate", Reload::Revalidate), ("ignore", Reload::Ignore)];

const KEEPS: [(&str, Keep); 3] =
    [("as-stated", Keep::AsStated), ("never", Keep::Never), ("always", Keep::Always)];

const DIRECTIVES: [(&str, Directive); 4] = [
    ("no-store", Directive::NoStore),
    ("private", Directive::Private),
    ("no-cache", Directive::NoCache),
    ("must-revalidate", Directive::MustRevalidate),
];

/// Reads `NAME":" PART*(";" PART)`. A part is `key=value`; several values have `|` between them. Blanks will do in
/// place of semicolons.
pub(crate) fn parse(text: &str) -> Result<Rule, String> {
    let expected = "expected a name, a colon and what is ruled, such as apt: host=*.debian.org; path=*.deb; min-fresh=30d";
    let (name, parts) = text.split_once(':').ok_or(expected)?;
    let mut draft = Draft::new(name.trim())?;
    for part in parts.split([';', ' ', '\t']).filter(|part| !part.is_empty()) {
        let (key, value) = part.split_once('=').ok_or_else(|| at("expected key=value", part))?;
        draft.put(key, &value.split('|').collect::<Vec<_>>()).map_err(|reason| at(&reason, part))?;
    }
    draft.finish()
}

/// A rule, and which of its parts were given.
struct Draft {
    rule: Rule,
    given: Vec<&'static str>,
}

impl Draft {
    fn new(name: &str) -> Result<Draft, String> {
        // It stands in Cache-Status behind `rule-`, as part of a token (RFC 8941 section 3.3.4).
        let letters = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || name.len() > 64 || !name.chars().all(letters) {
            return Err(format!("expected a name of letters, digits, dots and dashes, not {name:?}"));
        }
        Ok(Draft { rule: Rule::new(name), given: Vec::new() })
    }

    fn put(&mut self, key: &str, values: &[&str]) -> Result<(), String> {
        let spelled = key.trim().to_ascii_lowercase().replace('_', "-");
        let Some(part) = PARTS.into_iter().find(|part| *part == spelled) else {
            let meant = nearest::nearest(&spelled, PARTS.into_iter());
            let meant = meant.map_or_else(String::new, |part| format!("; did you mean {part}?"));
            return Err(format!("{key:?} is no part of a rule{meant}"));
        };
        if self.given.contains(&part) {
            return Err(format!("expected {part} only once in a rule"));
        }
        self.given.push(part);
        let rule = &mut self.rule;
        match part {
            "host" => rule.hosts = patterns(values, parse_host)?,
            "path" => rule.paths = patterns(values, path)?,
            "type" => rule.media_types = patterns(values, media_type)?,
            "min-fresh" => rule.min_fresh = Some(one(values).and_then(lifetime)?),
            "max-fresh" => rule.max_fresh = Some(one(values).and_then(lifetime)?),
            "reload" => rule.reload = one(values).and_then(|text| word(&RELOADS, text))?,
            "keep" => rule.keep = one(values).and_then(|text| word(&KEEPS, text))?,
            "override" => {
                rule.disregard =
                    values.iter().map(|text| word(&DIRECTIVES, text)).collect::<Result<_, _>>()?;
            }
            _ => rule.ignore_query = ignored(values)?,
        }
        Ok(())
    }

    /// What is wrong with the rule as a whole.
    fn finish(self) -> Result<Rule, String> {
        let Draft { rule, given } = self;
        if given.iter().all(|part| ["host", "path", "type"].contains(part)) {
            return Err(format!(
                "expected {} in the rule {}: it says nothing (keep=as-stated exempts from later rules)",
                PARTS[3..].join(", "),
                rule.name
            ));
        }
        if rule.min_fresh > rule.max_fresh && rule.max_fresh.is_some() {
            return Err(format!("expected min-fresh up to max-fresh in the rule {}", rule.name));
        }
        if rule.ignore_query != IgnoredQuery::None && !rule.media_types.is_empty() {
            return Err(format!(
                "expected no type beside ignore-query in the rule {}: a response is looked for before its type is known",
                rule.name
            ));
        }
        Ok(rule)
    }
}

fn one<'a>(values: &[&'a str]) -> Result<&'a str, String> {
    match values {
        [value] => Ok(value),
        _ => Err("expected one value".to_owned()),
    }
}

fn patterns(values: &[&str], read: fn(&str) -> Result<Pattern, String>) -> Result<Vec<Pattern>, String> {
    if values.is_empty() {
        return Err("expected at least one value".to_owned());
    }
    values.iter().map(|text| read(text)).collect()
}

/// rfc9111 compares texts: those of targets have addresses in their usual spelling, and so has the pattern.
fn parse_host(text: &str) -> Result<Pattern, String> {
    let expected = || "expected hosts such as example.org or *.example.org, without ports".to_owned();
    host::parse(text, &[Also::Stars], expected).map(|host| Pattern::new(&host.to_string()))
}

fn path(text: &str) -> Result<Pattern, String> {
    if text.contains('?') {
        return Err("expected paths without queries".to_owned());
    }
    if !text.starts_with(['/', '*']) || !is_plain(text) {
        return Err("expected paths such as /pool/* or *.deb".to_owned());
    }
    Ok(Pattern::new(text))
}

fn media_type(text: &str) -> Result<Pattern, String> {
    let named = |name: &str| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "!#$&-^_.+*".contains(c))
    };
    match text.split_once('/') {
        Some((kind, subtype)) if named(kind) && named(subtype) => Ok(Pattern::new(text)),
        _ => Err("expected media types such as video/mp4 or video/*, without parameters".to_owned()),
    }
}

fn ignored(values: &[&str]) -> Result<IgnoredQuery, String> {
    match values {
        ["all"] => Ok(IgnoredQuery::All),
        ["none"] => Ok(IgnoredQuery::None),
        [] => Err("expected at least one value".to_owned()),
        names
            if names.iter().all(|name| !name.is_empty() && is_plain(name) && !name.contains(['&', '='])) =>
        {
            Ok(IgnoredQuery::Named(names.iter().map(|name| Pattern::new(name)).collect()))
        }
        _ => Err("expected all, none, or names of query parameters such as utm_*".to_owned()),
    }
}

/// Nothing that separates the parts of a rule from each other.
fn is_plain(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_graphic() && !";|".contains(c))
}

fn word<T: Copy>(words: &[(&'static str, T)], text: &str) -> Result<T, String> {
    let known = words.iter().find(|(word, _)| *word == text);
    known.map(|(_, meaning)| *meaning).ok_or_else(|| {
        let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        format!("expected {}", words.join(", "))
    })
}

/// Days, then what [`value::parse_duration`] reads.
fn lifetime(text: &str) -> Result<Duration, String> {
    let (days, rest) = text.split_once('d').unwrap_or(("0", text));
    let days =
        Some(days).filter(|days| days.bytes().all(|digit| digit.is_ascii_digit())).map(str::parse::<u64>);
    let rest =
        if rest.is_empty() && text.ends_with('d') { Ok(Duration::ZERO) } else { value::parse_duration(rest) };
    match (days, rest) {
        (Some(Ok(days)), Ok(rest)) if days <= MOST_DAYS => {
            Ok(rest.saturating_add(Duration::from_hours(days.saturating_mul(24))))
        }
        _ => Err(format!("expected a time up to {MOST_DAYS}d such as 365d, 1d12h or 10m")),
    }
}

fn print_lifetime(lifetime: Duration) -> String {
    let days = lifetime.as_secs() / DAY.as_secs();
    let rest = lifetime.saturating_sub(Duration::from_hours(days.saturating_mul(24)));
    match (days, rest) {
        (0, rest) => value::print_duration(&rest),
        (days, Duration::ZERO) => format!("{days}d"),
        (days, rest) => format!("{days}d{}", value::print_duration(&rest)),
    }
}

/// The rule as [`parse`] reads it.
pub(crate) fn print(rule: &Rule) -> String {
    let list = |patterns: &[Pattern]| patterns.iter().map(ToString::to_string).collect::<Vec<_>>().join("|");
    let directives: Vec<_> = rule.disregard.iter().map(|directive| named(&DIRECTIVES, *directive)).collect();
    let ignored = match &rule.ignore_query {
        IgnoredQuery::None => String::new(),
        IgnoredQuery::All => "all".to_owned(),
        IgnoredQuery::Named(names) => list(names),
    };
    let values = [
        list(&rule.hosts),
        list(&rule.paths),
        list(&rule.media_types),
        rule.min_fresh.map(print_lifetime).unwrap_or_default(),
        rule.max_fresh.map(print_lifetime).unwrap_or_default(),
        named(&RELOADS, rule.reload).to_owned(),
        named(&KEEPS, rule.keep).to_owned(),
        directives.join("|"),
        ignored,
    ];
    let defaults = ["", "as-asked", "as-stated"];
    let says = |(_, value): &(&str, &String)| !defaults.contains(&value.as_str());
    let mut text = format!("{}:", rule.name);
    let conditions = 3;
    let silent = !PARTS.into_iter().zip(&values).skip(conditions).any(|part| says(&part));
    for (part, value) in PARTS.into_iter().zip(&values) {
        if says(&(part, value)) || (silent && part == "keep") {
            let _ = write!(text, "{} {part}={value}", if text.ends_with(':') { "" } else { ";" });
        }
    }
    text
}

fn named<T: Copy + PartialEq>(words: &[(&'static str, T)], meaning: T) -> &'static str {
    words.iter().find(|(_, known)| *known == meaning).map_or("", |(word, _)| word)
}

/// Two rules of one name could not be told apart in Cache-Status.
pub(super) fn distinct(rules: &[Rule]) -> Result<(), String> {
    let repeated = rules.iter().enumerate().find(|(n, rule)| rules[..*n].iter().any(|r| r.name == rule.name));
    repeated.map_or(Ok(()), |(_, rule)| Err(format!("expected each name once, {:?} is repeated", rule.name)))
}

fn at(reason: &str, part: &str) -> String {
    format!("{reason} at {part:?}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `printed` is the canonical form of `written`, or the start of what is wrong with it.
    #[track_caller]
    fn check(written: &str, printed: &str) {
        match parse(written) {
            Ok(rule) => assert_eq!(print(&rule), printed, "{written:?}"),
            Err(reason) => {
                assert!(reason.starts_with(printed) && !printed.is_empty(), "{written:?}: {reason}");
            }
        }
    }

    #[test]
    fn rules_as_written() {
        check(
            "apt: host=*.debian.org|*.ubuntu.com; path=*.deb; min-fresh=365d",
            "apt: host=*.debian.org|*.ubuntu.com; path=*.deb; min-fresh=365d",
        );
        check("apt:host=a.example path=/x  min_fresh=36h", "apt: host=a.example; path=/x; min-fresh=1d12h");
        check("a: max-fresh=0s", "a: max-fresh=0s");
        check("a: Max-Fresh=1d10m; min-fresh=0d", "a: min-fresh=0s; max-fresh=1d10m");
        check("a: host=2001:db8::1; keep=never", "a: host=2001:db8::1; keep=never");
        check("a: host=[2001:DB8:0::1]|0x7f.1; keep=never", "a: host=2001:db8::1|127.0.0.1; keep=never");
        check("a: type=video/*; override=no-store|private", "a: type=video/*; override=no-store|private");
        check("a: ignore-query=utm_*|sid; reload=ignore", "a: reload=ignore; ignore-query=utm_*|sid");
        check("a: ignore-query=all;", "a: ignore-query=all");
        check("a: path=/a; keep=as-stated", "a: path=/a; keep=as-stated");
        check("a: path=/a; ignore-query=none", "a: path=/a; keep=as-stated");
    }

    #[test]
    fn rules_that_are_wrong_say_where() {
        check("apt", "expected a name, a colon and what is ruled");
        check(": keep=never", "expected a name of letters");
        check("a b: keep=never", "expected a name of letters, digits, dots and dashes, not \"a b\"");
        check("a:", "expected min-fresh, max-fresh");
        check("a: host=example.org", "expected min-fresh, max-fresh");
        check("a: keep", "expected key=value at \"keep\"");
        check("a: hots=a; keep=never", "\"hots\" is no part of a rule; did you mean host? at \"hots=a\"");
        check("a: min_frsh=1d", "\"min_frsh\" is no part of a rule; did you mean min-fresh? at");
        check("a: keep=never; keep=never", "expected keep only once in a rule at \"keep=never\"");
        check("a: keep=sometimes", "expected as-stated, never, always at \"keep=sometimes\"");
        check("a: reload=never", "expected as-asked, revalidate, ignore at");
        check("a: override=authorization", "expected no-store, private, no-cache, must-revalidate at");
        check("a: min-fresh=1d|2d", "expected one value at");
        check("a: min-fresh=365", "expected a time up to 3650d");
        check("a: min-fresh=3651d", "expected a time up to 3650d");
        check("a: min-fresh=+1d", "expected a time up to 3650d");
        check("a: min-fresh=2d; max-fresh=1d", "expected min-fresh up to max-fresh in the rule a");
        check("a: host=example.org:80; keep=never", "expected hosts such as example.org");
        check("a: host=; keep=never", "expected hosts such as example.org");
        check("a: path=pool/*; keep=never", "expected paths such as /pool/* or *.deb");
        check("a: path=/a?b; keep=never", "expected paths without queries");
        check("a: type=video; keep=never", "expected media types such as video/mp4");
        check("a: ignore-query=a&b", "expected all, none, or names of query parameters");
        check("a: type=video/*; ignore-query=all", "expected no type beside ignore-query in the rule a");
    }

    proptest! {
        #[test]
        fn any_text_reads_without_panic_and_reads_back(
            text in "[a-c]: ?((host|path|type|min-fresh|max-fresh|reload|keep|override|ignore-query)=[*/a-z0-9|]{0,9}; ?){0,4}|.*",
        ) {
            if let Ok(rule) = parse(&text) {
                prop_assert_eq!(parse(&print(&rule)), Ok(rule));
            }
        }

        #[test]
        fn lifetimes_read_back(seconds in 0..=MOST_DAYS * 86_400) {
            let lifetime = Duration::from_secs(seconds);
            prop_assert_eq!(super::lifetime(&print_lifetime(lifetime)), Ok(lifetime));
        }
    }
}
