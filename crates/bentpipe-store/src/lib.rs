//! Stored responses: kept on disk by digest, found in memory, read by many while they arrive.
//!
//! This crate finds and keeps; whether a response may be stored or reused is decided by `rfc9111` and ordered by the
//! proxy. The memory index is the authority while the store is open ([`Store::lookup`] never waits); a journal and a
//! snapshot bring it back after a restart or a crash. No byte leaves the disk unverified.
//!
//! ```
//! # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::UNIX_EPOCH;
//!
//! use bentpipe_store::{Limits, Store};
//! use bytes::Bytes;
//! use http::{HeaderMap, StatusCode};
//! use http_body_util::BodyExt;
//! use rfc9111::{CacheKey, Nominated, StoredResponse};
//!
//! let folder = tempfile::tempdir()?;
//! let store = Store::open(folder.path(), Limits { max_size: 1 << 30, max_object_size: 1 << 20 })?;
//! let key = CacheKey::parse("http://example.com/").ok_or("not a target URI")?;
//! let nominated = Nominated::from_parts([]);
//! let head = StoredResponse::from_parts(StatusCode::OK, HeaderMap::new(), nominated, [UNIX_EPOCH; 2]);
//! let (mut arrival, stored) = store.insert(key.clone(), head, Some(5))?;
//! let first_client = stored.body(None); // follows the body from here on
//! arrival.write(Bytes::from_static(b"hello")).await?;
//! arrival.commit(None).await?;
//! assert_eq!(first_client.collect().await?.to_bytes(), "hello");
//!
//! let found = store.lookup(&key);
//! let part = found.get(0).ok_or("not found")?.body(Some(1..=2));
//! assert_eq!(part.collect().await?.to_bytes(), "el");
//! store.close().await;
//! # Ok(()) }
//! ```

mod arrival;
mod blocks;
mod body;
mod bundles;
mod collapse;
mod compact;
mod content;
mod error;
mod folders;
mod follower;
mod frames;
mod handover;
mod head;
mod heads;
mod holding;
mod home;
mod hot;
mod index;
mod journal;
mod keeping;
mod ledger;
mod limits;
mod loaded;
mod locked;
mod manage;
mod names;
mod ongoing;
mod parts;
mod pen;
mod priority;
mod reader;
mod record;
mod roll;
mod room;
mod seats;
mod shelf;
mod spool;
mod store;
mod stored;
mod sweep;
mod verify;
mod window;

pub use arrival::Arrival;
pub use body::StoredBody;
pub use collapse::{Collapse, HeadWait, Lead};
pub use error::Error;
pub use manage::{Listed, Summary};
pub use store::{Limits, Stats, Store};
pub use stored::{Found, Stored};
pub use verify::{Damage, Remedy, Verification, Verified};
