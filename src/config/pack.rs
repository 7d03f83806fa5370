//! `cache.packs`: named lists of rules about what remote sites really fetch, one file of rules each in `packs/`.
//!
//! None is in force unless it is named: out of the box bentpipe does what the messages say. The files are
//! written as an operator would write them, so that a rule can be copied and changed.

use rfc9111::Rule;

use crate::config::file::{self, Written};
use crate::config::{nearest, rule};

const PACKS: [(&str, &str); 6] = [
    ("apt", include_str!("packs/apt.toml")),
    ("pypi", include_str!("packs/pypi.toml")),
    ("npm", include_str!("packs/npm.toml")),
    ("crates", include_str!("packs/crates.toml")),
    ("windows-updates", include_str!("packs/windows-updates.toml")),
    ("apple-updates", include_str!("packs/apple-updates.toml")),
];

/// A named list of rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pack {
    /// As in `cache.packs`.
    pub name: &'static str,
    /// In the order in which they are asked.
    pub rules: Vec<Rule>,
}

/// Reads the name of a pack.
pub(super) fn parse(text: &str) -> Result<Pack, String> {
    let Some((name, file)) = PACKS.into_iter().find(|(name, _)| *name == text) else {
        let names = PACKS.map(|(name, _)| name);
        let meant = nearest::nearest(text, names.into_iter());
        let meant = meant.map_or_else(String::new, |name| format!("; did you mean {name}?"));
        return Err(format!("expected {}{meant}", names.join(", ")));
    };
    let rules = rules(file).map_err(|(line, reason)| format!("{name}.toml:{line}: {reason}"))?;
    Ok(Pack { name, rules })
}

fn rules(file: &str) -> Result<Vec<Rule>, (usize, String)> {
    let entries = file::entries(file).map_err(|errors| {
        errors.into_iter().next().map_or((0, String::new()), |error| (error.line, error.reason))
    })?;
    let mut rules = Vec::new();
    for entry in entries {
        let Written::Tables(tables) = entry.written else {
            return Err((entry.line, "expected [[cache.rule]]".to_owned()));
        };
        for table in tables {
            let text = rule::table::text(&table)
                .map_err(|errors| errors.into_iter().next().unwrap_or((table.line, String::new())))?;
            rules.push(rule::parse(&text).map_err(|reason| (table.line, reason))?);
        }
    }
    Ok(rules)
}

#[cfg(test)]
mod tests;
