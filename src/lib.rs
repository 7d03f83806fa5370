//! bentpipe, the program: everything asynchronous, and the one place where the parts meet. The libraries under
//! `crates/` know nothing of it; `docs/architecture.md` is the map.
//!
//! - [`config`]: every value decided and checked
//! - [`serve`]: builds every part once and joins them
//! - [`clock`]: the only reader of the wall clock
//! - `listen`, `admit`, `handle`, `upstream`, `body`, `respond`: the way of one request
//! - `host`: whom a target means, in whichever spelling
//! - `step`: what is there at once, or comes of work that waits
//! - `exchange`, `observe`: its record, and who reads it; `standing`: where it stands on the link among others
//! - `count`, `metrics`: what parts count, and what the proxy says of itself in figures
//! - `opening`, `pem`: what a configuration opens, and what is wrong with it
//! - `ca`, `site`: the certificate authority of interception, and the pages from which devices get it
//! - `capture`: what connections say, byte for byte; `forward`: a forwarder across the link
//! - `descriptors`: how many connections the system allows
//! - `memory`: what was freed goes back to the system
//! - `admin`, `cli`: what an operator sees and changes; `upgrade`, `systemd`: who comes after us, and who runs us
//! - `dashboard`: the page that tells the state of the proxy; `text`: figures as people read them
//! - `simulate`: what a workload would come to over a link
//! - `probe`: what the real uplink is like
//! - `doctor`: whether everything that the proxy stands on is as it should be
//! - `selftest`: how exact the link of this build is

mod admin;
mod admit;
mod authority;
mod bare;
#[doc(hidden)]
pub mod bench;
mod body;
mod ca;
mod capture;
pub mod cli;
pub mod clock;
pub mod config;
mod count;
mod current;
mod dashboard;
mod descriptors;
mod doctor;
mod drain;
mod exchange;
mod flag;
mod forward;
mod handle;
mod host;
mod intercept;
mod listen;
mod memory;
mod metrics;
mod named_file;
mod observe;
mod opening;
mod pem;
mod probe;
mod respond;
mod secure;
mod selftest;
pub mod serve;
mod simulate;
mod site;
mod standing;
mod step;
mod systemd;
mod text;
mod timer;
mod upgrade;
mod upstream;

pub use clock::Clock;
pub use config::Config;
