//! `Bare`: a stream that is nothing but its socket at the moment. Whoever carries bytes in bulk may then let the kernel take
//! them from socket to socket, and says afterwards how many went by, so that all who count have counted. It moves nothing.

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use linkio::{Direction, LinkedIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// An end of a tunnel that may be bare. Down is from the origin to the client, at whichever end.
pub(crate) trait Bare {
    /// The socket, where reading or writing what goes in `direction` there is no different from doing it here. That may
    /// change at any time: it is asked for every piece.
    fn socket(&self, _direction: Direction) -> Option<&TcpStream> {
        None
    }

    /// So many `bytes` were read or written there.
    fn passed(&self, _direction: Direction, _bytes: u64) {}
}

/// An end of a tunnel, whatever it is made of.
pub(crate) trait End: AsyncRead + AsyncWrite + Bare + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Bare + Unpin + Send> End for T {}

/// How a connection that hyper hands over becomes an end.
pub(crate) type Handed = fn(Upgraded) -> Box<dyn End>;

impl Bare for TcpStream {
    fn socket(&self, _: Direction) -> Option<&TcpStream> {
        Some(self)
    }
}

impl<T: Bare> Bare for LinkedIo<T> {
    fn socket(&self, direction: Direction) -> Option<&TcpStream> {
        self.direct(direction)?.socket(direction)
    }

    fn passed(&self, direction: Direction, bytes: u64) {
        self.count_direct(direction, bytes);
    }
}

impl<T: Bare + ?Sized> Bare for Box<T> {
    fn socket(&self, direction: Direction) -> Option<&TcpStream> {
        (**self).socket(direction)
    }

    fn passed(&self, direction: Direction, bytes: u64) {
        (**self).passed(direction, bytes);
    }
}

/// What it is made of is not known.
impl Bare for TokioIo<Upgraded> {}

/// What is read of it is deciphered first.
impl<T> Bare for tokio_rustls::server::TlsStream<T> {}
