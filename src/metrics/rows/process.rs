//! The metrics of the process, by the names that every exporter gives them, of interception's certificates, and of the
//! build.

use super::Row;
use crate::metrics::exposition::Kind::{Counter, Gauge};

pub(super) const ROWS: [Row; 12] = [
    Row {
        name: "bentpipe_build_info",
        kind: Gauge,
        help: "Always 1; which bentpipe this is.",
        labels: &[("version", "of the release")],
        write: |_, out| out.whole(&[("version", env!("CARGO_PKG_VERSION"))], 1),
    },
    Row {
        name: "bentpipe_time_seconds",
        kind: Gauge,
        help: "What the clock of this machine shows, in seconds since 1970: compare it with that of whoever scrapes.",
        labels: &[],
        write: |look, out| out.sample(&[], look.now),
    },
    Row {
        name: "bentpipe_ca_not_after_timestamp_seconds",
        kind: Gauge,
        help: "When the certificate of the interception authority ends, in seconds since 1970. Absent where there is none.",
        labels: &[],
        write: |look, out| look.authority_ends.into_iter().for_each(|ends| out.sample(&[], ends)),
    },
    Row {
        name: "bentpipe_ca_leaves",
        kind: Gauge,
        help: "Hosts that have a certificate of that authority in memory.",
        labels: &[],
        write: |look, out| out.whole(&[], look.interception.map_or(0, |(_, leaves, _)| leaves as u64)),
    },
    Row {
        name: "bentpipe_ca_refused",
        kind: Gauge,
        help: "Pairs of client and host that are passed on because the client would not have our certificate.",
        labels: &[],
        write: |look, out| out.whole(&[], look.interception.map_or(0, |(_, _, refused)| refused as u64)),
    },
    Row {
        name: "process_cpu_seconds_total",
        kind: Counter,
        help: "CPU time of the process.",
        labels: &[],
        write: |look, out| out.sample(&[], look.process.cpu),
    },
    Row {
        name: "process_start_time_seconds",
        kind: Gauge,
        help: "When the proxy was started, in seconds since 1970, by the clock it had then.",
        labels: &[],
        write: |look, out| out.sample(&[], look.started),
    },
    Row {
        name: "process_resident_memory_bytes",
        kind: Gauge,
        help: "Memory that is resident.",
        labels: &[],
        write: |look, out| look.process.resident_bytes.into_iter().for_each(|bytes| out.whole(&[], bytes)),
    },
    Row {
        name: "process_virtual_memory_bytes",
        kind: Gauge,
        help: "Memory that is mapped.",
        labels: &[],
        write: |look, out| look.process.virtual_bytes.into_iter().for_each(|bytes| out.whole(&[], bytes)),
    },
    Row {
        name: "process_open_fds",
        kind: Gauge,
        help: "Descriptors that are open.",
        labels: &[],
        write: |look, out| look.process.open_files.into_iter().for_each(|open| out.whole(&[], open)),
    },
    Row {
        name: "process_max_fds",
        kind: Gauge,
        help: "Descriptors that may be. Absent where there is no limit.",
        labels: &[],
        write: |look, out| look.process.most_files.into_iter().for_each(|most| out.whole(&[], most)),
    },
    Row {
        name: "process_threads",
        kind: Gauge,
        help: "Threads.",
        labels: &[],
        write: |look, out| look.process.threads.into_iter().for_each(|threads| out.whole(&[], threads)),
    },
];
