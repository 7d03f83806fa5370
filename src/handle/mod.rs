//! The line of one request, top to bottom: admit, look up, decide, and carry the decision out. Each step is one of
//! the files beside this one; how a decision is reached is rfc9111's, where things are kept is the store's.

mod complete;
mod fetch;
pub(crate) mod foresee;
mod intercepted;
mod join;
mod keep;
mod refresh;
mod rest;
mod reuse;
mod tunnel;
mod validate;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bentpipe_store::{Found, Store};
use http::header::HOST;
use http::uri::Scheme;
use http::{Method, Request, Response, Uri};
use hyper::body::Incoming;
use rfc9111::{Decision, Policy, Situation};
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::admit::access::Caller;
use crate::admit::client::{Client, Inside};
use crate::admit::{Admission, Admitted};
use crate::body::{self, Body, Sealed};
use crate::capture::heard::Heard;
use crate::clock::Clock;
use crate::drain::Drain;
use crate::exchange::{CacheStatus, Cut, Exchange, Observers, Told};
use crate::host::Host;
use crate::intercept::Interception;
use crate::observe::debugging::{Debugging, Shown};
use crate::respond::{self, Contact, Refusal};
use crate::site::{self, Site};
use crate::upstream::Upstream;
pub(crate) use intercepted::Intercepted;
pub(crate) use refresh::Refreshing;

/// The response to send, or the refusal to send in its place.
type Answer = Result<Response<Body>, Refusal>;

/// Everything a request meets on its way, built once by `serve`.
pub(crate) struct Handler {
    pub(crate) admission: Admission,
    pub(crate) store: Store,
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) clock: Clock,
    pub(crate) policy: Policy,
    pub(crate) observers: Arc<Observers>,
    /// Whose exchanges are shown step by step.
    pub(crate) debugging: Debugging,
    /// How long an origin may take to answer before a stored response is served in its place, where there is one.
    pub(crate) stale_patience: Duration,
    /// How long an origin is asked again and again for the rest of a download that broke off.
    pub(crate) resume_patience: Duration,
    /// How long a tunnel may rest.
    pub(crate) tunnel_idle: Duration,
    pub(crate) drain: Drain,
    pub(crate) refreshing: Refreshing,
    /// Which tunnels are looked into; none where nothing is intercepted.
    pub(crate) interception: Option<Arc<Interception>>,
    /// Our own pages.
    pub(crate) site: Site,
    /// Whom readers of the pages of refusals may ask.
    pub(crate) contact: Contact,
}

impl Handler {
    /// Answers `request` of `client`.
    pub(crate) async fn handle(
        self: &Arc<Self>,
        request: Request<Incoming>,
        client: Client,
    ) -> Response<Sealed> {
        let (method, target, version) = (request.method().clone(), request.uri().clone(), request.version());
        let now = self.clock.now();
        let exchange = Exchange::begin(method, target, version, client.address, now, &self.observers);
        if self.observers.want_told() {
            exchange.note(|details| details.told = Some(Box::new(Told::of(request.headers()))));
        }
        let (record, began) = (exchange.record(), Instant::now());
        if let Some(span) = self.debugging.span(record.number, record.client, &record.target, began) {
            exchange.watch(span);
        }
        let span = exchange.span();
        self.carry_out(request, client, exchange).instrument(span).await
    }

    async fn carry_out(
        self: &Arc<Self>,
        mut request: Request<Incoming>,
        client: Client,
        exchange: Exchange,
    ) -> Response<Sealed> {
        tracing::debug!(
            method = %request.method(),
            url = self.debugging.urls().written(request.uri()),
            version = ?request.version(),
            fields = ?Shown(request.headers(), &self.debugging.urls()),
            "a request",
        );
        let heard = Heard::begin(&mut request, &exchange);
        let answer = tokio::select! {
            biased;
            answer = self.answer(request, client, &exchange) => answer,
            () = exchange.stopped() => Err(Refusal::Stopped),
        };
        let mut response = answer.unwrap_or_else(|refusal| self.refuse(refusal, &exchange));
        exchange.record().with(|details| respond::finish(&mut response, details));
        tracing::debug!(status = %response.status(), fields = ?Shown(response.headers(), &self.debugging.urls()), "it is answered");
        body::seal(exchange, response, heard)
    }

    async fn answer(
        self: &Arc<Self>,
        request: Request<Incoming>,
        client: Client,
        exchange: &Exchange,
    ) -> Answer {
        if let Some(page) = self.page(&request, &client) {
            return Ok(page);
        }
        let admitted = self.admission.admit(request, client, exchange, self.clock.now()).await?;
        if admitted.is_tunnel() {
            return Box::pin(self.tunnel(admitted, exchange)).await;
        }
        let found = self.lookup(&admitted);
        let decision = self.decide(&admitted, &found);
        exchange.decided(decision.because());
        // What leaves the store behind is boxed: room for all of it would be moved about with every hit.
        match decision {
            Decision::Reuse { stored, because } => {
                self.refresh_if_asked(&because, &admitted, exchange);
                self.reuse(admitted, &found, (stored, &because), exchange).await
            }
            Decision::Validate { stored, because } => {
                Box::pin(self.validate(admitted, &found, stored, because.forward_reason(), exchange)).await
            }
            Decision::Forward(because) => {
                Box::pin(self.fetch(admitted, &found, because.forward_reason(), exchange)).await
            }
            Decision::GatewayTimeout(_) => Err(Refusal::OnlyIfCached),
        }
    }

    /// Our own answer to a request that is for ourselves: by our name, by the address at which we were reached, or in the
    /// form that a web server is asked in. Whoever may connect may have these pages: they are how a device is set up.
    fn page(&self, request: &Request<Incoming>, client: &Client) -> Option<Response<Body>> {
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        let page =
            self.own_page(request.method(), request.uri(), host, client.caller(), client.inside.as_deref())?;
        Some(respond::dated(page, self.clock.now()))
    }

    /// The same for the parts of a request.
    fn own_page(
        &self,
        method: &Method,
        target: &Uri,
        host_field: Option<&str>,
        from: Caller,
        inside: Option<&Inside>,
    ) -> Option<Response<Body>> {
        let host = target.host();
        // By our name over TLS, too: through a tunnel to us, or because a client leaves TLS to its proxy.
        let is_named = host.is_some_and(site::is_site);
        let is_ours = is_named || host.is_none_or(|host| is_address(host, target, from.local));
        let leads_here = inside.is_none_or(|inside| is_named && site::is_site(inside.authority.host()));
        let may_be =
            *method != Method::CONNECT && (is_named || target.scheme() != Some(&Scheme::HTTPS)) && leads_here;
        if !is_ours || !may_be {
            return None;
        }
        let page = self.site.answer(method, target.path(), host_field, from.address, from.local);
        page.or_else(|| is_named.then(|| Site::nothing(method)))
    }

    /// What is stored for the target. A request for another protocol is not answered by anything stored.
    fn lookup(&self, admitted: &Admitted) -> Found {
        let key = admitted.key.as_ref().filter(|_| admitted.upgrade().is_none());
        key.map_or_else(Found::default, |key| self.store.lookup(key))
    }

    fn decide(&self, admitted: &Admitted, found: &Found) -> Decision {
        rfc9111::decide(&admitted.presented(), &found.heads(), &self.situation(admitted))
    }

    /// What decisions about `admitted` depend on besides the messages.
    fn situation(&self, admitted: &Admitted) -> Situation {
        let policy = Policy { rules: admitted.rules.clone(), ..self.policy.clone() };
        Situation { now: self.clock.now(), policy }
    }

    fn refuse(&self, refusal: Refusal, exchange: &Exchange) -> Response<Body> {
        if refusal.is_forbidden() {
            // Forwarding was decided on, and then was not done.
            exchange.note(|details| details.cache = CacheStatus::Unasked);
        }
        let has_left = matches!(refusal, Refusal::ClientLeft);
        let refusal = refusal.worded();
        if has_left {
            // It is no fault of the request, and nobody may be there to be told.
            exchange.note(|details| details.cut_short = Some(Cut::Client));
        } else {
            exchange.refused(refusal.error(), refusal.reason());
        }
        respond::dated(refusal.into_response(&self.contact), self.clock.now())
    }
}

/// Whether `target`, whose host is `host`, names the address and the port `local`.
fn is_address(host: &str, target: &Uri, local: SocketAddr) -> bool {
    target.port_u16().unwrap_or(80) == local.port()
        && Host::read(host).is_ok_and(|host| host == Host::from(local.ip()))
}
