//! One request of a client's connection: handed to the line, and its response to hyper. What else its connection learns of
//! it is said here; when the connection ends is `connection`'s.

use std::convert::Infallible;
use std::sync::Arc;

use http::header::CONNECTION;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;

use super::activity::{Activity, InFlight, Unanswered};
use super::connection::{Peer, Server};
use super::timed::Timed;
use crate::admit::access::Caller;
use crate::admit::client::Client;
use crate::admit::target;
use crate::bare::Handed;
use crate::body::Sealed;
use crate::body::request::Progress;
use crate::capture::Wire;
use crate::handle::Intercepted;
use crate::respond::interim::Interim;
use crate::step::Step;

/// What hyper is given for a request.
pub(super) type Answered = Result<Response<Timed<Sealed>>, Infallible>;

/// A request that is being answered.
struct Asked {
    is_shared: bool,
    is_connect: bool,
    progress: Progress,
    unanswered: Unanswered,
    in_flight: Arc<InFlight>,
}

impl Server {
    /// Answers `request`, which `peer` has sent on the connection of this `activity` and `wire`.
    pub(super) fn call(
        self: &Arc<Self>,
        mut request: Request<Incoming>,
        peer: &Peer,
        activity: &Arc<Activity>,
        wire: &Wire,
        handed: Handed,
    ) -> Step<Answered> {
        // Begun at once, so that the socket knows of the request before it is polled again.
        let progress = Progress::of(&request);
        let is_shared = request.version() == Version::HTTP_2;
        let is_connect = request.method() == Method::CONNECT;
        let interim = Interim::to(request.version(), &self.via);
        let in_flight = Arc::new(activity.begin(progress.clone(), interim.clone()));
        let asked = Asked {
            is_shared,
            is_connect,
            progress: progress.clone(),
            unanswered: activity.unanswered(),
            in_flight: in_flight.clone(),
        };
        let bare = activity.take_bare_options() && target::is_bare_options(&request);
        let in_asterisk_form = match &peer.inside {
            Some(inside) => target::complete(&mut request, &inside.authority),
            None => bare,
        };
        wire.asked(&mut request);
        let Caller { address, local } = peer.from;
        let inside = peer.inside.clone();
        let identity = inside.as_ref().and_then(|inside| inside.identity.clone());
        // A tunnel on a connection that others share goes on when its request has been answered.
        let tunnels = is_connect && is_shared;
        let stay = if tunnels { peer.stay.keeping(in_flight) } else { peer.stay.clone() };
        let stay = Some(stay);
        let content = progress;
        let client =
            Client { address, local, identity, in_asterisk_form, content, interim, inside, stay, handed };
        match self.handler().handle(request, client) {
            Step::Done(response) => Step::Done(self.answered(response, asked, peer, activity)),
            waits => {
                let (server, peer, activity) = (self.clone(), peer.clone(), activity.clone());
                Step::waits(async move { server.answered(waits.await, asked, &peer, &activity) })
            }
        }
    }

    /// The response goes out, and what follows from it for its connection, whose `activity` this is.
    fn answered(
        self: &Arc<Self>,
        mut response: Response<Sealed>,
        asked: Asked,
        peer: &Peer,
        activity: &Activity,
    ) -> Answered {
        let Asked { is_shared, is_connect, progress, unanswered, in_flight } = asked;
        unanswered.answered();
        if let Some(tunnel) = response.extensions_mut().remove::<Intercepted>() {
            tokio::spawn(self.clone().look_into(tunnel, peer.clone()));
        }
        if !is_shared {
            // Before the socket is polled again, which will be with this response.
            activity.answered();
            let status = response.status();
            if status == StatusCode::SWITCHING_PROTOCOLS || (is_connect && status.is_success()) {
                activity.hand_over();
            } else if !progress.is_whole() || self.drain.is_retiring() {
                // What is still unread of the request would be in the way of the next one (RFC 9112 §9.3); or another
                // process serves the next one.
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
        }
        Ok(response.map(|body| Timed::new(body, in_flight)))
    }
}
