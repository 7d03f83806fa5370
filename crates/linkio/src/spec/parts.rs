//! The parts a link specification is made of, apart from its rates and times: how origins' TCP behaves, who goes
//! first, what counts as a byte, when nothing crosses, and how the link changes with time.
//!
//! Owns their values. How they are typed is `parse.rs`, what they do is elsewhere.

use std::time::Duration;

use crate::rate::BitRate;

/// Which way a byte goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the origin to the client.
    Down,
    /// From the client to the origin.
    Up,
}

/// How much of the TCP of a real connection over the link is imitated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tcp {
    /// Nothing: a connection stands at once, and sends all it has.
    None,
    /// A new connection costs one round trip.
    #[default]
    Handshake,
    /// As `Handshake`, and what is sent and not acknowledged is at most a window that begins at ten segments and
    /// grows by what is acknowledged (RFC 6928, RFC 5681 §3.1).
    SlowStart,
}

/// Who goes next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Discipline {
    /// Clients, and each one's flows, take turns; whoever is new goes first.
    #[default]
    Fair,
    /// Whoever asked first goes first, in one queue of this much time: bufferbloat.
    Fifo(Duration),
}

/// What the rate counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Accounting {
    /// The bytes of the streams.
    #[default]
    Payload,
    /// Those, and the headers of the packets that carry them.
    Wire(Framing),
}

/// Sizes of a packet's parts, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Framing {
    /// The largest IP packet. 1500.
    pub mtu: u16,
    /// IP and TCP header with timestamps: of the MTU, this does not carry payload. 52.
    pub header: u16,
    /// What the link adds to each packet. 14, an Ethernet header.
    pub link: u16,
}

impl Default for Framing {
    fn default() -> Self {
        Self { mtu: 1500, header: 52, link: 14 }
    }
}

impl Framing {
    /// Payload bytes of a full packet; never zero.
    pub fn payload(self) -> u64 {
        u64::from(self.mtu).saturating_sub(u64::from(self.header)).max(1)
    }

    /// Bytes a packet costs beyond its payload.
    pub fn overhead(self) -> u64 {
        u64::from(self.header) + u64::from(self.link)
    }
}

/// The share of packets that are lost, in millionths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Loss(pub u32);

/// Something that lasts `length` once in every `period`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cycle {
    /// How long it lasts; at most the period.
    pub length: Duration,
    /// How often it comes; never zero.
    pub period: Duration,
}

/// How a link changes with the time since it was set: points in ascending order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    /// In order of `at`, no two alike.
    pub points: Vec<Point>,
    /// After this long it begins again; not before the last point. `None`: the last point holds.
    pub repeat: Option<Duration>,
}

/// What a link becomes at one moment of a [`Schedule`]. `None` leaves a value as it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// Since the link was set.
    pub at: Duration,
    /// How the values get there.
    pub change: Change,
    /// The rate towards the clients.
    pub down: Option<BitRate>,
    /// The rate towards the origins.
    pub up: Option<BitRate>,
    /// The round-trip time.
    pub rtt: Option<Duration>,
    /// The jitter.
    pub jitter: Option<Duration>,
    /// The loss.
    pub loss: Option<Loss>,
}

/// How values get to those of a [`Point`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Change {
    /// At once.
    #[default]
    Step,
    /// In a straight line from the point before, or from the specification at the start.
    Ramp,
}
