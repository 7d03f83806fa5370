//! Connections that hyper hands over to a tunnel: what they were made of is found again, so that a tunnel may know of the
//! socket. What is done with it is not decided here.

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;

use super::breakable::Socket;
use super::client_io::ClientIo;
use crate::bare::End;
use crate::capture::Tap;
use crate::intercept::rewound::Rewound;

/// The connection over `T` that hyper hands over: what it was made of, behind what hyper has read ahead of it.
pub(super) fn handed<T: Socket>(upgraded: Upgraded) -> Box<dyn End> {
    match upgraded.downcast::<TokioIo<ClientIo<Tap<T>>>>() {
        Ok(parts) => Box::new(Rewound::new(parts.read_buf, parts.io.into_inner())),
        Err(upgraded) => Box::new(TokioIo::new(upgraded)),
    }
}
