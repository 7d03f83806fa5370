//! `admit`: from a request as it came to an `Admitted` that may walk the line, or a `Refusal`. It checks who asks,
//! how often, and what is asked for. Which addresses may be dialled is checked where they are dialled.

pub(crate) mod access;
mod accounts;
mod admitted;
mod allowance;
pub(crate) mod client;
mod counters;
mod credentials;
pub(crate) mod failures;
mod fields;
pub(crate) mod host;
mod htpasswd;
pub(crate) mod neighbourhood;
pub(crate) mod occupancy;
mod opening;
mod remembered;
pub(crate) mod target;
pub(crate) mod users_file;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use http::header::COOKIE;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};
use hyper::body::Incoming;
use rfc9111::{Rules, Via};

use crate::authority::host_and_port;
use crate::body::RequestBody;
use crate::capture::heard::Heard;
use crate::config::Config;
use crate::exchange::Exchange;
use crate::host::Host;
use crate::respond::Refusal;
use access::{Access, Asking, Caller};
use accounts::Accounts;
pub(crate) use admitted::Admitted;
use allowance::Allowance;
use client::Client;
use counters::Counters;
use fields::Fields;
use host::Named;
use occupancy::{Occupancy, Seat};
use users_file::UsersFile;

static MAX_FORWARDS: HeaderName = HeaderName::from_static("max-forwards");

/// Decides which requests may walk the line.
pub(crate) struct Admission {
    access: Access,
    accounts: Arc<Accounts>,
    allowance: Option<Arc<Allowance>>,
    /// Connections and exchanges of each client.
    connections: Occupancy,
    exchanges: Occupancy,
    /// Bytes of the request target.
    uri: usize,
    /// Field lines.
    request_fields: usize,
    /// Bytes of request line and fields.
    request_head: usize,
    /// Bytes of content.
    request_body: u64,
    /// How long a client may send nothing of content it announced.
    idle: Duration,
    via: Arc<Via>,
    rules: Rules,
}

impl Admission {
    /// The rules of `config` for a proxy that calls itself `pseudonym` in Via.
    /// `users` is the file of users that it names.
    pub(crate) fn new(config: &Config, users: Option<UsersFile>, pseudonym: &str) -> Self {
        Self::of(config, Arc::new(Via::new(pseudonym)), Counters::new(&config.admission, users))
    }

    /// The rules of `config` in place of those of `before`, which these are. What clients hold, have used up and are
    /// waiting for counts on, as far as the rules about it are the same.
    /// `users` is the file of users as it is now.
    pub(crate) fn renewed(&self, before: &Config, config: &Config, users: Option<UsersFile>) -> Self {
        let Self { accounts, allowance, connections, exchanges, .. } = self;
        let counters = Counters {
            accounts: accounts.clone(),
            allowance: allowance.clone(),
            connections: connections.clone(),
            exchanges: exchanges.clone(),
        };
        let counters = counters.renewed(&before.admission, &config.admission, users);
        Self::of(config, self.via.clone(), counters)
    }

    fn of(config: &Config, via: Arc<Via>, counters: Counters) -> Self {
        let (limits, Counters { accounts, allowance, connections, exchanges }) = (&config.limits, counters);
        Self {
            access: Access::new(&config.admission),
            accounts,
            allowance,
            connections: connections
                .of_at_most(limits.connections_per_client.unwrap_or_else(|| limits.share())),
            exchanges: exchanges.of_at_most(limits.requests_per_client.unwrap_or_else(|| limits.share())),
            uri: usize::try_from(limits.uri.0).unwrap_or(usize::MAX),
            request_fields: limits.request_fields,
            request_head: usize::try_from(config.limits.request_head.0).unwrap_or(usize::MAX),
            idle: config.timeouts.client,
            request_body: config.limits.request_body.map_or(u64::MAX, |limit| limit.0),
            via,
            rules: config.cache.rules_in_force(),
        }
    }

    /// Judges a connection before anything was asked on it, and counts it for as long as the seat is held.
    ///
    /// # Errors
    /// The refusal that the client is to get, whatever it would ask.
    pub(crate) fn admit_connection(&self, from: Caller) -> Result<Seat, Refusal> {
        self.access.check_connection(from)?;
        self.connections.take(from.address).ok_or(Refusal::TooManyConnections)
    }

    /// Whether it is settled who `client` is: for its connection, or because everyone may be anyone.
    pub(crate) fn knows(&self, client: &Client) -> bool {
        client.identity.is_some() || self.accounts.wanted(client.address).is_none()
    }

    /// Judges `request`, which `client`, who is known, has sent.
    ///
    /// # Errors
    /// The refusal that the client is to get.
    pub(crate) fn admit(
        &self,
        request: Request<Incoming>,
        client: Client,
        exchange: &Exchange,
    ) -> Result<Admitted, Refusal> {
        let fields = Fields::of(request.headers());
        self.receive(request.uri(), &fields, &client, exchange)?;
        let judged = self.judge(&request, &fields, &client, exchange)?;
        self.take(request, client, judged, exchange)
    }

    /// The same of a `client` about whom its request has to tell.
    ///
    /// # Errors
    /// As there.
    pub(crate) async fn identify_and_admit(
        &self,
        request: Request<Incoming>,
        mut client: Client,
        exchange: &Exchange,
    ) -> Result<Admitted, Refusal> {
        let headers = request.headers();
        self.receive(request.uri(), &Fields::of(headers), &client, exchange)?;
        let identified = self.accounts.identify(client.address, headers).await;
        let identity = identified.inspect_err(|refusal| note_guess(refusal, headers, exchange))?;
        client.identity = Some(identity);
        let judged = self.judge(&request, &Fields::of(headers), &client, exchange)?;
        self.take(request, client, judged, exchange)
    }

    /// A request of `client` is not too large, and not too much is asked by it.
    fn receive(
        &self,
        uri: &Uri,
        fields: &Fields<'_>,
        client: &Client,
        exchange: &Exchange,
    ) -> Result<(), Refusal> {
        self.check_size(uri, fields)?;
        let seat = self.exchanges.take_during(client.stay.as_ref(), client.address);
        exchange.hold(seat.ok_or(Refusal::TooManyAtOnce)?);
        self.take_allowance(client)
    }

    /// What is asked for, and whether `client` may.
    fn judge(
        &self,
        request: &Request<Incoming>,
        fields: &Fields<'_>,
        client: &Client,
        exchange: &Exchange,
    ) -> Result<Judged, Refusal> {
        let account = client.identity.as_ref().and_then(|identity| identity.account.as_ref());
        if let Some(account) = account {
            exchange.note(|details| details.user = Some(account.clone()));
        }
        let asked = match &client.inside {
            Some(inside) => target::inside(request, &inside.authority),
            None => target::of(request.method(), request.uri()),
        };
        let authority = request.uri().authority().filter(|_| asked.is_ok());
        target::check_fields(request.version(), fields, authority)?;
        target::check_content(request.method(), fields)?;
        let (target, named) = asked?;
        let user = account.map(|account| &**account);
        let asking = Asking { from: client.caller(), user, now: exchange.record().at };
        self.access.check_target(request.method(), &target, &named, asking)?;
        if fields.via.is_there() && self.via.is_in(request.headers()) {
            return Err(Refusal::Loop);
        }
        Ok(Judged {
            max_forwards: target::max_forwards(request)?,
            hands_over: request.method() == Method::CONNECT || fields.upgrade.is_there(),
            crumbles: fields.cookie.has_more && request.version() == Version::HTTP_2,
            rewritten: if let Cow::Owned(target) = target { Some(target) } else { None },
        })
    }

    /// What of `request` walks the line.
    fn take(
        &self,
        mut request: Request<Incoming>,
        mut client: Client,
        judged: Judged,
        exchange: &Exchange,
    ) -> Result<Admitted, Refusal> {
        let Judged { max_forwards, hands_over, crumbles, rewritten } = judged;
        client.identity.get_or_insert_default();
        let on_upgrade = hands_over.then(|| hyper::upgrade::on(&mut request));
        let (mut parts, incoming) = request.into_parts();
        if crumbles {
            join_cookies(&mut parts.headers);
        }
        if http_body::Body::size_hint(&incoming).lower() > self.request_body {
            return Err(Refusal::ContentTooLarge);
        }
        let mut body = RequestBody::new(incoming, client.content.clone(), self.request_body, self.idle);
        body.tell(parts.extensions.remove::<Arc<Heard>>());
        if !http_body::Body::is_end_stream(&body) {
            let progress = body.progress();
            exchange.receives(move || progress.taken());
        }
        let target = rewritten.unwrap_or(parts.uri);
        let rules = self.rules.for_target(&target);
        Ok(Admitted {
            key: rules.key(&target).filter(|_| parts.method != Method::CONNECT),
            rules,
            method: parts.method,
            target,
            headers: parts.headers,
            version: parts.version,
            body,
            client,
            on_upgrade,
            max_forwards,
        })
    }

    fn take_allowance(&self, client: &Client) -> Result<(), Refusal> {
        let Some(allowance) = &self.allowance else { return Ok(()) };
        let taken = allowance.take(neighbourhood::of(client.address));
        taken.map_err(|wait| Refusal::TooManyRequests { wait })
    }

    /// Judges a request with `method` for `target` that is only thought of: who may ask for what, and nothing of how often.
    ///
    /// # Errors
    /// The refusal that the client would get.
    pub(crate) fn foresee(&self, method: &Method, target: &Uri, asking: Asking<'_>) -> Result<(), Refusal> {
        self.access.check_connection(asking.from)?;
        if asking.user.is_none()
            && let Some(challenge) = self.accounts.wanted(asking.from.address)
        {
            return Err(Refusal::AuthenticationRequired(challenge));
        }
        let (host, port) = host_and_port(target).unwrap_or_default();
        let host = Host::read(host).map_err(Refusal::BadRequest)?;
        self.access.check_target(method, target, &Named { host, port, is_usual: false }, asking)
    }

    /// What this proxy says of itself in Via.
    pub(crate) fn via(&self) -> &Arc<Via> {
        &self.via
    }

    /// The operator's rules.
    pub(crate) fn rules(&self) -> &Rules {
        &self.rules
    }

    fn check_size(&self, uri: &Uri, fields: &Fields<'_>) -> Result<(), Refusal> {
        let authority = uri.authority().map_or(0, |authority| authority.as_str().len());
        let line = authority + uri.path().len() + uri.query().map_or(0, str::len);
        // "A server that receives a request-target longer than any URI it wishes to parse MUST respond with a 414
        // (URI Too Long) status code" (RFC 9112 §3).
        if line > self.uri {
            return Err(Refusal::TargetTooLong);
        }
        // HTTP/1 counts lines as it parses; other versions come here with as many as they like.
        if fields.bytes + line > self.request_head || fields.lines > self.request_fields {
            return Err(Refusal::FieldsTooLarge);
        }
        Ok(())
    }
}

/// What judging a request has brought.
struct Judged {
    max_forwards: Option<u64>,
    /// Whether its connection may become something else.
    hands_over: bool,
    /// Whether its cookie is in pieces.
    crumbles: bool,
    /// Its target, where that is not as it came.
    rewritten: Option<Uri>,
}

/// Credentials that were wrong are told to whoever looks after the proxy: whose they were to be, and nothing else of them.
fn note_guess(refusal: &Refusal, headers: &HeaderMap, exchange: &Exchange) {
    if refusal.is_guess() {
        exchange
            .note(|details| details.guessed = Some(credentials::meant(headers).unwrap_or_default().into()));
    }
}

/// "If there are multiple Cookie header fields after decompression, these MUST be concatenated into a single octet string
/// using the two-octet delimiter of 0x3b, 0x20 (the ASCII string '; ') before being passed into a non-HTTP/2 context"
/// (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let crumbs: Vec<_> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if crumbs.len() > 1
        && let Ok(mut joined) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..]))
    {
        joined.set_sensitive(true);
        headers.insert(COOKIE, joined);
    }
}

#[cfg(test)]
mod tests {
    use http::header::HOST;

    use super::*;

    #[test]
    fn the_pieces_of_a_cookie_are_one_line_rfc9113_8_2_3() {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("a"));
        assert_eq!(Fields::of(&headers).lines, 1);
        for piece in ["a=1", "b=2", "c=3"] {
            headers.append(COOKIE, HeaderValue::from_static(piece));
        }
        assert_eq!(Fields::of(&headers).lines, 2);
        join_cookies(&mut headers);
        assert_eq!((headers.len(), &headers[COOKIE]), (2, &HeaderValue::from_static("a=1; b=2; c=3")));
    }
}
