//! The metrics of connections on both sides, of names, and of TLS.

use super::Row;
use crate::metrics::exposition::Kind::{Counter, Gauge};

pub(super) const ROWS: [Row; 14] = [
    Row {
        name: "bentpipe_client_connections",
        kind: Gauge,
        help: "Connections of clients, by whether an exchange is going on. What has become a tunnel is among the exchanges.",
        labels: &[("protocol", "http1, http2"), ("state", "active, idle")],
        write: |look, out| {
            for (protocol, open, active) in look.census.connections() {
                out.whole(&[("protocol", protocol), ("state", "active")], active);
                out.whole(&[("protocol", protocol), ("state", "idle")], open.saturating_sub(active));
            }
        },
    },
    Row {
        name: "bentpipe_client_connections_accepted_total",
        kind: Counter,
        help: "Connections that clients opened.",
        labels: &[],
        write: |look, out| out.whole(&[], look.census.accepted.read()),
    },
    Row {
        name: "bentpipe_client_connections_refused_total",
        kind: Counter,
        help: "Connections that were closed at once: their client may do nothing here, or has too many.",
        labels: &[],
        write: |look, out| out.whole(&[], look.census.refused.read()),
    },
    Row {
        name: "bentpipe_upstream_connections",
        kind: Gauge,
        help: "Connections to origins: idle ones are kept for the next request, busy ones carry requests or a tunnel.",
        labels: &[("state", "busy, idle")],
        write: |look, out| {
            let idle = look.pooled.idle as u64;
            out.whole(&[("state", "busy")], (look.link.flows as u64).saturating_sub(idle));
            out.whole(&[("state", "idle")], idle);
        },
    },
    Row {
        name: "bentpipe_upstream_dials_total",
        kind: Counter,
        help: "Connections to origins or parent proxies that were dialled, names looked up included.",
        labels: &[("result", "connected, failed")],
        write: |look, out| {
            out.whole(&[("result", "connected")], look.upstream.connected.read());
            out.whole(&[("result", "failed")], look.upstream.not_connected.read());
        },
    },
    Row {
        name: "bentpipe_upstream_reused_total",
        kind: Counter,
        help: "Requests that were sent on a connection used before.",
        labels: &[],
        write: |look, out| out.whole(&[], look.upstream.reused.read()),
    },
    Row {
        name: "bentpipe_upstream_waiting",
        kind: Gauge,
        help: "Requests that wait for a connection.",
        labels: &[],
        write: |look, out| out.whole(&[], look.pooled.waiting as u64),
    },
    Row {
        name: "bentpipe_dns_lookups_total",
        kind: Counter,
        help: "Names that were looked up.",
        labels: &[],
        write: |look, out| out.whole(&[], look.names.lookups),
    },
    Row {
        name: "bentpipe_dns_answers_total",
        kind: Counter,
        help: "Lookups that no name server was waited for: answered here, from memory, or by an answer whose time was over.",
        labels: &[("from", "local, memory, stale")],
        write: |look, out| {
            out.whole(&[("from", "local")], look.names.local);
            out.whole(&[("from", "memory")], look.names.hits);
            out.whole(&[("from", "stale")], look.names.stale);
        },
    },
    Row {
        name: "bentpipe_dns_queries_total",
        kind: Counter,
        help: "Questions to name servers, for both families of addresses each.",
        labels: &[],
        write: |look, out| out.whole(&[], look.names.queries),
    },
    Row {
        name: "bentpipe_dns_failures_total",
        kind: Counter,
        help: "Of them those that no name server could answer.",
        labels: &[],
        write: |look, out| out.whole(&[], look.names.failures),
    },
    Row {
        name: "bentpipe_dns_names",
        kind: Gauge,
        help: "Names that are remembered.",
        labels: &[],
        write: |look, out| out.whole(&[], look.names.names as u64),
    },
    Row {
        name: "bentpipe_tls_handshakes_total",
        kind: Counter,
        help: "Handshakes of TLS: with origins, with clients that speak TLS to the proxy itself, and with clients of tunnels \
               that are looked into.",
        labels: &[("side", "origin, client, intercepted"), ("result", "full, resumed, failed")],
        write: |look, out| {
            let intercepted = look.interception.map(|(tunnels, ..)| &tunnels.handshakes);
            let sides = [
                ("origin", Some(&look.upstream.handshakes)),
                ("client", Some(&look.census.handshakes)),
                ("intercepted", intercepted),
            ];
            for (side, handshakes) in sides {
                let [full, resumed, failed] = handshakes.map_or([0; 3], |handshakes| handshakes.read());
                out.whole(&[("side", side), ("result", "full")], full);
                out.whole(&[("side", side), ("result", "resumed")], resumed);
                out.whole(&[("side", side), ("result", "failed")], failed);
            }
        },
    },
    Row {
        name: "bentpipe_interception_tunnels_total",
        kind: Counter,
        help: "Tunnels that were to be looked into: opened, spliced after all, refused (the client would not have our \
               certificate, or seems so), or gone before they began.",
        labels: &[("result", "opened, spliced, refused, gone")],
        write: |look, out| {
            let told = look.interception.map_or([0; 4], |(tunnels, ..)| tunnels.read());
            for (result, count) in ["opened", "spliced", "refused", "gone"].into_iter().zip(told) {
                out.whole(&[("result", result)], count);
            }
        },
    },
];
