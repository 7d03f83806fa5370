//! One line of a scenario: its variables filled in and its parts read into a `Step`.
//!
//! It carries nothing out and compares nothing. The language is described in `mod.rs`.

use std::time::{Duration, SystemTime};

use crate::client::Request;
use crate::message::Fields;
use crate::reply::Reply;

/// What a line says.
#[derive(Debug)]
pub(super) enum Step {
    Answer { method: String, path: String, reply: Box<Reply> },
    Stop,
    Ask(Box<Ask>),
    Saw { method_and_path: Option<(String, String)>, fields: Vec<FieldCheck> },
    Requests(usize),
    Wait(Duration),
}

/// A client's request and what must come of it.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) method: String,
    pub(super) request: Request,
    pub(super) expected: Expected,
}

/// What must come of a request.
#[derive(Debug)]
pub(super) enum Expected {
    Closed,
    Response(Box<Response>),
}

/// The response that must come.
#[derive(Debug, Default)]
pub(super) struct Response {
    /// `None` where any status will do.
    pub(super) status: Option<u16>,
    pub(super) fields: Vec<FieldCheck>,
    pub(super) trailers: Vec<FieldCheck>,
    pub(super) interim: Vec<u16>,
    pub(super) cut: bool,
    pub(super) length: Option<usize>,
    pub(super) body: Option<Vec<u8>>,
}

/// What must be true of the field lines of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FieldCheck {
    pub(super) name: String,
    pub(super) must: Must,
}

/// The kinds of expectation a field can have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Must {
    Equal(String),
    Contain(String),
    BeThere,
    BeAbsent,
}

/// What `$…` and `{…}` stand for when a line is carried out.
#[derive(Clone, Debug)]
pub(super) struct Variables {
    pub(super) host: String,
    pub(super) start: SystemTime,
    pub(super) now: SystemTime,
}

impl Variables {
    /// Values for reading a line before there is an origin or a time.
    pub(super) fn sample() -> Self {
        let some_day = SystemTime::UNIX_EPOCH + Duration::from_hours(24 * 10_000);
        Self { host: "127.0.0.1:1".to_owned(), start: some_day, now: some_day }
    }
}

/// Reads one line.
///
/// # Errors
/// One sentence on what is wrong with it.
pub(super) fn parse(line: &str, variables: &Variables) -> Result<Step, String> {
    let line = expand(line, variables)?;
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((&line, ""));
    let rest = rest.trim_start();
    match word {
        "origin" if rest == "stop" => Ok(Step::Stop),
        "origin" => match rest.strip_prefix("saw ") {
            Some(fields) => saw(fields),
            None => answer(rest),
        },
        "client" => ask(rest, &variables.host),
        "wait" => duration(rest).map(Step::Wait),
        "expect" => requests(rest),
        _ => Err(format!("`{word}` begins no line: expected origin, client, wait, expect or proxy")),
    }
}

fn answer(text: &str) -> Result<Step, String> {
    let (cells, body) = cells_and_body(text)?;
    let mut cells = cells.into_iter();
    let (method, path) = method_and_path(cells.next())?;
    let outcome = cells.next().ok_or("an answer needs a status, `close` or `reset`")?;
    let mut reply = match outcome.as_str() {
        "close" => Reply::close(),
        "reset" => Reply::reset(),
        status => Reply::new(status_code(status)?),
    };
    if let Some(body) = body {
        reply = reply.body(body);
    }
    for cell in cells {
        reply = match cell.strip_prefix(':') {
            Some(mark) => marked(reply, mark)?,
            None if cell == "date: none" => reply.undated(),
            None => field(&cell).map(|(name, value)| reply.field(name, value))?,
        };
    }
    Ok(Step::Answer { method, path, reply: Box::new(reply) })
}

fn marked(reply: Reply, mark: &str) -> Result<Reply, String> {
    let (word, argument) = mark.split_once(' ').unwrap_or((mark, ""));
    match word {
        "chunked" => number(argument).map(|size| reply.chunked(size)),
        "length" => number(argument).map(|length| reply.declare_length(length as u64)),
        "cut" => number(argument).map(|bytes| reply.cut_after(bytes)),
        "until-close" => Ok(reply.until_close()),
        "close" => Ok(reply.then_close()),
        "trailer" => field(argument).map(|(name, value)| reply.trailer(name, value)),
        "interim" => {
            let (status, rest) = argument.split_once(' ').unwrap_or((argument, ""));
            let fields = if rest.is_empty() { None } else { Some(field(rest)?) };
            Ok(reply.interim(status_code(status)?, fields.into_iter().collect::<Fields>()))
        }
        _ => Err(format!("`:{word}` is no mark of an answer")),
    }
}

fn ask(text: &str, host: &str) -> Result<Step, String> {
    let (asked, expected) = text.split_once(" -> ").ok_or("a client line needs ` -> ` and what must come")?;
    let (cells, body) = cells_and_body(asked)?;
    let mut cells = cells.into_iter();
    let (method, target) = method_and_path(cells.next())?;
    let target = if target.starts_with('/') { format!("http://{host}{target}") } else { target };
    let mut request = Request::new(&method, &target);
    for cell in cells {
        let (name, value) = field(&cell)?;
        request = request.field(name, value);
    }
    if let Some(body) = body {
        request = request.body(body);
    }
    Ok(Step::Ask(Box::new(Ask { method, request, expected: expectation(expected)? })))
}

fn expectation(text: &str) -> Result<Expected, String> {
    let (cells, body) = cells_and_body(text)?;
    let mut cells = cells.into_iter();
    let outcome = cells.next().ok_or("nothing is expected: a status or `closed`")?;
    if outcome == "closed" {
        return Ok(Expected::Closed);
    }
    let status = if outcome == "*" { None } else { Some(status_code(&outcome)?) };
    let mut response = Response { status, body, ..Response::default() };
    for cell in cells {
        match cell.strip_prefix(':').map(|mark| mark.split_once(' ').unwrap_or((mark, ""))) {
            None => response.fields.push(field_check(&cell)?),
            Some(("cut", "")) => response.cut = true,
            Some(("length", length)) => response.length = Some(number(length)?),
            Some(("trailer", trailer)) => response.trailers.push(field_check(trailer)?),
            Some(("interim", status)) => response.interim.push(status_code(status)?),
            Some((word, _)) => return Err(format!("`:{word}` is no mark of an expectation")),
        }
    }
    Ok(Expected::Response(Box::new(response)))
}

fn saw(text: &str) -> Result<Step, String> {
    let mut method_and_path = None;
    let mut fields = Vec::new();
    for cell in cells(text) {
        match cell.split_once(' ') {
            Some((method, path)) if path.starts_with('/') && !method.ends_with(':') => {
                method_and_path = Some((method.to_owned(), path.trim().to_owned()));
            }
            _ => fields.push(field_check(&cell)?),
        }
    }
    Ok(Step::Saw { method_and_path, fields })
}

fn requests(text: &str) -> Result<Step, String> {
    let words: Vec<_> = text.split_whitespace().collect();
    match words[..] {
        ["origin", count, "requests" | "request"] => number(count).map(Step::Requests),
        _ => Err("expected `expect  origin N requests`".to_owned()),
    }
}

fn field_check(cell: &str) -> Result<FieldCheck, String> {
    if let Some(name) = cell.strip_prefix('!') {
        return Ok(FieldCheck { name: name.to_owned(), must: Must::BeAbsent });
    }
    let (name, value) = field(cell)?;
    let must = match value.strip_prefix('~') {
        Some(part) => Must::Contain(part.to_owned()),
        None if value == "*" => Must::BeThere,
        None => Must::Equal(value.to_owned()),
    };
    Ok(FieldCheck { name: name.to_owned(), must })
}

fn field(cell: &str) -> Result<(&str, &str), String> {
    let (name, value) =
        cell.split_once(':').ok_or_else(|| format!("`{cell}` is no field: it has no colon"))?;
    if name.is_empty() || name.contains(' ') {
        return Err(format!("`{name}` is no field name: are two spaces missing before it?"));
    }
    Ok((name, value.trim()))
}

fn method_and_path(cell: Option<String>) -> Result<(String, String), String> {
    let cell = cell.unwrap_or_default();
    let (method, path) = cell.split_once(' ').ok_or_else(|| format!("`{cell}`: expected METHOD /path"))?;
    Ok((method.to_owned(), path.trim().to_owned()))
}

fn status_code(text: &str) -> Result<u16, String> {
    let status = text.parse().ok().filter(|status| (100..1000).contains(status));
    status
        .ok_or_else(|| format!("`{text}` is no status: expected three digits, `close`, `reset` or `closed`"))
}

fn number(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| format!("`{text}` is no count"))
}

/// The parts before ` | `, and the body after it.
fn cells_and_body(text: &str) -> Result<(Vec<String>, Option<Vec<u8>>), String> {
    match text.split_once(" | ") {
        Some((before, body)) => Ok((cells(before), Some(contents(body.trim())?))),
        None => Ok((cells(text), None)),
    }
}

fn cells(text: &str) -> Vec<String> {
    text.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect()
}

fn contents(text: &str) -> Result<Vec<u8>, String> {
    if let Some(length) = text.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')) {
        return number(length).map(filler);
    }
    let text = text.replace("\\\\", "\u{0}").replace("\\r", "\r").replace("\\n", "\n").replace('\u{0}', "\\");
    Ok(text.into_bytes())
}

/// Bytes that differ from place to place, so that a shifted body is noticed.
fn filler(length: usize) -> Vec<u8> {
    (0..length).map(|at| b'a' + u8::try_from((at + at / 26) % 26).unwrap_or_default()).collect()
}

fn expand(line: &str, variables: &Variables) -> Result<String, String> {
    let line = line.replace("$ORIGIN", &format!("http://{}", variables.host));
    let line = line.replace("$HOST", &variables.host);
    let mut expanded = String::with_capacity(line.len());
    let mut rest = line.as_str();
    while let Some((before, after)) = rest.split_once('{') {
        expanded.push_str(before);
        let base = [("start", variables.start), ("now", variables.now)];
        let found = base.iter().find_map(|(name, time)| Some((after.strip_prefix(name)?, *time)));
        match found {
            Some((offset, time)) => {
                let (offset, after) = offset.split_once('}').ok_or("a `{` without its `}`")?;
                expanded.push_str(&httpdate::fmt_http_date(moved(time, offset)?));
                rest = after;
            }
            None => {
                expanded.push('{');
                rest = after;
            }
        }
    }
    Ok(expanded + rest)
}

fn moved(time: SystemTime, offset: &str) -> Result<SystemTime, String> {
    let moved = match offset.split_at_checked(1) {
        None => Some(time),
        Some(("+", by)) => time.checked_add(duration(by)?),
        Some(("-", by)) => time.checked_sub(duration(by)?),
        Some(_) => None,
    };
    // Outside these years httpdate cannot print a date.
    let years = 0..250_000_000_000;
    moved
        .filter(|moved| {
            let since = moved.duration_since(SystemTime::UNIX_EPOCH);
            since.is_ok_and(|since| years.contains(&since.as_secs()))
        })
        .ok_or_else(|| format!("`{offset}` is no offset: expected +1h or -10d"))
}

/// A duration such as `2s`, `500ms`, `1h` or `10d`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no duration: expected 500ms, 2s, 5m, 1h or 10d");
    let digits = text.find(|byte: char| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(milliseconds).map(Duration::from_millis).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wrong(line: &str) -> String {
        parse(line, &Variables::sample()).expect_err("the line is wrong")
    }

    #[test]
    fn fields_are_separated_by_two_spaces_and_may_hold_one() {
        let check = field_check("cache-status: bentpipe; fwd=stale").expect("a field");
        assert_eq!(check.must, Must::Equal("bentpipe; fwd=stale".to_owned()));
        assert_eq!(cells("a: b c   d: e"), ["a: b c", "d: e"]);
    }

    #[test]
    fn dates_are_relative_to_the_scenario() {
        let variables = Variables::sample();
        let check = |text: &str, expected: &str| assert_eq!(expand(text, &variables).expect(text), expected);
        check("expires: {now}", "expires: Sat, 19 May 1997 00:00:00 GMT".replace("Sat", "Mon").as_str());
        check("{start-1d}", "Sun, 18 May 1997 00:00:00 GMT");
        check("body {x}", "body {x}");
    }

    #[test]
    fn a_wrong_line_is_told_what_is_right() {
        assert!(wrong("klient GET /a -> 200").contains("begins no line"));
        assert!(wrong("client GET /a 200").contains("` -> `"));
        assert!(wrong("client GET /a  ->  2x0").contains("no status"));
        assert!(wrong("origin GET /a  200  etag \"v\"").contains("no colon"));
        assert!(wrong("origin GET /a  200  :chunkd 4").contains("no mark"));
        assert!(wrong("wait 2 weeks").contains("expected 500ms"));
        assert!(wrong("origin GET /a  200  expires: {now+x}").contains("no duration"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "(origin|client|wait|expect) .{0,80}") {
            let _ = parse(&text, &Variables::sample());
        }
    }
}
