//! A scripted origin's connection that speaks HTTP/2 (RFC 9113): requests are recorded and answered by the same script
//! as those of HTTP/1.1. Frames are the h2 crate's; what is tested with it is not whether they are well formed.
//!
//! Of a reply, what is about the framing of HTTP/1.1 does not apply, nor do interim responses. One that breaks off, or is
//! none, resets its stream; one that closes the connection lets it end with a GOAWAY.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use tokio::task::JoinSet;

use crate::message::{Ending, Fields};
use crate::origin::{Received, Shared};
use crate::reply::{After, Before, Form, Reply, Sending};
use crate::stream::Stream;

/// Serves the connection of this number until it ends.
///
/// # Errors
/// Those of the connection.
pub(crate) async fn serve(stream: Stream, number: usize, shared: &Arc<Shared>) -> io::Result<()> {
    let mut builder = Builder::new();
    if let Some(most) = shared.most_streams {
        builder.max_concurrent_streams(most);
    }
    let mut connection = builder.handshake::<_, Bytes>(stream).await.map_err(io::Error::other)?;
    let mut exchanges = JoinSet::new();
    loop {
        tokio::select! {
            accepted = connection.accept() => {
                let Some(accepted) = accepted else { return Ok(()) };
                let (request, respond) = accepted.map_err(io::Error::other)?;
                let shared = Arc::clone(shared);
                exchanges.spawn(async move { exchange(request, respond, number, &shared).await });
            }
            Some(ended) = exchanges.join_next() => {
                if let Ok(Ok(After::Close)) = ended {
                    connection.graceful_shutdown();
                }
            }
        }
    }
}

async fn exchange(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    connection: usize,
    shared: &Shared,
) -> Result<After, Cut> {
    let (head, mut contents) = request.into_parts();
    let mut received = Received {
        method: head.method.to_string(),
        target: head.uri.path_and_query().map_or_else(String::new, ToString::to_string),
        version: "HTTP/2.0".to_owned(),
        fields: Fields::default(),
        body: Vec::new(),
        trailers: Fields::default(),
        ending: Ending::Clean,
        raw_head: Vec::new(),
        connection,
    };
    if let Some(authority) = head.uri.authority() {
        received.fields.push(":authority", authority.as_str());
    }
    copy(&head.headers, &mut received.fields);
    let reply = shared.reply_to(&received);
    if !reply.early {
        while let Some(piece) = contents.data().await {
            let Ok(piece) = piece else {
                received.ending = Ending::Cut;
                break;
            };
            contents.flow_control().release_capacity(piece.len())?;
            received.body.extend_from_slice(&piece);
        }
        if let Ok(Some(trailers)) = contents.trailers().await {
            copy(&trailers, &mut received.trailers);
        }
    }
    let method = received.method.clone();
    shared.note(received);
    let after = reply.after();
    let sent = answer(&reply, &mut respond, &method, shared.now()).await;
    if let Err(Cut::Reset) = &sent {
        shared.resets.fetch_add(1, Ordering::Relaxed);
    }
    sent.map(|()| after)
}

/// Why an answer did not come to its end.
#[derive(Debug)]
enum Cut {
    /// The client wanted no more of it.
    Reset,
    /// The connection broke.
    Broken,
}

impl From<h2::Error> for Cut {
    fn from(error: h2::Error) -> Self {
        if error.is_reset() && error.is_remote() { Self::Reset } else { Self::Broken }
    }
}

async fn answer(
    reply: &Reply,
    respond: &mut SendResponse<Bytes>,
    method: &str,
    now: SystemTime,
) -> Result<(), Cut> {
    for before in &reply.before {
        if let Before::Wait(gate) = before {
            tokio::select! {
                () = gate.pass() => {}
                reset = poll_fn(|cx| respond.poll_reset(cx)) => return Err(reset.map_or_else(Cut::from, |_| Cut::Reset)),
            }
        }
    }
    match &reply.form {
        Form::Refused => {
            respond.send_reset(Reason::REFUSED_STREAM);
            return Ok(());
        }
        Form::Http => {}
        _ => {
            respond.send_reset(Reason::INTERNAL_ERROR);
            return Ok(());
        }
    }
    let bodiless = method == "HEAD" || reply.is_bodiless() || reply.body.is_empty();
    let mut sending = respond.send_response(head(reply, now), bodiless)?;
    if bodiless { Ok(()) } else { send_body(reply, &mut sending).await }
}

fn head(reply: &Reply, now: SystemTime) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = http::StatusCode::from_u16(reply.status).unwrap_or_default();
    let headers = response.headers_mut();
    for (name, value) in reply.fields.iter() {
        append(headers, name, value);
    }
    if reply.dated && !reply.fields.has("date") {
        append(headers, "date", &httpdate::fmt_http_date(now));
    }
    match &reply.framing {
        Sending::Length(Some(length)) => append(headers, "content-length", &length.to_string()),
        Sending::Length(None) if !reply.is_bodiless() && !reply.fields.has("content-length") => {
            append(headers, "content-length", &reply.body.len().to_string());
        }
        _ => {}
    }
    response
}

async fn send_body(reply: &Reply, sending: &mut SendStream<Bytes>) -> Result<(), Cut> {
    let body = Bytes::from(reply.body.clone());
    let end = reply.cut.unwrap_or(body.len()).min(body.len());
    let (piece, interval) = reply.pace.unwrap_or((16 * 1024, Duration::ZERO));
    let mut at = 0;
    while at < end {
        let mut next = (at + piece.min(16 * 1024)).min(end);
        if let Some((mark, gate)) = &reply.held {
            if at >= *mark {
                tokio::select! {
                    () = gate.pass() => {}
                    reset = poll_fn(|cx| sending.poll_reset(cx)) => return Err(reset.map_or_else(Cut::from, |_| Cut::Reset)),
                }
            } else {
                next = next.min(*mark);
            }
        }
        let room = capacity(sending, next - at).await?;
        let piece = body.slice(at..at + room);
        at += piece.len();
        sending.send_data(piece, false)?;
        if !interval.is_zero() {
            tokio::time::sleep(interval).await;
        }
    }
    if reply.cut.is_some() {
        // A reset overtakes what h2 has not written yet; the connection's task writes when this one steps back.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        sending.send_reset(Reason::INTERNAL_ERROR);
        return Ok(());
    }
    let Sending::Chunked { trailers, .. } = &reply.framing else {
        return Ok(sending.send_data(Bytes::new(), true)?);
    };
    let mut fields = HeaderMap::new();
    for (name, value) in trailers.iter() {
        append(&mut fields, name, value);
    }
    Ok(sending.send_trailers(fields)?)
}

/// Waits for room for some of `wanted` bytes.
async fn capacity(sending: &mut SendStream<Bytes>, wanted: usize) -> Result<usize, Cut> {
    sending.reserve_capacity(wanted);
    loop {
        let room = sending.capacity().min(wanted);
        if room > 0 {
            return Ok(room);
        }
        match poll_fn(|cx| sending.poll_capacity(cx)).await {
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(error.into()),
            None => return Err(Cut::Reset),
        }
    }
}

fn append(headers: &mut HeaderMap, name: &str, value: &str) {
    if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
        headers.append(name, value);
    }
}

fn copy(headers: &HeaderMap, into: &mut Fields) {
    for (name, value) in headers {
        into.push(name.as_str(), String::from_utf8_lossy(value.as_bytes()));
    }
}
