//! A row a metric: its name, kind, meaning and labels, and how it is read. What is not here does not exist: the page of
//! metrics is made of these, and so is what is scraped.

mod cache;
mod connections;
mod link;
mod process;
mod traffic;

use super::exposition::{Exposition, Kind};
use super::look::Look;

/// One metric.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// A sentence or two, with the unit where the name does not say it.
    pub(crate) help: &'static str,
    /// Labels and the values they may have.
    pub(crate) labels: &'static [(&'static str, &'static str)],
    pub(crate) write: fn(&Look<'_>, &mut Exposition),
}

/// All metrics, by what they are about.
pub(crate) const SECTIONS: [(&str, &[Row]); 5] = [
    ("Exchanges and clients", &traffic::ROWS),
    ("The link", &link::ROWS),
    ("The cache", &cache::ROWS),
    ("Connections, names and TLS", &connections::ROWS),
    ("The process", &process::ROWS),
];

/// All metrics.
pub(crate) fn all() -> impl Iterator<Item = &'static Row> {
    SECTIONS.iter().flat_map(|(_, rows)| rows.iter())
}
