//! What the control interface answers that is not JSON: metrics, and exchanges as they end.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt as _, Full};

use super::routes::{Asked, Later};
use super::serving::{Content, reply};
use super::watch::{Events, Filter, MOST};
use super::{Admin, api};
use crate::metrics::exposition::Format;

/// `GET /metrics`
pub(super) fn metrics(admin: &Arc<Admin>, asked: Asked) -> Later {
    let uplink = admin.uplink();
    Box::pin(async move {
        let accept = asked.headers.get(ACCEPT).and_then(|value| value.to_str().ok());
        let format = Format::of(accept);
        let Some(uplink) = uplink else { return no_proxy() };
        match tokio::task::spawn_blocking(move || uplink.metrics.written(format)).await {
            Ok(text) => with_type(Full::new(Bytes::from(text)), format.media_type()),
            Err(_) => failed(StatusCode::INTERNAL_SERVER_ERROR, "the command failed"),
        }
    })
}

/// `GET /v1/events`
pub(super) fn events(admin: &Arc<Admin>, asked: Asked) -> Later {
    let uplink = admin.uplink();
    Box::pin(async move {
        let Some(uplink) = uplink else { return no_proxy() };
        let live = &uplink.dashboard.traffic.live;
        if live.watchers() >= MOST {
            let why = "so many watch already that there is no room for another";
            return failed(StatusCode::SERVICE_UNAVAILABLE, why);
        }
        match Filter::of_query(&asked.query) {
            Ok(filter) => with_type(Events::new(live.watch(), filter), "text/event-stream"),
            Err(why) => failed(StatusCode::BAD_REQUEST, &why),
        }
    })
}

fn with_type(
    content: impl Body<Data = Bytes, Error = std::convert::Infallible> + Send + 'static,
    media_type: &'static str,
) -> Response<Content> {
    let mut response = Response::new(content.boxed_unsync());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

fn no_proxy() -> Response<Content> {
    failed(StatusCode::CONFLICT, "no proxy is running, so there is nothing to watch")
}

fn failed(status: StatusCode, why: &str) -> Response<Content> {
    reply(api::failed(status, why))
}
