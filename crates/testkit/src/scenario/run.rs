//! Carries a scenario out: one origin, one connection for each client line, and every expectation compared
//! with what really came.
//!
//! It reads no scenario text itself (`line.rs`) and starts no proxy.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use super::line::{self, Ask, Expected, FieldCheck, Must, Step, Variables};
use super::{Fault, Scenario};
use crate::client::{Client, Response};
use crate::message::{Ending, Fields};
use crate::origin::Origin;

/// How long a client line may take in real time before it counts as hung.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs a scenario through `proxy`, or straight to the origin without one.
pub(super) async fn run(
    scenario: &Scenario,
    proxy: Option<SocketAddr>,
    advance: impl Fn(Duration),
    now: impl Fn() -> SystemTime + Clone + Send + Sync + 'static,
) -> Result<(), Fault> {
    let fault = |line: usize, what: String| Fault::new(&scenario.file, line, what);
    let origin = Origin::with_clock(now.clone()).await.map_err(|error| fault(0, error.to_string()))?;
    let address = proxy.unwrap_or(origin.address());
    let host = origin.address().to_string();
    let start = now();
    let mut last = 0;
    for (number, text) in &scenario.lines {
        last = *number;
        let variables = Variables { host: host.clone(), start, now: now() };
        let step = line::parse(text, &variables).map_err(|what| fault(last, what))?;
        match step {
            Step::Wait(by) => advance(by),
            Step::Ask(ask) => check_answer(address, *ask).await.map_err(|what| fault(last, what))?,
            step => check_origin(&origin, step).await.map_err(|what| fault(last, what))?,
        }
    }
    let leftovers = origin.leftovers();
    if leftovers.is_empty() { Ok(()) } else { Err(fault(last, leftovers.join("; "))) }
}

/// Carries out what a line says of the origin.
async fn check_origin(origin: &Origin, step: Step) -> Result<(), String> {
    match step {
        Step::Answer { method, path, reply } => origin.on(&method, &path, *reply),
        Step::Stop => origin.stop().await,
        Step::Requests(expected) => {
            let count = origin.request_count();
            if count != expected {
                return Err(format!("the origin received {count} requests, expected {expected}"));
            }
        }
        Step::Saw { method_and_path, fields } => {
            let request = origin.requests().pop().ok_or("the origin received no request")?;
            if let Some((method, path)) = method_and_path {
                same("the method", &request.method, &method)?;
                same("the request-target", &request.target, &path)?;
            }
            compare(&request.fields, &fields).map_err(|what| format!("the origin saw {what}"))?;
        }
        Step::Ask(_) | Step::Wait(_) => {}
    }
    Ok(())
}

/// Sends one request and compares what comes.
async fn check_answer(address: SocketAddr, ask: Ask) -> Result<(), String> {
    let answer = async { Client::connect(address).await?.request(&ask.request).await };
    let answer = tokio::time::timeout(PATIENCE, answer).await;
    let answer: io::Result<Response> =
        answer.map_err(|_| format!("{} got no whole answer in {PATIENCE:?}", ask.method))?;
    match (answer, ask.expected) {
        (Err(_), Expected::Closed) => Ok(()),
        (Err(error), Expected::Response(expected)) => {
            let status = expected.status.map_or_else(|| "one".to_owned(), |status| status.to_string());
            Err(format!("no answer ({error}), expected {status}"))
        }
        (Ok(response), Expected::Closed) => {
            Err(format!("`{}`, expected the connection to end without an answer", response.status_line))
        }
        (Ok(response), Expected::Response(expected)) => check_response(&response, &expected)
            .map_err(|what| format!("{what}\n  {}\n{}", response.status_line, indented(&response.fields))),
    }
}

fn check_response(response: &Response, expected: &line::Response) -> Result<(), String> {
    if let Some(status) = expected.status {
        same("the status", &response.status.to_string(), &status.to_string())?;
    }
    compare(&response.fields, &expected.fields)?;
    compare(&response.trailers, &expected.trailers).map_err(|what| format!("trailer {what}"))?;
    for status in &expected.interim {
        let marker = format!(" {status} ");
        if !response.interim.iter().any(|head| head.start_line.contains(&marker)) {
            return Err(format!("no interim response {status}"));
        }
    }
    let cut = response.ending == Ending::Cut;
    if cut != expected.cut {
        let not = if cut { "breaks off" } else { "is whole" };
        return Err(format!("the body {not} after {} bytes", response.body.len()));
    }
    if let Some(length) = expected.length {
        same("the body's length", &response.body.len().to_string(), &length.to_string())?;
    }
    match &expected.body {
        Some(body) if *body != response.body => Err(difference(&response.body, body)),
        _ => Ok(()),
    }
}

/// Compares field lines with what must be true of them, name by name.
fn compare(fields: &Fields, checks: &[FieldCheck]) -> Result<(), String> {
    let mut used: Vec<(String, usize)> = Vec::new();
    for check in checks {
        let name = check.name.to_ascii_lowercase();
        let from = used.iter().rev().find(|(held, _)| *held == name).map_or(0, |(_, at)| at + 1);
        let values = fields.values(&name);
        let later = values.get(from..).unwrap_or_default();
        let found = match &check.must {
            Must::BeAbsent if values.is_empty() => continue,
            Must::BeAbsent => None,
            Must::BeThere => later.first().map(|_| 0),
            Must::Equal(value) => later.iter().position(|held| held == value),
            Must::Contain(part) => later.iter().position(|held| held.contains(part.as_str())),
        };
        match found {
            Some(at) => used.push((name, from + at)),
            None => return Err(format!("{name}: {}, expected {}", shown(&values), check.must)),
        }
    }
    Ok(())
}

impl std::fmt::Display for Must {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Equal(value) => write!(f, "`{value}`"),
            Self::Contain(part) => write!(f, "`{part}` in it"),
            Self::BeThere => f.write_str("it to be there"),
            Self::BeAbsent => f.write_str("it to be absent"),
        }
    }
}

fn shown(values: &[&str]) -> String {
    if values.is_empty() {
        return "absent".to_owned();
    }
    values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(" and ")
}

fn same(what: &str, found: &str, expected: &str) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{what} is {found}, expected {expected}")) }
}

fn difference(found: &[u8], expected: &[u8]) -> String {
    let at = found.iter().zip(expected).take_while(|(found, expected)| found == expected).count();
    let part = |bytes: &[u8]| String::from_utf8_lossy(&bytes[at..bytes.len().min(at + 40)]).into_owned();
    let lengths = format!("{} bytes, expected {}", found.len(), expected.len());
    format!("the body ({lengths}) differs at {at}: `{}`, expected `{}`", part(found), part(expected))
}

fn indented(fields: &Fields) -> String {
    fields.iter().map(|(name, value)| format!("  {name}: {value}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use crate::clock::ManualClock;
    use crate::scenario::Scenario;

    async fn outcome(text: &str) -> Result<(), String> {
        let clock = ManualClock::default();
        let (advancing, telling) = (clock.clone(), clock);
        let scenario = Scenario::parse("test.txt", text).map_err(|fault| fault.to_string())?;
        let run = scenario.run_direct(move |by| advancing.advance(by), move || telling.now());
        run.await.map_err(|fault| fault.to_string())
    }

    async fn holds(text: &str) {
        outcome(text).await.expect("the scenario holds");
    }

    async fn fails(text: &str, why: &str) {
        let fault = outcome(text).await.expect_err("the scenario does not hold");
        assert!(fault.contains(why), "{fault}");
    }

    #[tokio::test]
    async fn an_answer_is_compared_whole() {
        holds("origin  GET /a  200  Set-Cookie: a=1  set-cookie: b=2  x: yes | hello\nclient  GET /a  ->  200  set-cookie: a=1  set-cookie: b=2  x: ~es  date: *  !age | hello").await;
    }

    #[tokio::test]
    async fn faults_name_file_and_line() {
        fails("origin  GET /a  200  | a\nclient  GET /a  ->  404", "test.txt:2: the status is 200").await;
        fails("origin  GET /a  200  | a\nclient  GET /a  ->  200  | b", "differs at 0: `a`").await;
        fails("origin  GET /a  200  b: 2  b: 1\nclient  GET /a  ->  200  b: 1  b: 2", "b: `2` and `1`").await;
        fails("origin  GET /a  200\nclient  GET /a  ->  200  !date", "expected it to be absent").await;
        fails("client  GET /a  ->  599", "GET http").await;
        fails("origin  GET /a  200\norigin  GET /a  304\nclient  GET /a  ->  200", "never asked for").await;
        fails("wait  1s", "it would prove nothing").await;
    }

    #[tokio::test]
    async fn dates_move_with_the_scenario() {
        holds(
            "origin  GET /a  200\nclient  GET /a  ->  200  date: {start}\nwait  1h\norigin  GET /a  200\n\
             client  GET /a  ->  200  date: {start+1h}\norigin  GET /a  200  date: none\n\
             client  GET /a  ->  200  !date",
        )
        .await;
    }

    #[tokio::test]
    async fn an_origin_can_misbehave() {
        holds("origin  GET /a  200  :cut 2 | hello\nclient  GET /a  ->  200  :cut | he").await;
        holds("origin  GET /a  close\nclient  GET /a  ->  closed").await;
        holds("origin  GET /a  reset\nclient  GET /a  ->  closed").await;
        holds("origin  GET /a  200  :chunked 2  :cut 7 | hello\nclient  GET /a  ->  200  :cut | he").await;
        holds("origin  GET /a  200  :until-close | hello\nclient  GET /a  ->  200 | hello").await;
        holds("origin  stop\nclient  GET /a  ->  closed").await;
    }

    #[tokio::test]
    async fn trailers_and_interim_responses_arrive() {
        holds(
            "origin  GET /a  200  :chunked 2  :trailer x-sum: 7  :interim 103 link: <a> | hello\n\
             client  GET /a  ->  200  :trailer x-sum: 7  :interim 103 | hello",
        )
        .await;
    }

    #[tokio::test]
    async fn requests_are_seen_as_sent() {
        holds(
            "origin  POST /a  204\nclient  POST /a  X-Case: Kept | text  ->  204\n\
             origin  saw  x-case: Kept  content-length: 4  !via\nexpect  origin 1 request",
        )
        .await;
    }
}
