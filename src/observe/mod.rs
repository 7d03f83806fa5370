//! Readers of exchanges. Each takes what it needs from a finished record without making it wait.

mod apache;
mod compressing;
pub(crate) mod debugging;
pub(crate) mod event;
pub(crate) mod filter;
pub(crate) mod flood;
pub(crate) mod levels;
pub(crate) mod line;
pub(crate) mod live;
pub(crate) mod log;
pub(crate) mod lost;
mod output;
pub(crate) mod recent;
pub(crate) mod refusals;
mod rotation;
mod sample;
pub(crate) mod series;
mod squid;
pub(crate) mod tally;
pub(crate) mod url;
