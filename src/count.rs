//! Numbers that a part keeps of what it does, for whoever asks: what has happened since the start, and how much of
//! something there is now. Writing one is a relaxed addition. They order nothing else, and nobody decides by them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls::HandshakeKind;

/// How often something happened, or how much of it, since the start.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    /// It happened once more.
    pub(crate) fn one(&self) {
        self.add(1);
    }

    /// So much more of it.
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// So far.
    pub(crate) fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How many of something there are now. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Level(Arc<AtomicU64>);

/// One of them; gone when dropped.
#[derive(Debug)]
pub(crate) struct Raised(Level);

impl Level {
    /// One more, as long as the answer is held.
    pub(crate) fn raise(&self) -> Raised {
        self.rise();
        Raised(self.clone())
    }

    /// One more, until it is said that there is one less.
    pub(crate) fn rise(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// One less.
    pub(crate) fn fall(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// Now.
    pub(crate) fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How handshakes of TLS ended.
#[derive(Debug, Default)]
pub(crate) struct Handshakes([Count; 3]);

impl Handshakes {
    /// One came about, and was of this kind.
    pub(crate) fn made(&self, kind: Option<HandshakeKind>) {
        let [full, resumed, _] = &self.0;
        match kind {
            Some(HandshakeKind::Resumed) => resumed.one(),
            _ => full.one(),
        }
    }

    /// One failed.
    pub(crate) fn failed(&self) {
        let [.., failed] = &self.0;
        failed.one();
    }

    /// Full ones, resumed ones, and those that failed.
    pub(crate) fn read(&self) -> [u64; 3] {
        self.0.each_ref().map(Count::read)
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        self.0.fall();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_falls_with_what_raised_it() {
        let (level, count) = (Level::default(), Count::default());
        let same = level.clone();
        let (one, other) = (level.raise(), same.raise());
        assert_eq!(level.read(), 2);
        drop(one);
        assert_eq!(level.read(), 1);
        drop(other);
        count.one();
        count.add(2);
        assert_eq!((level.read(), count.read()), (0, 3));
    }

    #[test]
    fn handshakes_are_counted_by_how_they_ended() {
        let handshakes = Handshakes::default();
        handshakes.made(Some(HandshakeKind::FullWithHelloRetryRequest));
        handshakes.made(Some(HandshakeKind::Resumed));
        handshakes.failed();
        handshakes.failed();
        assert_eq!(handshakes.read(), [1, 1, 2]);
    }
}
