//! What of HTTP/2 (RFC 9113) a client may do on one connection: hyper's settings, and the ends that hyper does not make.
//! h2 itself notices heads without end (CVE-2024-27316), empty content (CVE-2019-9518) and fields that are too many or too
//! large; its limits are set here. Frames that carry nothing are `frames`'s to count.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::server::conn::http2::{Builder, Connection};
use hyper::service::HttpService;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::activity::Activity;
use super::attended::Attendance;

/// Requests of one connection at once. "It is recommended that this value be no smaller than 100" (RFC 9113 §6.5.2).
const STREAMS: u32 = 128;
/// Resets that may wait to be looked at before the connection is given up (CVE-2023-44487).
const RESETS: usize = 20;
/// Streams that we reset in the life of a connection (CVE-2025-8671). Among them are those that a client opens beyond
/// `STREAMS` before it has read so: "the value is initially unlimited", and they are refused. No client in use opens more
/// than some hundreds at once then.
const FAULTS: usize = 1024;
/// Bytes that a client may send of one request's content ahead of the link; of all requests four times as many.
const WINDOW: u32 = 64 * 1024;
/// Bytes of one response that wait for the client: all that a connection costs that takes nothing is `STREAMS` times this.
const SEND_BUFFER: usize = 64 * 1024;
/// How long a client may take to say that it is still there.
const PONG: Duration = Duration::from_secs(20);

/// How a connection ended.
pub(super) enum Ended {
    Served(hyper::Result<()>),
    /// It was broken off, for this reason.
    Broken(&'static str),
}

/// Connections on which a request's fields have up to `head` bytes, and whose clients are asked for a sign of life when
/// nothing has come for `idle`.
pub(super) fn builder(head: usize, idle: Duration) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(u32::try_from(head).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(Some(RESETS))
        .max_local_error_reset_streams(Some(FAULTS))
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(4 * WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(idle)
        .keep_alive_timeout(PONG);
    builder
}

/// Carries `connection` to its end: its client's, or ours when nothing has gone on for `idle` or it is time to leave.
/// "Servers are encouraged to maintain open connections for as long as possible but are permitted to terminate idle
/// connections if necessary" (RFC 9113 §9.1). What is under way then may end; a client that takes nothing of it for
/// `idle`, keeping its windows shut (CVE-2019-9517), is not waited for. Where others go on, the `attendance` gives up what
/// is not taken.
pub(super) async fn carry<I, S, B>(
    connection: Connection<I, S, TokioExecutor>,
    (activity, attendance): (&Activity, &Attendance),
    idle: Duration,
    leaving: impl Future<Output = ()>,
) -> Ended
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    S: HttpService<Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    TokioExecutor: hyper::rt::bounds::Http2ServerConnExec<S::Future, B>,
{
    let mut connection = pin!(connection);
    let mut overrun = pin!(activity.overrun());
    tokio::select! {
        served = attendance.during(connection.as_mut(), idle) => return Ended::Served(served),
        () = overrun.as_mut() => return Ended::Broken("too many requests were given up"),
        () = leaving => {}
        () = activity.quiet(idle) => {
            if activity.is_untaken() {
                return Ended::Broken("the client took nothing");
            }
        }
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        served = attendance.during(connection, idle) => Ended::Served(served),
        () = overrun => Ended::Broken("too many requests were given up"),
        () = activity.quiet(idle) => Ended::Broken("the client took nothing"),
    }
}
