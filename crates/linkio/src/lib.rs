//! A thin link that every flow shares.
//!
//! The core owns pacing, fairness, propagation delay and their accounting. It deliberately owns no clock, socket,
//! runtime or log: `now` is an argument, so a day of link runs in seconds in a test. It follows no RFC; a rate is
//! in bits per second of stream payload, and kbit means 1000 bits.
//!
//! - [`LinkSpec`] is a link as a user types it: `512k/128k,rtt=600ms`.
//! - [`Link`] is one direction of it: flows [`ask`](Link::ask), [`step`](Link::step) grants.
//! - [`Lane`] adds delay, jitter, loss and TCP's window; a [`LinkModel`] says what each direction is.
//! - [`Guard`] finds the rates of a real link, and keeps just below them.
//! - [`sim::Sim`] runs flows over a link in virtual time.
//! - With the feature `tokio`, `SharedLink` and `LinkedIo` put the link between real streams.
//!
//! ```
//! use linkio::{Capacity, ClientKey, Link, Moment};
//!
//! // 12,000 bit/s carry 1500 bytes each second.
//! let mut link = Link::new(Capacity::from_spec(Some("12k".parse()?)));
//! let flow = link.open(ClientKey(1));
//! let mut grants = Vec::new();
//! let mut now = Moment::START;
//! link.ask(flow, 3000, now);
//! while let Some(next) = link.step(now, &mut grants) {
//!     now = next; // A test jumps; a program sleeps.
//! }
//! assert_eq!(now, Moment::from_nanos(2_000_000_000));
//! assert_eq!(grants.iter().map(|grant| grant.bytes).sum::<u64>(), 3000);
//! # Ok::<(), linkio::QuantityError>(())
//! ```

mod capacity;
mod class;
mod csv;
mod delay;
mod flow;
mod generator;
mod guard;
mod lane;
mod link;
mod loss;
mod model;
mod moment;
mod propagation;
mod queue;
mod rate;
mod round;
mod seed;
pub mod sim;
mod spec;
#[cfg(feature = "tokio")]
mod tokio;
mod trace;
mod track;
mod units;
mod usage;
mod window;

pub use capacity::{Capacity, Profile};
pub use class::ClassPolicy;
pub use delay::Pipe;
pub use flow::{Class, ClientKey, FlowId, Standing, Weight};
pub use guard::Guard;
pub use lane::{Lane, View};
pub use link::{Grant, Link};
pub use model::{LinkModel, Source};
pub use moment::Moment;
pub use propagation::Propagation;
pub use rate::{BitRate, ByteCount};
pub use spec::{
    Accounting, Change, Cycle, Direction, Discipline, Framing, LinkSpec, Loss, Point, Preset, Schedule,
    SpecError, Tcp, presets,
};
pub use trace::{Trace, TraceError};
pub use units::QuantityError;
pub use usage::{LaneState, LinkState, Shares, Usage};

#[cfg(feature = "tokio")]
pub use crate::tokio::{LinkedIo, Meter, Passage, SharedLink};
