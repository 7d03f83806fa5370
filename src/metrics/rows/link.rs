//! The metrics of the link: what crossed, how busy it is, what waits, how much there could be.

use linkio::{BitRate, Class, LaneState};

use super::Row;
use crate::metrics::exposition::Exposition;
use crate::metrics::exposition::Kind::{Counter, Gauge};
use crate::metrics::look::Look;

const DIRECTION: (&str, &str) = ("direction", "down, up");

pub(super) const ROWS: [Row; 9] = [
    Row {
        name: "bentpipe_link_bytes_total",
        kind: Counter,
        help: "Payload bytes that crossed the link, as they cross: HTTP, TLS and tunnels to origins.",
        labels: &[DIRECTION],
        write: |look, out| {
            out.whole(&[("direction", "down")], look.link.usage.down);
            out.whole(&[("direction", "up")], look.link.usage.up);
        },
    },
    Row {
        name: "bentpipe_link_class_bytes_total",
        kind: Counter,
        help: "The same by class of traffic, while the link limited or delayed.",
        labels: &[DIRECTION, ("class", "interactive, bulk, background")],
        write: |look, out| {
            for (class, used) in Class::ALL.iter().zip(look.shares.classes) {
                out.whole(&[("direction", "down"), ("class", class.name())], used.down);
                out.whole(&[("direction", "up"), ("class", class.name())], used.up);
            }
        },
    },
    Row {
        name: "bentpipe_link_capacity_bytes_per_second",
        kind: Gauge,
        help: "What may cross at the moment; 0 where the direction is closed, +Inf where it is not limited.",
        labels: &[DIRECTION],
        write: |look, out| {
            for (direction, rate) in ["down", "up"].into_iter().zip(look.rates) {
                let bits = rate.map_or(f64::INFINITY, |rate: BitRate| rate.bits_per_second() as f64);
                out.sample(&[("direction", direction)], bits / 8.0);
            }
        },
    },
    Row {
        name: "bentpipe_link_utilisation_ratio",
        kind: Gauge,
        help: "The part of the last ten seconds in which something crossed, from 0 to 1.",
        labels: &[DIRECTION],
        write: |look, out| lanes(look, out, |lane| lane.utilisation),
    },
    Row {
        name: "bentpipe_link_queued_bytes",
        kind: Gauge,
        help: "Bytes that wait for their turn.",
        labels: &[DIRECTION],
        write: |look, out| lanes(look, out, |lane| lane.backlog as f64),
    },
    Row {
        name: "bentpipe_link_queueing_delay_seconds",
        kind: Gauge,
        help: "How long until what waits now has crossed; +Inf where the direction is closed and something waits.",
        labels: &[DIRECTION],
        write: |look, out| {
            lanes(look, out, |lane| lane.queueing_delay.map_or(f64::INFINITY, |delay| delay.as_secs_f64()));
        },
    },
    Row {
        name: "bentpipe_link_flows",
        kind: Gauge,
        help: "Connections over the link.",
        labels: &[],
        write: |look, out| out.whole(&[], look.link.flows as u64),
    },
    Row {
        name: "bentpipe_link_rtt_seconds",
        kind: Gauge,
        help: "The time there and back that the link adds, by its specification.",
        labels: &[],
        write: |look, out| out.sample(&[], look.link_rtt),
    },
    Row {
        name: "bentpipe_uplink_rtt_seconds",
        kind: Gauge,
        help: "The time there and back of the real uplink: the median of late handshakes. Absent until there were some.",
        labels: &[],
        write: |look, out| {
            if let Some(rtt) = look.uplink_rtt {
                out.sample(&[], rtt);
            }
        },
    },
];

fn lanes(look: &Look<'_>, out: &mut Exposition, value: impl Fn(&LaneState) -> f64) {
    out.sample(&[("direction", "down")], value(&look.link.down));
    out.sample(&[("direction", "up")], value(&look.link.up));
}
