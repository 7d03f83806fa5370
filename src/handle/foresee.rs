//! What would become of a request before the cache and the origin have a say: judged by what judges requests, without one.
//! It counts nothing, asks nobody and takes no allowance; how often a client asks is not judged.

use http::{Method, Uri};

use super::Handler;
use crate::admit::access::Asking;
use crate::host::normalised;
use crate::respond::Refusal;
use crate::site;
use crate::upstream::destination::Purpose;
use crate::upstream::origin::Origin;

/// What a request meets on its way.
#[derive(Debug)]
pub(crate) enum Foreseen {
    /// A page of our own.
    OwnPage,
    /// A refusal, whatever is stored.
    Refused(Refusal),
    /// The origin may not be asked, for this reason.
    Forbidden(Refusal),
    /// Nothing that is against it; whether the origin may be asked, too, or whether that is decided once its name is looked
    /// up.
    Open { is_certain: bool },
}

impl Handler {
    /// What a request with `method` for `target` meets. Without a user it is one that names no account.
    pub(crate) async fn foresee(&self, method: &Method, target: &Uri, asking: Asking<'_>) -> Foreseen {
        let is_tunnel = *method == Method::CONNECT;
        if self.own_page(method, target, || None, asking.from, None).is_some() {
            return Foreseen::OwnPage;
        }
        let target = &normalised(target);
        if let Err(refusal) = self.admission.foresee(method, target, asking) {
            return Foreseen::Refused(refusal);
        }
        let Some(origin) = Origin::of(target) else {
            return Foreseen::Refused(Refusal::BadRequest("The target names no host."));
        };
        if is_tunnel && site::is_site(origin.host()) {
            let can_be = self.interception.as_ref().is_some_and(|its| its.can_be(origin.host()));
            return if can_be { Foreseen::OwnPage } else { Foreseen::Refused(Refusal::OwnNameOverTls) };
        }
        let purpose = if is_tunnel { Purpose::Tunnel } else { Purpose::Request };
        match self.upstream.connector().judge_known(&origin, purpose).await {
            Ok(is_certain) => Foreseen::Open { is_certain },
            Err(refusal) => Foreseen::Forbidden(refusal),
        }
    }
}
