//! The one integration binary: a module for each feature.
#![expect(clippy::expect_used, reason = "a test that cannot go on says why")]

mod admission;
mod ca;
mod cache_commands;
mod commands;
mod conformance;
mod control;
mod descriptors;
mod doctor;
mod exhaustion;
mod forwarding;
mod hostile;
mod hostile_heads;
mod hostile_responses;
mod house;
mod https;
mod informational;
mod intercept;
mod leaving;
mod link;
mod measuring;
mod name_server;
mod names;
mod parents;
mod partial;
mod poisoning;
mod proxy;
mod refreshing;
mod rules;
mod scenarios;
mod secrets;
mod secure;
mod sharing;
mod simulate;
mod stalled;
mod tunnels;
