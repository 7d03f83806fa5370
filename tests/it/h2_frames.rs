//! Frames of HTTP/2 (RFC 9113), and a client that writes its frames by hand, and says what came back. It keeps to nothing but the
//! layout of frames.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::intercept::{NAME, Scene};
use crate::secure::{secure, trusting};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

/// Flags: END_STREAM of HEADERS and DATA, and ACK of SETTINGS and PING; END_HEADERS.
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// Error codes (RFC 9113 §7).
pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

/// Longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A frame (RFC 9113 §4.1).
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a length").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A field that goes into no table (RFC 7541 §6.2.2).
pub(crate) fn field(name: &str, value: &str) -> Vec<u8> {
    [&[0][..], &string(name), &string(value)].concat()
}

/// A string as it is (RFC 7541 §5.2).
pub(crate) fn string(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut length = text.len();
    if length < 127 {
        bytes.push(u8::try_from(length).expect("a byte"));
    } else {
        bytes.push(127);
        length -= 127;
        while length >= 128 {
            bytes.push(u8::try_from(length % 128).expect("a byte") | 128);
            length /= 128;
        }
        bytes.push(u8::try_from(length).expect("a byte"));
    }
    bytes.extend(text.as_bytes());
    bytes
}

/// The pseudo-header fields of a request for `path` of `authority` over http.
pub(crate) fn head(method: &str, authority: &str, path: &str) -> Vec<u8> {
    let fields = [(":method", method), (":scheme", "http"), (":authority", authority), (":path", path)];
    fields.iter().flat_map(|(name, value)| field(name, value)).collect()
}

/// A GET, whole in one frame.
pub(crate) fn get(stream: u32, authority: &str, path: &str) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &head("GET", authority, path))
}

pub(crate) fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())
}

pub(crate) fn window(stream: u32, increment: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &increment.to_be_bytes())
}

pub(crate) fn setting(identifier: u16, value: u32) -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[&identifier.to_be_bytes()[..], &value.to_be_bytes()].concat())
}

/// A frame that came.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The error code of a RST_STREAM or a GOAWAY.
    pub(crate) fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().expect("a code"))
    }
}

/// A connection after its preface.
pub(crate) struct Wire {
    reading: ReadHalf<TlsStream<TcpStream>>,
    writing: WriteHalf<TlsStream<TcpStream>>,
}

/// What became of a connection.
#[derive(Debug, Default)]
pub(crate) struct End {
    /// Bytes that could be sent.
    pub(crate) sent: usize,
    /// The code of the last GOAWAY that came.
    pub(crate) goaway: Option<u32>,
    /// Streams that were refused, and that were reset for other reasons.
    pub(crate) refused: usize,
    pub(crate) reset: usize,
    /// Responses that began.
    pub(crate) heads: usize,
}

impl End {
    fn note(&mut self, frame: &Frame) {
        match frame.kind {
            GOAWAY => self.goaway = Some(frame.code()),
            RST_STREAM if frame.code() == REFUSED_STREAM => self.refused += 1,
            RST_STREAM => self.reset += 1,
            HEADERS => self.heads += 1,
            _ => {}
        }
    }
}

impl Wire {
    /// Speaks to the proxy itself, over TLS, and begins HTTP/2 with `settings`.
    pub(crate) async fn open(scene: &Scene, settings: &[u8]) -> Self {
        let stream = TcpStream::connect(scene.proxy.https_address()).await.expect("a connection");
        let stream = secure(stream, NAME, &trusting(&scene.pem, &["h2"])).await.expect("a handshake");
        let (reading, mut writing) = tokio::io::split(stream);
        writing.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("sent");
        writing.write_all(settings).await.expect("sent");
        Self { reading, writing }
    }

    /// As most clients do.
    pub(crate) async fn plain(scene: &Scene) -> Self {
        Self::open(scene, &frame(SETTINGS, 0, 0, &[])).await
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.writing.write_all(bytes).await?;
        self.writing.flush().await
    }

    /// The next frame; none at the end.
    pub(crate) async fn receive(&mut self) -> Option<Frame> {
        receive(&mut self.reading).await
    }

    /// Sends a ping and waits until it is answered: all before it has been looked at.
    pub(crate) async fn round_trip(&mut self) -> Option<()> {
        self.send(&frame(PING, 0, 0, b"whatever")).await.ok()?;
        loop {
            let frame = self.receive().await?;
            if frame.kind == GOAWAY {
                return None;
            }
            if frame.kind == PING && frame.flags == ACK && frame.payload == b"whatever" {
                return Some(());
            }
        }
    }

    /// Sends what `next` yields while all that comes is read, and waits for the end.
    pub(crate) async fn flood(self, next: impl Iterator<Item = Vec<u8>> + Send + 'static) -> End {
        let Self { mut reading, mut writing } = self;
        let sending = tokio::spawn(async move {
            let mut sent = 0;
            for bytes in next {
                if writing.write_all(&bytes).await.is_err() {
                    break;
                }
                sent += bytes.len();
            }
            let _ = writing.flush().await;
            (sent, writing)
        });
        let mut end = End::default();
        let received = async {
            while let Some(frame) = receive(&mut reading).await {
                end.note(&frame);
            }
        };
        tokio::time::timeout(PATIENCE, received).await.expect("the connection ends");
        end.sent = sending.await.expect("a count").0;
        end
    }

    /// Waits for the end without reading a byte of what is sent.
    pub(crate) async fn flood_unread(self, next: impl Iterator<Item = Vec<u8>> + Send + 'static) -> usize {
        let Self { reading, mut writing } = self;
        let sending = async {
            let mut sent = 0;
            for bytes in next {
                if writing.write_all(&bytes).await.is_err() {
                    break;
                }
                sent += bytes.len();
            }
            sent
        };
        let sent = tokio::time::timeout(PATIENCE, sending).await.expect("the connection ends");
        drop(reading);
        sent
    }
}

/// The next frame from `reading`; none at the end.
pub(crate) async fn receive<R: AsyncRead + Unpin>(reading: &mut R) -> Option<Frame> {
    let mut header = [0; 9];
    reading.read_exact(&mut header).await.ok()?;
    let [a, b, c, kind, flags, stream @ ..] = header;
    let mut payload = vec![0; usize::try_from(u32::from_be_bytes([0, a, b, c])).expect("a length")];
    reading.read_exact(&mut payload).await.ok()?;
    Some(Frame { kind, flags, stream: u32::from_be_bytes(stream), payload })
}
