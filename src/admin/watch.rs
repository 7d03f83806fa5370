//! Exchanges as they end, for one who watches: Server-Sent Events (HTML §9.2). A comment now and then says that the proxy is
//! there; one who is slow is told how many events were lost.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;

use super::routes::{Asked, Later};
use super::serving::{Content, reply};
use super::{Admin, api};
use crate::observe::live::{Told, Watching};

/// How long nothing is said before something is.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// `GET /v1/events`
pub(super) fn events(admin: &Arc<Admin>, _: Asked) -> Later {
    let watching = admin.uplink().map(|uplink| uplink.dashboard.traffic.live.watch());
    Box::pin(async move {
        let Some(watching) = watching else {
            let why = "no proxy is running, so nothing happens";
            return reply(api::failed(StatusCode::CONFLICT, why));
        };
        let mut response =
            Response::new(Content::new(Events { next: Box::pin(next(watching)) }.boxed_unsync()));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        response
    })
}

/// A body that goes on until the proxy ends or its reader leaves.
struct Events {
    next: Pin<Box<dyn Future<Output = (Option<Bytes>, Watching)> + Send>>,
}

/// What is to be sent next, as soon as there is something.
async fn next(mut watching: Watching) -> (Option<Bytes>, Watching) {
    let text = match tokio::time::timeout(KEEP_ALIVE, watching.next()).await {
        Ok(Some(Told::Event(event))) => Some(format!("data: {event}\n\n")),
        Ok(Some(Told::Lost(lost))) => Some(format!("event: lost\ndata: {lost}\n\n")),
        Ok(None) => None,
        Err(_) => Some(":\n\n".to_owned()),
    };
    (text.map(Bytes::from), watching)
}

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        let (text, watching) = ready!(this.next.as_mut().poll(cx));
        this.next = Box::pin(next(watching));
        Poll::Ready(text.map(|text| Ok(Frame::data(text))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::QueryLog;
    use crate::current::Current;
    use crate::observe::live::Live;
    use crate::observe::url::Urls;

    #[tokio::test(start_paused = true)]
    async fn who_watches_hears_that_the_proxy_is_there_until_it_ends() {
        let live = Live::new(Arc::new(Current::new(Urls::new(QueryLog::Keep))));
        let mut events = Events { next: Box::pin(next(live.watch())) };
        let comment = events.frame().await.expect("a comment").expect("a comment");
        assert_eq!(comment.data_ref().map(|data| &data[..]), Some(&b":\n\n"[..]));
        drop(live);
        assert!(events.frame().await.is_none());
    }
}
