//! Readers of exchanges. Each takes what it needs from a finished record without making it wait.

pub(crate) mod event;
pub(crate) mod levels;
pub(crate) mod line;
pub(crate) mod live;
pub(crate) mod log;
pub(crate) mod recent;
pub(crate) mod series;
pub(crate) mod tally;
pub(crate) mod url;
