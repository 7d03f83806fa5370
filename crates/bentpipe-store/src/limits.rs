//! What the store keeps to, and may be told otherwise while it is open. It enforces nothing: `sweep` and `store` ask.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::store::Limits;

/// Limits that may change. Either figure may be read while the other is being written: each holds by itself.
#[derive(Debug)]
pub(crate) struct LiveLimits {
    max_size: AtomicU64,
    max_object_size: AtomicU64,
}

impl LiveLimits {
    pub(crate) fn new(limits: Limits) -> Self {
        let Limits { max_size, max_object_size } = limits;
        Self { max_size: max_size.into(), max_object_size: max_object_size.into() }
    }

    pub(crate) fn set(&self, limits: Limits) {
        self.max_size.store(limits.max_size, Ordering::Relaxed);
        self.max_object_size.store(limits.max_object_size, Ordering::Relaxed);
    }

    /// Bytes that the folder may take.
    pub(crate) fn max_size(&self) -> u64 {
        self.max_size.load(Ordering::Relaxed)
    }

    /// Bytes of the largest body that is stored: never more than all of them may take.
    pub(crate) fn max_object_size(&self) -> u64 {
        self.max_object_size.load(Ordering::Relaxed).min(self.max_size())
    }
}
