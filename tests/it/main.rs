//! The one integration binary: a module for each feature.
#![expect(clippy::expect_used, reason = "a test that cannot go on says why")]

mod admission;
mod ca;
mod cache_commands;
mod commands;
mod conformance;
mod control;
mod exhaustion;
mod forwarding;
mod house;
mod https;
mod informational;
mod leaving;
mod link;
mod measuring;
mod name_server;
mod names;
mod parents;
#[cfg(test)]
mod partial;
mod proxy;
mod refreshing;
#[cfg(test)]
mod rules;
mod scenarios;
mod secrets;
mod sharing;
mod simulate;
mod tunnels;
