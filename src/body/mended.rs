//! Stored content of which a part may be missing: when a reader comes to it, it is fetched, and reading goes on (RFC 9111
//! §3.3). How it is fetched is said by whoever made this.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bentpipe_store::{Error, StoredBody};
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::BodyError;

/// Gets what is missing of a stored response.
pub(crate) trait Mend: Send + Sync {
    /// Has the bytes from `first` to the one before `end` fetched, or a part of them. Ready when they begin to arrive,
    /// with a reader that has its place among them, or with nothing when they cannot be had.
    fn fetch(self: Arc<Self>, first: u64, end: Option<u64>) -> Fetching;
}

/// See [`Mend::fetch`].
pub(crate) type Fetching = Pin<Box<dyn Future<Output = Option<StoredBody>> + Send>>;

/// Stored content that is mended while it is read.
pub(crate) struct Mended {
    content: StoredBody,
    mending: Option<Box<Mending>>,
}

/// What a body that may lack something has beyond one that does not.
struct Mending {
    mend: Arc<dyn Mend>,
    fetching: Option<Fetching>,
    /// The last byte that was missing: what is missing again was not to be had.
    missing: Option<u64>,
    /// A place among what is arriving, until `content` has its own.
    place: Option<StoredBody>,
}

impl Mended {
    /// `content`, whose missing parts come by way of `mend`.
    pub(crate) fn new(content: StoredBody, mend: Option<Arc<dyn Mend>>) -> Self {
        let mending = mend.map(|mend| Box::new(Mending { mend, fetching: None, missing: None, place: None }));
        Self { content, mending }
    }

    /// Ready once its first bytes are read and verified, see [`StoredBody::poll_verified`].
    ///
    /// # Errors
    /// As there.
    pub(crate) fn poll_verified(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.content.poll_verified(cx)
    }

    /// Whether all of it is in memory.
    pub(crate) fn is_in_memory(&self) -> bool {
        self.content.is_in_memory()
    }
}

impl HttpBody for Mended {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        loop {
            if let Some(mending) = &mut this.mending
                && let Some(fetching) = &mut mending.fetching
            {
                mending.place = ready!(fetching.as_mut().poll(cx));
                mending.fetching = None;
            }
            let frame = Pin::new(&mut this.content).poll_frame(cx);
            if let Some(mending) = &mut this.mending {
                // It sits where it reads by now.
                mending.place = None;
            }
            match (ready!(frame), &mut this.mending) {
                (Some(Err(Error::Missing { first, end })), Some(mending))
                    if mending.missing != Some(first) =>
                {
                    mending.missing = Some(first);
                    mending.fetching = Some(mending.mend.clone().fetch(first, end));
                }
                (frame, _) => return Poll::Ready(frame.map(|frame| frame.map_err(BodyError::from))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.content.size_hint()
    }
}
