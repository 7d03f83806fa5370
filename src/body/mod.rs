//! What a response carries: nothing, a page of our own, the origin's content as it comes, or a stored one. Nothing is
//! gathered whole here; each poll hands on one piece.

pub(crate) mod mended;
pub(crate) mod origin;
pub(crate) mod parts;
pub(crate) mod request;
pub(crate) mod sealed;
mod trailers;

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::exchange::Cut;
pub(crate) use mended::Mended;
pub(crate) use origin::OriginBody;
pub(crate) use request::RequestBody;
pub(crate) use sealed::{Sealed, seal};

/// A piece of a peer's content as it may go on: data as it is, trailers as far as they may be there.
fn passable(frame: Frame<Bytes>) -> Result<Frame<Bytes>, BodyError> {
    match frame.into_trailers() {
        Ok(fields) => trailers::checked(fields).map(Frame::trailers),
        Err(data) => Ok(data),
    }
}

/// The content of a response on its way to the client.
pub(crate) enum Body {
    Empty,
    /// A page that bentpipe made itself.
    Full(Bytes),
    /// Straight from the origin, not stored.
    Origin(OriginBody),
    /// From the store, where it may still be arriving.
    Stored(Mended),
    /// Several ranges of a stored response.
    Parts(parts::Parts),
}

/// Why content broke off before its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the other side's message broke off: {0}")]
    Incomplete(#[from] hyper::Error),
    #[error("the stored content could not be read: {0}")]
    Store(#[from] bentpipe_store::Error),
    #[error("nothing arrived for {0:?}")]
    Stalled(std::time::Duration),
    #[error("an operator broke it off")]
    Stopped,
    #[error("the client took nothing for {0:?}")]
    NotTaken(std::time::Duration),
    #[error("the content is larger than limits.request_body allows")]
    TooLarge,
    #[error("the origin answered without asking for the content")]
    NotWanted,
    #[error("what came behind the last chunk is no trailers")]
    Trailers,
}

impl BodyError {
    /// Who broke the content of a response off.
    fn by(&self) -> Cut {
        match self {
            Self::Incomplete(_) | Self::Stalled(_) | Self::Trailers => Cut::Origin,
            Self::Store(_) => Cut::Store,
            Self::Stopped => Cut::Operator,
            Self::NotTaken(_) | Self::TooLarge | Self::NotWanted => Cut::Client,
        }
    }
}

impl Body {
    /// Ready once the first bytes of what is stored are read and verified, which nothing else waits for.
    ///
    /// # Errors
    /// What was found to be wrong with them, as [`bentpipe_store::StoredBody::poll_verified`] says it.
    pub(crate) fn poll_verified(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), bentpipe_store::Error>> {
        match self {
            Self::Stored(body) => body.poll_verified(cx),
            Self::Parts(parts) => parts.poll_verified(cx),
            Self::Empty | Self::Full(_) | Self::Origin(_) => Poll::Ready(Ok(())),
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Origin(body) => Pin::new(body).poll_frame(cx),
            Self::Stored(body) => Pin::new(body).poll_frame(cx),
            Self::Parts(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) => bytes.is_empty(),
            Self::Origin(body) => body.is_end_stream(),
            Self::Stored(body) => body.is_end_stream(),
            Self::Parts(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Origin(body) => body.size_hint(),
            Self::Stored(body) => body.size_hint(),
            Self::Parts(body) => body.size_hint(),
        }
    }
}
