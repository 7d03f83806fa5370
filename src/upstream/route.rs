//! The next hop of a request: its origin, or an HTTP parent that is asked in absolute-form (RFC 9112 §3.2.2) and whose
//! connections all its requests share. Whatever else goes through a parent goes through a tunnel, and that is
//! `connect`'s: it is a connection to the origin like any other.

use http::{Response, StatusCode, Uri};

use super::Upstream;
use super::origin::Origin;
use super::outgoing::Outgoing;
use super::parent::authorization;
use crate::body::OriginBody;
use crate::exchange::Exchange;
use crate::respond::Refusal;

impl Upstream {
    /// The next hop on the way to `origin`, for a request that can be sent in absolute-form.
    pub(super) fn hop(&self, origin: &Origin) -> Origin {
        match self.connector.asked_in_absolute_form(origin) {
            Ok(Some(parent)) => Origin::of_parent(parent),
            _ => origin.clone(),
        }
    }

    /// The next hop of what is `outgoing`, which becomes what that is to get.
    pub(super) async fn route(
        &self,
        outgoing: &mut Outgoing<'_>,
        origin: &Origin,
        exchange: &Exchange,
    ) -> Result<Origin, Refusal> {
        // What a connection is switched to is not the parent's affair, and it may know only some versions of it. And no
        // `Uri` is the absolute-form of `*`, which has an empty path (RFC 9112 §3.2.4).
        if outgoing.is_upgrade || outgoing.target.path() == "*" {
            return Ok(origin.clone());
        }
        let Some(parent) = self.connector.asked_in_absolute_form(origin)? else { return Ok(origin.clone()) };
        let hop = Origin::of_parent(parent);
        if self.connector.parents().falls_back() && !Box::pin(self.stands(&hop, exchange)).await {
            return Ok(origin.clone());
        }
        let path = outgoing.target.path_and_query().map_or("/", |path| path.as_str());
        outgoing.target = Uri::builder()
            .scheme("http")
            .authority(origin.without_default_port(80))
            .path_and_query(path)
            .build()
            .map_err(|_| Refusal::BadRequest("The target cannot be written in absolute-form."))?;
        outgoing.authorization = authorization(parent);
        Ok(hop)
    }

    /// Whether there is a connection to a parent. A request whose content is sent once cannot find that out by itself
    /// and then go elsewhere.
    async fn stands(&self, hop: &Origin, exchange: &Exchange) -> bool {
        match self.pool.acquire(hop, self.standings.of(exchange)).await {
            Ok(connection) => {
                self.pool.give_back(hop, connection);
                true
            }
            Err(refusal) => {
                tracing::info!(parent = %hop, reason = refusal.error(), "a parent proxy is passed over");
                false
            }
        }
    }
}

/// A response from `hop`: a parent's demand for credentials is not for the client to meet. "Proxy-Authenticate ... applies
/// only to the next outbound client on the response chain" (RFC 9110 §11.7.1), which is us.
pub(super) fn from(hop: &Origin, response: Response<OriginBody>) -> Result<Response<OriginBody>, Refusal> {
    if hop.is_parent() && response.status() == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
        let said = "407 Proxy Authentication Required".to_owned();
        return Err(Refusal::ParentRefused { parent: hop.to_string(), said, denied: true });
    }
    Ok(response)
}
