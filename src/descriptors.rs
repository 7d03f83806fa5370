//! Descriptors of this process: as many as its connections want, as far as the system gives them, and how many connections
//! those allow. Without this a dial or a file would fail for want of one while clients are still let in.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What a client's connection takes: itself, one to an origin, and a file.
const EACH: u64 = 3;
/// For listeners, commands, logs, the index, files of those who share a connection, those of short bodies, and the pipes of
/// tunnels.
const OTHERS: u64 = 384;

/// How many connections of clients there may be at once, of the `wanted`; the limit of this process is raised for them as
/// far as it may be.
pub(crate) fn places(wanted: usize) -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let needed = (wanted as u64).saturating_mul(EACH).saturating_add(OTHERS);
    let raised = Some(maximum.map_or(needed, |maximum| maximum.min(needed)));
    let allowed = match current {
        Some(now)
            if now < needed && setrlimit(Resource::Nofile, Rlimit { current: raised, maximum }).is_ok() =>
        {
            raised
        }
        now => now,
    };
    let places = allowed.map_or(wanted, |allowed| wanted.min(possible(allowed)));
    if places < wanted {
        let descriptors = allowed.unwrap_or_default();
        tracing::warn!(
            descriptors,
            "limits.connections = {wanted} is more than this process has descriptors for (ulimit -n, LimitNOFILE=): {places} \
             are served at once"
        );
    }
    places
}

/// How many of the `wanted` pipes, of two descriptors each, there may be at once: never so many that others would lack what
/// they take.
pub(crate) fn pipes(wanted: usize) -> usize {
    let possible = |descriptors: u64| usize::try_from(descriptors / 32).unwrap_or(usize::MAX);
    getrlimit(Resource::Nofile).current.map_or(wanted, |descriptors| wanted.min(possible(descriptors)))
}

/// Connections for which there is all they need among `descriptors`.
fn possible(descriptors: u64) -> usize {
    let places = (descriptors - OTHERS.min(descriptors / 4)) / EACH;
    usize::try_from(places).unwrap_or(usize::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_has_what_it_needs_and_something_is_left() {
        for (descriptors, expected) in
            [(0, 1), (3, 1), (64, 16), (1024, 256), (12_672, 4096), (u64::MAX, usize::MAX / 3)]
        {
            let places = possible(descriptors);
            assert!(places.abs_diff(expected) <= 130, "{descriptors}: {places}");
            assert!(descriptors < 4 || places as u64 * EACH < descriptors, "{descriptors}: {places}");
        }
    }

    #[test]
    fn what_is_wanted_is_not_exceeded() {
        assert_eq!((places(1), pipes(1)), (1, 1));
    }
}
