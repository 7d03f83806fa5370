//! Listening sockets for clients: bound, or taken over from whoever had them before, and noted for who comes after. It
//! accepts nothing.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;

use anyhow::Context as _;
use tokio::net::{TcpListener, TcpSocket};

use crate::upgrade::sockets::{Held, Inherited, Label, Purpose};

/// Connections waiting to be accepted, of each listener.
const WAITING: u32 = 1024;

/// A listening socket, and the same for who comes after.
pub(crate) struct Bound {
    pub(crate) listener: TcpListener,
    pub(crate) held: Held,
}

/// Listens on `address`, which the option `option` names: on what was `inherited` for it, else on a socket of its own.
///
/// # Errors
/// If it cannot be listened on, named with its option.
pub(crate) fn listen(
    (option, purpose): (&str, Purpose),
    address: SocketAddr,
    inherited: &mut Inherited,
) -> anyhow::Result<Bound> {
    let place = address.to_string();
    let bound = || match inherited.take(purpose, &place) {
        Some((label, socket)) => Bound::of(taken_over(socket.into())?, label),
        None => Bound::of(bound(address)?, Label { purpose, place, is_activated: false }),
    };
    bound().with_context(|| format!("{option} = {address}: cannot be listened on"))
}

impl Bound {
    fn of(listener: TcpListener, label: Label) -> io::Result<Self> {
        let held = Held::of(label, listener.as_fd())?;
        Ok(Self { listener, held })
    }
}

fn taken_over(socket: std::net::TcpListener) -> io::Result<TcpListener> {
    // A service manager's is not, and who waits for it would wait alone.
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket)
}

fn bound(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(WAITING)
}
