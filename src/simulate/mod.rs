//! `bentpipe link simulate`: what a workload would come to over a link, computed in virtual time.
//!
//! Owns workloads as people have them (a recording of a browser, a list, a description), and what is told of the outcome
//! (a table, JSON, a chart). The run itself is `linkio`'s. Nothing here is asynchronous or knows of the proxy, and the
//! same input gives the same output to the byte.

mod axis;
mod chart;
mod describe;
mod flow_list;
mod har;
mod measure;
mod report;
mod table;
mod workload;

pub(crate) use chart::chart;
pub(crate) use measure::parse_time;
pub(crate) use report::Report;
pub(crate) use table::table;
pub(crate) use workload::{Plan, Reading};
