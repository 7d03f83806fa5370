//! Serving the admin interface on one connection, whichever way it came: limits, the table of routes, and the audit of
//! whatever changes something.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Collected, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};

use super::guard::{Denied, Ends};
use super::routes::{self, Asked, Found, Route, Run};
use super::seats::{Busy, Seat};
use super::tcp::Door;
use super::who::Who;
use super::{Admin, api};
use crate::dashboard::{self, Viewer};

/// What a response carries; it may go on and on.
pub(crate) type Content = UnsyncBoxBody<Bytes, Infallible>;

/// How a connection has come.
pub(super) enum Entry {
    /// Through the control socket, from a process that may do everything.
    Socket(Who),
    /// Over TCP, where each request is judged.
    Tcp(Ends, Arc<Door>, Arc<Seat>),
}

impl Entry {
    /// How long a client may take to send a head.
    fn patience(&self) -> Duration {
        match self {
            // Programs on this machine, whose commands are there as soon as they are: whoever says nothing keeps others waiting.
            Self::Socket(_) => Duration::from_secs(2),
            Self::Tcp(..) => PATIENCE,
        }
    }

    /// Begins a command.
    ///
    /// # Errors
    /// If the connection has to give way to another.
    fn begin(&self) -> Result<Option<Busy>, Late> {
        match self {
            Self::Socket(_) => Ok(None),
            Self::Tcp(_, _, seat) => seat.begin().map(Some).ok_or(Late),
        }
    }
}

/// How long a client over TCP may take to send a head, or nothing of an answer; and anyone to send content.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes of a head, and its field lines.
const MAX_HEAD: usize = 16 * 1024;
const MAX_FIELDS: usize = 100;

/// Bytes of content.
const MAX_CONTENT: usize = 1024 * 1024;

/// Serves one connection to its end.
pub(super) async fn serve<T>(io: T, entry: &Entry, admin: &Arc<Admin>)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request| answer(request, entry, admin));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(entry.patience())
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_FIELDS)
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades();
    if let Err(error) = served.await {
        tracing::debug!(%error, "a control connection ended");
    }
}

async fn answer(
    request: Request<Incoming>,
    entry: &Entry,
    admin: &Arc<Admin>,
) -> Result<Response<Content>, Late> {
    let (parts, body) = request.into_parts();
    let found = routes::find(&parts.method, parts.uri.path());
    let writes = match &found {
        Found::Route(route, _) => route.writes,
        _ => parts.method != Method::GET,
    };
    let who = match entry {
        Entry::Socket(who) => who.clone(),
        Entry::Tcp(ends, door, _) => match door.admit(&parts, *ends, writes, admin) {
            Ok(who) => who,
            Err(denied) => return Ok(guarded(refused(&denied))),
        },
    };
    let response = match found {
        Found::Route(route, key) => match collect(body).await? {
            Some(content) => {
                let _busy = entry.begin()?;
                carry_out(route, key, parts, content, who, admin).await
            }
            None => failed(StatusCode::PAYLOAD_TOO_LARGE, "the content is too large"),
        },
        Found::OtherMethods(methods) => {
            let mut response = failed(StatusCode::METHOD_NOT_ALLOWED, "it takes other methods");
            if let Ok(allow) = HeaderValue::from_str(&methods.join(", ")) {
                response.headers_mut().insert(ALLOW, allow);
            }
            response
        }
        Found::Nothing => {
            page(&parts, admin).unwrap_or_else(|| failed(StatusCode::NOT_FOUND, "there is no such route"))
        }
    };
    Ok(guarded(response))
}

/// What of the dashboard stands at the target of a GET, if anything does.
fn page(parts: &Parts, admin: &Admin) -> Option<Response<Content>> {
    if parts.method != Method::GET {
        return None;
    }
    let path = parts.uri.path().strip_prefix('/')?;
    let asset = admin.uplink()?.dashboard.asset(path, Viewer::Operator)?;
    let mut response = Response::new(Full::new(asset.content).map_err(|never| match never {}).boxed_unsync());
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static(asset.media_type));
    fields.insert("content-security-policy", HeaderValue::from_static(dashboard::POLICY));
    Some(response)
}

async fn carry_out(
    route: &'static Route,
    key: String,
    mut parts: Parts,
    content: Bytes,
    who: Who,
    admin: &Arc<Admin>,
) -> Response<Content> {
    let (author, path) = (route.writes.then(|| who.clone()), parts.uri.path().to_owned());
    let query = parts.uri.query().unwrap_or_default().to_owned();
    let upgrade = parts.extensions.remove();
    let asked = Asked { who, key, query, headers: parts.headers, content, upgrade };
    let response = match route.run {
        Run::Now(run) => {
            let admin = admin.clone();
            // Files may be read for it, and whoever is served meanwhile must not wait for that.
            let done = tokio::task::spawn_blocking(move || run(&admin, &asked)).await;
            done.map_or_else(|_| failed(StatusCode::INTERNAL_SERVER_ERROR, "the command failed"), reply)
        }
        Run::Later(run) => run(admin, asked).await,
    };
    if let Some(who) = author {
        let (method, status) = (route.method.name(), response.status().as_u16());
        tracing::info!(target: AUDIT, %who, method, path, status, "a command that changes something");
    }
    response
}

/// Where it is said who has changed what.
pub(crate) const AUDIT: &str = "bentpipe::audit";

/// A reply as a response.
pub(super) fn reply((status, value): api::Reply) -> Response<Content> {
    let content = Full::new(api::content(&value));
    let mut response = Response::new(content.map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn failed(status: StatusCode, why: &str) -> Response<Content> {
    reply((status, json!({ "error": why })))
}

fn refused(denied: &Denied) -> Response<Content> {
    let mut response = failed(denied.status, denied.why);
    let fields = response.headers_mut();
    if denied.status == StatusCode::UNAUTHORIZED {
        // "The server generating a 401 response MUST send a WWW-Authenticate header field" (RFC 9110 §11.6.1).
        fields.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"bentpipe\""));
    }
    if let Some(wait) = denied.wait {
        fields.insert(RETRY_AFTER, HeaderValue::from(wait));
    }
    response
}

/// What browsers are told of every answer: that it is nobody else's, is kept nowhere and is of the type it says. A route
/// that says something else of its own is left alone.
fn guarded(mut response: Response<Content>) -> Response<Content> {
    const FIELDS: [(HeaderName, &str); 5] = [
        (CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("x-content-type-options"), "nosniff"),
        (HeaderName::from_static("x-frame-options"), "DENY"),
        (HeaderName::from_static("referrer-policy"), "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in FIELDS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// The content of a command did not arrive in time, or the connection has given way to another by then; it is dropped.
#[derive(Debug, thiserror::Error)]
#[error("the content of a command did not arrive in time")]
struct Late;

/// The content of a command; none if it is too large or breaks off.
async fn collect(body: impl Body<Data = Bytes, Error: Into<BoxError>>) -> Result<Option<Bytes>, Late> {
    let collected = tokio::time::timeout(PATIENCE, Limited::new(body, MAX_CONTENT).collect()).await;
    collected.map(|content| content.ok().map(Collected::to_bytes)).map_err(|_| Late)
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

#[cfg(test)]
mod tests {
    use std::io;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use super::*;

    struct Silent;

    impl Body for Silent {
        type Data = Bytes;
        type Error = io::Error;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<io::Result<http_body::Frame<Bytes>>>> {
            Poll::Pending
        }
    }

    #[tokio::test(start_paused = true)]
    async fn content_that_does_not_arrive_is_not_waited_for() {
        let begun = tokio::time::Instant::now();
        assert!(matches!(collect(Silent).await, Err(Late)));
        assert_eq!(begun.elapsed(), PATIENCE);
    }

    #[tokio::test]
    async fn content_is_limited() {
        let full = |length| Full::new(Bytes::from(vec![b' '; length]));
        assert_eq!(collect(full(MAX_CONTENT)).await.unwrap().map(|content| content.len()), Some(MAX_CONTENT));
        assert!(collect(full(MAX_CONTENT + 1)).await.unwrap().is_none());
    }
}
