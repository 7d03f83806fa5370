//! What a service manager is told of this process, and the sockets it hands over (sd_notify(3), sd_listen_fds(3)). Where
//! there is none, nothing is said to anybody.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use anyhow::Context as _;
use listenfd::ListenFd;
use sd_notify::NotifyState;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::upgrade::sockets::{Inherited, Label, Purpose};

/// The sockets that the service manager made for this process, told apart by their `FileDescriptorName=`: `control` for
/// commands, `https` for clients that speak TLS to the proxy, any other for clients. To be called before there are
/// threads.
///
/// # Errors
/// If one of them is not what its name says.
pub(crate) fn sockets() -> anyhow::Result<Inherited> {
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut given = ListenFd::from_env();
    let mut inherited = Inherited::default();
    for index in 0..given.len() {
        let name = names.next().unwrap_or_default();
        let named = || format!("a socket of the service manager, named {name:?}");
        let (purpose, place, socket) = match purpose(name) {
            Purpose::Control => {
                let Some(socket) = given.take_unix_listener(index).with_context(named)? else { continue };
                (Purpose::Control, path(&socket).with_context(named)?, OwnedFd::from(socket))
            }
            purpose => {
                let Some(socket) = given.take_tcp_listener(index).with_context(named)? else { continue };
                (purpose, socket.local_addr().with_context(named)?.to_string(), OwnedFd::from(socket))
            }
        };
        inherited.add(Label { purpose, place, is_activated: true }, socket);
    }
    Ok(inherited)
}

fn purpose(name: &str) -> Purpose {
    match name {
        "control" => Purpose::Control,
        "https" | "https_listen" => Purpose::HttpsListen,
        _ => Purpose::Listen,
    }
}

fn path(socket: &UnixListener) -> anyhow::Result<String> {
    let address = socket.local_addr()?;
    let path = address.as_pathname().and_then(std::path::Path::to_str);
    Ok(path.context("it has no path")?.to_owned())
}

/// Requests are answered; `status` is one line on how.
pub(crate) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// This process is about to end.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("finishing what is in flight")]);
}

/// Another process is the main one from now on, and told to go on as that.
pub(crate) fn succeeded_by(process: u32) {
    tell(&[NotifyState::MainPid(process)]);
}

/// The configuration is being read again; that is over when this is dropped.
#[derive(Debug)]
pub(crate) struct Reloading(());

impl Reloading {
    /// Begins.
    pub(crate) fn begin() -> Self {
        // A service manager of 2023 and later wants to know which reload it is that ends.
        match NotifyState::monotonic_usec_now() {
            Ok(now) => tell(&[NotifyState::Reloading, now]),
            Err(_) => tell(&[NotifyState::Reloading]),
        }
        Self(())
    }
}

impl Drop for Reloading {
    fn drop(&mut self) {
        tell(&[NotifyState::Ready]);
    }
}

/// Signs of life, as long as this is held.
#[derive(Debug)]
pub(crate) struct Watchdog(JoinHandle<()>);

impl Watchdog {
    /// Begins to give them, if the service manager waits for any: twice in the time after which it takes this process for
    /// dead. A sign is given when the runtime has run a task that was new to it, and a job of the blocking pool: if all
    /// threads hang, there is none.
    pub(crate) fn begin() -> Option<Self> {
        let limit = sd_notify::watchdog_enabled().filter(|limit| *limit >= Duration::from_millis(2))?;
        Some(Self(tokio::spawn(async move {
            let mut ticks = interval(limit / 2);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let works = tokio::spawn(tokio::task::spawn_blocking(|| ())).await;
                if matches!(works, Ok(Ok(()))) {
                    tell(&[NotifyState::Watchdog]);
                }
            }
        })))
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager does not listen");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_told_apart_by_name() {
        assert_eq!(purpose("control"), Purpose::Control);
        assert_eq!(purpose("https"), Purpose::HttpsListen);
        for other in ["", "http", "bentpipe.socket", "unknown"] {
            assert_eq!(purpose(other), Purpose::Listen);
        }
    }
}
