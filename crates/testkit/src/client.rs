//! A client that says exactly what it is told and reports exactly what it received: through a proxy
//! (absolute-form, CONNECT) or straight to an origin, on one connection.
//!
//! It follows no redirects, keeps no cookies, adds no fields but Host and Content-Length. Framing of
//! responses is RFC 9112 §6.3.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;

use crate::message::{Contents, Ending, Fields, Framing, Head};
use crate::stream::{Socket, Stream};
use crate::wire::Wire;

/// A request to be sent. Host comes first, then the fields in the order they were added.
#[derive(Clone, Debug)]
pub struct Request {
    method: String,
    target: String,
    fields: Fields,
    body: Vec<u8>,
}

impl Request {
    /// A request for `target`, which is sent as written: absolute-form for a proxy, origin-form for an origin.
    #[must_use]
    pub fn new(method: &str, target: &str) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            fields: Fields::default(),
            body: Vec::new(),
        }
    }

    /// Adds a field line. A Host given here replaces the automatic one.
    #[must_use]
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push(name, value);
        self
    }

    /// Sets the contents, declared by Content-Length unless a Transfer-Encoding field is added, in which case
    /// the bytes must be framed already.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The bytes of the request.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        if !self.fields.has("host") {
            head += &format!("host: {}\r\n", authority(&self.target));
        }
        head += &self.fields.to_string();
        let framed = self.fields.has("content-length") || self.fields.has("transfer-encoding");
        if !self.body.is_empty() && !framed {
            head += &format!("content-length: {}\r\n", self.body.len());
        }
        let mut bytes = (head + "\r\n").into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// A response as it arrived.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status line as sent.
    pub status_line: String,
    /// The status; 0 where the status line has none.
    pub status: u16,
    /// The field lines in order.
    pub fields: Fields,
    /// The contents, without chunked framing.
    pub body: Vec<u8>,
    /// The trailer fields.
    pub trailers: Fields,
    /// How the contents ended.
    pub ending: Ending,
    /// The interim responses (1xx) that came before it.
    pub interim: Vec<Head>,
}

impl Response {
    /// The contents as text; bytes that are not UTF-8 show as U+FFFD.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The value of the first field line of this name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.value(name)
    }

    /// Whether the contents came to the end that the framing promised or allows.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.ending != Ending::Cut
    }
}

/// One connection of a client.
#[derive(Debug)]
pub struct Client {
    wire: Wire,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// Those of connecting.
    pub async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { wire: Wire::new(Stream::Plain(Socket { stream, count: Arc::default() })) })
    }

    /// Sends a request and receives its final response.
    ///
    /// # Errors
    /// Those of [`Client::send`] and [`Client::receive`].
    pub async fn request(&mut self, request: &Request) -> io::Result<Response> {
        self.send(&request.to_bytes()).await?;
        self.receive(&request.method).await
    }

    /// Asks for a tunnel to `authority` (RFC 9110 §9.3.6); after a 2xx answer this client talks to the far end.
    ///
    /// # Errors
    /// Those of [`Client::request`].
    pub async fn tunnel(&mut self, authority: &str) -> io::Result<Response> {
        self.request(&Request::new("CONNECT", authority)).await
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// Those of the socket.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.wire.write(bytes).await
    }

    /// Receives the final response to a request with `method`, contents and all.
    ///
    /// # Errors
    /// Those of the socket before the head is whole; `UnexpectedEof` when there is none. Contents that break
    /// off are no error but an [`Ending`].
    pub async fn receive(&mut self, method: &str) -> io::Result<Response> {
        let mut interim = Vec::new();
        let head = loop {
            let head = self.receive_head().await?;
            let status = status_of(&head.start_line);
            // 101 is final: what follows it is another protocol (RFC 9110 §15.2.2).
            if !(100..200).contains(&status) || status == 101 {
                break head;
            }
            interim.push(head);
        };
        let status = status_of(&head.start_line);
        let contents = self.wire.contents(Framing::of_response(method, status, &head.fields)).await;
        let Contents { bytes: body, trailers, ending } = contents;
        Ok(Response {
            status_line: head.start_line,
            status,
            fields: head.fields,
            body,
            trailers,
            ending,
            interim,
        })
    }

    /// Receives one head and leaves the contents on the connection.
    ///
    /// # Errors
    /// Those of the socket; `UnexpectedEof` when the connection ends first.
    pub async fn receive_head(&mut self) -> io::Result<Head> {
        self.wire.head().await?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// Receives exactly `length` bytes as they are on the wire.
    ///
    /// # Errors
    /// Those of the socket; `UnexpectedEof` when the connection ends first.
    pub async fn receive_exactly(&mut self, length: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.wire.take(length, &mut bytes).await?;
        Ok(bytes)
    }

    /// Receives whatever comes until the connection ends.
    ///
    /// # Errors
    /// Those of the socket.
    pub async fn receive_rest(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while self.wire.some(&mut bytes).await? > 0 {}
        Ok(bytes)
    }

    /// Ends the sending direction; responses can still be received.
    ///
    /// # Errors
    /// Those of the socket.
    pub async fn finish(&mut self) -> io::Result<()> {
        self.wire.shutdown().await
    }
}

/// One GET of an absolute URI through the proxy at `proxy`, on a connection of its own.
///
/// # Errors
/// Those of [`Client::connect`] and [`Client::request`].
pub async fn get(proxy: SocketAddr, url: &str) -> io::Result<Response> {
    Client::connect(proxy).await?.request(&Request::new("GET", url)).await
}

/// The authority of a target URI, or of an authority-form target itself.
fn authority(target: &str) -> &str {
    let rest = target.split_once("://").map_or(target, |(_, rest)| rest);
    match rest.find(['/', '?', '#']) {
        Some(end) => &rest[..end],
        None => rest,
    }
}

fn status_of(line: &str) -> u16 {
    line.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0)
}
