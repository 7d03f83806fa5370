//! A thin link that every flow shares.
//!
//! The core owns pacing, fairness, propagation delay and their accounting. It deliberately owns no clock, socket,
//! runtime or log: `now` is an argument, so a day of link runs in seconds in a test. It follows no RFC; a rate is
//! in bits per second of stream payload, and kbit means 1000 bits.
//!
//! - [`LinkSpec`] is a link as a user types it: `512k/128k,rtt=600ms`.
//! - [`Link`] is one direction of it: flows [`ask`](Link::ask), [`step`](Link::step) grants.
//! - [`sim::Sim`] runs flows over a link in virtual time.
//! - With the feature `tokio`, `SharedLink` and `LinkedIo` put the link between real streams.
//!
//! ```
//! use linkio::{Capacity, ClientKey, Link, Moment, Weight};
//!
//! // 12,000 bit/s carry 1500 bytes each second.
//! let mut link = Link::new(Capacity::from_spec(Some("12k".parse()?)));
//! let flow = link.open(ClientKey(1), Weight::ONE);
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
mod delay;
mod flow;
mod link;
mod moment;
mod queue;
mod rate;
mod round;
pub mod sim;
mod spec;
#[cfg(feature = "tokio")]
mod tokio;
mod units;
mod usage;

pub use capacity::Capacity;
pub use delay::Pipe;
pub use flow::{ClientKey, FlowId, Weight};
pub use link::{Grant, Link};
pub use moment::Moment;
pub use rate::{BitRate, ByteCount};
pub use spec::{LinkSpec, SpecError};
pub use units::QuantityError;
pub use usage::{LaneState, LinkState, Usage};

#[cfg(feature = "tokio")]
pub use crate::tokio::{LinkedIo, Meter, SharedLink};
