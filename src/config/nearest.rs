//! Names that are no option's: what may have been meant by them.
//!
//! It knows names only. That a name is unknown is found by `load`.

use strsim::osa_distance;

use crate::config::ConfigError;
use crate::config::options::{OPTIONS, OptionRow};

/// What the variables of options begin with, and nobody else's.
pub(super) const PREFIX: &str = "BENTPIPE_";

/// The options or the section that may be meant by `key`, the name of a value; none if none is much like it.
pub(super) fn options(key: &str) -> Vec<&'static str> {
    let names = OPTIONS.iter().map(|row| row.key);
    let nearest = nearest(key, names.chain(sections()));
    // A section takes no value: of `link = "512k"` what is meant is an option in it, the one that `--link` gives.
    match nearest.filter(|name| sections().any(|section| section == *name)) {
        Some(section) => {
            let within = || OPTIONS.iter().filter(|row| is_in(row, section));
            let same_flag = within().find(|row| row.flag == Some(section));
            same_flag.map_or_else(|| within().map(|row| row.key).collect(), |row| vec![row.key])
        }
        None => nearest.into_iter().collect(),
    }
}

/// The section that may be meant by `key`, the name of a table, or the option.
pub(super) fn section(key: &str) -> Vec<&'static str> {
    nearest(key, sections().chain(OPTIONS.iter().map(|row| row.key))).into_iter().collect()
}

/// What is wrong with the names of variables that are set: those which look like an option's and are not.
pub(super) fn unknown_variables(names: &[String]) -> impl Iterator<Item = ConfigError> {
    let known = |name: &str| OPTIONS.iter().any(|row| row.variable() == name);
    names.iter().filter(move |name| !known(name)).filter_map(|name| {
        let key = name.strip_prefix(PREFIX)?.to_ascii_lowercase();
        let meant = options(&key).into_iter().filter_map(|key| OPTIONS.iter().find(|row| row.key == key));
        Some(ConfigError::UnknownVariable {
            name: name.clone(),
            nearest: meant.map(OptionRow::variable).collect(),
        })
    })
}

fn sections() -> impl Iterator<Item = &'static str> {
    OPTIONS.iter().filter_map(|row| row.key.split_once('.')).map(|(section, _)| section)
}

fn is_in(row: &OptionRow, section: &str) -> bool {
    row.key.split_once('.').is_some_and(|(within, _)| within == section)
}

/// The name that the fewest slips (letters put in, left out, replaced or swapped) make of `key`.
pub(super) fn nearest(key: &str, names: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    // No name is longer.
    let key: String = key.chars().take(64).collect();
    let last_part = |name: &'static str| name.rsplit('.').next().unwrap_or(name);
    // `[cach] size` is near `cache.size`, and so is a bare `size`.
    let distance = |name: &'static str| osa_distance(&key, name).min(osa_distance(&key, last_part(name)) + 1);
    names
        .map(|name| (distance(name), name))
        .min()
        .filter(|(distance, name)| *distance <= name.len() / 3)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_options() {
        let check = |key, expected: &[&str]| assert_eq!(options(key), expected, "{key}");
        check("cache.szie", &["cache.size"]);
        check("cache-size", &["cache.size"]);
        check("cachesize", &["cache.size"]);
        check("max_object", &["cache.max_object"]);
        check("Listen", &["listen"]);
        check("quic.datagrams", &[]);
        check("", &[]);
    }

    #[test]
    fn a_value_for_a_section_is_meant_for_an_option_in_it() {
        assert_eq!(options("link"), ["link.spec"]);
        assert_eq!(options("lnik"), ["link.spec"]);
        assert_eq!(options("control"), ["control.socket"]);
        let all: Vec<_> = OPTIONS.iter().filter(|row| is_in(row, "cache")).map(|row| row.key).collect();
        assert!(options("cache") == all && all.len() > 1, "{all:?}");
        assert_eq!(section("lnik"), ["link"]);
        assert_eq!(section("tiemouts"), ["timeouts"]);
    }

    #[test]
    fn variables_that_are_no_options_are_told_with_the_nearest() {
        let check = |name: &str, expected: &[&str]| {
            let errors: Vec<_> =
                unknown_variables(&[name.to_owned()]).map(|error| error.to_string()).collect();
            assert_eq!(errors, expected);
        };
        check("BENTPIPE_CACHE_SIZE", &[]);
        check("PATH", &[]);
        check(
            "BENTPIPE_LINK",
            &["BENTPIPE_LINK is not an option's variable; did you mean BENTPIPE_LINK_SPEC?"],
        );
        check(
            "BENTPIPE_CACHE_SIEZ",
            &["BENTPIPE_CACHE_SIEZ is not an option's variable; did you mean BENTPIPE_CACHE_SIZE?"],
        );
        check(
            "BENTPIPE_CONTROL",
            &["BENTPIPE_CONTROL is not an option's variable; did you mean BENTPIPE_CONTROL_SOCKET?"],
        );
        check("BENTPIPE_X", &["BENTPIPE_X is not an option's variable"]);
    }
}
