//! `Admitted`: a request that may walk the line, and what of it goes on to an origin. That it may was decided by `admit`.

use http::header::{CONNECTION, HOST, TE, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version};
use hyper::upgrade::OnUpgrade;
use rfc9111::{CacheKey, Presented, TargetRules, Via};

use super::client::Client;
use super::{MAX_FORWARDS, target};
use crate::body::RequestBody;
use crate::body::request::Progress;
use crate::respond::interim::Interim;

/// A request that may walk the line.
pub(crate) struct Admitted {
    pub(crate) method: Method,
    /// In absolute-form, whatever form it came in; for CONNECT in authority-form.
    pub(crate) target: Uri,
    /// As received: `forwarded_headers` are what goes on.
    pub(crate) headers: HeaderMap,
    pub(crate) version: Version,
    pub(crate) body: RequestBody,
    pub(crate) client: Client,
    /// Under which a response to it is stored; none for a tunnel.
    pub(crate) key: Option<CacheKey>,
    /// The operator's rules for the target.
    pub(crate) rules: TargetRules,
    /// The client's connection, if it is to be handed over: a tunnel or an upgrade.
    pub(crate) on_upgrade: Option<OnUpgrade>,
    pub(super) max_forwards: Option<u64>,
}

impl Admitted {
    /// Whether it asks for a tunnel (RFC 9110 §9.3.6).
    pub(crate) fn is_tunnel(&self) -> bool {
        self.method == Method::CONNECT
    }

    /// The request as the cache sees it.
    pub(crate) fn presented(&self) -> Presented<'_> {
        Presented::new(&self.method, &self.target, &self.headers)
    }

    /// The same request asked for the cache's sake: a plain GET for the whole, without what its client alone wants.
    pub(crate) fn for_the_cache(&self) -> Self {
        let mut headers = self.headers.clone();
        for name in &OF_THE_CLIENT {
            headers.remove(name);
        }
        Self {
            rules: self.rules.clone(),
            method: Method::GET,
            target: self.target.clone(),
            headers,
            version: self.version,
            body: RequestBody::default(),
            client: Client {
                content: Progress::default(),
                interim: Interim::default(),
                stay: None,
                ..self.client.clone()
            },
            key: self.key.clone(),
            on_upgrade: None,
            max_forwards: None,
        }
    }

    /// The fields to send on: the end-to-end ones in their order, behind the Host of the target ("a proxy MUST
    /// ignore the received Host header field and instead replace it with the host information of the
    /// request-target", RFC 9112 §3.2.2), and with our Via.
    pub(crate) fn forwarded_headers(&self, via: &Via) -> HeaderMap {
        let mut forwarded = HeaderMap::with_capacity(self.headers.len().max(FIELDS) + 2);
        if let Some(host) = target::host_field(&self.target, self.headers.get(HOST)) {
            forwarded.insert(HOST, host);
        }
        for (name, value) in rfc9111::end_to_end_fields(&self.headers).filter(|(name, _)| *name != HOST) {
            forwarded.append(name.clone(), value.clone());
        }
        if let Some(left) = self.max_forwards {
            forwarded.insert(&MAX_FORWARDS, HeaderValue::from(left));
        }
        self.keep_connection_options(&mut forwarded);
        via.append(&mut forwarded, self.version);
        forwarded
    }

    /// Two of the fields for one hop are offered to the next one too, since we can keep what they promise:
    /// trailers (RFC 9110 §10.1.4) and a protocol to switch to (§7.8).
    pub(crate) fn keep_connection_options(&self, forwarded: &mut HeaderMap) {
        if let Some(protocol) = self.upgrade() {
            forwarded.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            forwarded.insert(UPGRADE, protocol.clone());
        } else if self.headers.get_all(TE).iter().any(|te| lists(te, "trailers")) {
            forwarded.insert(CONNECTION, HeaderValue::from_static("te"));
            forwarded.insert(TE, HeaderValue::from_static("trailers"));
        }
    }

    /// The protocol it asks to switch to. "A server MUST ignore an Upgrade header field that is received in an
    /// HTTP/1.0 request" (RFC 9110 §7.8).
    pub(crate) fn upgrade(&self) -> Option<&HeaderValue> {
        let protocol = self.headers.get(UPGRADE).filter(|_| self.version == Version::HTTP_11)?;
        let asked = self.headers.get_all(CONNECTION).iter().any(|options| lists(options, "upgrade"));
        // Requests over HTTP/2 without TLS would go to the origin behind the first as if in a tunnel: unseen, uncached,
        // and not admitted one by one.
        Some(protocol).filter(|protocol| asked && !lists(protocol, "h2c"))
    }

    /// Whether one fetch may answer it and others for the same target. Which of them goes first must not matter, so
    /// only plain GETs are alike enough, for the whole or for a range: what one lacks of what another got is fetched.
    pub(crate) fn is_shareable(&self) -> bool {
        self.method == Method::GET
            && self.upgrade().is_none()
            && http_body::Body::is_end_stream(&self.body)
            && !self.headers.keys().any(|name| SINGULAR.contains(name))
    }
}

/// Room for fields of an ordinary response, which hyper puts into the map that its request came in: it need not grow then.
const FIELDS: usize = 10;

/// Request fields whose response may be meant for this one request.
static SINGULAR: [HeaderName; 7] = [
    http::header::AUTHORIZATION,
    http::header::IF_RANGE,
    http::header::IF_NONE_MATCH,
    http::header::IF_MODIFIED_SINCE,
    http::header::IF_MATCH,
    http::header::IF_UNMODIFIED_SINCE,
    http::header::CACHE_CONTROL,
];

/// What a client says of what it holds and how it wants to be answered.
static OF_THE_CLIENT: [HeaderName; 10] = [
    http::header::CACHE_CONTROL,
    http::header::EXPECT,
    http::header::IF_MATCH,
    http::header::IF_MODIFIED_SINCE,
    http::header::IF_NONE_MATCH,
    http::header::IF_RANGE,
    http::header::IF_UNMODIFIED_SINCE,
    http::header::PRAGMA,
    http::header::RANGE,
    UPGRADE,
];

fn lists(value: &HeaderValue, token: &str) -> bool {
    value.to_str().is_ok_and(|list| list.split(',').any(|member| member.trim().eq_ignore_ascii_case(token)))
}
