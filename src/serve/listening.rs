//! Where clients connect: the listeners of a configuration, and what becomes of them with another one. A listener that is
//! in both goes on; connections of one that is closed are served to their end.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::{TlsShown, bind};
use crate::config::Config;
use crate::current::Current;
use crate::listen;
use crate::listen::connection::Server;
use crate::listen::places::Places;

/// The listeners of one configuration, not all of which accept already.
pub(super) struct Listening {
    plain: Vec<One>,
    secure: Vec<One>,
}

/// A listener.
struct One {
    /// As it was configured, perhaps with port 0.
    configured: SocketAddr,
    local: SocketAddr,
    acceptor: Option<Arc<Current<TlsAcceptor>>>,
    /// None once it accepts.
    listener: Option<TcpListener>,
    task: Option<JoinHandle<()>>,
}

impl Drop for One {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// What `config` wants beside the listeners that are there: those to open, and what those that go on show from now on.
pub(super) struct Plan {
    plain: Vec<Planned>,
    secure: Vec<(Planned, TlsAcceptor)>,
}

/// A listener to be.
enum Planned {
    /// One that is there, known by its local address.
    Kept(SocketAddr),
    New {
        configured: SocketAddr,
        local: SocketAddr,
        listener: TcpListener,
    },
}

impl Planned {
    fn local(&self) -> SocketAddr {
        match self {
            Self::Kept(local) | Self::New { local, .. } => *local,
        }
    }
}

impl Listening {
    /// None.
    pub(super) fn nowhere() -> Self {
        Self { plain: Vec::new(), secure: Vec::new() }
    }

    /// What is to be done for the listeners of `config`. New ones are bound, and accept nothing yet.
    ///
    /// # Errors
    /// An address that cannot be listened on, and what is wrong with the certificates shown there.
    pub(super) fn plan(&self, config: &Config, shown: &TlsShown<'_>) -> anyhow::Result<Plan> {
        let plain = planned("listen", &config.listen, &self.plain, config)?;
        let secure = planned("https_listen", &config.https_listen, &self.secure, config)?;
        let secure = secure.into_iter().map(|planned| {
            let acceptor = shown.acceptor(planned.local())?;
            Ok((planned, acceptor))
        });
        Ok(Plan { plain, secure: secure.collect::<anyhow::Result<Vec<_>>>()? })
    }

    /// Carries out `plan`: what is not in it any more is closed. [`Listening::accept`] begins with the new ones.
    pub(super) fn carry_out(&mut self, plan: Plan) {
        let (mut plain, mut secure) = (std::mem::take(&mut self.plain), std::mem::take(&mut self.secure));
        self.plain = plan.plain.into_iter().filter_map(|planned| become_one(planned, &mut plain)).collect();
        for (planned, acceptor) in plan.secure {
            if let Some(mut one) = become_one(planned, &mut secure) {
                match &one.acceptor {
                    Some(current) => current.set(acceptor),
                    None => one.acceptor = Some(Arc::new(Current::new(acceptor))),
                }
                self.secure.push(one);
            }
        }
    }

    /// Accepts connections for `server` on every listener that does not yet.
    pub(super) fn accept(&mut self, server: &Arc<Server>, places: &Places) {
        for one in self.plain.iter_mut().chain(&mut self.secure) {
            if let Some(listener) = one.listener.take() {
                let (acceptor, server) = (one.acceptor.clone(), server.clone());
                let accepting = listen::accept(listener, acceptor, server, places.semaphore().clone());
                one.task = Some(tokio::spawn(accepting));
            }
        }
    }

    /// Where clients connect in plain, and with TLS.
    pub(super) fn addresses(&self) -> [Vec<SocketAddr>; 2] {
        [&self.plain, &self.secure].map(|ones| ones.iter().map(|one| one.local).collect())
    }
}

impl Plan {
    /// Where clients will connect, in whatever way.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        let secure = self.secure.iter().map(|(planned, _)| planned.local());
        self.plain.iter().map(Planned::local).chain(secure).collect()
    }
}

/// Those of `there` that `addresses` name, and new ones for the rest.
fn planned(
    option: &str,
    addresses: &[SocketAddr],
    there: &[One],
    config: &Config,
) -> anyhow::Result<Vec<Planned>> {
    let mut left: Vec<_> = there.iter().collect();
    let each = |configured: &SocketAddr| {
        if let Some(at) = left.iter().position(|one| one.configured == *configured) {
            return Ok(Planned::Kept(left.swap_remove(at).local));
        }
        let listener = bind(option, *configured, &config.link.spec)?;
        Ok(Planned::New { configured: *configured, local: listener.local_addr()?, listener })
    };
    addresses.iter().map(each).collect()
}

fn become_one(planned: Planned, there: &mut Vec<One>) -> Option<One> {
    match planned {
        Planned::Kept(local) => {
            let at = there.iter().position(|one| one.local == local)?;
            Some(there.swap_remove(at))
        }
        Planned::New { configured, local, listener } => {
            Some(One { configured, local, acceptor: None, listener: Some(listener), task: None })
        }
    }
}
