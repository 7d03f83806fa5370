//! `bentpipe explain`: what would be decided for a request now, against what is stored now, in words. It asks the same
//! `decide` that requests meet, and changes nothing.

use std::fmt;

use bentpipe_store::Found;
use http::{HeaderMap, Method, Uri};
use rfc9111::{Decision, LifetimeSource, Presented, Situation};
use serde::{Deserialize, Serialize};

/// A decision, told.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Explanation {
    url: String,
    /// What would be done.
    decision: String,
    /// Why, in a sentence.
    because: String,
    /// The section that says so.
    section: String,
    /// Every stored response of the target, the one decided on marked.
    stored: Vec<Candidate>,
}

/// One stored response of the target.
#[derive(Debug, Serialize, Deserialize)]
struct Candidate {
    status: u16,
    chosen: bool,
    arriving: bool,
    length: Option<u64>,
    /// Seconds (RFC 9111 §4.2.3).
    age: u64,
    /// Seconds (RFC 9111 §4.2.1), and where they come from.
    freshness_lifetime: u64,
    lifetime_source: String,
    matches_request: bool,
}

/// Tells what would be decided for a GET of `target` with `headers` while `found` is stored.
pub(crate) fn explain(
    target: &Uri,
    headers: &HeaderMap,
    found: &Found,
    situation: &Situation,
) -> Explanation {
    let presented = Presented { method: &Method::GET, target, headers };
    let (chosen, decision, because) = match rfc9111::decide(&presented, &found.heads(), situation) {
        Decision::Reuse { stored, because } => (Some(stored), "serve the stored response", because),
        Decision::Validate { stored, because } => {
            (Some(stored), "ask the origin whether it still holds", because)
        }
        Decision::Forward(because) => (None, "forward to the origin", because),
        Decision::GatewayTimeout(because) => (None, "answer 504 (Gateway Timeout)", because),
    };
    let candidate = |(at, stored): (usize, &std::sync::Arc<bentpipe_store::Stored>)| {
        let freshness = rfc9111::freshness(stored.head(), situation);
        Candidate {
            status: stored.head().status.as_u16(),
            chosen: chosen == Some(at),
            arriving: stored.is_arriving(),
            length: stored.length(),
            age: freshness.age.as_secs(),
            freshness_lifetime: freshness.lifetime.as_secs(),
            lifetime_source: source(freshness.source).to_owned(),
            matches_request: stored.head().nominated.matches(headers),
        }
    };
    Explanation {
        url: target.to_string(),
        decision: decision.to_owned(),
        because: because.to_string(),
        section: because.section().to_owned(),
        stored: found.iter().enumerate().map(candidate).collect(),
    }
}

fn source(source: LifetimeSource) -> &'static str {
    match source {
        LifetimeSource::SMaxage => "s-maxage",
        LifetimeSource::MaxAge => "max-age",
        LifetimeSource::Expires => "Expires",
        LifetimeSource::Heuristic => "a share of the time since Last-Modified",
        _ => "nothing says",
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "GET {}", self.url)?;
        writeln!(f, "  decision   {}", self.decision)?;
        writeln!(f, "  because    {} ({})", self.because, self.section)?;
        if self.stored.is_empty() {
            return writeln!(f, "  stored     nothing");
        }
        for stored in &self.stored {
            writeln!(f, "  stored     {stored}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = self.length.map_or_else(|| "length unknown".to_owned(), super::human);
        let verdict = if self.age < self.freshness_lifetime { "fresh" } else { "stale" };
        write!(
            f,
            "{} {length}: {verdict}, {} s old of {} s ({})",
            self.status, self.age, self.freshness_lifetime, self.lifetime_source
        )?;
        if self.arriving {
            f.write_str(", still arriving")?;
        }
        if !self.matches_request {
            f.write_str(", for other request fields (RFC 9111 section 4.1)")?;
        }
        if self.chosen { f.write_str("  <- this one") } else { Ok(()) }
    }
}
