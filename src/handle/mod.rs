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
use tracing::Instrument as _;

use crate::admit::access::Caller;
use crate::admit::client::{Client, Inside};
use crate::admit::{Admission, Admitted};
use crate::authority::host_and_port;
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
use crate::step::Step;
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
    pub(crate) fn handle(
        self: &Arc<Self>,
        mut request: Request<Incoming>,
        client: Client,
    ) -> Step<Response<Sealed>> {
        let exchange = self.begin(&request, &client);
        let heard = Heard::begin(&mut request, &exchange);
        let span = exchange.span();
        let entered = span.enter();
        tracing::debug!(
            method = %request.method(),
            url = self.debugging.urls().written(request.uri()),
            version = ?request.version(),
            fields = ?Shown(request.headers(), &self.debugging.urls()),
            "a request",
        );
        match self.answer(request, client, &exchange) {
            Step::Done(answer) => Step::Done(self.conclude(answer, exchange, heard)),
            waits => {
                drop(entered);
                let this = self.clone();
                let work = async move {
                    let answer = tokio::select! {
                        biased;
                        answer = waits => answer,
                        () = exchange.stopped() => Err(Refusal::Stopped),
                    };
                    this.conclude(answer, exchange, heard)
                };
                Step::waits(work.instrument(span))
            }
        }
    }

    /// The record of what becomes of `request`.
    fn begin(&self, request: &Request<Incoming>, client: &Client) -> Exchange {
        let (method, target, version) = (request.method().clone(), request.uri().clone(), request.version());
        let now = self.clock.now();
        let exchange = Exchange::begin(method, target, version, client.address, now, &self.observers);
        if self.observers.want_told() {
            exchange.note(|details| details.told = Some(Box::new(Told::of(request.headers()))));
        }
        let record = exchange.record();
        if let Some(span) = self.debugging.span(record.number, record.client, &record.target, record.begun())
        {
            exchange.watch(span);
        }
        exchange
    }

    /// The response that goes out, of whatever the request came to.
    fn conclude(&self, answer: Answer, exchange: Exchange, heard: Option<Arc<Heard>>) -> Response<Sealed> {
        let mut response = answer.unwrap_or_else(|refusal| self.refuse(refusal, &exchange));
        exchange.with(|details| respond::finish(&mut response, details));
        tracing::debug!(status = %response.status(), fields = ?Shown(response.headers(), &self.debugging.urls()), "it is answered");
        body::seal(exchange, response, heard)
    }

    fn answer(
        self: &Arc<Self>,
        request: Request<Incoming>,
        client: Client,
        exchange: &Exchange,
    ) -> Step<Answer> {
        if let Some(page) = self.page(&request, &client) {
            return Step::Done(Ok(page));
        }
        if self.admission.knows(&client) {
            return match self.admission.admit(request, client, exchange) {
                Ok(admitted) => self.walk(admitted, exchange),
                Err(refusal) => Step::Done(Err(refusal)),
            };
        }
        self.wait(exchange, |this, exchange| async move {
            let admitted = this.admission.identify_and_admit(request, client, &exchange).await?;
            this.walk(admitted, &exchange).await
        })
    }

    /// The line of a request that is admitted.
    fn walk(self: &Arc<Self>, mut admitted: Admitted, exchange: &Exchange) -> Step<Answer> {
        if admitted.is_tunnel() {
            return self
                .wait(exchange, |this, exchange| async move { this.tunnel(admitted, &exchange).await });
        }
        let found = self.lookup(&admitted);
        let decision = self.decide(&admitted, &found);
        exchange.decided(decision.because());
        match decision {
            Decision::Reuse { stored, because } => {
                self.refresh_if_asked(&because, &admitted, exchange);
                self.reuse(admitted, found, stored, &because, exchange)
            }
            Decision::Validate { stored, because } => self.wait(exchange, move |this, exchange| async move {
                this.validate(&mut admitted, &found, stored, because.forward_reason(), &exchange).await
            }),
            Decision::Forward(because) => self.wait(exchange, move |this, exchange| async move {
                this.fetch(&mut admitted, &found, because.forward_reason(), &exchange).await
            }),
            Decision::GatewayTimeout(_) => Step::Done(Err(Refusal::OnlyIfCached)),
        }
    }

    /// What has to wait for others to be done.
    fn wait<W>(
        self: &Arc<Self>,
        exchange: &Exchange,
        work: impl FnOnce(Arc<Self>, Exchange) -> W,
    ) -> Step<Answer>
    where
        W: Future<Output = Answer> + Send + 'static,
    {
        Step::waits(work(self.clone(), exchange.clone()))
    }

    /// Our own answer to a request that is for ourselves: by our name, by the address at which we were reached, or in the
    /// form that a web server is asked in. Whoever may connect may have these pages: they are how a device is set up.
    fn page(&self, request: &Request<Incoming>, client: &Client) -> Option<Response<Body>> {
        let host = || request.headers().get(HOST).and_then(|host| host.to_str().ok());
        let page =
            self.own_page(request.method(), request.uri(), host, client.caller(), client.inside.as_deref())?;
        Some(respond::dated(page, self.clock.now()))
    }

    /// The same for the parts of a request.
    fn own_page<'a>(
        &self,
        method: &Method,
        target: &Uri,
        host_field: impl FnOnce() -> Option<&'a str>,
        from: Caller,
        inside: Option<&Inside>,
    ) -> Option<Response<Body>> {
        let named = host_and_port(target);
        // By our name over TLS, too: through a tunnel to us, or because a client leaves TLS to its proxy.
        let is_named = named.is_some_and(|(host, _)| site::is_site(host));
        let is_ours = is_named || named.is_none_or(|(host, port)| is_address(host, port, from.local));
        let leads_here = inside.is_none_or(|inside| is_named && site::is_site(inside.authority.host()));
        let may_be =
            *method != Method::CONNECT && (is_named || target.scheme() != Some(&Scheme::HTTPS)) && leads_here;
        if !is_ours || !may_be {
            return None;
        }
        let page = self.site.answer(method, target.path(), host_field(), from.address, from.local);
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

/// Whether a target with this host and port names the address and the port `local`.
fn is_address(host: &str, port: Option<u16>, local: SocketAddr) -> bool {
    port.unwrap_or(80) == local.port() && Host::read(host).is_ok_and(|host| host == Host::from(local.ip()))
}
