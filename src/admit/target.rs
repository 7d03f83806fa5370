//! What a request asks for: the four forms of a request target (RFC 9112 §3.2), Max-Forwards (RFC 9110 §7.6.2), and
//! the framing and Host rules that a proxy must not let pass (RFC 9112 §3.2, §6.3). Whether the destination may be
//! reached is judged at the dial.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{AUTHORIZATION, COOKIE, HOST, PROXY_AUTHORIZATION};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Method, Request, Uri, Version};

use super::MAX_FORWARDS;
use super::fields::Fields;
use super::host::{self, Named};
use crate::authority::host_and_port;
use crate::host::{Host, normalised_as};
use crate::respond::Refusal;

/// Reads the target of a request to a proxy, and its host. It is `uri` itself, unless that has to be written differently.
pub(super) fn of<'a>(method: &Method, uri: &'a Uri) -> Result<(Cow<'a, Uri>, Named), Refusal> {
    if method == Method::CONNECT {
        return authority_form(uri);
    }
    if uri.path() == "*" && uri.authority().is_none() {
        return Err(if method == Method::OPTIONS {
            Refusal::Options
        } else {
            Refusal::BadRequest("Only OPTIONS may ask for the server as a whole.")
        });
    }
    let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
        return Err(Refusal::NotAnOrigin);
    };
    let named = named_by(authority.as_str())?;
    if *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS {
        return Err(Refusal::NotImplemented("This proxy forwards http and https; no other scheme."));
    }
    Ok((usual(uri, &named), named))
}

fn usual<'a>(uri: &'a Uri, named: &Named) -> Cow<'a, Uri> {
    if named.is_usual { Cow::Borrowed(uri) } else { Cow::Owned(normalised_as(uri, &named.host)) }
}

/// Makes the target of a request out of a tunnel to `authority` an absolute one: there requests are in origin-form
/// (RFC 9112 §3.2.1), and those of HTTP/2 name an authority of their own. What is in another form is left as it is.
/// Returns whether it is an OPTIONS for the server as a whole.
pub(crate) fn complete<B>(request: &mut Request<B>, authority: &Authority) -> bool {
    let is_for_the_server = request.uri().path() == "*" && request.method() == Method::OPTIONS;
    let target = request.uri_mut();
    if target.authority().is_some() && !is_for_the_server {
        return false;
    }
    let path = target.path_and_query().filter(|_| !is_for_the_server).cloned();
    let named = target.authority().unwrap_or(authority).clone();
    let absolute = Uri::builder().scheme(Scheme::HTTPS).authority(named);
    let absolute = absolute.path_and_query(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    if let Ok(absolute) = absolute.build() {
        *target = absolute;
    }
    is_for_the_server
}

/// Whether `request` can be the OPTIONS for an origin as a whole that the socket saw. What the socket sees are bytes,
/// and requests may come several in a row.
pub(crate) fn is_bare_options<B>(request: &Request<B>) -> bool {
    request.method() == Method::OPTIONS && request.uri().path() == "/" && request.uri().query().is_none()
}

/// Reads the target of a request out of a tunnel to `authority`: it may only be there. "The 421 (Misdirected Request)
/// status code indicates that the request was directed at a server that is unable or unwilling to produce an
/// authoritative response for the target URI" (RFC 9110 §15.5.20).
pub(super) fn inside<'a, B>(
    request: &'a Request<B>,
    authority: &Authority,
) -> Result<(Cow<'a, Uri>, Named), Refusal> {
    let uri = request.uri();
    if request.method() == Method::CONNECT {
        return Err(Refusal::BadRequest("A tunnel inside of a tunnel is not opened."));
    }
    let (Some(named), Some(path)) = (uri.authority(), uri.path_and_query()) else {
        return Err(Refusal::BadRequest("The target names no host."));
    };
    if !path.as_str().starts_with('/') {
        return Err(Refusal::BadRequest("The target's path does not begin with a slash."));
    }
    let named_host = named_by(named.as_str())?.host;
    let here = Host::read(authority.host());
    let is_here = |other: &Authority| {
        let port = |authority: &Authority| authority.port_u16().unwrap_or(443);
        let same = |here: &Host| Host::read(other.host()).is_ok_and(|other| other.is(here));
        here.as_ref().is_ok_and(same) && port(other) == port(authority)
    };
    let host = request.headers().get(HOST).map(|host| Authority::try_from(host.as_bytes()));
    let host_is_here = host.is_none_or(|host| host.is_ok_and(|host| is_here(&host)));
    if uri.scheme() != Some(&Scheme::HTTPS) || !is_here(named) || !host_is_here {
        return Err(Refusal::Misdirected { host: authority.host().to_owned() });
    }
    let target = Uri::builder().scheme(Scheme::HTTPS).authority(authority.clone());
    let target = target.path_and_query(path.clone()).build();
    let target = target.map_err(|_| Refusal::BadRequest("The target is malformed."))?;
    let host = here.unwrap_or(named_host);
    Ok((Cow::Owned(target), Named { host, port: authority.port_u16(), is_usual: false }))
}

/// "CONNECT uses a special form of request target, unique to this method, consisting of only the host and port number
/// of the tunnel destination, separated by a colon. There is no default port" (RFC 9110 §9.3.6).
fn authority_form(uri: &Uri) -> Result<(Cow<'_, Uri>, Named), Refusal> {
    let malformed = Refusal::BadRequest("CONNECT wants a host and a port, such as example.org:443.");
    let Some(authority) = uri.authority().filter(|_| uri.scheme().is_none()) else { return Err(malformed) };
    let named = named_by(authority.as_str())?;
    match named.port {
        None => Err(malformed),
        Some(_) => Ok((usual(uri, &named), named)),
    }
}

/// "A sender MUST NOT generate an 'http' URI with an empty host identifier", and "a recipient SHOULD parse for
/// userinfo and treat its presence as an error" (RFC 9110 §4.2.1, §4.2.4).
fn named_by(authority: &str) -> Result<Named, Refusal> {
    let refused = |why| Err(Refusal::BadRequest(why));
    match host::read(authority) {
        Some(named) => Ok(named),
        None if authority.contains('@') => refused("A target with a user name in it is not accepted."),
        None if authority.is_empty() || authority.starts_with(':') => refused("The target names no host."),
        None => {
            refused("The target's host is no name or address, or its port is not a number from 1 to 65535.")
        }
    }
}

/// The Host field for a request to `target`: its authority, without the default port of its scheme. Mostly it is the same
/// as was `received`.
pub(super) fn host_field(target: &Uri, received: Option<&HeaderValue>) -> Option<HeaderValue> {
    let (host, port) = host_and_port(target)?;
    let default_port = if target.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 };
    let mut digits = itoa::Buffer::new();
    let port = port.filter(|port| *port != default_port).map(|port| digits.format(port));
    let is_same = |received: &&HeaderValue| {
        let rest = received.as_bytes().strip_prefix(host.as_bytes());
        let received_port = rest.map(|rest| rest.strip_prefix(b":").ok_or(rest));
        match port {
            None => received_port == Some(Err(b"")),
            Some(port) => received_port == Some(Ok(port.as_bytes())),
        }
    };
    if let Some(received) = received.filter(is_same) {
        return Some(received.clone());
    }
    match port {
        None => HeaderValue::from_str(host).ok(),
        Some(port) => HeaderValue::try_from([host, port].join(":")).ok(),
    }
}

/// Checks what makes two recipients read one message differently. `authority` is that of a target which was found right.
pub(super) fn check_fields(
    version: Version,
    fields: &Fields<'_>,
    authority: Option<&Authority>,
) -> Result<(), Refusal> {
    // "A server MUST respond with a 400 (Bad Request) status code to any HTTP/1.1 request message that lacks a Host
    // header field and to any request message that contains more than one Host header field line" (RFC 9112 §3.2).
    if !fields.host.is_there() && version == Version::HTTP_11 {
        return Err(Refusal::BadRequest("An HTTP/1.1 request needs a Host field."));
    }
    // "…or a Host header field with an invalid field value" (the same sentence). An empty one is valid (RFC 9110 §7.2).
    let is_targets = |host: &[u8]| authority.is_some_and(|authority| authority.as_str().as_bytes() == host);
    let is_valid = |host: &[u8]| host.is_empty() || is_targets(host) || host::of(host).is_some();
    if fields.host.has_more || !fields.host.first.is_none_or(|host| is_valid(host.as_bytes())) {
        return Err(Refusal::BadRequest("A request has one Host field with one host in it."));
    }
    let Some(coding) = fields.transfer_encoding.first else { return Ok(()) };
    // Content-Length beside it was removed by hyper, which also ends the connection after the response: "the
    // Transfer-Encoding overrides the Content-Length" (RFC 9112 §6.3).
    // "A server that receives a request message with a transfer coding it does not understand SHOULD respond with
    // 501 (Not Implemented)" (RFC 9112 §6.1).
    if fields.transfer_encoding.has_more || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
        return Err(Refusal::NotImplemented("The only transfer coding understood here is chunked."));
    }
    Ok(())
}

/// "A client MUST NOT send content in a TRACE request", and "a CONNECT request message does not have content. The
/// interpretation of data sent after the header section of the CONNECT request message is specific to the version of
/// HTTP" (RFC 9110 §9.3.8, §9.3.6): what one recipient takes for content, another takes for the tunnel's first bytes.
pub(super) fn check_content(method: &Method, fields: &Fields<'_>) -> Result<(), Refusal> {
    let is_bare = method == Method::CONNECT || method == Method::TRACE;
    let announces = fields.transfer_encoding.is_there()
        || fields.content_length.first.is_some_and(|length| length.as_bytes() != b"0");
    if is_bare && announces {
        return Err(Refusal::BadRequest("A CONNECT or TRACE request has no content."));
    }
    Ok(())
}

/// What Max-Forwards says of an OPTIONS or TRACE (RFC 9110 §7.6.2): the number to send on, or the answer if the
/// request ends here.
pub(super) fn max_forwards<B>(request: &Request<B>) -> Result<Option<u64>, Refusal> {
    if request.method() != Method::OPTIONS && request.method() != Method::TRACE {
        return Ok(None);
    }
    let field = request.headers().get(&MAX_FORWARDS);
    let Some(left) = field.and_then(|value| value.to_str().ok()?.trim().parse::<u64>().ok()) else {
        return Ok(None);
    };
    match left.checked_sub(1) {
        Some(left) => Ok(Some(left)),
        None if request.method() == Method::TRACE => Err(Refusal::Trace(trace(request))),
        None => Err(Refusal::Options),
    }
}

/// The request as received, for the content of the answer to TRACE, without "fields that are likely to contain
/// sensitive data" (RFC 9110 §9.3.8).
fn trace<B>(request: &Request<B>) -> Bytes {
    let mut text = format!("{} {} {:?}\r\n", request.method(), request.uri(), request.version()).into_bytes();
    for (name, value) in request.headers() {
        if ![AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION].contains(name) {
            text.extend_from_slice(name.as_str().as_bytes());
            text.extend_from_slice(b": ");
            text.extend_from_slice(value.as_bytes());
            text.extend_from_slice(b"\r\n");
        }
    }
    text.extend_from_slice(b"\r\n");
    text.into()
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn check(method: &str, target: &str, expected: &str) {
        let uri: Uri = target.parse().expect("a URI");
        let found = match of(&method.parse().expect("a method"), &uri) {
            Ok((found, _)) => found.to_string(),
            Err(refusal) => refusal.worded().status().as_u16().to_string(),
        };
        assert_eq!(found, expected, "{method} {target}");
    }

    #[test]
    fn the_four_forms_of_a_target() {
        check("GET", "http://example.org/a?b", "http://example.org/a?b");
        check("PURGE", "http://example.org:8080/", "http://example.org:8080/");
        check("GET", "/a", "400");
        check("CONNECT", "example.org:443", "example.org:443");
        check("CONNECT", "example.org", "400");
        check("CONNECT", "example.org:0", "400");
        check("GET", "http://example.org:99999/", "400");
        check("GET", "http://[::1]:0/", "400");
        check("GET", "http://example.org:/", "http://example.org:/");
        check("GET", "http://2130706433:80/a", "http://127.0.0.1:80/a");
        check("CONNECT", "0x7f.1:443", "127.0.0.1:443");
        check("CONNECT", "[::ffff:127.0.0.1]:443", "127.0.0.1:443");
        check("GET", "https://example.org/a", "https://example.org/a");
        check("OPTIONS", "*", "200");
        check("GET", "*", "400");
        check("OPTIONS", "http://example.org/", "http://example.org/");
    }

    #[test]
    fn other_schemes_and_user_names_are_refused() {
        check("GET", "ftp://example.org/a", "501");
        check("GET", "http://me:secret@example.org/", "400");
        check("CONNECT", "me@example.org:443", "400");
    }

    fn check_host(target: &'static str, expected: &'static str) {
        let target = Uri::from_static(target);
        for received in [None, Some(expected), Some("a"), Some("a:80"), Some("A:8080"), Some("")] {
            let received = received.map(HeaderValue::from_static);
            assert_eq!(host_field(&target, received.as_ref()).expect("a Host"), expected, "{target}");
        }
    }

    #[test]
    fn the_host_is_the_targets_without_its_schemes_default_port() {
        check_host("http://a:80/", "a");
        check_host("https://a:443/", "a");
        check_host("http://a:443/", "a:443");
        check_host("https://a:80/", "a:80");
        check_host("https://[::1]:8443/", "[::1]:8443");
    }

    fn check_framing(fields: &[(&'static str, &'static str)], expected: u16) {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let status = check_fields(Version::HTTP_11, &Fields::of(&headers), None)
            .map_or_else(|r| r.worded().status().as_u16(), |()| 200);
        assert_eq!(status, expected, "{fields:?}");
    }

    #[test]
    fn what_two_recipients_could_read_differently_is_refused() {
        check_framing(&[("host", "a")], 200);
        check_framing(&[], 400);
        check_framing(&[("host", "a"), ("host", "b")], 400);
        check_framing(&[("host", "a, b")], 400);
        check_framing(&[("host", "[::1]x")], 400);
        check_framing(&[("host", "")], 200);
        check_framing(&[("host", "a"), ("transfer-encoding", "chunked")], 200);
        check_framing(&[("host", "a"), ("transfer-encoding", "gzip, chunked")], 501);
    }

    fn check_max_forwards(method: &str, value: &str, expected: Result<Option<u64>, &str>) {
        let request = Request::builder()
            .method(method)
            .uri("http://a/")
            .header("max-forwards", value)
            .header("cookie", "x");
        let request = request.body(()).expect("a request");
        let found = max_forwards(&request).map_err(|refusal| match refusal {
            Refusal::Trace(content) => {
                assert!(!content.windows(6).any(|window| window == b"cookie"));
                "trace"
            }
            _ => "options",
        });
        assert_eq!(found, expected, "{method} {value}");
    }

    #[test]
    fn max_forwards_counts_down_for_options_and_trace_only() {
        check_max_forwards("OPTIONS", "3", Ok(Some(2)));
        check_max_forwards("OPTIONS", "0", Err("options"));
        check_max_forwards("TRACE", "0", Err("trace"));
        check_max_forwards("TRACE", "x", Ok(None));
        check_max_forwards("GET", "0", Ok(None));
    }
}
