//! A connection that is refused whatever would be asked on it: it gets the refusal as its one response, and is closed
//! gently, since a reset would destroy the response on its way (RFC 9112 §9.6). Nothing that it sends is looked at.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::exchange::Exchange;
use crate::respond::{Contact, Worded, whole};

/// Refusals being said at the same moment, of each listener; more connections are closed without a word.
pub(super) const AT_ONCE: usize = 64;

/// How long one may take: it is a kilobyte, and its client is expected to end then.
const PATIENCE: Duration = Duration::from_secs(1);

/// What such a client may still send: more makes it wait for itself.
const MOST_READ: usize = 64 * 1024;

/// Says `refusal` to whoever is at the other end of `stream`, if few enough are being told at this moment. What was said
/// is noted in `record`, where there is one.
pub(super) fn say(
    stream: TcpStream,
    refusal: Worded,
    contact: &Contact,
    record: Option<Exchange>,
    farewells: &Arc<Semaphore>,
) {
    let Ok(turn) = farewells.clone().try_acquire_owned() else { return };
    let message = whole::message(refusal, contact);
    tokio::spawn(async move {
        let said = tokio::time::timeout(PATIENCE, say_and_close(stream, &message, record)).await;
        tracing::debug!(?said, "a connection was refused");
        drop(turn);
    });
}

async fn say_and_close(
    mut stream: TcpStream,
    message: &[u8],
    record: Option<Exchange>,
) -> std::io::Result<()> {
    stream.write_all(message).await?;
    if let Some(record) = record {
        record.sent(message.len() as u64);
        record.note(|details| details.media_type = Some(HeaderValue::from_static("text/html")));
    }
    stream.shutdown().await?;
    let (mut thrown_away, mut read) = ([0; 4096], 0);
    while read < MOST_READ {
        match stream.read(&mut thrown_away).await? {
            0 => break,
            more => read += more,
        }
    }
    Ok(())
}
