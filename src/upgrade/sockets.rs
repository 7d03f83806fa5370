//! Listening sockets that go from process to process: those that this one was given, by the process before it or by a
//! service manager, and those that it can give to the next. It binds none.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use serde::{Deserialize, Serialize};

use crate::config::{Config, Control};

/// Which socket it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Label {
    /// For whom.
    pub(crate) purpose: Purpose,
    /// Where, as it was configured: with port 0 the address itself says more.
    pub(crate) place: String,
    /// Whether a service manager made it, which says where to listen in place of the configuration.
    pub(crate) is_activated: bool,
}

/// Who connects to a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Purpose {
    /// Clients.
    Listen,
    /// Clients that speak TLS to the proxy itself.
    HttpsListen,
    /// Commands.
    Control,
    /// Operators over TCP.
    Admin,
}

/// Sockets that others made, and that listen already.
#[derive(Debug, Default)]
pub(crate) struct Inherited(Vec<(Label, OwnedFd)>);

impl Inherited {
    /// One more.
    pub(crate) fn add(&mut self, label: Label, socket: OwnedFd) {
        self.0.push((label, socket));
    }

    /// Where a service manager says that this process is to listen.
    pub(crate) fn activated(&self) -> Activated {
        let labels = self.0.iter().map(|(label, _)| label);
        Activated(labels.filter(|label| label.is_activated).cloned().collect())
    }

    /// The socket that was made for `place`, if there is one.
    pub(crate) fn take(&mut self, purpose: Purpose, place: &str) -> Option<(Label, OwnedFd)> {
        let is_it = |(label, _): &(Label, OwnedFd)| label.purpose == purpose && label.place == place;
        let found = self.0.iter().position(is_it)?;
        Some(self.0.remove(found))
    }
}

/// Where a service manager says that this process is to listen, whatever its configuration says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Activated(Vec<Label>);

impl Activated {
    /// Has `config` listen there: these are bound already, maybe where we could not.
    pub(crate) fn amend(&self, config: &mut Config) {
        let given = |purpose| self.0.iter().filter(move |label| label.purpose == purpose);
        let addresses = |purpose| given(purpose).filter_map(|label| label.place.parse().ok());
        let replace = |configured: &mut Vec<SocketAddr>, given: Vec<SocketAddr>| {
            if !given.is_empty() {
                *configured = given;
            }
        };
        replace(&mut config.listen, addresses(Purpose::Listen).collect());
        replace(&mut config.https_listen, addresses(Purpose::HttpsListen).collect());
        replace(&mut config.admin.listen, addresses(Purpose::Admin).collect());
        if let Some(label) = given(Purpose::Control).next() {
            config.control = Control::Path(label.place.clone().into());
        }
    }
}

/// A socket that this process listens on, once more, for the next one to have. It stays open until this is dropped, too.
#[derive(Debug)]
pub(crate) struct Held {
    label: Label,
    socket: OwnedFd,
}

impl Held {
    /// One more descriptor of `socket`.
    ///
    /// # Errors
    /// If there are no more descriptors.
    pub(crate) fn of(label: Label, socket: BorrowedFd<'_>) -> io::Result<Self> {
        Ok(Self { label, socket: socket.try_clone_to_owned()? })
    }

    /// One more of the same.
    ///
    /// # Errors
    /// If there are no more descriptors.
    pub(crate) fn again(&self) -> io::Result<Self> {
        Self::of(self.label.clone(), self.socket.as_fd())
    }

    /// Whether a service manager made it.
    pub(crate) fn is_activated(&self) -> bool {
        self.label.is_activated
    }

    /// Which socket it is, and the socket.
    pub(super) fn parts(&self) -> (&Label, BorrowedFd<'_>) {
        (&self.label, self.socket.as_fd())
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn label(purpose: Purpose, place: &str, is_activated: bool) -> Label {
        Label { purpose, place: place.to_owned(), is_activated }
    }

    fn inherited(labels: &[Label]) -> Inherited {
        let socket = || OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
        Inherited(labels.iter().map(|label| (label.clone(), socket())).collect())
    }

    #[test]
    fn a_socket_is_taken_once_and_only_for_its_place() {
        let any = || label(Purpose::Listen, "127.0.0.1:0", false);
        let mut inherited = inherited(&[any(), any(), label(Purpose::HttpsListen, "127.0.0.1:1", false)]);
        assert!(inherited.take(Purpose::Listen, "127.0.0.1:1").is_none());
        assert!(inherited.take(Purpose::Listen, "127.0.0.1:0").is_some());
        assert!(inherited.take(Purpose::Listen, "127.0.0.1:0").is_some());
        assert!(inherited.take(Purpose::Listen, "127.0.0.1:0").is_none());
        assert!(inherited.take(Purpose::HttpsListen, "127.0.0.1:1").is_some());
    }

    #[test]
    fn only_a_service_manager_says_where_to_listen() {
        let (mut config, before) = (Config::default(), Config::default());
        inherited(&[label(Purpose::Listen, "127.0.0.1:1", false)]).activated().amend(&mut config);
        assert_eq!(config, before);
        let given = [
            label(Purpose::Listen, "127.0.0.1:1", true),
            label(Purpose::Listen, "[::1]:2", true),
            label(Purpose::Control, "/run/c", true),
        ];
        inherited(&given).activated().amend(&mut config);
        assert_eq!(config.listen, ["127.0.0.1:1".parse().unwrap(), "[::1]:2".parse().unwrap()]);
        assert_eq!(config.https_listen, before.https_listen);
        assert_eq!(config.control, Control::Path("/run/c".into()));
    }
}
