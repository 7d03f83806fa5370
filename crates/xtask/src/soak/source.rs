//! The origins of the soak, one in plain and one over TLS: bodies follow from paths, and the first word of a path says
//! how the origin is to behave, well or not.
//!
//! They answer conditions (RFC 9110 §13.1.2) and single ranges (§14.2) as an origin of static files does. What was
//! uploaded to them is compared with what its path says it should be.

use std::io;
use std::time::Duration;

use testkit::message::Ending;
use testkit::{Gate, Origin, Received, Reply, Tls};

use super::pattern::{body, kind};

/// The name whose HTTPS the proxy looks into.
pub(super) const OPENED: &str = "opened.test";
/// The name whose HTTPS it passes on.
pub(super) const CLOSED: &str = "closed.test";

/// How long an origin that hangs does so, far longer than the proxy waits.
const HANG: Duration = Duration::from_secs(20);

/// Both origins.
#[derive(Debug)]
pub(super) struct Source {
    plain: Origin,
    secure: Origin,
}

impl Source {
    /// Starts both on free ports.
    ///
    /// # Errors
    /// Those of binding and of making certificates.
    pub(super) async fn start() -> io::Result<Self> {
        let tls = Tls::new().for_names(&[OPENED, CLOSED]);
        Ok(Self {
            plain: Origin::with_handler(|request| Some(reply(request))).await?,
            secure: Origin::start_tls_with_handler(&tls, |request| Some(reply(request))).await?,
        })
    }

    /// The absolute URI of `path` at the plain origin.
    pub(super) fn url(&self, path: &str) -> String {
        self.plain.url(path)
    }

    /// The authority under which the secure origin is known by `name`.
    pub(super) fn authority(&self, name: &str) -> String {
        format!("{name}:{}", self.secure.address().port())
    }

    /// The certificate of the authority behind the secure origin, as text (PEM).
    pub(super) fn root_pem(&self) -> &str {
        self.secure.root_pem()
    }

    /// Looks through what came since the last call and forgets it: how many uploads came whole, and what was wrong with
    /// the others.
    pub(super) fn check_uploads(&self) -> (usize, Vec<String>) {
        let received = self.plain.take_requests().into_iter().chain(self.secure.take_requests());
        let uploads = received.filter(|request| request.method == "POST" && request.ending == Ending::Clean);
        let (right, wrong): (Vec<_>, Vec<_>) =
            uploads.partition(|request| request.body == body(&request.target));
        let told = |request: Received| format!("{} came with {} bytes", request.target, request.body.len());
        (right.len(), wrong.into_iter().map(told).collect())
    }
}

fn reply(request: &Received) -> Reply {
    let path = request.target.as_str();
    let whole = body(path);
    match kind(path) {
        "keep" => static_file(request, "max-age=36000"),
        "check" => static_file(request, "no-cache"),
        "slow" => Reply::new(200)
            .field("cache-control", "max-age=36000")
            .body(whole)
            .pace(32 << 10, Duration::from_millis(20)),
        "chunked" => Reply::new(200).field("cache-control", "no-store").body(whole).chunked(10_000),
        // Cut once; the rest is there for who asks for it.
        "mend" if !request.fields.has("range") => {
            static_file(request, "max-age=36000").cut_after(whole.len() / 2)
        }
        "mend" => static_file(request, "max-age=36000"),
        "cut" => passing().body(whole).cut_after(whole.len() / 2),
        "hang" => passing().body(whole).pace(whole.len() / 2, HANG),
        "silent" => {
            let gate = Gate::closed();
            let opened = gate.clone();
            tokio::spawn(async move {
                tokio::time::sleep(HANG).await;
                opened.open();
            });
            passing().wait(&gate)
        }
        "echo" => Reply::upgrade("echo"),
        "upload" => passing().body("taken"),
        "fields" => (0..5_000).fold(passing(), |reply, number| reply.field(&format!("x-{number}"), "y")),
        "long" => passing().field("x", &"y".repeat(200_000)),
        "interim" => Reply::raw("HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n".repeat(2_000)),
        _ => passing().body(whole),
    }
}

fn passing() -> Reply {
    Reply::new(200).field("cache-control", "no-store")
}

fn static_file(request: &Received, cache_control: &str) -> Reply {
    let path = request.target.as_str();
    let etag = format!("\"{path}\"");
    let answer = |status| {
        Reply::new(status)
            .field("cache-control", cache_control)
            .field("etag", &etag)
            .field("accept-ranges", "bytes")
    };
    if request.fields.lists("if-none-match", &etag) {
        return answer(304);
    }
    let body = body(path);
    let holds = request.fields.value("if-range").is_none_or(|condition| condition == etag);
    let range = request.fields.value("range").filter(|_| holds);
    match range.and_then(|range| bounds(range, body.len())) {
        Some((first, last)) => answer(206)
            .field("content-range", &format!("bytes {first}-{last}/{}", body.len()))
            .body(&body[first..=last]),
        None => answer(200).body(body),
    }
}

/// First and last byte of a Range field with one range that can be satisfied; others are answered whole.
fn bounds(range: &str, length: usize) -> Option<(usize, usize)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let end = length.checked_sub(1)?;
    let first: usize = first.parse().ok()?;
    let last = if last.is_empty() { end } else { last.parse::<usize>().ok()?.min(end) };
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_is_understood() {
        let check = |range, expected| assert_eq!(bounds(range, 10), expected, "{range}");
        check("bytes=2-4", Some((2, 4)));
        check("bytes=2-", Some((2, 9)));
        check("bytes=2-99", Some((2, 9)));
        check("bytes=10-", None);
        check("bytes=-3", None);
        check("bytes=0-1,3-4", None);
    }
}
