//! Who may use the admin interface over TCP. Browsers on this machine reach it as well as programs do, and pages from
//! anywhere run in browsers: the name that was asked for must be ours (or a name server could lead a page to us), and the
//! request must not come from another site's page. Changing something wants a token, which no browser adds by itself.
//!
//! It serves nothing; what a token may do is not divided further.

use std::net::{IpAddr, SocketAddr};

use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, ORIGIN};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::time::Instant;

use super::who::Who;
use crate::admit::failures::Failures;
use crate::config::{AdminListen, Token};
use crate::respond::Refusal;

/// What the configuration says of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Access {
    tokens: Vec<Token>,
    names: Vec<String>,
    addresses: Vec<IpAddr>,
}

/// Where a connection comes from and where it has arrived.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    pub(super) peer: SocketAddr,
    pub(super) local: SocketAddr,
}

/// What is answered in place of what was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Denied {
    pub(super) status: StatusCode,
    pub(super) why: &'static str,
    /// Seconds after which to try again.
    pub(super) wait: Option<u64>,
}

fn denied(status: StatusCode, why: &'static str) -> Denied {
    Denied { status, why, wait: None }
}

/// What proxies in front of a server say of those on whose behalf they ask (RFC 7239, RFC 9110 §7.6.3).
const PASSED_ON: [HeaderName; 4] = [
    HeaderName::from_static("forwarded"),
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-real-ip"),
    http::header::VIA,
];

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

impl Access {
    pub(crate) fn new(admin: &AdminListen) -> Self {
        let addresses = admin.listen.iter().map(|address| address.ip().to_canonical()).collect();
        Self { tokens: admin.tokens.clone(), names: admin.names.clone(), addresses }
    }

    /// Judges a request that came over `ends` and `writes`, with what is known of wrong tokens so far.
    ///
    /// # Errors
    /// What is answered in its place.
    pub(super) fn admit(
        &self,
        request: &Parts,
        ends: Ends,
        writes: bool,
        failures: &Failures,
    ) -> Result<Who, Denied> {
        let host = self.check_host(request, ends)?;
        check_site(request, host, writes)?;
        if request.method != Method::GET && !is_json(&request.headers) {
            // A form of another site's page could be sent without any question, but not as this type.
            let why = "the content is to be announced as content-type: application/json";
            return Err(denied(StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
        }
        let address = ends.peer.ip().to_canonical();
        if request.headers.contains_key(AUTHORIZATION) {
            let name = self.check_token(&request.headers, address, failures)?;
            return Ok(Who::Token { name: name.into(), address });
        }
        // Whoever passes it on from elsewhere comes from this machine, too.
        let is_passed_on = PASSED_ON.iter().any(|name| request.headers.contains_key(name));
        let is_near = address.is_loopback() && ends.local.ip().to_canonical().is_loopback() && !is_passed_on;
        if writes || !is_near {
            let why = if self.tokens.is_empty() {
                "this wants a token, and the option admin.token names none"
            } else {
                "this wants a token of the option admin.token: authorization: Bearer TOKEN"
            };
            return Err(denied(StatusCode::UNAUTHORIZED, why));
        }
        Ok(Who::Onlooker(address))
    }

    /// The host and port that were asked for, if they are ours: "A server MUST respond with a 400 (Bad Request) status
    /// code to any HTTP/1.1 request message that lacks a Host header field and to any request message that contains more
    /// than one Host header field line" (RFC 9112 §3.2).
    fn check_host<'a>(&self, request: &'a Parts, ends: Ends) -> Result<&'a str, Denied> {
        let mut fields = request.headers.get_all(HOST).iter();
        let field = fields.next().filter(|_| fields.next().is_none()).and_then(|host| host.to_str().ok());
        let host = field.ok_or_else(|| denied(StatusCode::BAD_REQUEST, "one Host field is wanted"))?;
        let of_target = request.uri.authority().is_none_or(|authority| authority.as_str() == host);
        if !of_target || !self.is_ours(without_port(host), ends) {
            let why =
                "no such host here: it is reached by its address, as localhost, or by a name of admin.names";
            return Err(denied(StatusCode::MISDIRECTED_REQUEST, why));
        }
        Ok(host)
    }

    fn is_ours(&self, host: &str, ends: Ends) -> bool {
        let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        if name == "localhost" || self.names.contains(&name) {
            return true;
        }
        let bare = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(&name);
        let Ok(address) = bare.parse::<IpAddr>().map(|address| address.to_canonical()) else { return false };
        address == ends.local.ip().to_canonical() || self.addresses.contains(&address)
    }

    /// The name of the token that is presented.
    fn check_token(&self, headers: &HeaderMap, address: IpAddr, failures: &Failures) -> Result<&str, Denied> {
        failures.check(address, None, Instant::now()).map_err(|refusal| {
            let wait = match refusal {
                Refusal::TooManyFailures { wait } => wait.as_secs().saturating_add(1),
                _ => 1,
            };
            let why = "too many wrong tokens; try again later";
            Denied { status: StatusCode::TOO_MANY_REQUESTS, why, wait: Some(wait) }
        })?;
        let found = bearer(headers).and_then(|token| self.known(&Sha256::digest(token).into()));
        found.ok_or_else(|| {
            failures.note(address, None, Instant::now());
            denied(StatusCode::UNAUTHORIZED, "the token is not one of admin.token")
        })
    }

    fn known(&self, digest: &[u8; 32]) -> Option<&str> {
        let mut found = None;
        // Every token is compared, so that the time taken says nothing of which one matched.
        for token in &self.tokens {
            if bool::from(token.digest.ct_eq(digest)) {
                found = Some(token.name.as_str());
            }
        }
        found
    }
}

/// The one token of the scheme Bearer (RFC 6750 §2.1).
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    let value = fields.next().filter(|_| fields.next().is_none())?.to_str().ok()?;
    let (scheme, token) = value.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().as_bytes())
}

/// Judges where a browser says that a request comes from: programs say nothing. A page of our own may ask, and a link
/// anywhere may lead to one of our pages, which the page that has the link cannot read.
fn check_site(request: &Parts, host: &str, writes: bool) -> Result<(), Denied> {
    let text = |name: &HeaderName| request.headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let foreign = || Err(denied(StatusCode::FORBIDDEN, "the pages of other sites may not ask here"));
    if let Some(origin) = text(&ORIGIN) {
        let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        if !authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host)) {
            return foreign();
        }
    }
    match text(&FETCH_SITE) {
        None | Some("same-origin" | "none") => Ok(()),
        Some(_) => {
            let follows_link = text(&FETCH_MODE) == Some("navigate") && text(&FETCH_DEST) == Some("document");
            if follows_link && !writes && request.method == Method::GET { Ok(()) } else { foreign() }
        }
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
}

/// `[::1]:80` is `[::1]`, `a:80` is `a`.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => {
            // Of an address without brackets the last part is no port.
            if name.contains(':') && !name.starts_with('[') { host } else { name }
        }
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn access(flags: &[&str]) -> Access {
        let token = format!("--set=admin.token=ann={TOKEN}");
        let all = [&["--set=admin.listen=192.0.2.1:3129,127.0.0.1:3129", &token], flags].concat();
        Access::new(&crate::Config::from_flags(all).expect("flags").admin)
    }

    fn ends(peer: &str) -> Ends {
        let local = if peer.starts_with("127") { "127.0.0.1:3129" } else { "192.0.2.1:3129" };
        Ends {
            peer: format!("{peer}:50000").parse().expect("an address"),
            local: local.parse().expect("an address"),
        }
    }

    /// Who it is, or the status that is answered to a request with `fields`.
    #[track_caller]
    fn check(method: &str, peer: &str, fields: &[(&str, &str)], expected: &str) {
        let mut request = Request::builder().method(method).uri("/v1/link");
        if !fields.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", "localhost:3129");
        }
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        let access = access(&["--set=admin.names=Proxy.example"]);
        let judged = access.admit(&parts, ends(peer), method != "GET", &Failures::new());
        let found = match judged {
            Ok(Who::Token { name, .. }) => name.to_string(),
            Ok(Who::Onlooker(_)) => "onlooker".to_owned(),
            Ok(other) => format!("{other:?}"),
            Err(denied) => denied.status.as_str().to_owned(),
        };
        assert_eq!(found, expected, "{method} {peer} {fields:?}");
    }

    const BEARER: (&str, &str) = ("authorization", "Bearer 0123456789abcdef");
    const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");
    const HERE: &str = "127.0.0.1";
    const THERE: &str = "192.0.2.7";

    #[tokio::test]
    async fn looking_from_this_machine_is_free_and_the_rest_wants_a_token() {
        check("GET", HERE, &[], "onlooker");
        check("GET", THERE, &[], "401");
        check("GET", HERE, &[("x-forwarded-for", "203.0.113.7")], "401");
        check("GET", HERE, &[("via", "1.1 x"), BEARER], "ann");
        check("GET", THERE, &[BEARER], "ann");
        check("PATCH", HERE, &[JSON], "401");
        check("PATCH", HERE, &[JSON, BEARER], "ann");
        check("PATCH", HERE, &[JSON, ("authorization", "bearer  0123456789abcdef ")], "ann");
        check("GET", HERE, &[("authorization", "Bearer 0123456789abcdee")], "401");
        check("GET", HERE, &[("authorization", "Basic YTpi")], "401");
        check("GET", HERE, &[BEARER, BEARER], "401");
    }

    #[tokio::test]
    async fn the_host_must_be_ours_rfc9110_7_2() {
        for ours in
            ["localhost", "LOCALHOST:1", "127.0.0.1:3129", "192.0.2.1", "proxy.example:80", "localhost."]
        {
            check("GET", HERE, &[("host", ours)], "onlooker");
        }
        for others in
            ["evil.example:3129", "127.0.0.2", "[::1]:3129", "proxy.example.evil", "", "localhost.evil"]
        {
            check("GET", HERE, &[("host", others)], "421");
        }
        check("GET", HERE, &[("host", "localhost"), ("host", "localhost")], "400");
    }

    #[tokio::test]
    async fn pages_of_other_sites_may_not_ask() {
        let link = [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ];
        check("GET", HERE, &[("origin", "http://localhost:3129")], "onlooker");
        check("GET", HERE, &[("origin", "http://localhost:3128")], "403");
        check("GET", HERE, &[("origin", "null")], "403");
        check("GET", HERE, &[("sec-fetch-site", "same-origin")], "onlooker");
        check("GET", HERE, &[("sec-fetch-site", "same-site")], "403");
        check("GET", HERE, &link, "onlooker");
        check("PATCH", HERE, &[link[0], link[1], link[2], JSON, BEARER], "403");
        check("GET", HERE, &[link[0], link[1], ("sec-fetch-dest", "iframe")], "403");
        check("PATCH", HERE, &[("content-type", "text/plain"), BEARER], "415");
        check("PATCH", HERE, &[BEARER], "415");
    }

    #[tokio::test(start_paused = true)]
    async fn guessing_is_slowed() {
        let (access, failures) = (access(&[]), Failures::new());
        let ask = |token: &str| {
            let request = Request::get("/v1/link").header("host", "localhost");
            let request =
                request.header("authorization", format!("Bearer {token}")).body(()).expect("a request");
            access
                .admit(&request.into_parts().0, ends(HERE), false, &failures)
                .map_err(|denied| denied.status)
        };
        for _ in 0..6 {
            assert_eq!(ask("wrong"), Err(StatusCode::UNAUTHORIZED));
        }
        assert_eq!(ask(TOKEN), Err(StatusCode::TOO_MANY_REQUESTS));
        tokio::time::advance(std::time::Duration::from_secs(6)).await;
        assert!(ask(TOKEN).is_ok());
    }

    #[test]
    fn ports_are_left_out() {
        for (host, expected) in [
            ("a:80", "a"),
            ("a", "a"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
            ("::1", "::1"),
            ("a:b", "a:b"),
        ] {
            assert_eq!(without_port(host), expected);
        }
    }
}
