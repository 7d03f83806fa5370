//! Visits over the proxy's own port that everybody makes: hits, misses, validations, ranges, uploads, in plain and for
//! https targets in absolute-form, on connections that are kept and on new ones. Every byte is compared.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use testkit::{Client, Request, Response};

use super::pattern::body;
use super::source::OPENED;
use super::stand::Stand;
use super::tally::Outcome;
use crate::chaos::random::Random;

/// Objects that are asked for again and again.
const HOT: usize = 300;

/// One client that goes from visit to visit.
pub(super) struct Visitor {
    pub(super) stand: Arc<Stand>,
    pub(super) random: Random,
    /// Numbers for objects that nobody has asked for yet.
    pub(super) next: Arc<AtomicU64>,
    kept: Option<Client>,
}

impl Visitor {
    /// One with no connection yet.
    pub(super) fn new(stand: Arc<Stand>, random: Random, next: Arc<AtomicU64>) -> Self {
        Self { stand, random, next, kept: None }
    }

    /// One visit of any kind, by its name.
    pub(super) async fn visit(&mut self) -> (&'static str, Outcome) {
        let kind = match self.random.within(0..100) {
            0..40 => "hit",
            40..60 => "miss",
            60..68 => "validate",
            68..76 => "range",
            76..80 => "client condition",
            80..85 => "pass",
            85..89 => "chunked",
            89..92 => "mend",
            92..94 => "head",
            _ => "upload",
        };
        let (path, url) = self.target(kind);
        let request = self.request(kind, &path, &url);
        let outcome = match self.ask(&request, kind == "upload").await {
            Ok(answer) => judge(kind, &answer, &path),
            Err(error) => Outcome::Fault(error.to_string()),
        };
        let outcome = match outcome {
            Outcome::Fault(what) => Outcome::Fault(format!("{url}: {what}")),
            outcome => outcome,
        };
        (kind, outcome)
    }

    /// The path of an object of the origin's kind `word` that many ask for.
    pub(super) fn hot(&mut self, word: &str) -> String {
        let number = self.random.within(0..HOT);
        // As many small ones as occur, and the same ones in every run.
        let length = Random::new(number.try_into().unwrap_or(0), "hot").body_length();
        format!("/{word}/{length}/hot-{number}")
    }

    /// The path of an object of the origin's kind `word` that nobody has asked for yet. Few are so short that the store
    /// keeps them in memory: their number would be what the soak measures.
    pub(super) fn new_path(&mut self, word: &str) -> String {
        let length = match self.random.within(0..200) {
            0 => self.random.within(2_000_000..5_000_000),
            1..20 => self.random.body_length().max(2),
            _ => self.random.body_length().max(4_096),
        };
        format!("/{word}/{length}/new-{}", self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// What is asked for: the path and the absolute URI, one in four of them at the secure origin.
    fn target(&mut self, kind: &str) -> (String, String) {
        let path = match kind {
            "hit" | "client condition" | "head" | "range" => self.hot("keep"),
            "validate" => self.hot("check"),
            "miss" => self.new_path("keep"),
            "mend" => self.new_path("mend"),
            "chunked" => self.new_path("chunked"),
            "upload" => self.new_path("upload"),
            _ => self.new_path("pass"),
        };
        let source = &self.stand.source;
        let url = match self.random.within(0..4) {
            // An origin that breaks off over HTTP/2 takes what shares the connection along, such as an upload.
            0 if kind != "mend" => format!("https://{}{path}", source.authority(OPENED)),
            _ => source.url(&path),
        };
        (path, url)
    }

    fn request(&mut self, kind: &str, path: &str, url: &str) -> Request {
        match kind {
            "upload" => Request::new("POST", url).body(body(path)),
            "head" => Request::new("HEAD", url),
            "client condition" => Request::new("GET", url).field("if-none-match", &format!("\"{path}\"")),
            "range" => {
                let length = body(path).len().max(1);
                let first = self.random.within(0..length);
                let last = self.random.within(first..length);
                Request::new("GET", url).field("range", &format!("bytes={first}-{last}"))
            }
            _ => Request::new("GET", url),
        }
    }

    /// Asks on a kept connection, or on a new one where there is none, where it has ended meanwhile, and always for what
    /// cannot be asked twice.
    async fn ask(&mut self, request: &Request, once: bool) -> io::Result<Response> {
        if let Some(mut client) = self.kept.take().filter(|_| !once)
            && let Ok(answer) = client.request(request).await
        {
            self.keep(client, &answer);
            return Ok(answer);
        }
        let mut client = Client::connect(self.stand.proxy()).await?;
        let answer = client.request(request).await?;
        self.keep(client, &answer);
        Ok(answer)
    }

    fn keep(&mut self, client: Client, answer: &Response) {
        let is_usable = answer.is_whole() && !answer.fields.lists("connection", "close");
        self.kept = (is_usable && self.random.within(0..10) < 7).then_some(client);
    }
}

fn judge(kind: &str, answer: &Response, path: &str) -> Outcome {
    let whole = body(path);
    let right = match kind {
        "upload" => answer.status == 200 && answer.text() == "taken",
        "client condition" => answer.status == 304 && answer.body.is_empty(),
        "head" => {
            answer.status == 200 && answer.field("content-length") == Some(whole.len().to_string().as_str())
        }
        "range" if !whole.is_empty() => answer.status == 206 && is_part(answer, whole),
        "range" => answer.status == 200 || answer.status == 416,
        _ => answer.status == 200 && answer.is_whole() && answer.body == whole,
    };
    if right {
        return Outcome::Right;
    }
    let same = answer.body.iter().zip(whole).take_while(|(one, other)| one == other).count();
    let ending = if answer.is_whole() { "whole" } else { "cut" };
    Outcome::Fault(format!(
        "{}, {ending}, {} of {} bytes, {same} right, {}, {}",
        answer.status_line,
        answer.body.len(),
        whole.len(),
        answer.field("cache-status").unwrap_or("no Cache-Status"),
        answer.field("proxy-status").unwrap_or("no Proxy-Status")
    ))
}

/// Whether `answer` is the part of `whole` that it says it is.
fn is_part(answer: &Response, whole: &[u8]) -> bool {
    let bounds = answer.field("content-range").and_then(|field| {
        let (bounds, length) = field.strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = bounds.split_once('-')?;
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        (length == whole.len().to_string()).then_some((first, last))
    });
    bounds.is_some_and(|(first, last)| whole.get(first..=last) == Some(&answer.body[..]))
}
