//! `Census`: how many connections clients have, of which kind, and what came of those that were opened. Every connection
//! counts itself; nothing is decided by it.

use crate::count::{Count, Handshakes, Level};

/// The connections of clients.
#[derive(Debug, Default)]
pub(crate) struct Census {
    pub(crate) accepted: Count,
    /// Those that were closed at once.
    pub(crate) refused: Count,
    /// Of clients that speak TLS to the proxy itself.
    pub(crate) handshakes: Handshakes,
    pub(super) http1: Kind,
    pub(super) http2: Kind,
}

/// Connections of one protocol.
#[derive(Debug, Default)]
pub(super) struct Kind {
    pub(super) open: Level,
    /// On which an exchange is going on.
    pub(super) active: Level,
}

impl Census {
    /// Each protocol, how many connections of it there are, and on how many of them an exchange is going on.
    pub(crate) fn connections(&self) -> [(&'static str, u64, u64); 2] {
        let of = |name, kind: &Kind| (name, kind.open.read(), kind.active.read());
        [of("http1", &self.http1), of("http2", &self.http2)]
    }
}
