//! The one integration binary: a module for each feature.

mod control;
mod forwarding;
mod house;
mod proxy;
mod scenarios;
mod sharing;
mod tunnels;
