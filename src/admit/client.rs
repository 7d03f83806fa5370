//! Who asks: the client of one connection, and what that connection knows of its requests. Which account it has is
//! found by `accounts`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::uri::Authority;

use super::access::Caller;
use super::occupancy::Stay;
use crate::bare::Handed;
use crate::body::request::Progress;
use crate::respond::interim::Interim;

/// The client of one connection, and what its connection knows of the request.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) address: IpAddr,
    /// The address at which it has reached us.
    pub(crate) local: SocketAddr,
    /// Who it is, where that is settled for all of its requests: inside of a tunnel that was opened with credentials,
    /// the requests carry none, since "the Proxy-Authorization header field applies only to the next inbound proxy that
    /// demanded authentication" (RFC 9110 §11.7.2).
    pub(crate) identity: Option<Identity>,
    /// The request is an OPTIONS for the origin as a whole: sent on in asterisk-form (RFC 9112 §3.2.4).
    pub(crate) in_asterisk_form: bool,
    /// How far the content of the request has come.
    pub(crate) content: Progress,
    /// How interim responses to the request reach it.
    pub(crate) interim: Interim,
    /// The tunnel the request came out of, if it was looked into.
    pub(crate) inside: Option<Arc<Inside>>,
    /// What its connection takes, for a tunnel to hold on to.
    pub(crate) stay: Option<Stay>,
    /// What its connection becomes when it is handed over.
    pub(crate) handed: Handed,
}

/// A tunnel that is looked into: what its requests do not say themselves.
#[derive(Debug)]
pub(crate) struct Inside {
    /// Where the client thinks it is.
    pub(crate) authority: Authority,
    /// Who it was found to be when it asked for the tunnel.
    pub(crate) identity: Option<Identity>,
}

/// Who a client was found to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The account; none where none was wanted.
    pub(crate) account: Option<Arc<str>>,
}

impl Client {
    /// Where it comes from.
    pub(crate) fn caller(&self) -> Caller {
        Caller { address: self.address, local: self.local }
    }
}
