//! `bentpipe explain`: what would be decided for a request now, against what is stored now, in words. It asks the same
//! `decide` and the same rules of admission and of destinations that requests meet, and changes nothing.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, SystemTime};

use bentpipe_store::Found;
use http::uri::Scheme;
use http::{HeaderMap, Method, Uri};
use rfc9111::{Decision, Explained, Failure, LifetimeSource, Presented, Situation, Step, StoredResponse};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Uplink;
use crate::admit::access::{Asking, Caller};
use crate::handle::foresee::Foreseen;
use crate::respond::Refusal;
use crate::upstream::failure;
use crate::upstream::origin::Origin;

const REUSE: &str = "serve the stored response";
const FORWARD: &str = "forward to the origin";
const VALIDATE: &str = "ask the origin whether it still holds";
const GATEWAY_TIMEOUT: &str = "answer 504 (Gateway Timeout)";

/// What stands for a section where bentpipe's own options decide.
const CONFIGURATION: &str = "configuration";

/// Who the request is thought to come from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asker {
    /// This machine without.
    client: Option<IpAddr>,
    /// The account that it names rightly.
    user: Option<String>,
}

impl Asker {
    /// Reads `client` and `user` of what was given.
    pub(super) fn read(given: &Value) -> Result<Self, &'static str> {
        let client = match given["client"].as_str() {
            Some(text) => Some(text.parse().map_err(|_| "client: expected an address such as 192.168.1.7")?),
            None => None,
        };
        Ok(Self { client, user: given["user"].as_str().map(str::to_owned) })
    }

    /// Where it comes from when it reaches a proxy that listens there.
    fn caller(&self, listening: Option<SocketAddr>) -> Caller {
        let own = listening.unwrap_or(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0));
        let home: IpAddr =
            if own.is_ipv6() { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
        let address = self.client.unwrap_or(home);
        let is_home = own.ip().is_unspecified() && address.to_canonical().is_loopback();
        let local = if is_home { SocketAddr::new(home, own.port()) } else { own };
        Caller { address, local }
    }
}

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
    /// What a CONNECT is answered that opens a tunnel for it, where that is refused.
    #[serde(default)]
    tunnel: Option<String>,
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
    let presented = Presented::new(&Method::GET, target, headers);
    let Explained { steps, decision } = rfc9111::explain(&presented, &found.heads(), situation);
    let (chosen, decision, because) = match decision {
        Decision::Reuse { stored, because } => (Some(stored), REUSE, because),
        Decision::Validate { stored, because } => (Some(stored), VALIDATE, because),
        Decision::Forward(because) => (None, FORWARD, because),
        Decision::GatewayTimeout(because) => (None, GATEWAY_TIMEOUT, because),
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
        tunnel: None,
        if_unreachable: validated.map(|stored| fallback(&presented, stored.head(), situation)),
        stored: found.iter().enumerate().map(candidate).collect(),
        steps: steps.into_iter().map(Told::from).collect(),
    }
}

fn fallback(presented: &Presented<'_>, stored: &StoredResponse, situation: &Situation) -> Fallback {
    let verdict = rfc9111::may_serve_stale(presented, stored, Failure::Unreachable, situation);
    let decision = if verdict.is_ok() { REUSE } else { "answer with the error" };
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
        if let Some(tunnel) = &self.tunnel {
            writeln!(f, "  tunnel     {tunnel}")?;
        }
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
    /// With what is asked besides the cache: whether whoever asks may, whether the origin may be asked, and its class on the
    /// link. What would be refused is refused here, too.
    pub(super) fn on_its_way(
        mut self,
        target: &Uri,
        uplink: &Uplink,
        asker: &Asker,
        now: SystemTime,
    ) -> Self {
        let [plain, secure] = &uplink.listening;
        let from = asker.caller(plain.first().or(secure.first()).copied());
        let asking = Asking { from, user: asker.user.as_deref(), now };
        // Off the runtime's own threads, as all of this is; what is waited for is at most a file of this machine.
        let foresee = |method: &Method| {
            let runtime = tokio::runtime::Handle::try_current().ok()?;
            Some(runtime.block_on(uplink.handler.foresee(method, target, asking)))
        };
        let is_secure = target.scheme() == Some(&Scheme::HTTPS);
        if let Some(foreseen) = foresee(&Method::GET) {
            self.meets(foreseen);
        }
        if let Some(foreseen) = is_secure.then(|| foresee(&Method::CONNECT)).flatten() {
            self.meets_as_tunnel(foreseen);
        }
        if failure::is_closed(&uplink.link) {
            self.meets_closed_link(target, uplink.handler.upstream.connector().timeout());
        }
        self.told("Which class has it on the link?", uplink.standings.presumed(target).name());
        self
    }

    /// With a word about what was not asked.
    pub(super) fn without_proxy(mut self) -> Self {
        self.told("Who may ask for it?", "that is not judged here, where no proxy is running");
        self
    }

    fn meets(&mut self, foreseen: Foreseen) {
        const MAY: &str = "May it be asked for?";
        const DIALLED: &str = "May the origin be dialled?";
        match foreseen {
            Foreseen::OwnPage => {
                self.told(MAY, "yes, by whoever may connect");
                self.decide("answer with a page of bentpipe's own", "It asks for bentpipe itself.");
            }
            Foreseen::Refused(refusal) => {
                self.told(MAY, "no");
                self.refuse(refusal);
            }
            Foreseen::Forbidden(refusal) => {
                self.told(MAY, "yes");
                self.told(DIALLED, &format!("no: {}", refusal.clone().worded().reason()));
                // What is stored is served without asking anybody.
                if self.decision != REUSE && self.decision != GATEWAY_TIMEOUT {
                    self.refuse(refusal);
                }
            }
            Foreseen::Open { is_certain } => {
                self.told(MAY, "yes");
                let answer = if is_certain { "yes" } else { "that is decided by the address its name has" };
                self.told(DIALLED, answer);
            }
        }
    }

    /// Nothing crosses the link now; what needs it waits so long for it.
    fn meets_closed_link(&mut self, target: &Uri, patience: Duration) {
        let seconds = patience.as_secs();
        let answer = format!(
            "no: the link is set to 0: what has to cross it waits for {seconds} s, and is refused then"
        );
        self.told("Does the link carry it?", &answer);
        if self.decision == FORWARD {
            let origin = Origin::of(target).map(|origin| origin.to_string()).unwrap_or_default();
            self.refuse(Refusal::LinkClosed { origin });
        }
    }

    fn meets_as_tunnel(&mut self, foreseen: Foreseen) {
        const TUNNEL: &str = "May a tunnel be opened to it (CONNECT)?";
        const SEEN: &str = "Is the request seen?";
        let refusal = match foreseen {
            Foreseen::Refused(refusal) | Foreseen::Forbidden(refusal) => refusal,
            Foreseen::OwnPage | Foreseen::Open { .. } => {
                let unseen = "where it is asked for by its https URL; in a CONNECT tunnel it is not seen, and so never \
                              cached";
                self.told(TUNNEL, "yes");
                return self.told(SEEN, unseen);
            }
        };
        let worded = refusal.worded();
        self.told(TUNNEL, &format!("no: {}", worded.reason()));
        self.tunnel = Some(format!("answer {}: {}", answer(worded.status()), worded.reason()));
    }

    fn refuse(&mut self, refusal: Refusal) {
        let wants_account = matches!(refusal, Refusal::AuthenticationRequired(_));
        let worded = refusal.worded();
        let more = if wants_account { " For a request of an account: explain --user NAME." } else { "" };
        let because = format!("{}{more}", worded.reason());
        self.decide(&format!("answer {}", answer(worded.status())), &because);
    }

    /// Something else than the cache has decided.
    fn decide(&mut self, decision: &str, because: &str) {
        (self.decision, self.because) = (decision.to_owned(), because.to_owned());
        self.section = CONFIGURATION.to_owned();
        self.if_unreachable = None;
        for candidate in &mut self.stored {
            candidate.chosen = false;
        }
    }

    fn told(&mut self, question: &str, answer: &str) {
        self.steps.push(Told {
            section: "way".to_owned(),
            question: question.to_owned(),
            answer: answer.to_owned(),
            because: CONFIGURATION.to_owned(),
        });
    }
}

/// A status as it is said: `403 (Forbidden)`.
fn answer(status: http::StatusCode) -> String {
    format!("{} ({})", status.as_u16(), status.canonical_reason().unwrap_or("?"))
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
