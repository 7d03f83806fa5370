//! What a class of `link.rules` may claim of the link, as text: `bulk: priority=1; weight=1; floor=5%; ceiling=80%`.
//!
//! What it means is linkio's `ClassPolicy`.

use std::num::NonZeroU32;

use linkio::{Class, ClassPolicy, Weight};

/// The policies of all classes, in the order of `Class::ALL`.
pub(super) type Policies = [ClassPolicy; 3];

const EXPECTED: &str =
    "expected a class and what it may claim such as bulk: priority=1; weight=2; floor=5%; ceiling=80%";

/// Reads each of `texts` into the policy of its class; what is not said stays as it is by default.
pub(super) fn parse_all(texts: &[&str]) -> Result<Policies, (String, String)> {
    let mut policies = ClassPolicy::DEFAULT;
    let mut seen = Vec::new();
    for text in texts {
        let wrong = |reason: String| ((*text).to_owned(), reason);
        let (class, policy) = parse(text).map_err(wrong)?;
        if seen.contains(&class) {
            return Err(wrong(format!("expected {} only once", class.name())));
        }
        seen.push(class);
        policies[class.index()] = policy;
    }
    Ok(policies)
}

fn parse(text: &str) -> Result<(Class, ClassPolicy), String> {
    let (name, claims) = text.split_once(':').ok_or(EXPECTED)?;
    let class = Class::ALL.into_iter().find(|class| class.name() == name.trim());
    let class = class.ok_or("expected interactive, bulk or background before the colon")?;
    let mut policy = ClassPolicy::default_of(class);
    for claim in claims.split(';') {
        let (name, value) = claim.trim().split_once('=').ok_or(EXPECTED)?;
        match (name.trim(), value.trim()) {
            ("priority", value) => {
                policy.priority = value.parse().map_err(|_| "expected a priority from 0 to 255")?;
            }
            ("weight", value) => policy.weight = weight(value).ok_or("expected a weight from 1 to 100")?,
            ("floor", value) => policy.floor = percent(value).ok_or("expected a floor from 0% to 100%")?,
            ("ceiling", value) => {
                policy.ceiling = percent(value).ok_or("expected a ceiling from 0% to 100%")?;
            }
            (name, _) => return Err(format!("{EXPECTED} at {name:?}")),
        }
    }
    Ok((class, policy))
}

fn weight(text: &str) -> Option<Weight> {
    text.parse::<NonZeroU32>().ok().filter(|weight| weight.get() <= 100).map(Weight::new)
}

fn percent(text: &str) -> Option<u8> {
    text.strip_suffix('%').unwrap_or(text).trim_end().parse().ok().filter(|percent| *percent <= 100)
}

/// Every class in canonical form.
pub(super) fn print_all(policies: &Policies) -> Vec<String> {
    let print = |(class, policy): (Class, &ClassPolicy)| {
        let ClassPolicy { priority, weight, floor, ceiling } = policy;
        let weight = weight.value();
        format!("{}: priority={priority}; weight={weight}; floor={floor}%; ceiling={ceiling}%", class.name())
    };
    Class::ALL.into_iter().zip(policies).map(print).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, canonical: &str) {
        match parse_all(&[text]) {
            Ok(policies) => {
                let printed = print_all(&policies);
                assert!(printed.iter().any(|line| line == canonical), "{text:?}: {printed:?}");
                let again: Vec<&str> = printed.iter().map(String::as_str).collect();
                assert_eq!(parse_all(&again), Ok(policies));
            }
            Err((value, reason)) => {
                assert_eq!(value, text);
                assert!(reason.contains(canonical), "{text:?}: {reason}");
            }
        }
    }

    #[test]
    fn policies() {
        check("bulk: ceiling=80%", "bulk: priority=1; weight=1; floor=5%; ceiling=80%");
        check(
            "bulk:priority=9;weight=3;floor=0;ceiling=100 %",
            "bulk: priority=9; weight=3; floor=0%; ceiling=100%",
        );
        check("video: floor=1%", "expected interactive, bulk or background");
        check("bulk: floor=101%", "expected a floor from 0% to 100%");
        check("bulk: weight=0", "expected a weight from 1 to 100");
        check("bulk: rate=1M", "at \"rate\"");
        check("bulk", "expected a class and what it may claim");
        assert!(
            parse_all(&["bulk: floor=1%", "bulk: floor=2%"])
                .is_err_and(|(_, reason)| reason.contains("once"))
        );
    }
}
