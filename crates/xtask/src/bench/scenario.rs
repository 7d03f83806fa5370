//! What is measured: every scenario with its name, its figures, and the target that each figure has. Data; how it is
//! measured stands in the files of `measure`.

use std::fmt;
use std::str::FromStr;

use anyhow::bail;

/// Which way a figure is good.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Good {
    AtMost(f64),
    AtLeast(f64),
    /// No target was set.
    Low,
    High,
}

/// One figure of a scenario, a row of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Figure {
    /// Its name among those of its scenario, in JSON.
    pub(super) key: &'static str,
    pub(super) title: &'static str,
    pub(super) unit: &'static str,
    pub(super) good: Good,
    /// What to add to the target in the table.
    pub(super) remark: &'static str,
    /// Whether it has a row in the table; what has none is in the JSON.
    pub(super) is_shown: bool,
}

const fn figure(key: &'static str, title: &'static str, unit: &'static str, good: Good) -> Figure {
    Figure { key, title, unit, good, remark: "", is_shown: true }
}

const fn hidden(key: &'static str, unit: &'static str) -> Figure {
    Figure { key, title: key, unit, good: Good::High, remark: "", is_shown: false }
}

/// What a program must be able to do to take part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    /// Answer from a cache; hyper's floor does so from memory.
    Cache,
    /// Store what passes; no floor does.
    Store,
    /// Pass on what may not be stored.
    Forward,
    /// CONNECT.
    Tunnel,
    /// Open connections (idle ones).
    Serve,
    /// What only bentpipe does.
    Bentpipe,
}

/// How it is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measure {
    /// Paths asked for on so many connections for a time, in rounds; a number stands for distinct ones.
    Load {
        policy: &'static str,
        size: u64,
        distinct: u64,
        connections: usize,
    },
    /// So many new objects stored, in rounds.
    Store {
        size: u64,
        count: u64,
    },
    /// A large body through a tunnel, in rounds.
    Tunnel {
        size: u64,
    },
    /// Hits through tunnels that are opened, in rounds.
    Intercept {
        size: u64,
    },
    Idle {
        connections: usize,
    },
    Memory {
        objects: u64,
        size: u64,
    },
    Start {
        objects: u64,
    },
    Kill {
        objects: u64,
    },
    Crowd {
        clients: usize,
        size: u64,
    },
    Link {
        flows: usize,
    },
}

/// A scenario.
#[derive(Debug)]
pub(super) struct Scenario {
    pub(super) name: &'static str,
    pub(super) needs: Needs,
    pub(super) measure: Measure,
    pub(super) figures: &'static [Figure],
    /// Left out unless `--long` is given.
    pub(super) is_long: bool,
}

const fn scenario(
    name: &'static str,
    needs: Needs,
    measure: Measure,
    figures: &'static [Figure],
) -> Scenario {
    Scenario { name, needs, measure, figures, is_long: false }
}

const fn load(policy: &'static str, size: u64, distinct: u64, connections: usize) -> Measure {
    Measure::Load { policy, size, distinct, connections }
}

const RATE: Figure = hidden("requests", "per s");
const fn cost(title: &'static str, most: f64) -> [Figure; 2] {
    [figure("cpu", title, "us", Good::AtMost(most)), RATE]
}

/// All of them, in the order of the table.
pub(super) static ALL: &[Scenario] = &[
    scenario("hit-1k", Needs::Cache, load("kept", 1_000, 1, 64), &cost("hit, 1 kB", 8.5)),
    scenario("hit-10k", Needs::Cache, load("kept", 10_000, 1, 64), &cost("hit, 10 kB", 9.0)),
    scenario("hit-100k", Needs::Cache, load("kept", 100_000, 1, 64), &cost("hit, 100 kB", 20.0)),
    scenario(
        "hit-100m",
        Needs::Cache,
        load("kept", 100_000_000, 1, 4),
        &[
            figure("rate", "hit, 100 MB", "MB/s", Good::AtLeast(3_700.0)),
            figure("cpu-gb", "hit, 100 MB, processor", "s/GB", Good::Low),
        ],
    ),
    scenario(
        "spread-10k",
        Needs::Cache,
        load("kept", 10_000, 10_000, 64),
        &cost("10,000 x 10 kB at random", 11.0),
    ),
    scenario("pass-1k", Needs::Forward, load("passed", 1_000, 1, 64), &cost("passed through, 1 kB", 21.0)),
    scenario(
        "pass-100k",
        Needs::Forward,
        load("passed", 100_000, 1, 64),
        &cost("passed through, 100 kB", 48.0),
    ),
    scenario(
        "pass-100m",
        Needs::Forward,
        load("passed", 100_000_000, 1, 4),
        &[figure("cpu-gb", "passed through, 100 MB", "s/GB", Good::AtMost(0.45)), hidden("rate", "MB/s")],
    ),
    scenario(
        "store-10k",
        Needs::Store,
        Measure::Store { size: 10_000, count: 5_000 },
        &cost("5,000 x 10 kB stored", 42.0),
    ),
    scenario(
        "connect",
        Needs::Tunnel,
        Measure::Tunnel { size: 100_000_000 },
        &[figure("cpu-gb", "CONNECT, 100 MB", "s/GB", Good::AtMost(0.4)), hidden("rate", "MB/s")],
    ),
    scenario(
        "intercept-1k",
        Needs::Bentpipe,
        Measure::Intercept { size: 1_000 },
        &[figure("cpu", "hit of opened https, 1 kB", "us", Good::Low), RATE],
    ),
    scenario(
        "idle",
        Needs::Serve,
        Measure::Idle { connections: 2_000 },
        &[figure("bytes", "an idle connection, of 2,000", "bytes", Good::AtMost(4_000.0))],
    ),
    scenario(
        "memory",
        Needs::Store,
        Measure::Memory { objects: 10_000, size: 10_000 },
        &[
            figure("idle", "memory just started", "MB", Good::AtMost(12.0)),
            Figure {
                remark: ", 32 of them hot bodies",
                ..figure("filled", "memory with 10,000 objects of 10 kB", "MB", Good::AtMost(57.0))
            },
        ],
    ),
    Scenario {
        is_long: true,
        ..scenario(
            "memory-1m",
            Needs::Store,
            Measure::Memory { objects: 1_000_000, size: 1_000 },
            &[
                hidden("idle", "MB"),
                figure("filled", "memory with 1,000,000 objects of 1 kB", "MB", Good::Low),
            ],
        )
    },
    scenario(
        "start",
        Needs::Store,
        Measure::Start { objects: 10_000 },
        &[figure("ms", "start to first hit, 10,000 objects", "ms", Good::AtMost(50.0))],
    ),
    scenario(
        "kill",
        Needs::Store,
        Measure::Kill { objects: 1_000 },
        &[figure("kept", "hits kept after kill -9, stored 2 s before", "%", Good::AtLeast(100.0))],
    ),
    scenario(
        "crowd",
        Needs::Store,
        Measure::Crowd { clients: 200, size: 10_000_000 },
        &[
            figure("fetches", "200 clients, one cold object of 10 MB in 2 s: fetches", "", Good::AtMost(1.0)),
            // The object takes two seconds to come: who streams it has begun with every client long before.
            figure("first-byte", "the same: last client's first byte", "ms", Good::AtMost(1_000.0)),
        ],
    ),
    scenario(
        "link",
        Needs::Bentpipe,
        Measure::Link { flows: 1_000 },
        &[
            figure("cpu", "link of 100 Mbit/s, 1,000 flows, processor", "%", Good::Low),
            figure("spread", "the same: most to least of a flow", "", Good::Low),
            hidden("mbit", "Mbit/s"),
        ],
    ),
];

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name)
    }
}

/// A scenario by its name, for the command line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named(pub(super) &'static Scenario);

impl FromStr for Named {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        match ALL.iter().find(|scenario| scenario.name == text) {
            Some(scenario) => Ok(Self(scenario)),
            None => {
                let names: Vec<_> = ALL.iter().map(|scenario| scenario.name).collect();
                bail!("there are {}", names.join(", "))
            }
        }
    }
}

impl Good {
    /// Whether `value` is where it should be; what has no target is.
    pub(super) fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
            Self::Low | Self::High => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_found_and_tell_scenarios_apart() {
        let names: BTreeSet<_> = ALL.iter().map(|scenario| scenario.name).collect();
        assert_eq!(names.len(), ALL.len());
        assert_eq!("hit-1k".parse::<Named>().expect("a name").0.name, "hit-1k");
        let fault = "hit-2k".parse::<Named>().expect_err("no name");
        assert!(fault.to_string().contains("hit-1k, hit-10k"), "{fault}");
    }

    #[test]
    fn a_target_is_met_at_its_own_value() {
        assert!(Good::AtMost(8.5).is_met(8.5) && !Good::AtMost(8.5).is_met(8.6));
        assert!(Good::AtLeast(100.0).is_met(100.0) && !Good::AtLeast(100.0).is_met(99.9));
        assert!(Good::Low.is_met(1e9));
    }
}
