//! Several ranges of one stored response as multipart/byteranges (RFC 9110 §14.6). Which ranges, and how many are
//! allowed, was decided before.

use std::collections::VecDeque;
use std::hash::{BuildHasher as _, RandomState};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use rfc9111::ContentRange;

use super::{BodyError, Mended};

/// The parts still to be sent, in the order in which they were asked for.
pub(crate) struct Parts {
    ahead: VecDeque<Piece>,
    left: u64,
}

enum Piece {
    Delimiter(Bytes),
    Content(Box<Mended>),
}

/// One part: its content, how many bytes that is, and its Content-Range.
pub(crate) struct Part {
    pub(crate) content: Mended,
    pub(crate) length: u64,
    pub(crate) content_range: ContentRange,
}

/// A delimiter that no content is likely to contain: 64 random bits.
pub(crate) fn boundary() -> String {
    format!("bentpipe-{:016x}", RandomState::new().hash_one(()))
}

impl Parts {
    /// The multipart content of `parts`, each of the media type `content_type`, between delimiters of `boundary`.
    pub(crate) fn new(parts: Vec<Part>, boundary: &str, content_type: Option<&str>) -> Self {
        let mut body = Self { ahead: VecDeque::with_capacity(parts.len() * 2 + 1), left: 0 };
        let media_type = content_type.map(|value| format!("content-type: {value}\r\n")).unwrap_or_default();
        for (at, part) in parts.into_iter().enumerate() {
            let before = if at == 0 { "" } else { "\r\n" };
            let range = part.content_range;
            body.delimit(format!("{before}--{boundary}\r\n{media_type}content-range: {range}\r\n\r\n"));
            body.left += part.length;
            body.ahead.push_back(Piece::Content(Box::new(part.content)));
        }
        body.delimit(format!("\r\n--{boundary}--\r\n"));
        body
    }

    /// Ready once the first bytes of each part are read and verified, see [`bentpipe_store::StoredBody::poll_verified`].
    ///
    /// # Errors
    /// As there.
    pub(super) fn poll_verified(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), bentpipe_store::Error>> {
        for piece in &mut self.ahead {
            if let Piece::Content(content) = piece {
                ready!(content.poll_verified(cx))?;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn delimit(&mut self, text: String) {
        self.left += text.len() as u64;
        self.ahead.push_back(Piece::Delimiter(text.into()));
    }
}

impl HttpBody for Parts {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        loop {
            let frame = match this.ahead.front_mut() {
                None => return Poll::Ready(None),
                Some(Piece::Delimiter(text)) => Some(Ok(Frame::data(std::mem::take(text)))),
                Some(Piece::Content(content)) => ready!(Pin::new(&mut **content).poll_frame(cx)),
            };
            if !matches!(this.ahead.front(), Some(Piece::Content(_))) || frame.is_none() {
                this.ahead.pop_front();
            }
            // Trailers of a body still arriving have no place in a part.
            let Some(frame) = frame.filter(|frame| frame.as_ref().map_or(true, Frame::is_data)) else {
                continue;
            };
            if let Ok(frame) = &frame {
                this.left = this.left.saturating_sub(frame.data_ref().map_or(0, |data| data.len() as u64));
            }
            return Poll::Ready(Some(frame));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ahead.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
