//! What came of dialling and of handshakes, in figures.

use crate::count::{Count, Handshakes};

/// What came of dialling.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Connections that stand, to origins or to what a parent proxy leads to.
    pub(crate) connected: Count,
    pub(crate) not_connected: Count,
    /// Requests that went out on a connection used before.
    pub(crate) reused: Count,
    /// Handshakes of TLS with origins.
    pub(crate) handshakes: Handshakes,
}
