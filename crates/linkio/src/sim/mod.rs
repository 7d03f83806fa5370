//! A link in virtual time: bare flows over one direction, and requests with their answers over both.
//!
//! Owns nothing but its parts. A run has no clock and no randomness of its own, so it is the same every time.
//!
//! - [`Sim`] is for properties of the scheduler: flows ask, and time jumps from departure to departure.
//! - [`run`] is for people: a [`Workload`] of [`Transaction`]s, each as a proxy would make it.

mod agenda;
mod connections;
mod crossing;
mod flows;
mod origins;
mod outcome;
mod timeline;
mod transactions;
mod workload;

pub use flows::Sim;
pub use outcome::{Fate, Outcome, Record, Traffic};
pub use timeline::Timeline;
pub use transactions::run;
pub use workload::{Begin, Greeting, Transaction, Workload};
