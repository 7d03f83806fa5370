//! `Heard`: one exchange as the HAR file of a capture will tell it: the heads of request and response, and the beginning
//! of what they carry. Its times and sizes are the record's, which comes when the exchange is over.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{HeaderMap, Request, Response, StatusCode};

use super::Session;
use crate::exchange::Exchange;

/// Says that a request is meant, and on which connection it came.
#[derive(Clone)]
pub(crate) struct Asker {
    pub(super) session: Arc<Session>,
    pub(super) number: u32,
}

/// One exchange.
pub(crate) struct Heard {
    session: Arc<Session>,
    /// Of the connection.
    pub(super) number: u32,
    pub(super) request: HeaderMap,
    answer: Mutex<Option<Answer>>,
    sent: Content,
    received: Content,
}

/// The head of a response, and when it was known.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) after: Duration,
}

/// Content of which the beginning is kept.
#[derive(Default)]
struct Content(Mutex<Kept>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) bytes: Vec<u8>,
    /// How many there were.
    pub(super) total: u64,
}

impl Heard {
    /// Begins to listen to `exchange`, if its `request` is meant, in which it leaves a mark for the request's content.
    pub(crate) fn begin<B>(request: &mut Request<B>, exchange: &Exchange) -> Option<Arc<Self>> {
        let Asker { session, number } = request.extensions_mut().remove::<Asker>()?;
        let heard = Arc::new(Self {
            session: session.clone(),
            number,
            request: request.headers().clone(),
            answer: Mutex::default(),
            sent: Content::default(),
            received: Content::default(),
        });
        session.follow(exchange.record().number, heard.clone());
        request.extensions_mut().insert(heard.clone());
        Some(heard)
    }

    /// This is the response, known so long after the beginning.
    pub(crate) fn answered<B>(&self, response: &Response<B>, after: Duration) {
        let (status, headers) = (response.status(), response.headers().clone());
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(Answer { status, headers, after });
    }

    /// A piece of the request's content.
    pub(crate) fn sends(&self, bytes: &[u8]) {
        self.sent.hear(bytes, &self.session);
    }

    /// A piece of the response's content.
    pub(crate) fn receives(&self, bytes: &[u8]) {
        self.received.hear(bytes, &self.session);
    }

    pub(super) fn answer(&self) -> Option<Answer> {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn sent(&self) -> Kept {
        self.sent.lock().clone()
    }

    pub(super) fn received(&self) -> Kept {
        self.received.lock().clone()
    }
}

impl Drop for Heard {
    fn drop(&mut self) {
        self.session.let_go(self.sent.lock().bytes.len() + self.received.lock().bytes.len());
    }
}

impl Content {
    fn hear(&self, bytes: &[u8], session: &Session) {
        let mut kept = self.lock();
        // Without gaps: what came behind something that had no room is not kept either.
        let is_whole = kept.bytes.len() as u64 == kept.total;
        kept.total = kept.total.saturating_add(bytes.len() as u64);
        let room = session.bodies.saturating_sub(kept.bytes.len());
        let piece = bytes.get(..room).unwrap_or(bytes);
        if is_whole && !piece.is_empty() && session.hold(piece.len()) {
            kept.bytes.extend_from_slice(piece);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
