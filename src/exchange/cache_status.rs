//! What the cache did with a request, in the terms of RFC 9211, as its field says it.

use std::fmt;

use http::StatusCode;

/// The member that says of most responses all there is to say.
pub(crate) const HIT: &str = "bentpipe; hit";

/// What the cache did with a request, in the terms of RFC 9211.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum CacheStatus {
    /// Refused or answered before the cache was asked.
    #[default]
    Unasked,
    /// Served from what is stored (§2.1).
    Hit,
    /// Went to the origin (§2.2).
    Forwarded(Forwarded),
    /// A tunnel: the cache never sees inside.
    Tunnel,
    /// A tunnel that was looked into: what came out of it are exchanges of their own.
    Intercepted,
}

/// How a request that went to the origin fared, RFC 9211 §2.2 to §2.8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Forwarded {
    /// The `fwd` token.
    pub(crate) reason: &'static str,
    /// The `fwd-status`, given where it is not the status sent to the client.
    pub(crate) status: Option<StatusCode>,
    pub(crate) stored: bool,
    /// Whether waiting for another request's fetch brought the response; none where nothing was waited for.
    pub(crate) collapsed: Option<bool>,
    pub(crate) detail: Option<&'static str>,
}

impl Forwarded {
    /// Forwarded for `reason`, a `fwd` token of RFC 9211 §2.2.
    pub(crate) fn new(reason: &'static str) -> Self {
        Self { reason, status: None, stored: false, collapsed: None, detail: None }
    }
}

impl CacheStatus {
    /// The member of a Cache-Status field that speaks for this cache, with the operator's rule that had a say in it, if one
    /// had.
    pub(crate) fn by_rule<'a>(&'a self, rule: Option<&'a str>) -> impl fmt::Display + 'a {
        fmt::from_fn(move |f| {
            fmt::Display::fmt(self, f)?;
            let Some(rule) = rule else { return Ok(()) };
            let joint = match self {
                Self::Forwarded(Forwarded { detail: Some(_), .. }) => "+",
                _ => "; detail=",
            };
            write!(f, "{joint}rule-{rule}")
        })
    }
}

impl fmt::Display for CacheStatus {
    /// The member of a Cache-Status field that speaks for this cache.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let forwarded = match self {
            Self::Hit => return f.write_str(HIT),
            Self::Unasked | Self::Tunnel | Self::Intercepted => return f.write_str("bentpipe; fwd=bypass"),
            Self::Forwarded(forwarded) => forwarded,
        };
        write!(f, "bentpipe; fwd={}", forwarded.reason)?;
        if let Some(status) = forwarded.status {
            write!(f, "; fwd-status={}", status.as_u16())?;
        }
        if forwarded.stored {
            f.write_str("; stored")?;
        }
        // "If true, the response was successfully reused; if not, a new request had to be made. If not present, the
        // request was not collapsed with others." (RFC 9211 §2.6)
        match forwarded.collapsed {
            Some(true) => f.write_str("; collapsed")?,
            Some(false) => f.write_str("; collapsed=?0")?,
            None => {}
        }
        match forwarded.detail {
            Some(detail) => write!(f, "; detail={detail}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cache_status_members_have_the_parameters_of_rfc_9211() {
        let mut forwarded = Forwarded::new("uri-miss");
        forwarded.stored = true;
        assert_eq!(CacheStatus::Forwarded(forwarded).to_string(), "bentpipe; fwd=uri-miss; stored");
        let mut collapsed = Forwarded::new("uri-miss");
        collapsed.collapsed = Some(true);
        assert_eq!(
            CacheStatus::Forwarded(collapsed.clone()).to_string(),
            "bentpipe; fwd=uri-miss; collapsed"
        );
        collapsed.collapsed = Some(false);
        assert_eq!(CacheStatus::Forwarded(collapsed).to_string(), "bentpipe; fwd=uri-miss; collapsed=?0");
        let mut validated = Forwarded::new("stale");
        validated.status = Some(StatusCode::NOT_MODIFIED);
        assert_eq!(CacheStatus::Forwarded(validated).to_string(), "bentpipe; fwd=stale; fwd-status=304");
        assert_eq!(CacheStatus::Hit.to_string(), "bentpipe; hit");
        assert_eq!(CacheStatus::Unasked.to_string(), "bentpipe; fwd=bypass");
        assert_eq!(CacheStatus::Hit.by_rule(Some("apt")).to_string(), "bentpipe; hit; detail=rule-apt");
        let mut outage = Forwarded::new("stale");
        outage.detail = Some("unreachable");
        let outage = CacheStatus::Forwarded(outage);
        assert_eq!(
            outage.by_rule(Some("apt")).to_string(),
            "bentpipe; fwd=stale; detail=unreachable+rule-apt"
        );
    }
}
