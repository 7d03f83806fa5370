//! The local site: what `http://bentpipe.local/` and the proxy's own port show to browsers. A welcome, the certificate
//! and how each system takes it, and the script from which browsers learn which proxy to use.
//!
//! Pure: a path and a few facts in, a response out. What is asked for from outside never comes here, and nothing here asks
//! for anything. Pages work without JavaScript; whatever comes from a request is checked or escaped before it is in one.

mod address;
mod html;
mod pac;
mod pages;
mod qr;
mod steps;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Method, Response, StatusCode};

use crate::body::Body;
use crate::ca::{Authority, RootCertificate, profile};
use crate::config::{Config, HostPattern, Intercept};
use crate::dashboard::{self, Dashboard, Viewer};

pub(crate) use crate::host::is_own_name as is_site;

/// The local site of one proxy.
pub(crate) struct Site {
    authority: Option<Arc<Authority>>,
    intercept: Intercept,
    direct: Vec<HostPattern>,
    dashboard: Option<Arc<Dashboard>>,
}

/// What a page is made from.
struct Facts<'a> {
    /// The address of the proxy as the client reaches it, `192.0.2.1:3128`.
    proxy: &'a str,
    /// The certificate in force, and the one that is to follow.
    certificates: Vec<&'a RootCertificate>,
    intercept: &'a Intercept,
}

/// A certificate that anybody is to have: browsers offer to keep or to install it.
const CERTIFICATE: &str = "application/x-x509-ca-cert";
const PEM: &str = "application/x-pem-file";
const HTML: &str = "text/html; charset=utf-8";

impl Site {
    /// The site of a proxy of `config` that has this authority.
    pub(crate) fn new(
        config: &Config,
        authority: Option<Arc<Authority>>,
        dashboard: Option<Arc<Dashboard>>,
    ) -> Self {
        Self { authority, intercept: config.intercept.clone(), direct: config.pac_direct.clone(), dashboard }
    }

    /// The answer to a request of `client` for `path` (a query behind it does not matter), or none where the site has no such page.
    /// `host` is the request's Host field, and `local` the address of the proxy at which the client's connection arrived;
    /// from both follows how clients reach the proxy.
    pub(crate) fn answer(
        &self,
        method: &Method,
        path: &str,
        host: Option<&str>,
        client: IpAddr,
        local: SocketAddr,
    ) -> Option<Response<Body>> {
        let path = path.split(['?', '#']).next().unwrap_or(path);
        let proxy = address::of_proxy(host, local);
        let certificates =
            self.authority.as_ref().map_or_else(Vec::new, |authority| authority.published().collect());
        let facts = Facts { proxy: &proxy, certificates, intercept: &self.intercept };
        let page = self.page(path, &facts).or_else(|| self.status(path, client))?;
        Some(page.answer(method))
    }

    /// The answer to a request of our own name for a page that there is not.
    pub(crate) fn nothing(method: &Method) -> Response<Body> {
        let page = Page::new(HTML, pages::not_found());
        Page { status: StatusCode::NOT_FOUND, ..page }.answer(method)
    }

    /// The dashboard, as far as a client may see it.
    fn status(&self, path: &str, client: IpAddr) -> Option<Page> {
        let asset = self.dashboard.as_ref()?.asset(path.strip_prefix("/status/")?, Viewer::Client(client))?;
        Some(Page { policy: dashboard::POLICY, ..Page::new(asset.media_type, asset.content) })
    }

    fn page(&self, path: &str, facts: &Facts<'_>) -> Option<Page> {
        let page = match path {
            "/" | "/index.html" => Page::new(HTML, pages::welcome(facts)),
            // So that what it names is below it.
            "/status" if self.dashboard.is_some() => Page::new(HTML, pages::moved_to("/status/")),
            "/proxy.pac" | "/wpad.dat" => {
                Page::new("application/x-ns-proxy-autoconfig", pac::script(facts.proxy, &self.direct))
            }
            "/ca" | "/ca.pem" | "/ca.crt" | "/ca-next.pem" | "/ca-next.crt" | "/ca.mobileconfig"
            | "/ca.qr.svg" => match facts.certificates.as_slice() {
                [] => Page { status: StatusCode::NOT_FOUND, ..Page::new(HTML, pages::no_certificate()) },
                [current, ..] => certificate(path, facts, current)?,
            },
            _ => return None,
        };
        Some(page)
    }
}

fn certificate(path: &str, facts: &Facts<'_>, current: &RootCertificate) -> Option<Page> {
    let next = || facts.certificates.get(1);
    // One certificate a file: several systems take the first of a file and leave the rest without a word.
    Some(match path {
        // What a phone gets that scanned the code: all systems take PEM under this type.
        "/ca" => Page::new(CERTIFICATE, current.pem()).file("bentpipe-ca.crt"),
        "/ca.pem" => Page::new(PEM, current.pem()).file("bentpipe-ca.pem"),
        "/ca.crt" => Page::new(CERTIFICATE, current.der.to_vec()).file("bentpipe-ca.crt"),
        "/ca-next.pem" => Page::new(PEM, next()?.pem()).file("bentpipe-ca-next.pem"),
        "/ca-next.crt" => Page::new(CERTIFICATE, next()?.der.to_vec()).file("bentpipe-ca-next.crt"),
        "/ca.mobileconfig" => {
            let profile = profile::mobileconfig(facts.certificates.iter().copied());
            Page::new("application/x-apple-aspen-config", profile).file("bentpipe.mobileconfig")
        }
        _ => Page::new("image/svg+xml", qr::svg(&format!("http://{}/ca", facts.proxy))?),
    })
}

/// A page, whatever the method.
struct Page {
    status: StatusCode,
    media_type: &'static str,
    /// The name under which a browser keeps it.
    file: Option<&'static str>,
    content: Bytes,
    /// What the page may do; the others have no script, and load nothing from elsewhere.
    policy: &'static str,
}

impl Page {
    fn new(media_type: &'static str, content: impl Into<Bytes>) -> Self {
        let policy = "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'";
        Self { status: StatusCode::OK, media_type, file: None, content: content.into(), policy }
    }

    fn file(self, name: &'static str) -> Self {
        Self { file: Some(name), ..self }
    }

    fn answer(self, method: &Method) -> Response<Body> {
        match *method {
            Method::GET => self.response(true),
            Method::HEAD => self.response(false),
            _ => not_allowed(),
        }
    }

    fn response(self, with_content: bool) -> Response<Body> {
        let length = HeaderValue::from(self.content.len());
        let content = if with_content { Body::Full(self.content) } else { Body::Empty };
        let mut response = Response::new(content);
        *response.status_mut() = self.status;
        let fields = response.headers_mut();
        fields.insert(CONTENT_TYPE, HeaderValue::from_static(self.media_type));
        fields.insert(CONTENT_LENGTH, length);
        // What is true of this proxy today is no other's business, and not tomorrow's either.
        fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        fields.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
        let disposition =
            self.file.map(|name| HeaderValue::try_from(format!("attachment; filename=\"{name}\"")));
        if let Some(Ok(disposition)) = disposition {
            fields.insert(CONTENT_DISPOSITION, disposition);
        }
        if self.media_type == HTML {
            fields.insert("content-security-policy", HeaderValue::from_static(self.policy));
        }
        response
    }
}

/// "The origin server MUST generate an Allow header field in a 405 response" (RFC 9110 §15.5.6).
fn not_allowed() -> Response<Body> {
    let page = Page::new(HTML, pages::not_allowed());
    let mut response = Page { status: StatusCode::METHOD_NOT_ALLOWED, ..page }.response(true);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

#[cfg(test)]
mod tests {
    use http_body::Body as _;

    use super::*;
    use crate::ca::{Folder, Made, Scope};

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const LOCAL: &str = "192.0.2.1:3128";

    /// A site with so many certificates, one in force and one to follow, and their names and fingerprints.
    fn site(certificates: usize, flags: &[&str]) -> (Site, Vec<RootCertificate>) {
        let config = Config::from_flags(flags).expect("flags");
        let now = crate::Clock::manual().now();
        let parent = tempfile::tempdir().expect("a folder");
        let folder = Folder::new(&parent.path().join("ca"));
        let make = || Made::new("Test", &Scope::of(&config.intercept.hosts), now).expect("an authority");
        let made: Vec<_> = (0..certificates).map(|_| make()).collect();
        for (position, made) in made.iter().enumerate() {
            if position == 0 { folder.init(made) } else { folder.prepare(made) }.expect("a pair");
        }
        let authority = folder.load().expect("a folder").map(Arc::new);
        (Site::new(&config, authority, None), made.into_iter().map(|made| made.certificate).collect())
    }

    fn get(site: &Site, path: &str) -> Option<(StatusCode, String, Vec<u8>)> {
        let local = LOCAL.parse().expect("an address");
        let response = site.answer(&Method::GET, path, Some("bentpipe.local"), CLIENT, local)?;
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
        let media_type = response.headers()[CONTENT_TYPE].to_str().expect("text").to_owned();
        let (parts, body) = response.into_parts();
        assert_eq!(parts.headers[CONTENT_LENGTH], body.size_hint().exact().expect("a length").to_string());
        let Body::Full(content) = body else { panic!("a page of our own") };
        Some((parts.status, media_type, content.to_vec()))
    }

    /// A page as text, with placeholders for what is random.
    fn text(site: &Site, path: &str, certificates: &[RootCertificate]) -> String {
        let (_, _, content) = get(site, path).expect("a page");
        let mut text = String::from_utf8(content).expect("text");
        for (certificate, number) in certificates.iter().zip(1..) {
            text = text.replace(&certificate.fingerprint(), &format!("(fingerprint {number})"));
            text = text.replace(&certificate.name, &format!("(name {number})"));
        }
        text
    }

    #[test]
    fn the_pages_read_well() {
        let (without, _) = site(0, &[]);
        insta::assert_snapshot!("welcome_without_certificate", text(&without, "/", &[]));
        let flags = ["--intercept", "*.wiki.example,docs.example", "--intercept-never", "mail.wiki.example"];
        let (rotating, certificates) = site(2, &flags);
        insta::assert_snapshot!("welcome", text(&rotating, "/", &certificates));
        insta::assert_snapshot!("no_certificate", text(&without, "/ca", &[]));
    }

    #[test]
    fn certificates_come_in_every_form() {
        let (site, certificates) = site(2, &[]);
        let page = |path: &str| get(&site, path).expect("a page");
        let [pem, next] = [0, 1].map(|position| certificates[position].pem().into_bytes());
        assert_eq!(page("/ca"), (StatusCode::OK, CERTIFICATE.into(), pem.clone()));
        assert_eq!(page("/ca?x=1").2, pem);
        assert_eq!(page("/ca.pem"), (StatusCode::OK, PEM.into(), pem));
        assert_eq!(page("/ca-next.pem"), (StatusCode::OK, PEM.into(), next));
        assert_eq!(page("/ca.crt"), (StatusCode::OK, CERTIFICATE.into(), certificates[0].der.to_vec()));
        assert_eq!(page("/ca-next.crt").2, certificates[1].der.to_vec());
        assert_eq!(page("/ca.mobileconfig").1, "application/x-apple-aspen-config");
        assert_eq!(page("/ca.qr.svg").2, qr::svg("http://192.0.2.1:3128/ca").expect("a code").into_bytes());
        assert_eq!(page("/proxy.pac").1, "application/x-ns-proxy-autoconfig");
        assert_eq!(page("/proxy.pac").2, page("/wpad.dat").2);
    }

    #[test]
    fn what_is_not_there_is_not_answered() {
        let (without, _) = site(0, &[]);
        let (with, _) = site(1, &[]);
        for path in ["", "*", "/favicon.ico", "/CA", "//ca", "/ca/", "/../ca", "/ca.key", "/current/ca.key"] {
            assert!(get(&with, path).is_none(), "{path}");
        }
        assert!(get(&with, "/ca-next.crt").is_none());
        for path in ["/ca", "/ca.pem", "/ca.crt", "/ca.mobileconfig", "/ca.qr.svg"] {
            assert_eq!(get(&without, path).expect("a page").0, StatusCode::NOT_FOUND, "{path}");
        }
    }

    #[test]
    fn only_reading_is_allowed() {
        let (site, _) = site(1, &[]);
        let ask = |method: &Method| {
            site.answer(method, "/", None, CLIENT, LOCAL.parse().expect("an address")).expect("a page")
        };
        let (head, get) = (ask(&Method::HEAD), ask(&Method::GET));
        assert!(matches!(head.body(), Body::Empty) && head.headers() == get.headers());
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
            let refused = ask(&method);
            assert_eq!(
                (refused.status().as_u16(), &refused.headers()[ALLOW]),
                (405, &HeaderValue::from_static("GET, HEAD"))
            );
        }
    }

    #[test]
    fn nothing_of_a_request_gets_into_a_page_unchecked() {
        let (site, _) = site(1, &[]);
        let local = LOCAL.parse().expect("an address");
        for host in ["<script>:1", "a\";//:80", "x&y:1"] {
            for path in ["/", "/proxy.pac", "/ca.qr.svg"] {
                let one =
                    site.answer(&Method::GET, path, Some(host), CLIENT, local).expect("a page").into_body();
                let other = site.answer(&Method::GET, path, None, CLIENT, local).expect("a page").into_body();
                let (Body::Full(one), Body::Full(other)) = (one, other) else { panic!("pages of our own") };
                assert_eq!(one, other, "{host} {path}");
            }
        }
    }

    #[test]
    fn the_site_has_one_name() {
        for (host, expected) in
            [("bentpipe.local", true), ("BENTPIPE.local.", true), ("x.bentpipe.local", false), ("", false)]
        {
            assert_eq!(is_site(host), expected, "{host}");
        }
    }
}
