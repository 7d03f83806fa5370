//! Accepting connections: the loop, the limit on how many are open, and patience when the system has no more
//! descriptors. What a connection says is `connection`'s affair.

pub(crate) mod activity;
mod between;
pub(crate) mod client_io;
pub(crate) mod connection;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use connection::Server;

/// Accepts connections for `server` until it is time to go, at most `limit` open at once: more wait in the system's
/// queue, where they cost nothing.
pub(crate) async fn accept(listener: TcpListener, server: Arc<Server>, limit: Arc<Semaphore>) {
    loop {
        let next = async {
            let permit = limit.clone().acquire_owned().await;
            (listener.accept().await, permit)
        };
        let (accepted, permit) = tokio::select! {
            biased;
            () = server.leaving() => return,
            next = next => next,
        };
        match accepted {
            Ok((stream, peer)) => {
                let server = server.clone();
                let address = peer.ip().to_canonical();
                // Taken here, so that nobody who was accepted is forgotten.
                let work = server.work();
                tokio::spawn(async move {
                    prepare(&stream);
                    server.serve(stream, address, work).await;
                    drop(permit);
                });
            }
            Err(error) => rest(&error).await,
        }
    }
}

fn prepare(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a client's connection would not take an option");
    }
}

/// A connection that was gone before it was accepted is nothing; no more descriptors or memory pass in time.
async fn rest(error: &io::Error) {
    let fleeting =
        [io::ErrorKind::ConnectionAborted, io::ErrorKind::ConnectionReset, io::ErrorKind::Interrupted];
    if !fleeting.contains(&error.kind()) {
        tracing::warn!(%error, "no connection could be accepted; trying again in a moment");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
