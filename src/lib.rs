//! bentpipe, the program: everything asynchronous, and the one place where the parts meet. The libraries under
//! `crates/` know nothing of it; `docs/architecture.md` is the map.
//!
//! - [`config`]: every value decided and checked
//! - [`serve`]: builds every part once and joins them
//! - [`clock`]: the only reader of the wall clock
//! - `listen`, `admit`, `handle`, `upstream`, `body`, `respond`: the way of one request
//! - `exchange`, `observe`: its record, and who reads it
//! - `admin`, `cli`: what an operator sees and changes

mod admin;
mod admit;
mod body;
pub mod cli;
pub mod clock;
pub mod config;
mod drain;
mod exchange;
mod handle;
mod listen;
mod observe;
mod respond;
pub mod serve;
mod timer;
mod upstream;

pub use clock::Clock;
pub use config::Config;
