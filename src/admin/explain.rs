//! `bentpipe explain`: what would be decided for a request now, against what is stored now, in words. It asks the same
//! `decide` that requests meet, and changes nothing.

use std::fmt;
use std::net::SocketAddr;

use bentpipe_store::Found;
use http::uri::Scheme;
use http::{HeaderMap, Method, Uri};
use linkio::Class;
use rfc9111::{Decision, Explained, Failure, LifetimeSource, Presented, Situation, Step, StoredResponse};
use serde::{Deserialize, Serialize};

use crate::host::Host;
use crate::upstream::destination::{Forbidden, Purpose, Rules};

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
    /// Every question on the way to the decision, in order.
    #[serde(default)]
    steps: Vec<Told>,
}

/// One question and its answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Told {
    section: String,
    question: String,
    answer: String,
    /// The section that asks; bentpipe's own configuration where it is none of an RFC.
    because: String,
}

impl From<Step> for Told {
    fn from(step: Step) -> Self {
        let Step { section, question, answer, because } = step;
        Self { section, question: question.to_owned(), answer, because: because.to_owned() }
    }
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
    let presented = Presented { method: &Method::GET, target, headers };
    let Explained { steps, decision } = rfc9111::explain(&presented, &found.heads(), situation);
    let (chosen, decision, because) = match decision {
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
        steps: steps.into_iter().map(Told::from).collect(),
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

pub(crate) fn source(source: LifetimeSource) -> &'static str {
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
            writeln!(f, "  stored     nothing")?;
        }
        for stored in &self.stored {
            writeln!(f, "  stored     {stored}")?;
        }
        let mut section = "";
        for step in &self.steps {
            if step.section != section {
                section = &step.section;
                writeln!(f, "{section}")?;
            }
            writeln!(f, "  {}  {} ({})", step.question, step.answer, step.because)?;
        }
        Ok(())
    }
}

impl Explanation {
    /// With what is asked besides the cache where the origin is: whether it may be dialled, and its class on the link.
    pub(crate) fn with_way(mut self, target: &Uri, destinations: &Rules, class: Option<Class>) -> Self {
        let is_secure = target.scheme() == Some(&Scheme::HTTPS);
        let answer = match Host::read(target.host().unwrap_or_default()) {
            Ok(Host::Address(address)) => {
                let port = target.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
                match destinations.check(SocketAddr::new(address, port), Purpose::Request) {
                    Ok(()) => "yes",
                    Err(Forbidden::Address) => {
                        "no: its address is not a public server's (destinations.allow)"
                    }
                    Err(Forbidden::OwnListener) => "no: it is bentpipe itself",
                    Err(Forbidden::Port) => "no: its port is not open (destinations.connect_ports)",
                }
            }
            Ok(Host::Name(_)) => "that is decided by the address its name has",
            Err(_) => "no: its host is no name or address",
        };
        let mut told = |question: &str, answer: &str| {
            self.steps.push(Told {
                section: "way".to_owned(),
                question: question.to_owned(),
                answer: answer.to_owned(),
                because: "configuration".to_owned(),
            });
        };
        told("May the origin be dialled?", answer);
        if is_secure {
            let answer = "where it is asked for by its https URL; in a CONNECT tunnel it is not seen, and so never cached";
            told("Is the request seen?", answer);
        }
        if let Some(class) = class {
            told("Which class has it on the link?", class.name());
        }
        self
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
