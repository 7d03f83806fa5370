//! The link as a user writes it: `512k/128k,rtt=600ms`, `geo,jitter=40ms`, `auto=90%`.
//!
//! Owns the grammar of `LinkSpec` and an error that names the part it is about. It decides nothing about pacing.
//! Names and units are read in any case, and blanks around parts are free. `docs/links.md` explains each option.
//!
//! ```text
//! spec    = [ rates / preset / "auto=" percent ] *( "," option )
//! rates   = rate [ "/" rate ]      one for both directions, or down/up
//! rate    = "unlimited" / bits per second such as 512k or 10Mbit/s; 0 closes the direction
//! preset  = the name of one of `presets()`
//! option  = "down=" rate / "up=" rate / "rtt=" time / "jitter=" time / "loss=" percent
//!         / "tcp=" ( "none" / "handshake" / "slow-start" ) / "queue=" ( "fair" / "fifo:" time )
//!         / "count=" ( "payload" / "wire" [ ":" MTU "/" header "/" link ] )
//!         / "outage=" cycle / "pass=" cycle / "rain=" cycle / "handover=" ( time / "none" )
//!         / "at=" point / "ramp=" point / "repeat=" time / "seed=" number
//! cycle   = time "/" time / "none"                         length and period
//! point   = time ":" ( rate / "-" ) [ "/" ( rate / "-" ) ]  never unlimited; "-" leaves the direction as it was
//! time    = 600ms, 1.5s, 250us, 1m30s
//! percent = 0.5%
//! ```

mod error;
mod nearest;
mod parse;
mod parts;
mod preset;
mod print;
pub(crate) mod value;

use std::time::Duration;

use crate::rate::BitRate;

pub use error::SpecError;
pub use parts::{Accounting, Change, Cycle, Direction, Discipline, Framing, Loss, Point, Schedule, Tcp};
pub use preset::{Preset, presets};

/// What a link is: its rates, its delays, what it loses, and how all that changes with time. The default is no limit
/// and no delay.
///
/// ```
/// # use linkio::LinkSpec;
/// let spec: LinkSpec = "512k/128k,rtt=600ms".parse()?;
/// assert_eq!(spec.up.map(|rate| rate.bits_per_second()), Some(128_000));
/// assert_eq!(spec.to_string(), "512k/128k,rtt=600ms");
/// # Ok::<(), linkio::SpecError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkSpec {
    /// The rate towards the clients; `None` is unlimited.
    pub down: Option<BitRate>,
    /// The rate towards the origins; `None` is unlimited.
    pub up: Option<BitRate>,
    /// The round-trip time the link adds; each direction delays by half of it.
    pub rtt: Duration,
    /// How much longer a round trip may take; each direction adds from nothing to half of it, all alike likely.
    pub jitter: Duration,
    /// The share of packets that are lost and sent again.
    pub loss: Loss,
    /// How much of TCP is imitated.
    pub tcp: Tcp,
    /// Who goes next.
    pub queue: Discipline,
    /// What the rates count.
    pub accounting: Accounting,
    /// Nothing crosses for the length, once in each period, at a place the seed chooses.
    pub outage: Option<Cycle>,
    /// Something crosses only for the length at the beginning of each period.
    pub pass: Option<Cycle>,
    /// A rain cell of the length, once in each period: the rate goes down in steps and back.
    pub rain: Option<Cycle>,
    /// How often a new satellite takes over: a short silence, then another share of the rate.
    pub handover: Option<Duration>,
    /// How the link changes with the time since it was set.
    pub schedule: Schedule,
    /// What chance depends on: alike specifications behave alike.
    pub seed: u64,
    /// The percentage, from 1 to 100, of the real link's rate to keep to; the rates are unlimited until it is measured.
    pub auto: Option<u8>,
}

impl LinkSpec {
    /// Whether nothing can cross in one direction, so that nothing can be asked and answered.
    pub fn is_closed(&self) -> bool {
        [self.down, self.up].contains(&Some(BitRate::ZERO))
    }
}
