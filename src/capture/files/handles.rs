//! Files that are written on by turns, of which only so many are held open: a capture may have thousands of connections.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// Files of one folder, by name.
pub(super) struct Handles {
    folder: PathBuf,
    open: HashMap<String, File>,
    /// The names of those that are open, the oldest first.
    order: VecDeque<String>,
}

/// Files held open.
const MOST: usize = 128;

impl Handles {
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), open: HashMap::new(), order: VecDeque::new() }
    }

    /// The file of this name, which is written on at its end.
    pub(super) fn of(&mut self, name: &str) -> io::Result<&mut File> {
        if !self.open.contains_key(name) {
            let file = super::append(&self.folder.join(name))?;
            while self.open.len() >= MOST
                && let Some(oldest) = self.order.pop_front()
            {
                self.open.remove(&oldest);
            }
            self.order.push_back(name.to_owned());
            self.open.insert(name.to_owned(), file);
        }
        self.open.get_mut(name).ok_or_else(|| io::Error::other("a file is not open"))
    }

    /// Nothing more is written on this one.
    pub(super) fn close(&mut self, name: &str) {
        if self.open.remove(name).is_some() {
            self.order.retain(|open| open != name);
        }
    }
}
