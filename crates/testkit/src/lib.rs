//! What bentpipe is tested with: an origin that follows a script and may misbehave, a client that reports
//! exactly what it received, scenarios in text files that join the two, a fixture site and a load generator.
//!
//! It deliberately knows nothing of bentpipe: a proxy is an address, and time is two closures. It speaks
//! HTTP/1.1 with its own small parser (RFC 9112), because a tested library must not check itself and because
//! an origin has to be able to break the rules. TLS and HTTP/2 are rustls' and h2's all the same: what is tested with
//! them is what a proxy does with connections and streams.

pub mod client;
pub mod clock;
pub mod contents;
mod http2;
pub mod load;
pub mod message;
pub mod noise;
pub mod origin;
pub mod reply;
pub mod scenario;
#[cfg(test)]
mod selftest;
pub mod site;
mod stream;
pub mod tls;
mod wire;

pub use client::{Client, Request, Response};
pub use clock::ManualClock;
pub use message::{Ending, Fields};
pub use origin::{Origin, Received, Traffic};
pub use reply::{Gate, Reply};
pub use scenario::{Fault, Scenario};
pub use site::Site;
pub use tls::{Handshake, Tls};
