//! What the system knows of a client before all that came from it has been read: that it has reset its connection, or
//! ended its sending. What follows from it is `client_io`'s affair.

use std::io;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, Interest};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::bare::Bare;
use crate::capture::Tap;
use crate::capture::tap::Ported;
use crate::intercept::rewound::Rewound;

/// A client's connection, or what is inside of its TLS.
pub(crate) trait Socket:
    AsyncRead + AsyncWrite + Bare + Breakable + Ported + Unpin + Send + 'static
{
}

impl<T: AsyncRead + AsyncWrite + Bare + Breakable + Ported + Unpin + Send + 'static> Socket for T {}

/// A connection that may be broken before all that came on it has been read.
pub(crate) trait Breakable {
    /// Why it is broken, told once.
    fn broken(&self) -> Option<io::Error>;

    /// How many bytes may still be read at most where the client has ended its sending; none while it has not, or where that
    /// is not known. Asking costs nothing while it has not.
    fn unread_of_an_end(&self) -> Option<u64>;
}

impl Breakable for TcpStream {
    fn broken(&self) -> Option<io::Error> {
        self.take_error().ok().flatten()
    }

    fn unread_of_an_end(&self) -> Option<u64> {
        let ready = pin!(self.ready(Interest::READABLE));
        // Whoever reads is woken by the read itself.
        let Poll::Ready(Ok(ready)) = ready.poll(&mut Context::from_waker(Waker::noop())) else { return None };
        if ready.is_read_closed() { rustix::io::ioctl_fionread(self).ok() } else { None }
    }
}

/// What TLS may hold that was read and not handed out: more than a record (RFC 8446 §5.2). Bytes.
const RECORDS: u64 = 64 * 1024;

impl<T: Breakable> Breakable for TlsStream<T> {
    fn broken(&self) -> Option<io::Error> {
        self.get_ref().0.broken()
    }

    fn unread_of_an_end(&self) -> Option<u64> {
        self.get_ref().0.unread_of_an_end().map(|unread| unread.saturating_add(RECORDS))
    }
}

impl<T: Breakable + Ported> Breakable for Tap<T> {
    fn broken(&self) -> Option<io::Error> {
        self.io().broken()
    }

    fn unread_of_an_end(&self) -> Option<u64> {
        self.io().unread_of_an_end()
    }
}

/// It has no socket of its own.
impl<T> Ported for Rewound<T> {}

// It comes out of a tunnel, below which the socket's own wrapper looks after it.
impl<T> Breakable for Rewound<T> {
    fn broken(&self) -> Option<io::Error> {
        None
    }

    fn unread_of_an_end(&self) -> Option<u64> {
        None
    }
}
