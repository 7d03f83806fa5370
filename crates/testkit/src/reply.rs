//! What a scripted origin answers, well-formed or not: the answer as a value with a builder.
//!
//! It does not choose between answers (`origin.rs` does). The framing it writes is RFC 9112 §6 and §7.1 unless
//! the script says otherwise, which is the point of it.

use std::io;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;

use crate::message::Fields;
use crate::wire::Wire;

/// A point where an origin waits until a test lets it go on.
#[derive(Clone, Debug)]
pub struct Gate(watch::Sender<bool>);

impl Gate {
    /// A closed gate; clones are the same gate.
    #[must_use]
    pub fn closed() -> Self {
        Self(watch::Sender::new(false))
    }

    /// Lets everything pass, from now on.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    pub(crate) async fn pass(&self) {
        // The sender lives in `self`, so waiting can only end by the gate opening.
        let _ = self.0.subscribe().wait_for(|open| *open).await;
    }
}

/// An answer. Fields stand in the order they were added; Content-Length and Date are added where due.
#[derive(Clone, Debug)]
pub struct Reply {
    pub(crate) form: Form,
    pub(crate) before: Vec<Before>,
    pub(crate) status: u16,
    pub(crate) fields: Fields,
    pub(crate) body: Vec<u8>,
    pub(crate) framing: Sending,
    pub(crate) dated: bool,
    pub(crate) pace: Option<(usize, Duration)>,
    pub(crate) held: Option<(usize, Gate)>,
    pub(crate) cut: Option<usize>,
    ending: After,
    pub(crate) early: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Form {
    Http,
    Raw(Vec<u8>),
    Silent,
    Refused,
    Echo,
}

#[derive(Clone, Debug)]
pub(crate) enum Sending {
    Length(Option<u64>),
    Chunked { size: usize, trailers: Fields },
    UntilClose,
}

/// What comes before an answer.
#[derive(Clone, Debug)]
pub(crate) enum Before {
    Interim(u16, Fields),
    Wait(Gate),
}

/// What becomes of the connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    Keep,
    Close,
    Reset,
}

impl Reply {
    /// An answer with this status, no fields but Date and Content-Length, and an empty body.
    #[must_use]
    pub fn new(status: u16) -> Self {
        Self {
            form: Form::Http,
            before: Vec::new(),
            status,
            fields: Fields::default(),
            body: Vec::new(),
            framing: Sending::Length(None),
            dated: true,
            pace: None,
            held: None,
            cut: None,
            ending: After::Keep,
            early: false,
        }
    }

    /// These bytes and nothing else, then the end of the connection.
    #[must_use]
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self { form: Form::Raw(bytes.into()), ..Self::new(0).then_close() }
    }

    /// No answer: the connection is closed as soon as the request is in.
    #[must_use]
    pub fn close() -> Self {
        Self { form: Form::Silent, ..Self::new(0).then_close() }
    }

    /// No answer: the connection is reset.
    #[must_use]
    pub fn reset() -> Self {
        Self { form: Form::Silent, ..Self::new(0).then_reset() }
    }

    /// No answer: over HTTP/2 the stream is refused, which says that nothing was done (RFC 9113 §8.7); over HTTP/1.1,
    /// which cannot say it, the connection is closed.
    #[must_use]
    pub fn refuse() -> Self {
        Self { form: Form::Refused, ..Self::new(0) }
    }

    /// 101 (Switching Protocols) to `protocol`, then every byte comes back until the client ends its direction.
    #[must_use]
    pub fn upgrade(protocol: &str) -> Self {
        let reply = Self { form: Form::Echo, ..Self::new(101).then_close() };
        reply.field("connection", "upgrade").field("upgrade", protocol)
    }

    /// Adds a field line. A Date or Content-Length given here replaces the automatic one.
    #[must_use]
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push(name, value);
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Leaves Date out.
    #[must_use]
    pub fn undated(mut self) -> Self {
        self.dated = false;
        self
    }

    /// Declares this Content-Length whatever the body's length is.
    #[must_use]
    pub fn declare_length(mut self, length: u64) -> Self {
        self.framing = Sending::Length(Some(length));
        self
    }

    /// Sends the body in chunks of `size` bytes.
    #[must_use]
    pub fn chunked(mut self, size: usize) -> Self {
        self.framing = Sending::Chunked { size: size.max(1), trailers: Fields::default() };
        self
    }

    /// Adds a trailer field; a body that was not chunked becomes one chunk.
    #[must_use]
    pub fn trailer(mut self, name: &str, value: &str) -> Self {
        if !matches!(self.framing, Sending::Chunked { .. }) {
            self.framing = Sending::Chunked { size: usize::MAX, trailers: Fields::default() };
        }
        if let Sending::Chunked { trailers, .. } = &mut self.framing {
            trailers.push(name, value);
        }
        self
    }

    /// Sends the body without a length and ends it by closing the connection.
    #[must_use]
    pub fn until_close(mut self) -> Self {
        self.framing = Sending::UntilClose;
        self.then_close()
    }

    /// Sends an interim response (1xx) first.
    #[must_use]
    pub fn interim(mut self, status: u16, fields: Fields) -> Self {
        self.before.push(Before::Interim(status, fields));
        self
    }

    /// Waits for `gate` before what comes next: interim responses added later, or the answer itself.
    #[must_use]
    pub fn wait(mut self, gate: &Gate) -> Self {
        self.before.push(Before::Wait(gate.clone()));
        self
    }

    /// Sends the framed body in pieces of `bytes`, one each `interval` of real time.
    #[must_use]
    pub fn pace(mut self, bytes: usize, interval: Duration) -> Self {
        self.pace = Some((bytes.max(1), interval));
        self
    }

    /// Stops after `bytes` of the framed body until `gate` opens; a gate that never opens is a stall.
    #[must_use]
    pub fn hold_after(mut self, bytes: usize, gate: &Gate) -> Self {
        self.held = Some((bytes, gate.clone()));
        self
    }

    /// Sends only the first `bytes` of the framed body, then closes the connection.
    #[must_use]
    pub fn cut_after(mut self, bytes: usize) -> Self {
        self.cut = Some(bytes);
        self.then_close()
    }

    /// Closes the connection afterwards, without saying so in a field.
    #[must_use]
    pub fn then_close(mut self) -> Self {
        self.ending = After::Close;
        self
    }

    /// Resets the connection afterwards.
    #[must_use]
    pub fn then_reset(mut self) -> Self {
        self.ending = After::Reset;
        self
    }

    /// Answers before the request's contents are read, and never reads them.
    #[must_use]
    pub fn before_contents(mut self) -> Self {
        self.early = true;
        self.then_close()
    }

    /// Sends the answer to a request with `method`, dated `now`.
    ///
    /// # Errors
    /// Those of the socket.
    pub(crate) async fn send(&self, wire: &mut Wire, method: &str, now: SystemTime) -> io::Result<After> {
        for before in &self.before {
            match before {
                Before::Interim(status, fields) => {
                    wire.write(format!("HTTP/1.1 {status} Interim\r\n{fields}\r\n").as_bytes()).await?;
                }
                Before::Wait(gate) => gate.pass().await,
            }
        }
        match &self.form {
            Form::Silent => {}
            Form::Refused => return Ok(After::Close),
            Form::Raw(bytes) => wire.write(bytes).await?,
            Form::Echo => {
                wire.write(&self.head(now)).await?;
                echo(wire).await?;
            }
            Form::Http => {
                wire.write(&self.head(now)).await?;
                let bodiless = method == "HEAD" || self.is_bodiless();
                let body = if bodiless { Vec::new() } else { self.framed_body() };
                self.send_body(wire, &body).await?;
            }
        }
        Ok(self.ending)
    }

    async fn send_body(&self, wire: &mut Wire, body: &[u8]) -> io::Result<()> {
        let end = self.cut.unwrap_or(body.len()).min(body.len());
        let (piece, interval) = self.pace.unwrap_or((usize::MAX, Duration::ZERO));
        let mut at = 0_usize;
        loop {
            let mut next = at.saturating_add(piece).min(end);
            if let Some((mark, gate)) = &self.held {
                if at >= *mark {
                    gate.pass().await;
                } else {
                    next = next.min(*mark);
                }
            }
            if at == end {
                return Ok(());
            }
            wire.write(&body[at..next]).await?;
            at = next;
            if at < end && !interval.is_zero() {
                tokio::time::sleep(interval).await;
            }
        }
    }

    fn head(&self, now: SystemTime) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} {}\r\n{}", self.status, reason(self.status), self.fields);
        if self.dated && !self.fields.has("date") {
            head += &format!("date: {}\r\n", httpdate::fmt_http_date(now));
        }
        match &self.framing {
            Sending::Chunked { .. } => head += "transfer-encoding: chunked\r\n",
            Sending::Length(Some(length)) => head += &format!("content-length: {length}\r\n"),
            // RFC 9110 §8.6: no Content-Length in 1xx or 204; in a 304 only the one of the 200 would be right.
            Sending::Length(None) if !self.is_bodiless() && !self.fields.has("content-length") => {
                head += &format!("content-length: {}\r\n", self.body.len());
            }
            Sending::Length(None) | Sending::UntilClose => {}
        }
        (head + "\r\n").into_bytes()
    }

    fn framed_body(&self) -> Vec<u8> {
        let Sending::Chunked { size, trailers } = &self.framing else { return self.body.clone() };
        let mut framed = Vec::with_capacity(self.body.len() + 64);
        for chunk in self.body.chunks(*size) {
            framed.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            framed.extend_from_slice(chunk);
            framed.extend_from_slice(b"\r\n");
        }
        framed.extend_from_slice(format!("0\r\n{trailers}\r\n").as_bytes());
        framed
    }

    /// What becomes of the connection afterwards.
    pub(crate) fn after(&self) -> After {
        self.ending
    }

    pub(crate) fn is_bodiless(&self) -> bool {
        self.status < 200 || self.status == 204 || self.status == 304
    }
}

async fn echo(wire: &mut Wire) -> io::Result<()> {
    let mut bytes = Vec::new();
    while wire.some(&mut bytes).await? > 0 {
        wire.write(&bytes).await?;
        bytes.clear();
    }
    wire.shutdown().await
}

fn reason(status: u16) -> &'static str {
    match status {
        101 => "Switching Protocols",
        200 => "OK",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        304 => "Not Modified",
        404 => "Not Found",
        503 => "Service Unavailable",
        _ => "Scripted",
    }
}
