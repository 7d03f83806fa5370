//! Bundles that are open for reading: those that were read last, since opening one costs more than reading a body in it.
//!
//! Owns these descriptors and their number. What is at which place in a bundle is not its concern.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use quick_cache::sync::Cache;

use super::small::path;
use crate::content;
use crate::error::Error;

/// Bundles that stay open. At 2 MiB each they hold more short bodies than are in use at a time.
const MOST: usize = 64;

/// Files by the number of their bundle.
pub(super) struct Reading(Cache<u32, Arc<File>>);

impl Reading {
    /// None is open.
    pub(super) fn new() -> Self {
        Self(Cache::new(MOST))
    }

    /// The file of the bundle `number` in `folder`.
    ///
    /// # Errors
    /// [`Error::Damaged`] when there is none, else what the disk said.
    pub(super) fn open(&self, folder: &Path, number: u32) -> Result<Arc<File>, Error> {
        self.0.get_or_insert_with(&number, || content::open_file(&path(folder, number)).map(Arc::new))
    }

    /// The bundle is no more, and gives its room on the disk back.
    pub(super) fn close(&self, number: u32) {
        self.0.remove(&number);
    }

    /// What is in the folder from now on is another process's affair.
    pub(super) fn close_all(&self) {
        self.0.clear();
    }
}
