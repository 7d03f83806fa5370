//! The one integration binary: a module for each feature.

mod forwarding;
mod house;
mod proxy;
mod scenarios;
mod tunnels;
