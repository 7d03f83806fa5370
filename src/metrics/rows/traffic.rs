//! The metrics of exchanges: how many of which kind, their bytes and times, their errors; and who watches them.

use super::Row;
use crate::metrics::exposition::Kind::{Counter, Gauge, Histogram};

const SOURCE: (&str, &str) = ("source", "cache, origin, tunnel, own");

pub(super) const ROWS: [Row; 17] = [
    Row {
        name: "bentpipe_requests_total",
        kind: Counter,
        help: "Exchanges that are over, by what became of them. Only kinds that have occurred are there.",
        labels: &[
            (
                "result",
                "hit, stale, revalidated, collapsed (served by another request's fetch), miss, pass (the cache has no part \
                 in it), failed (the origin could not be asked), tunnel, intercepted, refused, own (pages of bentpipe itself)",
            ),
            ("method", "get, head, post, connect, other"),
            ("status", "1xx, 2xx, 3xx, 4xx, 5xx, none (the client left first)"),
        ],
        write: |look, out| {
            for ([result, method, status], count) in look.exchanges.requests() {
                out.whole(&[("result", result), ("method", method), ("status", status)], count);
            }
        },
    },
    Row {
        name: "bentpipe_results_total",
        kind: Counter,
        help: "The same exchanges by result alone; every result is there from the start.",
        labels: &[("result", "as above")],
        write: |look, out| {
            look.exchanges.outcomes().for_each(|(result, count)| out.whole(&[("result", result)], count));
        },
    },
    Row {
        name: "bentpipe_exchanges_begun_total",
        kind: Counter,
        help: "Exchanges that have begun.",
        labels: &[],
        write: |look, out| out.whole(&[], look.begun),
    },
    Row {
        name: "bentpipe_exchanges_under_way",
        kind: Gauge,
        help: "Exchanges under way.",
        labels: &[("kind", "request, tunnel")],
        write: |look, out| {
            out.whole(&[("kind", "request")], look.under_way.requests);
            out.whole(&[("kind", "tunnel")], look.under_way.tunnels);
        },
    },
    Row {
        name: "bentpipe_clients_under_way",
        kind: Gauge,
        help: "Addresses of clients that have exchanges under way.",
        labels: &[],
        write: |look, out| out.whole(&[], look.under_way.clients),
    },
    Row {
        name: "bentpipe_client_bytes_total",
        kind: Counter,
        help: "Bytes of exchanges that are over: heads and content to clients (down), content of requests and what came into \
               tunnels (up).",
        labels: &[("direction", "down, up"), SOURCE],
        write: |look, out| {
            for (source, down, up) in look.exchanges.bytes() {
                out.whole(&[("direction", "down"), ("source", source)], down);
                out.whole(&[("direction", "up"), ("source", source)], up);
            }
        },
    },
    Row {
        name: "bentpipe_errors_total",
        kind: Counter,
        help: "Responses that bentpipe made itself because something was wrong, by their type in Proxy-Status (RFC 9209).",
        labels: &[("error", "the types of RFC 9209 section 2.3, other")],
        write: |look, out| {
            look.exchanges.errors().for_each(|(error, count)| out.whole(&[("error", error)], count));
        },
    },
    Row {
        name: "bentpipe_cut_short_total",
        kind: Counter,
        help: "Exchanges that broke off before their end, by who broke them off.",
        labels: &[("by", "client, origin, store, operator")],
        write: |look, out| look.exchanges.cut().for_each(|(by, count)| out.whole(&[("by", by)], count)),
    },
    Row {
        name: "bentpipe_exchange_duration_seconds",
        kind: Histogram,
        help: "From the request's head to the last byte of the response, or the end of the tunnel.",
        labels: &[SOURCE],
        write: |look, out| {
            for (source, times) in look.exchanges.durations() {
                out.histogram(&[("source", source)], &times.spread());
            }
        },
    },
    Row {
        name: "bentpipe_response_size_bytes",
        kind: Histogram,
        help: "Bytes of head and content handed to the client's connection.",
        labels: &[SOURCE],
        write: |look, out| {
            for (source, sizes) in look.exchanges.sizes() {
                out.histogram(&[("source", source)], &sizes.spread());
            }
        },
    },
    Row {
        name: "bentpipe_first_byte_seconds",
        kind: Histogram,
        help: "From the request's head to the head of the origin's response, of exchanges that asked an origin.",
        labels: &[],
        write: |look, out| out.histogram(&[], &look.exchanges.first_byte().spread()),
    },
    Row {
        name: "bentpipe_connection_wait_seconds",
        kind: Histogram,
        help: "Waiting for a connection to the origin, dialling it included.",
        labels: &[],
        write: |look, out| out.histogram(&[], &look.exchanges.connection().spread()),
    },
    Row {
        name: "bentpipe_link_wait_seconds",
        kind: Histogram,
        help: "How long bytes of an exchange were on the link, waiting for their turn or on their way, of exchanges that \
               crossed it on connections of their own.",
        labels: &[],
        write: |look, out| out.histogram(&[], &look.exchanges.link().spread()),
    },
    Row {
        name: "bentpipe_log_lines_lost_total",
        kind: Counter,
        help: "Lines that the access log lost because its disk or its reader was too slow.",
        labels: &[],
        write: |look, out| out.whole(&[], look.lost_lines),
    },
    Row {
        name: "bentpipe_events_lost_total",
        kind: Counter,
        help: "Events that whoever watches live (bentpipe tail) did not take in time.",
        labels: &[],
        write: |look, out| out.whole(&[], look.lost_events),
    },
    Row {
        name: "bentpipe_event_watchers",
        kind: Gauge,
        help: "Who watches live at the moment.",
        labels: &[],
        write: |look, out| out.whole(&[], look.watchers),
    },
    Row {
        name: "bentpipe_origins_out_of_reach",
        kind: Gauge,
        help: "Origins that could not be reached in the last half minute, 1024 at most.",
        labels: &[],
        write: |look, out| out.whole(&[], look.out_of_reach as u64),
    },
];
