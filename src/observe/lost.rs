//! How many lines of the access log were lost, whatever the reason. Losing is never silent, and never a flood of words.

use std::sync::atomic::{AtomicU64, Ordering};

/// A count of lost lines.
#[derive(Debug, Default)]
pub(crate) struct Lost(AtomicU64);

impl Lost {
    /// So many more were lost, and this is `why`. It is said whenever their number has doubled.
    pub(super) fn count(&self, lines: u64, why: &'static str) {
        if lines == 0 {
            return;
        }
        let before = self.0.fetch_add(lines, Ordering::Relaxed);
        let lost = before.saturating_add(lines);
        if before.checked_ilog2() != lost.checked_ilog2() {
            tracing::warn!(lost, why, "lines of the access log were lost");
        }
    }

    /// Since the start.
    pub(crate) fn so_far(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
