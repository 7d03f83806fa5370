//! Accepting connections: the loop, the limit on how many are open, and patience when the system has no more
//! descriptors. What a connection says is `connection`'s affair.

pub(crate) mod activity;
mod attended;
mod between;
pub(crate) mod bind;
mod breakable;
mod call;
pub(crate) mod census;
pub(crate) mod client_io;
pub(crate) mod connection;
mod frames;
mod handed;
mod http2;
pub(crate) mod places;
mod resting;
mod seldom;
mod timed;
mod turned_away;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use linkio::SharedLink;
use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;

use crate::admit::access::Caller;
use crate::admit::occupancy::Stay;
use crate::current::Current;
use crate::upstream::buffer;
use connection::Server;

/// Accepts connections for `server` until it is time to go, at most `limit` open at once: more wait in the system's
/// queue, where they cost nothing. Whom nothing would be allowed, or who has too many, is told so and closed at once.
/// With an `acceptor` they begin with a handshake of TLS. It may
/// be dropped wherever it waits: whoever was accepted is served.
pub(crate) async fn accept(
    listener: TcpListener,
    acceptor: Option<Arc<Current<TlsAcceptor>>>,
    server: Arc<Server>,
    limit: Arc<Semaphore>,
) {
    let farewells = Arc::new(Semaphore::new(turned_away::AT_ONCE));
    loop {
        let (accepted, permit) = tokio::select! {
            biased;
            () = server.retiring() => return,
            next = next(&listener, &limit) => next,
        };
        match accepted {
            Ok((stream, peer)) => {
                let server = server.clone();
                let from = from(&stream, peer);
                let seat = match server.admit(from) {
                    Ok(seat) => seat,
                    Err(refusal) => {
                        let refusal = refusal.worded();
                        let record = server.record_refusal(from, &refusal);
                        // One that expects a handshake would not understand it.
                        if acceptor.is_none() {
                            turned_away::say(stream, refusal, &server.contact(), record, &farewells);
                        }
                        continue;
                    }
                };
                // Taken here, so that nobody who was accepted is forgotten.
                let (work, link) = (server.work(), server.link());
                let acceptor = acceptor.as_ref().map(|acceptor| acceptor.now());
                let Ok(permit) = permit else { return };
                let stay = Stay::new(permit, seat);
                tokio::spawn(async move {
                    prepare(&stream, &link);
                    match acceptor {
                        // Boxed: other connections need no room for a handshake.
                        Some(acceptor) => {
                            Box::pin(server.serve_tls(stream, from, stay, &acceptor, work)).await;
                        }
                        None => server.serve(stream, from, stay, work).await,
                    }
                });
            }
            Err(error) => rest(&error).await,
        }
    }
}

/// Where a client comes from, and where it has reached us.
fn from(stream: &TcpStream, peer: SocketAddr) -> Caller {
    // One that the system does not tell is no address of this machine's own.
    let local = stream.local_addr().unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)));
    Caller { address: peer.ip().to_canonical(), local }
}

/// The next connection, once there is room for it: more wait in the system's queue, where they cost nothing.
pub(crate) async fn next(
    listener: &TcpListener,
    limit: &Arc<Semaphore>,
) -> (io::Result<(TcpStream, SocketAddr)>, Result<OwnedSemaphorePermit, AcquireError>) {
    let permit = limit.clone().acquire_owned().await;
    (listener.accept().await, permit)
}

/// How far away clients may be.
const NEAR: Duration = Duration::from_millis(100);

/// Has the connection of a client hold no more than `link` carries, and send small pieces at once.
pub(crate) fn prepare(stream: &TcpStream, link: &SharedLink) {
    // What clients send goes up the link as it is now, whatever it was when the socket was bound. A size not granted
    // changes only how far the system runs ahead.
    if let Some(bytes) = buffer::size(buffer::carried(link).1, NEAR) {
        let _ = sockopt::set_socket_recv_buffer_size(stream, bytes);
    }
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a client's connection would not take an option");
    }
}

/// A connection that was gone before it was accepted is nothing; no more descriptors or memory pass in time.
pub(crate) async fn rest(error: &io::Error) {
    let fleeting =
        [io::ErrorKind::ConnectionAborted, io::ErrorKind::ConnectionReset, io::ErrorKind::Interrupted];
    if !fleeting.contains(&error.kind()) {
        tracing::warn!(%error, "no connection could be accepted; trying again in a moment");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The size of what `serve` returns.
    fn size_of_future<A, B, C, D, E, F>(_serve: impl FnOnce(A, B, C, D, E) -> F) -> usize {
        size_of::<F>()
    }

    /// Most connections rest most of the time.
    #[test]
    fn the_future_of_a_connection_has_no_room_for_what_serves_it() {
        let size = size_of_future(|server: &'static Arc<Server>, stream, from, stay, work| {
            server.serve(stream, from, stay, work)
        });
        assert!(size < 1500, "{size}");
    }

    #[tokio::test]
    async fn a_connection_has_the_buffer_of_the_link_as_it_is_now() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let address = listener.local_addr().expect("an address");
        let link = SharedLink::new(linkio::LinkSpec::default());
        let accepted = async || {
            let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
            let (far, _near) = (far.expect("a connection").0, near.expect("a connection"));
            prepare(&far, &link);
            sockopt::socket_recv_buffer_size(&far).expect("a size")
        };
        let usual = accepted().await;
        assert!(usual > 70_000, "{usual}");
        link.set("256k".parse::<linkio::LinkSpec>().expect("a link"));
        let thin = accepted().await;
        // The system doubles it, for its own books.
        assert!((32_768..=65_536).contains(&thin), "{thin}");
    }
}
