//! `bentpipe link probe URL`: what the real uplink is like, asked of one server that the user names. Without the
//! proxy and its link: plain TCP connections of this process's own.
//!
//! What is made of the bytes is `rates`, how they are moved `transfer`. It never spends more than it was allowed: the
//! link may be paid by the byte.

pub(crate) mod rates;
mod transfer;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use http::Uri;
use tokio::time::{sleep, timeout};

use rates::{Doubt, Download, Rates, Upload, median};

/// What to ask, and what it may cost.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The longest that content is read.
    pub(crate) period: Duration,
    /// The most bytes of content that are asked for.
    pub(crate) most: u64,
    /// Bytes to send, if any.
    pub(crate) upload: Option<u64>,
}

/// Where to measure: a URL of the `http` scheme, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    url: String,
    host: String,
    port: u16,
    /// For the Host field (RFC 9110 §7.2).
    authority: String,
    /// The request target in origin-form (RFC 9112 §3.2.1).
    path: String,
}

/// What was found.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) url: String,
    pub(crate) address: SocketAddr,
    /// Handshakes while nothing else was under way.
    pub(crate) idle: Vec<Duration>,
    /// Handshakes during the download.
    pub(crate) loaded: Vec<Duration>,
    pub(crate) download: Download,
    pub(crate) rates: Rates,
    pub(crate) upload: Option<Upload>,
    /// Payload bytes received and sent in all.
    pub(crate) cost: (u64, u64),
}

impl Target {
    /// # Errors
    /// Says what a target looks like, and why `https` is none yet.
    pub(crate) fn parse(url: &str) -> anyhow::Result<Self> {
        const EXPECTED: &str = "expected a target such as http://example.org/file";
        let uri: Uri = url.parse().with_context(|| format!("{url:?}: {EXPECTED}"))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => bail!(
                "{url}: https is not available yet; name an http URL, or a port that speaks it, of a server near \
                 the far end of the link"
            ),
            _ => bail!("{url:?}: {EXPECTED}"),
        }
        let Some(host) = uri.host().filter(|host| !host.is_empty()) else { bail!("{url:?}: {EXPECTED}") };
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        let named = uri.authority().is_some_and(|authority| !authority.as_str().ends_with(host));
        let port = match uri.port_u16() {
            Some(port) => port,
            None if named => bail!("{url:?}: expected a port from 1 to 65535 behind the host"),
            None => 80,
        };
        let authority = if port == 80 { host.to_owned() } else { format!("{host}:{port}") };
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Ok(Self { url: url.to_owned(), host: bare.to_owned(), port, authority, path })
    }
}

/// Handshakes before the download; few, since each waits a round trip and costs packets.
const HANDSHAKES: usize = 5;
/// Between handshakes during the download.
const PAUSE: Duration = Duration::from_millis(500);
/// Longest wait for a connection or a first byte: three times the worst round trip of a busy satellite link.
const PATIENCE: Duration = Duration::from_secs(30);

/// Measures `target`.
///
/// # Errors
/// If it cannot be reached or answers with anything but content.
pub(crate) async fn run(target: &Target, options: &Options) -> anyhow::Result<Found> {
    let about = || format!("{}:{}", target.host, target.port);
    let looked_up = tokio::net::lookup_host((target.host.as_str(), target.port)).await;
    let address = looked_up.with_context(about)?.next().with_context(about)?;
    let handshake = || timeout(PATIENCE, transfer::handshake(address));
    let mut idle = Vec::new();
    for _ in 0..HANDSHAKES {
        idle.push(
            handshake()
                .await
                .with_context(|| format!("{}: no connection within {} s", about(), PATIENCE.as_secs()))?
                .with_context(about)?,
        );
    }
    let mut sampled = Vec::new();
    let begun = Instant::now();
    let mut download = {
        let downloading = transfer::download(address, target, options, PATIENCE);
        tokio::pin!(downloading);
        loop {
            let sample = async {
                sleep(PAUSE).await;
                (begun.elapsed(), handshake().await)
            };
            tokio::select! {
                done = &mut downloading => break done.with_context(|| target.url.clone())?,
                (at, Ok(Ok(taken))) = sample => sampled.push((at, taken)),
                else => {}
            }
        }
    };
    let rtt = idle.iter().min().copied().unwrap_or_default();
    // Until the first byte came nothing was under load.
    let busy = rtt + download.first_byte;
    let loaded: Vec<_> = sampled.into_iter().filter(|(at, _)| *at >= busy).map(|(_, taken)| taken).collect();
    let rates = rates::judge(&download, rtt, median(&loaded));
    let mut cost = (download.bytes, download.sent);
    let upload = match options.upload {
        Some(bytes) => {
            let upload = transfer::upload(address, target, bytes, rtt, PATIENCE).await?;
            cost = (cost.0 + upload.received, cost.1 + upload.sent);
            Some(upload)
        }
        None => None,
    };
    download.windows.shrink_to_fit();
    Ok(Found { url: target.url.clone(), address, idle, loaded, download, rates, upload, cost })
}

impl Found {
    /// The round trip of the idle link.
    pub(crate) fn rtt(&self) -> Duration {
        self.idle.iter().min().copied().unwrap_or_default()
    }

    /// What the download's queue added to a round trip: bufferbloat. None if there was no time to see.
    pub(crate) fn queueing(&self) -> Option<Duration> {
        median(&self.loaded).map(|loaded| loaded.saturating_sub(self.rtt()))
    }

    /// Everything that speaks against the figures.
    pub(crate) fn doubts(&self) -> Vec<Doubt> {
        let of_upload = self.upload.iter().filter_map(|upload| upload.doubt);
        self.rates.doubts.iter().copied().chain(of_upload).collect()
    }

    /// The link to keep to, so that no queue builds beyond us, as `--link` takes it. None if nothing was measured.
    pub(crate) fn to_guard(&self) -> Option<String> {
        self.link(0.9, Duration::ZERO)
    }

    /// The link to imitate this one with, as `--link` takes it.
    pub(crate) fn to_imitate(&self) -> Option<String> {
        self.link(1.0, self.rtt())
    }

    fn link(&self, share: f64, rtt: Duration) -> Option<String> {
        let up = self.upload.as_ref().and_then(|upload| upload.rate);
        rates::spec(self.rates.sustained? * share, up.map(|up| up * share), rtt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, host: &str, port: u16, authority: &str, path: &str) {
        let target = Target::parse(url).unwrap();
        let found = (&*target.host, target.port, &*target.authority, &*target.path);
        assert_eq!(found, (host, port, authority, path));
    }

    #[test]
    fn a_target_is_an_http_url() {
        check("http://example.org", "example.org", 80, "example.org", "/");
        check("http://example.org:8080/a?b", "example.org", 8080, "example.org:8080", "/a?b");
        check("http://[::1]:81/", "::1", 81, "[::1]:81", "/");
    }

    #[test]
    fn what_is_no_target_is_told_what_is() {
        let error = |url: &str| Target::parse(url).unwrap_err().to_string();
        assert!(error("https://example.org/").contains("https is not available yet"));
        for wrong in ["example.org", "ftp://example.org/", "http://", "http:///x", "", "http://a b/"] {
            assert!(error(wrong).contains("expected a target such as"), "{wrong}");
        }
    }
}
