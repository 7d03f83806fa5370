//! One request through the proxy, or for its own page: asked with HTTP/1.0, so that the response ends with the connection
//! and no interim response comes before it (RFC 9112 §9.3, RFC 9110 §15.2).
//!
//! It reads a bounded part of what comes, for a bounded time. What the answer means is `answer`'s to say.

use std::fmt;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::str::FromStr;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Uri;
use http::uri::Scheme;
use zeroize::Zeroizing;

use crate::text::percent_decoded;

/// Bytes of a head, and of content that is read: enough to see that it comes, and little on a link paid by the byte.
const MOST_HEAD: usize = 256 * 1024;
const MOST_CONTENT: usize = 64 * 1024;

/// A URL that should work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    url: String,
    authority: String,
    /// Without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) is_https: bool,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || "expected a URL such as https://example.org/".to_owned();
        let uri: Uri = text.split('#').next().unwrap_or(text).parse().map_err(|_| expected())?;
        let is_https = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            _ => return Err(expected()),
        };
        let authority = uri.authority().ok_or_else(expected)?;
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return Err(expected());
        }
        Ok(Self {
            url: uri.to_string(),
            authority: authority.to_string(),
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port: authority.port_u16().unwrap_or(if is_https { 443 } else { 80 }),
            is_https,
        })
    }
}

impl Target {
    /// The whole URL.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Host and port as the URL writes them.
    pub(super) fn authority(&self) -> &str {
        &self.authority
    }
}

/// An account of the proxy, by name and password. It is shown to nobody but the proxy.
#[derive(Clone)]
pub(crate) struct Account(Zeroizing<String>);

impl Account {
    /// Of `NAME:PASSWORD`.
    ///
    /// # Errors
    /// If there is no colon, or what no field may have.
    pub(crate) fn read(text: &str) -> Result<Self, &'static str> {
        if text.split_once(':').is_none_or(|(name, _)| name.is_empty()) || text.contains(char::is_control) {
            return Err("expected NAME:PASSWORD");
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    /// That of the user information of `url`, the address of a proxy on `port` (RFC 3986 §3.2.1), as `http_proxy` holds it.
    pub(crate) fn of_proxy_url(url: &str, port: u16) -> Option<Self> {
        let uri: Uri = url.parse().ok().filter(|uri: &Uri| uri.port_u16() == Some(port))?;
        let (userinfo, _) = uri.authority()?.as_str().rsplit_once('@')?;
        let (name, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
        Self::read(&format!("{}:{}", percent_decoded(name)?, percent_decoded(password)?)).ok()
    }

    /// The Basic scheme (RFC 7617 §2).
    fn field(&self) -> String {
        format!("proxy-authorization: Basic {}\r\n", STANDARD.encode(self.0.as_bytes()))
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Account")
    }
}

/// What came back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Names in lower case.
    fields: Vec<(String, String)>,
    /// From the request to the first byte of the answer.
    pub(super) first_byte: Duration,
    /// The beginning of the content.
    pub(super) content: Vec<u8>,
}

impl Answer {
    /// The values of a field, joined as a list (RFC 9110 §5.3); empty where there is none.
    pub(super) fn field(&self, name: &str) -> String {
        let values = self.fields.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
        values.collect::<Vec<_>>().join(", ")
    }

    /// Reads a head; none if it is none.
    pub(super) fn parse(head: &str) -> Option<Self> {
        let mut lines = head.split("\r\n");
        let status_line = lines.next()?.strip_prefix("HTTP/1.")?;
        let status = status_line.split(' ').nth(1)?.parse().ok()?;
        let field = |line: &str| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        };
        Some(Self { status, fields: lines.filter_map(field).collect(), ..Self::default() })
    }
}

/// Asks `proxy` for its own page.
pub(super) fn page(proxy: SocketAddr, patience: Duration) -> Result<Answer, String> {
    ask(proxy, &head("/", &proxy.to_string(), ""), patience)
}

/// Asks `proxy` for `target`. A stored response is to be confirmed by the origin (RFC 9111 §5.2.1.4), since it is the way
/// there that is tried.
pub(super) fn through(
    proxy: SocketAddr,
    target: &Target,
    account: Option<&Account>,
    patience: Duration,
) -> Result<Answer, String> {
    let credentials = account.map(Account::field).unwrap_or_default();
    let fields = format!("cache-control: no-cache\r\n{credentials}");
    ask(proxy, &head(&target.url, &target.authority, &fields), patience)
}

fn head(target: &str, host: &str, more: &str) -> String {
    let agent = concat!("bentpipe-doctor/", env!("CARGO_PKG_VERSION"));
    format!("GET {target} HTTP/1.0\r\nhost: {host}\r\nuser-agent: {agent}\r\naccept: */*\r\n{more}\r\n")
}

fn ask(proxy: SocketAddr, request: &str, patience: Duration) -> Result<Answer, String> {
    let begun = Instant::now();
    let deadline = begun + patience;
    let in_words = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => {
            format!("no answer within {} s", patience.as_secs())
        }
        _ => error.to_string(),
    };
    let mut stream = TcpStream::connect_timeout(&proxy, patience).map_err(in_words)?;
    stream.set_write_timeout(Some(patience)).map_err(in_words)?;
    stream.write_all(request.as_bytes()).map_err(in_words)?;
    let mut held = Vec::new();
    let mut first_byte = None;
    let mut answer: Option<(Answer, usize)> = None;
    let mut space = vec![0; 16 * 1024];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        stream.set_read_timeout(Some(left.max(Duration::from_millis(1)))).map_err(in_words)?;
        let read = match stream.read(&mut space) {
            Ok(read) => read,
            // Of content a part will do.
            Err(_) if answer.is_some() => 0,
            Err(error) => return Err(in_words(error)),
        };
        first_byte.get_or_insert_with(|| begun.elapsed());
        held.extend_from_slice(space.get(..read).unwrap_or_default());
        if answer.is_none() {
            answer = whole_head(&held)?;
        }
        let is_enough = answer.as_ref().is_some_and(|(_, content)| held.len() - content >= MOST_CONTENT);
        if read == 0 || is_enough || Instant::now() >= deadline {
            break;
        }
    }
    let (answer, content) = answer.ok_or("the connection was closed before an answer came")?;
    let content = held.split_off(content.min(held.len()));
    Ok(Answer { first_byte: first_byte.unwrap_or_default(), content, ..answer })
}

/// The head at the beginning of `held`, and where its content begins; none while it is not all there.
fn whole_head(held: &[u8]) -> Result<Option<(Answer, usize)>, String> {
    let Some(end) = held.windows(4).position(|four| four == b"\r\n\r\n") else {
        let is_endless = held.len() > MOST_HEAD;
        return if is_endless { Err("what it answers is not HTTP".to_owned()) } else { Ok(None) };
    };
    let head = String::from_utf8_lossy(held.get(..end).unwrap_or_default());
    let answer = Answer::parse(&head).ok_or("what it answers is not HTTP")?;
    Ok(Some((answer, end + 4)))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_target_is_a_url_of_http_or_https() {
        let check = |text: &str, host: &str, port: u16, is_https: bool| {
            let target: Target = text.parse().unwrap();
            assert_eq!((&*target.host, target.port, target.is_https), (host, port, is_https), "{text}");
        };
        check("http://example.org", "example.org", 80, false);
        check("https://example.org/a?b#c", "example.org", 443, true);
        check("https://[::1]:8443/", "::1", 8443, true);
        for wrong in
            ["example.org", "ftp://example.org/", "", "http://", "/a", "http://a:b@c/", "http://a b/"]
        {
            assert!(wrong.parse::<Target>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_account_is_read_and_never_shown() {
        let ann = Account::read("ann:o:pen").unwrap();
        assert_eq!(ann.field(), "proxy-authorization: Basic YW5uOm86cGVu\r\n");
        assert!(!format!("{ann:?}").contains("ann"));
        assert!(
            Account::read("ann").is_err()
                && Account::read(":x").is_err()
                && Account::read("a:b\r\n").is_err()
        );
        let of = |url| Account::of_proxy_url(url, 3128).map(|account| account.field());
        assert_eq!(of("http://ann:o%3Apen@127.0.0.1:3128/"), Some(ann.field()));
        assert_eq!(of("http://ann:open@127.0.0.1:8080/"), None, "another proxy's");
        assert_eq!(of("http://127.0.0.1:3128"), None);
    }

    /// What is made of an answer of these bytes.
    fn answer(bytes: &'static [u8]) -> Result<Answer, String> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut one = [0];
                stream.read_exact(&mut one).unwrap();
                request.extend(one);
            }
            stream.write_all(bytes).unwrap();
            String::from_utf8(request).unwrap()
        });
        let answer = page(address, Duration::from_secs(20));
        assert!(server.join().unwrap().starts_with("GET / HTTP/1.0\r\n"));
        answer
    }

    #[test]
    fn an_answer_is_taken_apart() {
        let ok = answer(b"HTTP/1.1 200 OK\r\nA: 1\r\nb:2\r\na: 3\r\n\r\nhello").unwrap();
        let said = (ok.status, ok.field("a"), ok.field("b"), ok.field("c"), &ok.content[..]);
        assert_eq!(said, (200, "1, 3".into(), "2".into(), String::new(), &b"hello"[..]));
        assert_eq!(answer(b"220 mail ready\r\n\r\n").unwrap_err(), "what it answers is not HTTP");
        assert_eq!(answer(b"HTTP/1.1 200").unwrap_err(), "the connection was closed before an answer came");
        assert_eq!(answer(b"").unwrap_err(), "the connection was closed before an answer came");
    }
}
