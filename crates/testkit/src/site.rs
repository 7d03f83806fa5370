//! The fixture site: `fixtures/site` served by its manifest, with everything a cache meets on a real page
//! (validators, Vary, gzip, redirects, cookies, no-store), and what was asked of it counted.
//!
//! It serves GET and HEAD, answers If-None-Match and If-Modified-Since (RFC 9110 §13.1.2, §13.1.3) by plain
//! comparison, and knows no ranges. The manifest `site.txt` has a line for each resource, its parts separated
//! by two or more spaces: path, status, file or `-`, then fields. `etag: *` is made from the content,
//! `expires: +3600` is that many seconds from the answer. A file with a `.gz` twin is sent gzip-coded to who
//! accepts that, and says `vary: accept-encoding`.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::message::Fields;
use crate::origin::{Origin, Received, Traffic};
use crate::reply::Reply;
use crate::tls::Tls;

/// The running site.
#[derive(Debug)]
pub struct Site {
    origin: Origin,
    paths: Vec<String>,
}

/// One line of the manifest with its files read.
#[derive(Clone, Debug)]
struct Resource {
    status: u16,
    fields: Fields,
    content: Vec<u8>,
    gzip: Option<Vec<u8>>,
}

impl Site {
    /// Reads the manifest in `folder` and serves it on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// A manifest or file that cannot be read, a manifest line that does not parse, a port that cannot be bound.
    pub async fn start(folder: &Path) -> io::Result<Self> {
        let (resources, paths) = read_all(folder)?;
        let origin = Origin::with_handler(move |request| Some(answer(&resources, request))).await?;
        Ok(Self { origin, paths })
    }

    /// The same over TLS.
    ///
    /// # Errors
    /// Those of [`Site::start`], and those of making certificates.
    pub async fn start_tls(folder: &Path, tls: &Tls) -> io::Result<Self> {
        let (resources, paths) = read_all(folder)?;
        let origin = Origin::start_tls_with_handler(tls, move |request| Some(answer(&resources, request)));
        Ok(Self { origin: origin.await?, paths })
    }

    /// The certificate of the authority behind it, as text (PEM); none without TLS.
    #[must_use]
    pub fn root_pem(&self) -> &str {
        self.origin.root_pem()
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.origin.address()
    }

    /// The absolute URI of `path` here.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        self.origin.url(path)
    }

    /// The paths of all resources, in the manifest's order.
    #[must_use]
    pub fn paths(&self) -> &[String] {
        &self.paths
    }

    /// Every request so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Received> {
        self.origin.requests()
    }

    /// Bytes that crossed its sockets so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.origin.total_traffic()
    }

    /// Leaves the network.
    pub async fn stop(&self) {
        self.origin.stop().await;
    }
}

/// What a folder holds, and its paths in the manifest's order.
fn read_all(folder: &Path) -> io::Result<(HashMap<String, Resource>, Vec<String>)> {
    let manifest = fs::read_to_string(folder.join("site.txt"))?;
    let mut resources = HashMap::new();
    let mut paths = Vec::new();
    for line in manifest.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (path, resource) = read(line, folder)
            .map_err(|error| io::Error::new(error.kind(), format!("site.txt: `{line}`: {error}")))?;
        paths.push(path.clone());
        resources.insert(path, resource);
    }
    Ok((resources, paths))
}

fn read(line: &str, folder: &Path) -> io::Result<(String, Resource)> {
    let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut cells = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty());
    let path = cells.next().unwrap_or_default().to_owned();
    let status = cells.next().and_then(|cell| cell.parse().ok()).ok_or_else(|| wrong("no status"))?;
    let file = cells.next().ok_or_else(|| wrong("no file"))?;
    let mut fields = Fields::default();
    for cell in cells {
        let (name, value) = cell.split_once(": ").ok_or_else(|| wrong("a field without `: `"))?;
        fields.push(name, value);
    }
    let content = if file == "-" { Vec::new() } else { fs::read(folder.join(file))? };
    let twin = folder.join(format!("{file}.gz"));
    let gzip = if twin.exists() { Some(fs::read(twin)?) } else { None };
    Ok((path, Resource { status, fields, content, gzip }))
}

fn answer(resources: &HashMap<String, Resource>, request: &Received) -> Reply {
    let Some(resource) = resources.get(&request.target) else {
        return Reply::new(404).field("content-type", "text/plain").body("no such resource\n");
    };
    if request.method != "GET" && request.method != "HEAD" {
        return Reply::new(405).field("allow", "GET, HEAD");
    }
    let gzip = resource.gzip.as_ref().filter(|_| request.fields.lists("accept-encoding", "gzip"));
    let content = gzip.unwrap_or(&resource.content);
    let mut fields = prepared(&resource.fields, content);
    if resource.gzip.is_some() {
        fields.push("vary", "accept-encoding");
    }
    if is_unchanged(request, &fields) {
        return with_fields(Reply::new(304), &fields);
    }
    if gzip.is_some() {
        fields.push("content-encoding", "gzip");
    }
    with_fields(Reply::new(resource.status), &fields).body(content.clone())
}

/// RFC 9110 §13.1.3: "A recipient MUST ignore If-Modified-Since if the request contains an If-None-Match".
fn is_unchanged(request: &Received, fields: &Fields) -> bool {
    match fields.value("etag") {
        Some(etag) if request.fields.has("if-none-match") => request.fields.lists("if-none-match", etag),
        _ if request.fields.has("if-none-match") => false,
        _ => {
            let modified = fields.value("last-modified");
            modified.is_some() && request.fields.value("if-modified-since") == modified
        }
    }
}

/// The fields with what the manifest leaves to be computed.
fn prepared(fields: &Fields, content: &[u8]) -> Fields {
    let compute = |name: &str, value: &str| match (name, value.strip_prefix('+')) {
        ("etag", _) if value == "*" => format!("\"{:016x}\"", fingerprint(content)),
        ("expires", Some(seconds)) => in_seconds(seconds.parse().unwrap_or(0)),
        _ => value.to_owned(),
    };
    fields.iter().map(|(name, value)| (name, compute(name, value))).collect()
}

fn with_fields(reply: Reply, fields: &Fields) -> Reply {
    fields.iter().fold(reply, |reply, (name, value)| reply.field(name, value))
}

/// FNV-1a: enough to tell two versions of a fixture apart.
fn fingerprint(content: &[u8]) -> u64 {
    content
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[expect(clippy::disallowed_methods, reason = "the site is for browsers, which have the machine's time")]
fn in_seconds(seconds: u64) -> String {
    httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use crate::client::{Client, Request, Response};

    use super::*;

    fn folder() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/site")
    }

    async fn ask(site: &Site, request: Request) -> Response {
        let mut client = Client::connect(site.address()).await.expect("the site listens");
        client.request(&request).await.expect("an answer")
    }

    #[tokio::test]
    async fn every_resource_of_the_manifest_is_served_whole() {
        let site = Site::start(&folder()).await.expect("the fixture is whole");
        assert!(site.paths().len() >= 40, "{} resources", site.paths().len());
        let mut bytes = 0;
        for path in site.paths() {
            let answer = ask(&site, Request::new("GET", path)).await;
            assert!(matches!(answer.status, 200 | 301 | 302), "{path}: {}", answer.status_line);
            assert!(answer.is_whole(), "{path}");
            bytes += answer.body.len();
        }
        assert!((300_000..=600_000).contains(&bytes), "{bytes} bytes in all");
        assert_eq!(site.requests().len(), site.paths().len());
    }

    #[tokio::test]
    async fn validators_and_codings_are_honoured() {
        let site = Site::start(&folder()).await.expect("the fixture is whole");
        let plain = ask(&site, Request::new("GET", "/")).await;
        let coded = ask(&site, Request::new("GET", "/").field("accept-encoding", "br, gzip")).await;
        assert_eq!(coded.field("content-encoding"), Some("gzip"));
        assert_eq!(plain.field("vary"), Some("accept-encoding"));
        assert_ne!(plain.field("etag"), coded.field("etag"));
        let etag = plain.field("etag").expect("an ETag");
        assert_eq!(ask(&site, Request::new("GET", "/").field("if-none-match", etag)).await.status, 304);
        assert_eq!(
            ask(&site, Request::new("GET", "/").field("if-none-match", "\"other\"")).await.status,
            200
        );
        assert_eq!(ask(&site, Request::new("GET", "/nothing")).await.status, 404);
    }
}
