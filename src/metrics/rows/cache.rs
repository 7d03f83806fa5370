//! The metrics of the cache: how often it could answer, what it holds, and how its disk is.

use super::Row;
use crate::metrics::exposition::Kind::{Counter, Gauge};

pub(super) const ROWS: [Row; 19] = [
    Row {
        name: "bentpipe_cache_answers_total",
        kind: Counter,
        help: "Answers to requests that the cache had a part in: hits, answered from what is stored, fresh or stale; those of \
               which the origin said that what is stored still holds; and those of an origin. Failures are none.",
        labels: &[("source", "cache, revalidated, origin")],
        write: |look, out| {
            out.whole(&[("source", "cache")], look.tally.hits);
            out.whole(&[("source", "revalidated")], look.tally.revalidated);
            out.whole(&[("source", "origin")], look.tally.forwarded);
        },
    },
    Row {
        name: "bentpipe_cache_answer_bytes_total",
        kind: Counter,
        help: "Bytes of these answers, handed to clients; all but those of source=origin come from what is stored.",
        labels: &[("source", "cache, revalidated, origin")],
        write: |look, out| {
            out.whole(&[("source", "cache")], look.tally.hit_bytes);
            out.whole(&[("source", "revalidated")], look.tally.revalidated_bytes);
            out.whole(&[("source", "origin")], look.tally.forwarded_bytes);
        },
    },
    Row {
        name: "bentpipe_store_responses",
        kind: Gauge,
        help: "Stored responses, whole or in part.",
        labels: &[],
        write: |look, out| out.whole(&[], look.store.objects as u64),
    },
    Row {
        name: "bentpipe_store_bytes",
        kind: Gauge,
        help: "Bytes on disk of the stored responses.",
        labels: &[],
        write: |look, out| out.whole(&[], look.store.bytes),
    },
    Row {
        name: "bentpipe_store_disk_bytes",
        kind: Gauge,
        help: "Bytes on disk of the whole cache folder; this is what is kept below the limit.",
        labels: &[],
        write: |look, out| out.whole(&[], look.store.disk_bytes),
    },
    Row {
        name: "bentpipe_store_limit_bytes",
        kind: Gauge,
        help: "What the cache folder may take.",
        labels: &[],
        write: |look, out| out.whole(&[], look.store.limit),
    },
    Row {
        name: "bentpipe_store_memory_bytes",
        kind: Gauge,
        help: "Bytes of bodies that are kept in memory, too.",
        labels: &[],
        write: |look, out| out.whole(&[], look.store.memory_bytes),
    },
    Row {
        name: "bentpipe_store_pinned_responses",
        kind: Gauge,
        help: "Stored responses that are never evicted.",
        labels: &[],
        write: |look, out| out.whole(&[], look.store.pinned as u64),
    },
    Row {
        name: "bentpipe_store_pinned_bytes",
        kind: Gauge,
        help: "Bytes on disk of those.",
        labels: &[],
        write: |look, out| out.whole(&[], look.store.pinned_bytes),
    },
    Row {
        name: "bentpipe_store_arriving",
        kind: Gauge,
        help: "Bodies that are arriving: fetches that others may follow.",
        labels: &[],
        write: |look, out| out.whole(&[], look.store.arriving as u64),
    },
    Row {
        name: "bentpipe_store_followers",
        kind: Gauge,
        help: "Readers of bodies that are arriving, those that began the fetch included.",
        labels: &[],
        write: |look, out| out.whole(&[], look.store.followers as u64),
    },
    Row {
        name: "bentpipe_store_leading",
        kind: Gauge,
        help: "Fetches whose head is not here yet, for which other requests for the same URL wait.",
        labels: &[],
        write: |look, out| out.whole(&[], look.store.leading as u64),
    },
    Row {
        name: "bentpipe_store_kept_total",
        kind: Counter,
        help: "Bodies that were kept.",
        labels: &[],
        write: |look, out| out.whole(&[], look.store.kept),
    },
    Row {
        name: "bentpipe_store_evicted_total",
        kind: Counter,
        help: "Stored responses that made room for others.",
        labels: &[],
        write: |look, out| out.whole(&[], look.store.evicted),
    },
    Row {
        name: "bentpipe_store_damaged_total",
        kind: Counter,
        help: "Stored responses whose body was found missing or damaged.",
        labels: &[],
        write: |look, out| out.whole(&[], look.store.damaged),
    },
    Row {
        name: "bentpipe_store_disk_failures_total",
        kind: Counter,
        help: "Writes to the cache folder that failed.",
        labels: &[],
        write: |look, out| out.whole(&[], look.store.disk_failures),
    },
    Row {
        name: "bentpipe_store_storing",
        kind: Gauge,
        help: "1 while new responses are stored, 0 while the disk fails or has no room.",
        labels: &[],
        write: |look, out| out.whole(&[], u64::from(look.store.is_storing)),
    },
    Row {
        name: "bentpipe_store_disk_free_bytes",
        kind: Gauge,
        help: "What the file system of the cache folder has free. Absent where it does not say.",
        labels: &[],
        write: |look, out| look.store.disk_free.into_iter().for_each(|free| out.whole(&[], free)),
    },
    Row {
        name: "bentpipe_store_min_free_bytes",
        kind: Gauge,
        help: "What of it is to be kept free.",
        labels: &[],
        write: |look, out| look.store.min_free.into_iter().for_each(|free| out.whole(&[], free)),
    },
];
