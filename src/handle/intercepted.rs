//! A tunnel that is answered here and looked into: between the 200 that its client got and the requests that come out of
//! it, if it turns out to be for us. How that is found out is `intercept`'s, and serving the requests `listen`'s.

use std::sync::Arc;

use http::uri::Authority;
use hyper::upgrade::OnUpgrade;

use super::Handler;
use crate::admit::Admitted;
use crate::admit::access::Caller;
use crate::admit::client::{Identity, Inside};
use crate::admit::occupancy::Stay;
use crate::bare::{End, Handed};
use crate::exchange::Cut;
use crate::exchange::{CacheStatus, Exchange};
use crate::intercept::{Interception, Opened};
use crate::respond::Refusal;
use crate::site;
use crate::upstream::origin::Origin;

/// A tunnel that was answered here.
#[derive(Clone)]
pub(crate) struct Intercepted {
    interception: Arc<Interception>,
    /// Where it leads, as its client wrote it.
    authority: Authority,
    origin: Origin,
    client: Caller,
    identity: Option<Identity>,
    stay: Option<Stay>,
    on_upgrade: OnUpgrade,
    handed: Handed,
    /// Ours and the client's, should it be passed on.
    via: String,
    exchange: Exchange,
}

impl Handler {
    /// Who looks into this tunnel to `origin`, if anybody does. A port that CONNECT may not reach is left to the refusal.
    ///
    /// # Errors
    /// The tunnel is to ourselves by our name, which leads nowhere else, and there is no certificate for it.
    pub(super) fn interception_of(
        &self,
        admitted: &Admitted,
        origin: &Origin,
    ) -> Result<Option<Arc<Interception>>, Refusal> {
        let (host, port) = (origin.host(), origin.port());
        let may = self.upstream.connector().may_tunnel_to(port);
        let is_ours = site::is_site(host);
        let interception = self.interception.as_ref().filter(|interception| match is_ours {
            true => interception.can_be(host),
            false => interception.is_for(admitted.client.address, host, port),
        });
        if is_ours && interception.is_none() {
            return Err(Refusal::OwnNameOverTls);
        }
        Ok(interception.filter(|_| may).cloned())
    }

    /// Passes `client` on to where the tunnel was meant to go, after all.
    pub(crate) async fn splice(&self, tunnel: Intercepted, client: impl End) {
        let Intercepted { origin, exchange, via, stay, .. } = tunnel;
        match self.way(&origin, &via, stay, &exchange).await {
            Ok((io, carrier)) => {
                drop(exchange);
                carrier.carry(async { Ok((client, io)) }).await;
            }
            // The 200 is gone already: all that is left is to close.
            Err(refusal) => exchange.note(|details| {
                details.error = refusal.error();
                details.cut_short = Some(Cut::Client);
            }),
        }
    }
}

impl Intercepted {
    /// The tunnel to `origin` that `admitted` asks for, on a connection that comes `on_upgrade`.
    pub(super) fn new(
        interception: Arc<Interception>,
        admitted: Admitted,
        origin: Origin,
        on_upgrade: OnUpgrade,
        via: String,
        exchange: &Exchange,
    ) -> Self {
        // A CONNECT always has a port (RFC 9110 §9.3.6), and a URI of the scheme need not have its default one.
        let authority = admitted.target.authority().map_or("", Authority::as_str);
        let authority = authority.strip_suffix(":443").unwrap_or(authority).parse();
        Self {
            interception,
            authority: authority.unwrap_or_else(|_| Authority::from_static("invalid")),
            origin,
            client: admitted.client.caller(),
            identity: admitted.client.identity,
            stay: admitted.client.stay,
            on_upgrade,
            handed: admitted.client.handed,
            via,
            exchange: exchange.clone(),
        }
    }

    /// Whose tunnel it is.
    pub(crate) fn client(&self) -> Caller {
        self.client
    }

    /// What its client's connection takes, for whatever the tunnel becomes to hold on to.
    pub(crate) fn stay(&self) -> Option<Stay> {
        self.stay.clone()
    }

    /// Takes the client's connection over and finds out what it wants.
    pub(crate) async fn open(&self) -> Opened<Box<dyn End>> {
        match self.on_upgrade.clone().await {
            Ok(io) => {
                let (host, port) = (self.origin.host(), self.origin.port());
                self.interception.open((self.handed)(io), self.client.address, host, port).await
            }
            Err(error) => {
                tracing::debug!(%error, "a connection was not handed over");
                Opened::Nobody
            }
        }
    }

    /// The tunnel is looked into from now on: its own exchange is over, and each request has one.
    pub(crate) fn begin(self) -> Arc<Inside> {
        self.exchange.note(|details| details.cache = CacheStatus::Intercepted);
        Arc::new(Inside { authority: self.authority, identity: self.identity })
    }
}
