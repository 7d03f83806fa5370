//! The admin interface over TCP: listening, and how many are served. Who may is `guard`'s to say.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::Admin;
use super::guard::{Denied, Ends};
use super::patient::Patient;
use super::seats::Seats;
use super::serving::{self, Entry, PATIENCE};
use super::who::Who;
use crate::admit::failures::Failures;
use crate::listen::bind::{self, Bound};
use crate::upgrade::sockets::{Held, Inherited, Purpose};

/// Where the interface is served over TCP; no more when dropped.
pub(crate) struct Desk {
    address: SocketAddr,
    /// For the process after this one.
    held: Held,
    task: JoinHandle<()>,
}

impl Desk {
    /// Its address; with port 0 configured, the port the system chose.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it listens on, for the process after this one.
    pub(crate) fn held(&self) -> &Held {
        &self.held
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What is remembered of those who come over TCP.
pub(super) struct Door(Failures);

impl Door {
    /// Judges one request.
    ///
    /// # Errors
    /// What is answered in its place.
    pub(super) fn admit(
        &self,
        request: &Parts,
        ends: Ends,
        writes: bool,
        admin: &Admin,
    ) -> Result<Who, Denied> {
        admin.access().admit(request, ends, writes, &self.0)
    }
}

/// Listens on `addresses`, where it was `inherited` on that; commands are answered once there is an `Admin` to [`serve`].
///
/// # Errors
/// If one of them cannot be listened on.
pub(crate) fn bind(addresses: &[SocketAddr], inherited: &mut Inherited) -> anyhow::Result<Vec<Bound>> {
    let each = |address| bind::listen(("admin.listen", Purpose::Admin), address, inherited);
    addresses.iter().copied().map(each).collect()
}

/// Serves the admin interface on `listeners`.
pub(crate) fn serve(listeners: Vec<Bound>, admin: &Arc<Admin>) -> Vec<Desk> {
    let (door, seats) = (Arc::new(Door(Failures::new())), Arc::new(Seats::default()));
    let desk = |Bound { listener, held }: Bound| {
        let address = listener.local_addr().ok()?;
        let task = tokio::spawn(accept(listener, door.clone(), seats.clone(), admin.clone()));
        Some(Desk { address, held, task })
    };
    listeners.into_iter().filter_map(desk).collect()
}

async fn accept(listener: TcpListener, door: Arc<Door>, seats: Arc<Seats>, admin: Arc<Admin>) {
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(200)).await;
            continue;
        };
        let Ok(local) = stream.local_addr() else { continue };
        let Some(taken) = seats.take(peer.ip(), Instant::now()) else { continue };
        let (door, admin) = (door.clone(), admin.clone());
        tokio::spawn(async move {
            let seat = taken.seat.clone();
            let entry = Entry::Tcp(Ends { peer, local }, door, seat.clone());
            let stream = Patient::new(stream, seat.clone(), PATIENCE);
            tokio::select! {
                // A command that was begun before is finished: then it is not given up.
                () = seat.given_up() => tracing::debug!(%peer, "a connection of the admin interface gave way to another"),
                () = serving::serve(stream, &entry, &admin) => {}
            }
            drop(taken);
        });
    }
}
