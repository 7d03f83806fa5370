//! Handing a client's connection over: to the far end of a CONNECT (RFC 9110 §9.3.6), or to the protocol that both
//! ends agreed to switch to (§7.8). What is then carried is not looked at.

use std::time::Duration;

use http::header::{CONTENT_LENGTH, UPGRADE, VIA};
use http::{HeaderMap, HeaderValue, Response, StatusCode, Version};
use hyper_util::rt::TokioIo;
use linkio::LinkedIo;
use tokio::net::TcpStream;
use tracing::Instrument as _;

use super::intercepted::Intercepted;
use super::{Answer, Handler};
use crate::admit::Admitted;
use crate::admit::occupancy::Stay;
use crate::bare::End;
use crate::body::{Body, OriginBody};
use crate::drain::Work;
use crate::exchange::{CacheStatus, Exchange};
use crate::respond::{self, Refusal};
use crate::site;
use crate::standing::Place;
use crate::upstream::crossing::Crossing;
use crate::upstream::destination::Purpose;
use crate::upstream::origin::Origin;
use crate::upstream::tunnel;

impl Handler {
    /// Opens a tunnel to the target and answers 200 once it stands; one that is to be looked into begins here, whether or
    /// not its target can be reached.
    pub(super) async fn tunnel(&self, mut admitted: Admitted, exchange: &Exchange) -> Answer {
        exchange.note(|details| details.cache = CacheStatus::Tunnel);
        let origin = Origin::of(&admitted.target);
        let origin = origin.ok_or(Refusal::BadRequest("CONNECT wants a host and a port."))?;
        let on_upgrade = admitted.on_upgrade.take();
        let on_upgrade = on_upgrade.ok_or(Refusal::BadRequest("This connection cannot be handed over."))?;
        let via = self.via(&admitted.headers, admitted.version);
        if let Some(interception) = self.interception_of(&admitted, &origin)? {
            if !site::is_site(origin.host()) {
                self.upstream.connector().judge_known(&origin, Purpose::Tunnel).await?;
            }
            let tunnel = Intercepted::new(interception, admitted, origin, on_upgrade, via, exchange);
            let mut response = Response::new(Body::Empty);
            response.extensions_mut().insert(tunnel);
            return Ok(response);
        }
        let (io, carrier) = self.way(&origin, &via, admitted.client.stay, exchange).await?;
        let handed = admitted.client.handed;
        let ends = async move { Ok((handed(on_upgrade.await?), io)) };
        tokio::spawn(async move { carrier.carry(ends).await }.in_current_span());
        Ok(Response::new(Body::Empty))
    }

    /// A connection to the far end of a tunnel, and what carries it.
    pub(super) async fn way(
        &self,
        origin: &Origin,
        via: &str,
        stay: Option<Stay>,
        exchange: &Exchange,
    ) -> Result<(LinkedIo<TcpStream>, Carrier), Refusal> {
        let standings = self.upstream.standings();
        let standing = standings.of(exchange);
        let connector = self.upstream.connector();
        let connected = connector.connect_for(origin, Purpose::Tunnel, standing, via).await?;
        exchange.note(|details| (details.peer, details.times) = (Some(connected.peer), connected.times()));
        let io = connected.io;
        Place::take(standings, exchange, &io.meter());
        let crossing = Crossing::begin(io.meter(), exchange.clone());
        Ok((io, self.carrier(exchange, crossing, stay)))
    }

    /// The Via of a request with `headers`, ourselves included, in one line.
    fn via(&self, headers: &HeaderMap, version: Version) -> String {
        let mut headers: HeaderMap = headers.get_all(VIA).iter().map(|value| (VIA, value.clone())).collect();
        self.admission.via().append(&mut headers, version);
        let texts: Vec<_> = headers.get_all(VIA).iter().filter_map(|value| value.to_str().ok()).collect();
        texts.join(", ")
    }

    /// Passes on a 101 and hands both connections to each other.
    pub(super) fn switch(
        &self,
        admitted: &Admitted,
        mut response: Response<OriginBody>,
        exchange: &Exchange,
    ) -> Answer {
        let crossing = response.extensions_mut().remove::<Crossing>();
        let asked = admitted.upgrade().filter(|asked| offers(asked, response.headers()));
        let (Some(on_upgrade), Some(_), Some(crossing)) = (&admitted.on_upgrade, asked, crossing) else {
            let origin = admitted.target.authority().map_or_else(String::new, ToString::to_string);
            return Err(Refusal::ProtocolError { origin });
        };
        let theirs = hyper::upgrade::on(&mut response);
        let ours = on_upgrade.clone();
        let carrier = self.carrier(exchange, crossing, admitted.client.stay.clone());
        let handed = admitted.client.handed;
        let ends = async move { Ok((handed(ours.await?), TokioIo::new(theirs.await?))) };
        tokio::spawn(async move { carrier.carry(ends).await }.in_current_span());
        let mut response = respond::received(response, self.clock.now(), self.admission.via());
        debug_assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        response.headers_mut().remove(CONTENT_LENGTH);
        Ok(response.map(|_| Body::Empty))
    }

    fn carrier(&self, exchange: &Exchange, crossing: Crossing, stay: Option<Stay>) -> Carrier {
        let (idle, work) = (self.tunnel_idle, self.drain.work());
        Carrier { exchange: exchange.clone(), crossing, idle, work, stay }
    }
}

/// Whether `asked` lists what a 101 switches to: "A server MUST NOT switch to a protocol that was not indicated by the
/// client in the corresponding request's Upgrade header field" (RFC 9110 §7.8).
fn offers(asked: &HeaderValue, switched: &HeaderMap) -> bool {
    let members = |value: &HeaderValue| {
        let list =
            value.to_str().unwrap_or_default().split(',').map(|member| member.trim().to_ascii_lowercase());
        list.collect::<Vec<_>>()
    };
    let offered = members(asked);
    let chosen: Vec<_> = switched.get_all(UPGRADE).iter().flat_map(members).collect();
    !chosen.is_empty() && chosen.iter().all(|protocol| !protocol.is_empty() && offered.contains(protocol))
}

/// What a tunnel holds for as long as it stands.
pub(super) struct Carrier {
    exchange: Exchange,
    crossing: Crossing,
    idle: Duration,
    work: Work,
    stay: Option<Stay>,
}

impl Carrier {
    /// Carries between the two `ends`, the client's and the origin's, once they are handed over.
    pub(super) async fn carry(self, ends: impl Future<Output = hyper::Result<(impl End, impl End)>>) {
        let Self { exchange, crossing, idle, work, stay } = self;
        let client = match ends.await {
            Ok((mut client, origin)) => {
                let carried = tunnel::relay(&mut client, origin, &exchange, idle, work.leaving()).await;
                if let Err(error) = carried {
                    tracing::debug!(%error, "a tunnel ended");
                }
                Some(client)
            }
            Err(error) => {
                tracing::debug!(%error, "a connection was not handed over");
                None
            }
        };
        // Whoever sees the connection's end finds the exchange over.
        drop((crossing, exchange, stay));
        drop(client);
    }
}
