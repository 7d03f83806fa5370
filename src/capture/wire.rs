//! `Wire`: one connection as a capture sees it. Whether it is meant may be known when it begins, or only when a request on
//! it names its host; until then what it says is held back, within bounds, so that the request itself is not missed.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Request;
use serde::{Deserialize, Serialize};

use super::frame::{Frame, Kind};
use super::heard::Asker;
use super::{Captures, Session};

/// One connection. Clones are the same.
#[derive(Clone)]
pub(crate) struct Wire(Arc<Inner>);

struct Inner {
    captures: Captures,
    client: IpAddr,
    way: Way,
    /// The capture that was going on when it began.
    born: u64,
    state: Mutex<State>,
}

/// What of a connection is seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// What is on the wire.
    Plain,
    /// What is inside of the TLS between the client and ourselves.
    Tls,
    /// What is inside of the TLS in a tunnel to this authority.
    Inside(String),
    /// A forwarder's connection to this target.
    Forwarded(String),
}

/// Whose connection is captured, as its files say it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct About {
    pub(crate) client: IpAddr,
    /// Of the client; none where it has no socket of its own.
    pub(crate) port: Option<u16>,
    /// What is seen of it.
    pub(crate) seen: String,
    /// Whether it was open before the capture began.
    pub(crate) joined: bool,
    /// Bytes of it, read and written, that were let go before it was known to be meant.
    pub(crate) before: [u64; 2],
}

enum State {
    /// Not looked at.
    New,
    /// Not meant by the capture with this number.
    Out(u64),
    /// May be meant.
    Held(Held),
    Taken(Taken),
}

/// What was said so far.
struct Held {
    session: Arc<Session>,
    port: Option<u16>,
    pieces: VecDeque<(Kind, Duration, Vec<u8>)>,
    bytes: usize,
    before: [u64; 2],
}

/// A connection that is captured.
struct Taken {
    session: Arc<Session>,
    number: u32,
    /// Bytes read and written since the last that had room.
    lost: [u64; 2],
}

/// Bytes of one connection that are held back.
const MOST_HELD: usize = 64 * 1024;

impl Wire {
    /// A connection of `client` that begins now.
    pub(crate) fn new(captures: &Captures, client: IpAddr, way: Way) -> Self {
        let born = captures.number();
        Self(Arc::new(Inner { captures: captures.clone(), client, way, born, state: Mutex::new(State::New) }))
    }

    /// These bytes were read; `port` is the client's.
    pub(super) fn read(&self, bytes: &[u8], port: impl FnOnce() -> Option<u16>) {
        if self.is_on() && !bytes.is_empty() {
            self.note(Kind::In, bytes.to_vec(), port);
        }
    }

    /// The first `written` bytes of `bufs` were written; `port` is the client's.
    pub(super) fn wrote(&self, bufs: &[IoSlice<'_>], written: usize, port: impl FnOnce() -> Option<u16>) {
        if self.is_on() && written > 0 {
            let mut bytes = Vec::with_capacity(written);
            for buf in bufs {
                let left = written - bytes.len();
                bytes.extend_from_slice(buf.get(..left).unwrap_or(buf));
            }
            self.note(Kind::Out, bytes, port);
        }
    }

    /// This happened besides.
    pub(super) fn happened(&self, what: &str, port: impl FnOnce() -> Option<u16>) {
        if self.is_on() {
            self.note(Kind::Note, what.as_bytes().to_vec(), port);
        }
    }

    /// It is over.
    pub(super) fn closed(&self) {
        let state = std::mem::replace(&mut *self.lock(), State::New);
        match state {
            State::Taken(mut taken) if taken.session.number == self.0.captures.number() => {
                taken.tell_lost();
                let _ = taken.session.queue.put_first(taken.session.frame(
                    Kind::Closed,
                    taken.number,
                    Vec::new(),
                ));
            }
            State::Held(held) => held.session.let_go(held.bytes),
            _ => {}
        }
    }

    /// `request` has come on it, which is meant if its host is. It is marked, for the HAR file.
    pub(crate) fn asked<B>(&self, request: &mut Request<B>) {
        if !self.is_on() {
            return;
        }
        let mut state = self.lock();
        let Some(session) = self.look(&mut state, || None) else { return };
        if !session.filter.is_for(request.uri()) {
            return;
        }
        if let State::Held(held) = &mut *state {
            *state = match held.take(&self.0) {
                Some(taken) => State::Taken(taken),
                None => State::Out(session.number),
            };
        }
        let number = if let State::Taken(taken) = &*state { taken.number } else { 0 };
        request.extensions_mut().insert(Asker { session, number });
    }

    /// Whether anything is captured.
    pub(super) fn is_on(&self) -> bool {
        self.0.captures.number() != 0
    }

    fn note(&self, kind: Kind, bytes: Vec<u8>, port: impl FnOnce() -> Option<u16>) {
        let mut state = self.lock();
        if self.look(&mut state, port).is_none() {
            return;
        }
        match &mut *state {
            State::Held(held) => held.keep(kind, bytes),
            State::Taken(taken) => taken.put(kind, bytes),
            State::New | State::Out(_) => {}
        }
    }

    /// Finds out whether it is meant by the capture that is going on, as far as can be told yet; that capture, unless it
    /// is not.
    fn look(&self, state: &mut State, port: impl FnOnce() -> Option<u16>) -> Option<Arc<Session>> {
        let on = self.0.captures.number();
        match state {
            State::Out(number) if *number == on => return None,
            State::Held(Held { session, .. }) | State::Taken(Taken { session, .. })
                if session.number == on =>
            {
                return Some(session.clone());
            }
            _ => {}
        }
        if let State::Held(held) = state {
            held.session.let_go(held.bytes);
        }
        let session = self.0.captures.session()?;
        if !session.filter.is_about(self.0.client) {
            *state = State::Out(session.number);
            return None;
        }
        let (pieces, at_once) = (VecDeque::new(), session.filter.is_without_hosts());
        let mut held = Held { session: session.clone(), port: port(), pieces, bytes: 0, before: [0; 2] };
        *state = match (at_once, at_once.then(|| held.take(&self.0)).flatten()) {
            (true, Some(taken)) => State::Taken(taken),
            (true, None) => State::Out(session.number),
            (false, _) => State::Held(held),
        };
        Some(session)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Way {
    fn text(&self) -> String {
        match self {
            Self::Plain => "what is on the wire".to_owned(),
            Self::Tls => "what is inside of the TLS that ends here; on the wire it is encrypted".to_owned(),
            Self::Inside(authority) => format!(
                "what is inside of the TLS in a tunnel to {authority} that is intercepted; on the wire it is encrypted"
            ),
            Self::Forwarded(target) => format!("what is on the wire, forwarded to {target}"),
        }
    }
}

impl Held {
    fn keep(&mut self, kind: Kind, bytes: Vec<u8>) {
        self.bytes += bytes.len();
        if !self.session.hold(bytes.len()) {
            self.bytes -= bytes.len();
            self.forget(kind, bytes.len());
            return;
        }
        self.pieces.push_back((kind, self.session.elapsed(), bytes));
        while self.bytes > MOST_HELD || self.pieces.len() > MOST_PIECES {
            let Some((kind, _, bytes)) = self.pieces.pop_front() else { break };
            self.bytes -= bytes.len();
            self.session.let_go(bytes.len());
            self.forget(kind, bytes.len());
        }
    }

    fn forget(&mut self, kind: Kind, bytes: usize) {
        match kind {
            Kind::In => self.before[0] += bytes as u64,
            Kind::Out => self.before[1] += bytes as u64,
            _ => {}
        }
    }

    /// It is meant: from here on all of it is captured; none if there is no room for it.
    fn take(&mut self, wire: &Inner) -> Option<Taken> {
        let session = self.session.clone();
        let about = About {
            client: wire.client,
            port: self.port,
            seen: wire.way.text(),
            joined: wire.born != session.number,
            before: self.before,
        };
        let about = serde_json::to_vec(&about).unwrap_or_default();
        let number = session.number();
        session.let_go(std::mem::take(&mut self.bytes));
        if session.queue.put_first(session.frame(Kind::Opened, number, about)).is_err() {
            session.lost.connections.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let mut taken = Taken { session, number, lost: [0; 2] };
        for (kind, at, bytes) in self.pieces.drain(..) {
            taken.put_at(kind, at, bytes);
        }
        Some(taken)
    }
}

/// Pieces of one connection that are held back.
const MOST_PIECES: usize = 256;

impl Taken {
    fn put(&mut self, kind: Kind, bytes: Vec<u8>) {
        let at = self.session.elapsed();
        self.put_at(kind, at, bytes);
    }

    fn put_at(&mut self, kind: Kind, at: Duration, payload: Vec<u8>) {
        // What was lost is said before what follows, once something can.
        let may_follow = self.lost == [0; 2] || (self.session.queue.has_room(&payload) && self.tell_lost());
        let frame = Frame { kind, number: self.number, at, payload };
        let lost = if may_follow { self.session.queue.put(frame).err() } else { Some(frame) };
        let Some(frame) = lost else { return };
        let bytes = frame.payload.len() as u64;
        match kind {
            Kind::In => self.lost[0] += bytes,
            Kind::Out => self.lost[1] += bytes,
            _ => return,
        }
        self.session.lost.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Says what was lost, before anything that comes after it; whether there was room to.
    fn tell_lost(&mut self) -> bool {
        for (kind, lost) in [Kind::LostIn, Kind::LostOut].into_iter().zip(&mut self.lost) {
            if *lost > 0 {
                let frame = self.session.frame(kind, self.number, lost.to_string().into_bytes());
                if self.session.queue.put_first(frame).is_err() {
                    return false;
                }
                *lost = 0;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests;
