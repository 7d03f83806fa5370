//! Interim responses written to the client's socket between what hyper writes. hyper's server knows none but 100
//! (Continue), so they go out beside it, and only where hyper has nothing half written and the response that comes next
//! is the one they announce. What they say is `respond/interim`'s.
//!
//! hyper flushes its connection only once all it had was written, and begins a request only once the response before it
//! was encoded. So a flush while a request is unanswered is a point between two responses; it lasts until hyper writes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use tokio::io::AsyncWrite;

use super::activity::Activity;
use crate::respond::interim::Interim;

/// Where the socket stands between the responses that hyper writes.
#[derive(Debug, Default)]
pub(super) struct Between {
    /// What is left of interim responses that have begun to go out.
    out: Bytes,
    /// The way to the client of the request that was unanswered when hyper was last flushed, if it has written nothing
    /// since: what it writes next begins the response to that request, whatever it has begun meanwhile.
    next: Option<Interim>,
    /// Whether the client took some since it was last asked.
    taken: bool,
}

impl Between {
    /// Writes what waits, now that hyper is being flushed.
    pub(super) fn poll_flushing<T: AsyncWrite + Unpin>(
        &mut self,
        io: &mut T,
        activity: &Activity,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_out(io, cx))?;
            let interim = activity.interim();
            let waiting = interim.take(cx);
            self.next = waiting.is_some().then_some(interim);
            match waiting {
                Some(more) if !more.is_empty() => self.out = more,
                _ => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Writes what must be written before hyper writes: the rest of what has begun, and what came before a final
    /// response that hyper is about to begin.
    pub(super) fn poll_writing<T: AsyncWrite + Unpin>(
        &mut self,
        io: &mut T,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_out(io, cx))?;
        if let Some(interim) = self.next.take() {
            self.out = interim.rest();
            ready!(self.poll_out(io, cx))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Whether nothing has to be written before what others write.
    pub(super) fn is_empty(&self) -> bool {
        self.out.is_empty() && self.next.is_none()
    }

    /// Whether the client took some since the last call.
    pub(super) fn has_taken(&mut self) -> bool {
        std::mem::take(&mut self.taken)
    }

    fn poll_out<T: AsyncWrite + Unpin>(&mut self, io: &mut T, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.out.has_remaining() {
            let written = ready!(Pin::new(&mut *io).poll_write(cx, &self.out))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.taken = true;
            self.out.advance(written);
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Waker;

    use http::{HeaderMap, HeaderValue, StatusCode, Version};
    use proptest::prelude::*;

    use super::*;
    use crate::body::request::Progress;
    use crate::listen::activity::InFlight;

    /// A socket that takes as much as there is room for.
    #[derive(Default)]
    struct Socket {
        room: usize,
        written: Vec<u8>,
    }

    impl AsyncWrite for Socket {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            let this = self.get_mut();
            let takes = this.room.min(buf.len());
            this.room -= takes;
            this.written.extend_from_slice(&buf[..takes]);
            if takes == 0 { Poll::Pending } else { Poll::Ready(Ok(takes)) }
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// A connection as hyper serves it: requests one after another, bytes first into a buffer.
    #[derive(Default)]
    struct Connection {
        socket: Socket,
        between: Between,
        activity: Arc<Activity>,
        buffer: Vec<u8>,
        number: usize,
        present: Option<(Interim, InFlight)>,
        /// Hints taken in, by the request they belong to.
        hinted: Vec<(usize, usize)>,
    }

    impl Connection {
        fn begin(&mut self) {
            let interim = Interim::to(Version::HTTP_11, &Arc::new(rfc9111::Via::new("b")));
            let in_flight = self.activity.begin(Progress::default(), interim.clone());
            self.number += 1;
            self.present = Some((interim, in_flight));
        }

        fn hint(&mut self) {
            let Some((interim, _)) = &self.present else { return };
            let (request, hint) = (self.number, self.hinted.len());
            let value = HeaderValue::try_from(format!("{request}.{hint}")).expect("a value");
            let fields: HeaderMap = [(http::header::LINK, value)].into_iter().collect();
            if interim.pass_on(StatusCode::EARLY_HINTS, Version::HTTP_11, &fields) > 0 {
                self.hinted.push((request, hint));
            }
        }

        fn answer(&mut self) {
            if self.present.take().is_some() {
                self.activity.answered();
                self.buffer.extend_from_slice(format!("HTTP/1.1 200 {}\r\n\r\n", self.number).as_bytes());
            }
        }

        /// hyper's own 100 (Continue).
        fn go_on(&mut self) {
            if self.present.is_some() {
                self.buffer.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            }
        }

        /// As hyper's buffer does it: all that there is, then a flush.
        fn flush(&mut self) -> bool {
            let cx = &mut Context::from_waker(Waker::noop());
            while !self.buffer.is_empty() {
                let clear = self.between.poll_writing(&mut self.socket, cx);
                let Poll::Ready(Ok(())) = clear else { return false };
                match Pin::new(&mut self.socket).poll_write(cx, &self.buffer) {
                    Poll::Ready(Ok(written)) => drop(self.buffer.drain(..written)),
                    _ => return false,
                }
            }
            self.between.poll_flushing(&mut self.socket, &self.activity, cx).is_ready()
        }

        /// Something happens, and the connection's task may or may not have its turn.
        fn turn(&mut self, event: u8, room: usize) {
            match event {
                0 if self.present.is_none() => self.begin(),
                1 | 2 => self.hint(),
                3 => self.answer(),
                4 => self.go_on(),
                _ => {}
            }
            self.socket.room += room;
            if !room.is_multiple_of(3) {
                self.flush();
            }
        }

        fn text(&self) -> String {
            String::from_utf8_lossy(&self.socket.written).into_owned()
        }
    }

    /// The heads in `written`: 100 as nothing, a hint as its request and number, a final one as its request.
    fn heads(written: &str) -> Vec<(usize, Option<usize>)> {
        let mut heads = Vec::new();
        for head in written.split_terminator("\r\n\r\n") {
            if let Some(request) = head.strip_prefix("HTTP/1.1 200 ") {
                heads.push((request.parse().expect("a number"), None));
            } else if let Some(hint) = head.strip_prefix("HTTP/1.1 103 Early Hints\r\nlink: ") {
                let hint = hint.strip_suffix("\r\nvia: 1.1 b").expect("a Via");
                let (request, hint) = hint.split_once('.').expect("two numbers");
                heads.push((request.parse().expect("one"), Some(hint.parse().expect("two"))));
            } else {
                assert_eq!(head, "HTTP/1.1 100 Continue");
            }
        }
        heads
    }

    #[test]
    fn what_waits_goes_out_while_the_request_is_unanswered_and_before_its_answer() {
        let mut connection = Connection::default();
        connection.socket.room = usize::MAX;
        connection.begin();
        assert!(connection.flush());
        connection.hint();
        assert!(connection.flush());
        assert_eq!(heads(&connection.text()), [(1, Some(0))]);
        connection.hint();
        connection.answer();
        assert!(connection.flush());
        assert_eq!(heads(&connection.text()), [(1, Some(0)), (1, Some(1)), (1, None)]);
    }

    #[test]
    fn none_goes_out_before_the_rest_of_another_response() {
        let mut connection = Connection::default();
        connection.begin();
        assert!(connection.flush());
        connection.answer();
        connection.socket.room = 10;
        assert!(!connection.flush());
        // hyper takes the next request although not all of the last response was written.
        connection.begin();
        connection.hint();
        connection.socket.room = usize::MAX;
        assert!(connection.flush());
        assert_eq!(heads(&connection.text()), [(1, None), (2, Some(0))]);
    }

    #[test]
    fn an_answer_that_hyper_appends_to_the_rest_of_another_is_not_parted_from_it() {
        let mut connection = Connection::default();
        connection.begin();
        assert!(connection.flush());
        connection.answer();
        assert!(!connection.flush());
        connection.begin();
        connection.hint();
        connection.answer();
        connection.socket.room = usize::MAX;
        assert!(connection.flush());
        assert_eq!(heads(&connection.text()), [(1, None), (2, None)]);
    }

    #[test]
    fn one_that_came_too_late_does_not_go_out_later() {
        let mut connection = Connection::default();
        connection.socket.room = usize::MAX;
        connection.begin();
        connection.hint();
        connection.answer();
        // Nothing was known of the socket when hyper began the answer.
        assert!(connection.flush());
        connection.begin();
        connection.answer();
        assert!(connection.flush());
        assert_eq!(heads(&connection.text()), [(1, None), (2, None)]);
    }

    proptest! {
        #[test]
        fn heads_are_never_mixed(turns in prop::collection::vec((0_u8..7, 0_usize..60), 0..80)) {
            let mut connection = Connection::default();
            for (event, room) in turns {
                connection.turn(event, room);
            }
            let accepted = connection.hinted.clone();
            connection.answer();
            connection.socket.room = usize::MAX;
            prop_assert!(connection.flush());
            let heads = heads(&connection.text());
            let finals: Vec<_> = heads.iter().filter(|head| head.1.is_none()).map(|head| head.0).collect();
            prop_assert!(finals.iter().copied().eq(1..=connection.number), "every answer, in order");
            let in_order = heads.is_sorted_by_key(|(request, hint)| (*request, hint.is_none()));
            prop_assert!(in_order, "each hint before its answer");
            let hints: Vec<_> = heads.iter().filter_map(|head| Some((head.0, head.1?))).collect();
            prop_assert!(hints.is_sorted(), "in order, each once");
            prop_assert!(hints.iter().all(|hint| accepted.contains(hint)));
        }
    }
}
