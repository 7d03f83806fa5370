//! The tokio adapter in paused time. Owns what its tests share; the tests are in the modules.
#![expect(clippy::disallowed_methods, reason = "a test of the adapter reads the paused clock it runs on")]
#![expect(clippy::unwrap_used, reason = "helpers outside the tests proper fail the test, too")]

mod change;
mod dial;
mod pace;
mod passage;
mod streams;

use linkio::{ClientKey, LinkSpec, LinkedIo, SharedLink};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};

fn link(spec: &str) -> SharedLink {
    SharedLink::new(spec.parse::<LinkSpec>().unwrap())
}

/// A stream over `link` and the origin at its far end.
fn pair(link: &SharedLink, client: u64) -> (LinkedIo<DuplexStream>, DuplexStream) {
    let (near, far) = duplex(64 * 1024);
    (link.wrap(near, ClientKey(client)), far)
}

/// Writes for ever.
async fn gush(mut to: impl AsyncWrite + Unpin) {
    let block = [0x5a; 8192];
    while to.write_all(&block).await.is_ok() {}
}

/// Reads for ever.
async fn drain(mut from: impl AsyncRead + Unpin) {
    let mut block = vec![0; 16 * 1024];
    while from.read(&mut block).await.is_ok_and(|count| count > 0) {}
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index * 31 % 251) as u8).collect()
}
