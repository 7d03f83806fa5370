//! Where clients connect: the listeners of a configuration, and what becomes of them with another one. A listener that is
//! in both goes on; connections of one that is closed are served to their end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::TlsShown;
use crate::config::Config;
use crate::current::Current;
use crate::listen::connection::Server;
use crate::listen::places::Places;
use crate::listen::{self, bind};
use crate::upgrade::sockets::{Held, Inherited, Purpose};

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
    /// For the process after this one; none once that has it.
    held: Option<Held>,
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
        bound: bind::Bound,
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

    /// What is to be done for the listeners of `config`. New ones are `inherited` or bound, and accept nothing yet.
    ///
    /// # Errors
    /// An address that cannot be listened on, and what is wrong with the certificates shown there.
    pub(super) fn plan(
        &self,
        config: &Config,
        shown: &TlsShown<'_>,
        inherited: &mut Inherited,
    ) -> anyhow::Result<Plan> {
        let mut planned = |named, addresses, there: &[One]| planned(named, addresses, there, inherited);
        let plain = planned(("listen", Purpose::Listen), &config.listen, &self.plain)?;
        let secure = planned(("https_listen", Purpose::HttpsListen), &config.https_listen, &self.secure)?;
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

    /// What is listened on, once more for the process after this one.
    ///
    /// # Errors
    /// If there are no more descriptors.
    pub(super) fn held(&self) -> io::Result<Vec<Held>> {
        self.plain.iter().chain(&self.secure).filter_map(|one| one.held.as_ref()).map(Held::again).collect()
    }

    /// Keeps none of it open beyond the end of accepting: another process has it.
    pub(super) fn let_go(&mut self) {
        for one in self.plain.iter_mut().chain(&mut self.secure) {
            one.held = None;
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
    (option, purpose): (&str, Purpose),
    addresses: &[SocketAddr],
    there: &[One],
    inherited: &mut Inherited,
) -> anyhow::Result<Vec<Planned>> {
    let mut left: Vec<_> = there.iter().collect();
    let each = |configured: &SocketAddr| {
        if let Some(at) = left.iter().position(|one| one.configured == *configured) {
            return Ok(Planned::Kept(left.swap_remove(at).local));
        }
        let bound = bind::listen((option, purpose), *configured, inherited)?;
        Ok(Planned::New { configured: *configured, local: bound.listener.local_addr()?, bound })
    };
    addresses.iter().map(each).collect()
}

fn become_one(planned: Planned, there: &mut Vec<One>) -> Option<One> {
    match planned {
        Planned::Kept(local) => {
            let at = there.iter().position(|one| one.local == local)?;
            Some(there.swap_remove(at))
        }
        Planned::New { configured, local, bound: bind::Bound { listener, held } } => Some(One {
            configured,
            local,
            acceptor: None,
            held: Some(held),
            listener: Some(listener),
            task: None,
        }),
    }
}
