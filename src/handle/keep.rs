//! Storing content as it arrives, in a task of its own: clients come and go, and the fetch goes on as long as it is worth
//! it. What is here already when it begins needs no task. One that breaks off is resumed where it stopped, while its
//! followers wait (RFC 9111 §3.4).

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bentpipe_store::{Arrival, Stored};
use http::HeaderMap;
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tokio::time::timeout;
use tracing::Instrument as _;

use super::rest::{Patience, Rest};
use crate::body::OriginBody;
use crate::drain::Work;
use crate::step::at_once;

/// How long the end of a message may come after its last byte.
const LAST_WORD: Duration = Duration::from_secs(1);
/// What is asked for of a large body beyond what a client wants is no longer than this. Bytes.
const PIECE: u64 = 1 << 20;

/// Content, or a part of it, that is arriving and to be stored.
pub(super) struct Keeping {
    pub(super) incoming: OriginBody,
    /// How many bytes come before those that are missing.
    pub(super) skip: u64,
    pub(super) arrival: Arrival,
    /// The position in the content of the first byte that is stored.
    pub(super) first: u64,
    /// How many bytes are to come, where that is known.
    pub(super) length: Option<u64>,
    /// Whether more was asked for than a client wants, to have it at hand.
    pub(super) is_piece: bool,
    /// How to ask for the rest when it breaks off, and what it is the rest of.
    pub(super) rest: Option<(Rest, Arc<Stored>)>,
    /// Held as long as there is something to do.
    pub(super) work: Work,
    /// Whether it was resumed although nobody followed it.
    pub(super) went_on_alone: bool,
    /// What has come behind the content.
    pub(super) trailers: Option<HeaderMap>,
}

/// How a response's content came to an end.
enum End {
    Whole(Option<HeaderMap>),
    Broken,
    /// Nobody wants it any more, or it cannot be taken.
    GivenUp,
}

/// Stores what is here already of `keeping`, at once, and sees to what comes later. A short response is kept by then, and
/// leaves with its content behind its head. How to ask for the rest is known to `rest`, if that is needed.
pub(super) fn begin(mut keeping: Keeping, rest: impl FnOnce() -> Option<(Rest, Arc<Stored>)>) {
    let taken = at_once(pin!(keeping.take_all()));
    if let Poll::Ready(End::Whole(trailers)) = taken {
        let mut commit = Box::pin(keeping.commit(trailers));
        if at_once(commit.as_mut()).is_pending() {
            tokio::spawn(commit.in_current_span());
        }
        return;
    }
    let end = if let Poll::Ready(end) = taken { Some(end) } else { None };
    keeping.rest = rest();
    tokio::spawn(keep(keeping, end).in_current_span());
}

/// Stores content as it arrives; what there was may have come to its `end` already. When no client follows it any more it
/// goes on only if little is missing: finishing costs less of the link than fetching it all again.
async fn keep(mut keeping: Keeping, mut end: Option<End>) {
    let mut patience = keeping.rest.as_ref().map(|(rest, _)| rest.patience());
    loop {
        let before = keeping.arrival.arrived();
        let end = match end.take() {
            Some(end) => end,
            None => keeping.take_all().await,
        };
        if let Some(patience) = &mut patience {
            patience.renew(keeping.arrival.arrived() - before);
        }
        match end {
            End::Whole(trailers) => return keeping.commit(trailers).await,
            End::Broken if keeping.resume(patience.as_mut()).await => {}
            End::Broken | End::GivenUp => return,
        }
    }
}

impl Keeping {
    async fn commit(self, trailers: Option<HeaderMap>) {
        if let Err(error) = self.arrival.commit(trailers).await {
            tracing::debug!(%error, "a response could not be stored");
        }
    }

    /// May be dropped while it waits, and begun again: nothing that came is lost.
    async fn take_all(&mut self) -> End {
        loop {
            if self.length.is_some_and(|length| self.arrival.arrived() >= length) {
                return self.last_word().await;
            }
            let worth_finishing = self.is_worth_finishing();
            let frame = tokio::select! {
                biased;
                frame = self.incoming.frame() => frame,
                () = self.arrival.followers_gone(), if !worth_finishing => return End::GivenUp,
            };
            match frame.map(|frame| frame.map(http_body::Frame::into_data)) {
                Some(Ok(Ok(mut data))) => {
                    let skipped = usize::try_from(self.skip).map_or(data.len(), |skip| skip.min(data.len()));
                    self.skip -= skipped as u64;
                    drop(data.split_to(skipped));
                    if let Some(left) = self.length.map(|length| length - self.arrival.arrived()) {
                        // More than was announced is none of it.
                        data.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                    }
                    if self.arrival.write(data).await.is_err() {
                        return End::GivenUp;
                    }
                }
                Some(Ok(Err(frame))) => self.trailers = frame.into_trailers().ok(),
                Some(Err(error)) => {
                    tracing::debug!(%error, "a response broke off");
                    return End::Broken;
                }
                None if self.length.is_some_and(|length| self.arrival.arrived() < length) => {
                    return End::Broken;
                }
                None => return End::Whole(self.trailers.take()),
            }
        }
    }

    /// All bytes are here. What an origin says beyond them is trailers and the end of its message, or none of it: it is
    /// waited for only so that the connection can be used again.
    async fn last_word(&mut self) -> End {
        if self.incoming.is_end_stream() {
            return End::Whole(None);
        }
        let frame = timeout(LAST_WORD, self.incoming.frame()).await.ok().flatten();
        End::Whole(frame.and_then(|frame| frame.ok()?.into_trailers().ok()))
    }

    /// Asks the origin for what has not arrived, again and again while somebody waits for it; whether it comes.
    async fn resume(&mut self, patience: Option<&mut Patience>) -> bool {
        let (Some((rest, stored)), Some(patience)) = (&self.rest, patience) else { return false };
        // For nobody's sake it is tried once: others will ask again.
        if self.arrival.followers() == 0 && std::mem::replace(&mut self.went_on_alone, true) {
            return false;
        }
        let first = self.first + self.arrival.arrived();
        let last = self.length.map(|length| self.first + length - 1);
        let worth_finishing = self.is_worth_finishing();
        let more = tokio::select! {
            biased;
            more = rest.insist(stored, first, last, patience) => more,
            () = self.arrival.followers_gone(), if !worth_finishing => return false,
            () = self.work.leaving() => return false,
        };
        let Some((incoming, skip, part)) = more else { return false };
        tracing::debug!(first, "a download goes on");
        if self.length.is_none() {
            self.length = part.map(|part| part.complete_length - self.first);
        }
        (self.incoming, self.skip) = (incoming, skip);
        true
    }

    /// Whether it goes on although nobody follows it.
    fn is_worth_finishing(&self) -> bool {
        self.length.is_some_and(|length| {
            (self.is_piece && length <= PIECE) || is_nearly_done(self.arrival.arrived(), length)
        })
    }
}

fn is_nearly_done(arrived: u64, length: u64) -> bool {
    let left = length.saturating_sub(arrived);
    left <= 64 * 1024 || left <= length / 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fetch_without_clients_goes_on_when_little_is_missing() {
        assert!(is_nearly_done(950, 1000));
        assert!(is_nearly_done(9_000_000, 10_000_000));
        assert!(!is_nearly_done(5_000_000, 10_000_000));
    }
}
