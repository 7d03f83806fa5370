//! `bentpipe explain`: what would be decided for a request now, against what is stored now, in words. It asks the same
//! `decide` that requests meet, and changes nothing.

use std::fmt;

use bentpipe_store::Found;
use http::uri::Scheme;
use http::{HeaderMap, Method, Uri};
use rfc9111::{Decision, Failure, LifetimeSource, Presented, Situation, StoredResponse};
use serde::{Deserialize, Serialize};

const VALIDATE: &str = "ask the origin whether it still holds";

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
    /// For a validation: what would be done if the origin could not be asked.
    #[serde(default)]
    if_unreachable: Option<Fallback>,
    /// Every stored response of the target, the one decided on marked.
    stored: Vec<Candidate>,
}

/// What would be done in place of a decision that could not be carried out, and why.
#[derive(Debug, Serialize, Deserialize)]
struct Fallback {
    decision: String,
    because: String,
    section: String,
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
    if target.scheme() == Some(&Scheme::HTTPS) {
        return tunnel(target);
    }
    let presented = Presented { method: &Method::GET, target, headers };
    let (chosen, decision, because) = match rfc9111::decide(&presented, &found.heads(), situation) {
        Decision::Reuse { stored, because } => (Some(stored), "serve the stored response", because),
        Decision::Validate { stored, because } => (Some(stored), VALIDATE, because),
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
    let validated = chosen.filter(|_| decision == VALIDATE).and_then(|at| found.get(at));
    Explanation {
        url: target.to_string(),
        decision: decision.to_owned(),
        because: because.to_string(),
        section: because.section().to_owned(),
        if_unreachable: validated.map(|stored| fallback(&presented, stored.head(), situation)),
        stored: found.iter().enumerate().map(candidate).collect(),
    }
}

/// What a client does with an https URL is open a tunnel, and what is asked for in it only the origin reads.
fn tunnel(target: &Uri) -> Explanation {
    Explanation {
        url: target.to_string(),
        decision: "open a tunnel to the origin".to_owned(),
        because: "https travels in a CONNECT tunnel, encrypted from end to end: what is in it is not seen, and so never \
                  cached."
            .to_owned(),
        section: "RFC 9110 §9.3.6".to_owned(),
        if_unreachable: None,
        stored: Vec::new(),
    }
}

fn fallback(presented: &Presented<'_>, stored: &StoredResponse, situation: &Situation) -> Fallback {
    let verdict = rfc9111::may_serve_stale(presented, stored, Failure::Unreachable, situation);
    let decision = if verdict.is_ok() { "serve the stored response" } else { "answer with the error" };
    let because = verdict.unwrap_or_else(|because| because);
    Fallback {
        decision: decision.to_owned(),
        because: because.to_string(),
        section: because.section().to_owned(),
    }
}

fn source(source: LifetimeSource) -> &'static str {
    match source {
        LifetimeSource::SMaxage => "s-maxage",
        LifetimeSource::MaxAge => "max-age",
        LifetimeSource::Expires => "Expires",
        LifetimeSource::Rule => "an operator's rule",
        LifetimeSource::Heuristic => "a share of the time since Last-Modified",
        _ => "nothing says",
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "GET {}", self.url)?;
        writeln!(f, "  decision   {}", self.decision)?;
        writeln!(f, "  because    {} ({})", self.because, self.section)?;
        if let Some(Fallback { decision, because, section }) = &self.if_unreachable {
            writeln!(f, "  otherwise  if the origin cannot be asked, {decision}")?;
            writeln!(f, "             {because} ({section})")?;
        }
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
