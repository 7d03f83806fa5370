//! What can go wrong with the store, as its callers need to tell it apart.
//!
//! Owns the error enum and nothing else. What an error means to a client (a miss, a broken-off body) is decided by
//! the caller; the store only says what happened.

use std::io;

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another process has the folder open.
    #[error("the cache folder is in use by another process")]
    Locked,
    /// The store was opened outside a tokio runtime, which its keeper task needs.
    #[error("the store must be opened inside a tokio runtime")]
    NoRuntime,
    /// The store is closed, or was opened for reading only.
    #[error("the store is closed or open for reading only")]
    Closed,
    /// The body is, or grew, longer than an object may be. Bytes.
    #[error("the body is longer than the {limit} bytes an object may have")]
    TooLarge {
        /// The longest body that is stored, in bytes.
        limit: u64,
    },
    /// The disk failed lately (full, read-only, broken); storing is tried again after a while.
    #[error("the disk failed lately, nothing is stored for a while")]
    Unavailable,
    /// There is no room: the disk has less space left than is to be kept free, or what is pinned takes all of the cache.
    #[error("the cache is full of pinned responses, or the disk has too little space left")]
    NoRoom,
    /// The stored response left the index before its body had arrived: invalidated, or the store was closed.
    #[error("the stored response was invalidated while its body arrived")]
    Invalidated,
    /// The body ended with a length other than the one declared by its Content-Length (RFC 9112 §6.3). Bytes.
    #[error("the body has {arrived} bytes where {declared} were declared")]
    Length {
        /// What Content-Length said.
        declared: u64,
        /// What arrived.
        arrived: u64,
    },
    /// The fetch ended before the body was complete; what was delivered is a prefix of it.
    #[error("the body was cut short")]
    CutShort,
    /// The next byte is not held, nor is it arriving (RFC 9111 §3.3). A reader that has it fetched may read on.
    #[error("the body is held only in part")]
    Missing {
        /// The position in the body of the first missing byte.
        first: u64,
        /// The position behind the last missing byte, where anything is held behind it or the end is known.
        end: Option<u64>,
    },
    /// The reader held up the others of a body that is not stored, and was cut off.
    #[error("the reader held others up for too long")]
    TooSlow,
    /// The bytes on the disk are not the ones that were stored. The stored response is dropped.
    #[error("the stored body is missing or damaged")]
    Damaged,
    /// The disk or the file system said no.
    ///
    /// The text names the cause, for those who print only that; so it is not a source, or a chain would say it twice.
    #[error("the cache folder cannot be used: {0}")]
    Io(io::Error),
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn a_cause_is_named_once() {
        let error = Error::from(io::Error::from_raw_os_error(17));
        assert_eq!(error.to_string(), "the cache folder cannot be used: File exists (os error 17)");
        assert!(error.source().is_none());
    }
}
