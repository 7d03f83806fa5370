//! The route of a capture, `POST /v1/capture`: the control connection switches to the stream of what is captured (RFC 9110
//! §7.8), and its end is the end of the capture. What is captured and how is `capture`'s.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::UnixStream;

use super::Admin;
use super::routes::{Asked, Later};
use super::serving::{Content, reply};
use super::who::Who;
use crate::capture::queue::Frames;
use crate::capture::{self, Captures, Session, stream};

/// `POST /v1/capture`
pub(super) fn begin(admin: &Arc<Admin>, asked: Asked) -> Later {
    let response = match switch(admin, asked) {
        Ok(response) => response,
        Err((status, why)) => reply((status, json!({ "error": why }))),
    };
    Box::pin(std::future::ready(response))
}

fn switch(admin: &Admin, asked: Asked) -> Result<Response<Content>, (StatusCode, String)> {
    if !matches!(asked.who, Who::Process { .. }) {
        // What is captured holds the passwords and cookies of everybody.
        let why = "a capture is for commands on this machine, through the control socket";
        return Err((StatusCode::FORBIDDEN, why.to_owned()));
    }
    let asks = asked.headers.get(UPGRADE).is_some_and(|protocol| protocol == stream::PROTOCOL);
    let Some(upgrade) = asked.upgrade.filter(|_| asks) else {
        let why = format!("a capture is asked for with Upgrade: {}, by the same build", stream::PROTOCOL);
        return Err((StatusCode::UPGRADE_REQUIRED, why));
    };
    let uplink = admin.uplink().ok_or_else(|| (StatusCode::CONFLICT, "no proxy is running".to_owned()))?;
    let captures = uplink.dashboard.traffic.captures.clone();
    let wanted = serde_json::from_slice::<capture::Asked>(&asked.content).map_err(|error| error.to_string());
    let begun = wanted.and_then(|wanted| captures.begin(&wanted));
    let (session, frames) = begun.map_err(|why| (StatusCode::BAD_REQUEST, why))?;
    tokio::spawn(hand_over(upgrade, captures, session, frames));
    let mut response = Response::new(Empty::<Bytes>::new().map_err(|never: Infallible| never).boxed_unsync());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert(UPGRADE, HeaderValue::from_static(stream::PROTOCOL));
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    Ok(response)
}

/// Once the connection has switched, threads look after it: nothing that is captured waits for the runtime.
async fn hand_over(upgrade: OnUpgrade, captures: Captures, session: Arc<Session>, frames: Frames) {
    let handed = match upgrade.await.map(Upgraded::downcast::<TokioIo<UnixStream>>) {
        Ok(Ok(parts)) => parts.io.into_inner().into_std().map_err(|error| error.to_string()),
        Ok(Err(_)) => Err("it is no socket".to_owned()),
        Err(error) => Err(error.to_string()),
    };
    let sent = match handed {
        Ok(stream) => stream::send(&captures, &session, frames, stream).map_err(|error| error.to_string()),
        Err(why) => {
            captures.end(&session);
            Err(why)
        }
    };
    if let Err(why) = sent {
        tracing::warn!(why, "a capture could not begin");
    }
}
