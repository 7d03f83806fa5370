//! Visits that go wrong on purpose: clients that leave or stall in every phase, origins that cut, hang or are silent.
//! What each should end in is known, and anything else is a fault.

use std::time::Duration;

use anyhow::ensure;
use testkit::{Client, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::pattern::body;
use super::plain::Visitor;
use super::secure::{secure, tunnel};
use super::source::{CLOSED, OPENED};
use super::tally::Outcome;

/// The kinds, each as often as any other.
const KINDS: &[&str] = &[
    "left in the head",
    "left before the answer",
    "left in mid-body",
    "left a slow body",
    "left in mid-upload",
    "left in a handshake",
    "left an opened tunnel",
    "left a tunnel",
    "stalled in the head",
    "stalled in mid-upload",
    "stalled reading",
    "stalled in a handshake",
    "stalled in a tunnel",
    "origin cut",
    "origin hung",
    "origin silent",
    "upgrade",
    "upgrade, left",
];

/// Longer than the proxy waits for a client.
const STALL: Duration = Duration::from_secs(8);

impl Visitor {
    /// One visit of any kind, by its name.
    pub(super) async fn visit_roughly(&mut self) -> (&'static str, Outcome) {
        let kind = KINDS.get(self.random.within(0..KINDS.len())).copied().unwrap_or("upgrade");
        let outcome = match kind {
            "origin cut" | "origin hung" | "origin silent" => self.bear_with_origin(kind).await,
            "upgrade" | "upgrade, left" => self.upgrade(kind == "upgrade").await,
            _ if kind.starts_with("left") => self.leave(kind).await,
            _ => self.stall(kind).await,
        };
        (kind, outcome.unwrap_or_else(|error| Outcome::Fault(format!("{error:#}"))))
    }

    fn get(&self, path: &str) -> Vec<u8> {
        Request::new("GET", &self.stand.source.url(path)).to_bytes()
    }

    /// The head of an upload and the first half of its content.
    fn half_upload(&mut self) -> Vec<u8> {
        let path = self.new_path("upload");
        let mut bytes = Request::new("POST", &self.stand.source.url(&path)).body(body(&path)).to_bytes();
        bytes.truncate(bytes.len() - body(&path).len() / 2);
        bytes
    }

    async fn leave(&mut self, kind: &str) -> anyhow::Result<Outcome> {
        let (opened, closed) = (self.stand.source.authority(OPENED), self.stand.source.authority(CLOSED));
        let proxy = self.stand.proxy();
        match kind {
            "left in a handshake" => {
                tunnel(proxy, &opened).await?.write_all(b"\x16\x03\x01\x02\x00\x01\x00").await?;
            }
            "left an opened tunnel" => {
                drop(secure(tunnel(proxy, &opened).await?, OPENED, &self.stand.trust).await?);
            }
            "left a tunnel" => drop(secure(tunnel(proxy, &closed).await?, CLOSED, &self.stand.trust).await?),
            _ => {
                let bytes = match kind {
                    "left in the head" => self.get("/pass/10/a")[..20].to_vec(),
                    "left before the answer" => self.get(&self.peek("silent")),
                    "left in mid-upload" => self.half_upload(),
                    "left a slow body" => self.get(&self.peek("slow")),
                    _ => self.get(&format!("/pass/3000000/left-{}", self.number())),
                };
                let mut stream = TcpStream::connect(proxy).await?;
                stream.write_all(&bytes).await?;
                if kind == "left in mid-body" || kind == "left a slow body" {
                    let mut some = [0; 4096];
                    ensure!(stream.read(&mut some).await? > 0, "no answer");
                }
                tokio::time::sleep(self.random.milliseconds(0..50)).await;
            }
        }
        Ok(Outcome::AsMeant)
    }

    async fn stall(&mut self, kind: &str) -> anyhow::Result<Outcome> {
        let (opened, closed) = (self.stand.source.authority(OPENED), self.stand.source.authority(CLOSED));
        let proxy = self.stand.proxy();
        let mut stream = match kind {
            "stalled in a handshake" => tunnel(proxy, &opened).await?,
            "stalled in a tunnel" => tunnel(proxy, &closed).await?,
            _ => TcpStream::connect(proxy).await?,
        };
        let bytes = match kind {
            "stalled in the head" => self.get("/pass/10/a")[..20].to_vec(),
            "stalled in mid-upload" => self.half_upload(),
            "stalled reading" => self.get(&format!("/pass/5000000/stalled-{}", self.number())),
            _ => b"\x16\x03\x01".to_vec(),
        };
        stream.write_all(&bytes).await?;
        tokio::time::sleep(STALL).await;
        // By now it is over: an answer that says so, a cut, or nothing more than what was on its way.
        let mut rest = Vec::new();
        let read = tokio::time::timeout(STALL, stream.read_to_end(&mut rest)).await;
        ensure!(read.is_ok(), "the connection is still open after {:?}", 2 * STALL);
        Ok(Outcome::AsMeant)
    }

    async fn bear_with_origin(&mut self, kind: &str) -> anyhow::Result<Outcome> {
        let path = match kind {
            "origin cut" => self.new_path("cut"),
            "origin hung" => self.new_path("hang"),
            _ => self.peek("silent"),
        };
        let mut client = Client::connect(self.stand.proxy()).await?;
        let answer = client.request(&Request::new("GET", &self.stand.source.url(&path))).await?;
        let whole = body(&path);
        let told = format!("{path}: {}, {} bytes", answer.status_line, answer.body.len());
        match answer.status {
            200 => ensure!(!answer.is_whole() && whole.starts_with(&answer.body), "{told}"),
            502 | 504 => ensure!(answer.is_whole(), "{told}"),
            _ => anyhow::bail!(told),
        }
        Ok(Outcome::AsMeant)
    }

    /// Messages to and fro in another protocol.
    async fn upgrade(&mut self, to_the_end: bool) -> anyhow::Result<Outcome> {
        let url = self.stand.source.url("/echo/0/a");
        let request = Request::new("GET", &url).field("connection", "upgrade").field("upgrade", "echo");
        let mut client = Client::connect(self.stand.proxy()).await?;
        let answer = client.request(&request).await?;
        ensure!(answer.status == 101, "{}", answer.status_line);
        let message = body("/echo/50000/message");
        for _ in 0..self.random.within(1..20) {
            client.send(message).await?;
            let length = u64::try_from(message.len())?;
            ensure!(client.receive_exactly(length).await? == message, "another message came back");
        }
        if !to_the_end {
            return Ok(Outcome::AsMeant);
        }
        client.finish().await?;
        ensure!(client.receive_rest().await?.is_empty(), "more than was sent");
        Ok(Outcome::Right)
    }

    fn peek(&self, word: &str) -> String {
        format!("/{word}/200000/new-{}", self.number())
    }

    fn number(&self) -> u64 {
        self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
    }
}
