//! `bentpipe capture`: what the clients of the running proxy say and are told, byte for byte, into files of whoever asks.
//! The proxy sends it here over its control socket; that files are written, where and how much, is decided here.

use std::io::{self, BufReader, Read, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use linkio::ByteCount;
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

use crate::admin::client::Operator;
use crate::capture::files::{Place, Recorder, Stopped};
use crate::capture::frame::{Frame, Kind};
use crate::capture::{Asked, Ended, stream};
use crate::clock::Clock;
use crate::config::Loaded;
use crate::simulate::parse_time;

const ABOUT: &str = "It goes on until Ctrl-C, --for or --max-size ends it. Of each connection it writes two raw streams, \
0001-client.in (what came from the client) and 0001-client.out (what went to it), byte for byte, and 0001.txt, both in \
hexadecimal with times; and for all exchanges one file, capture.har, which browsers open. Of TLS that ends at the proxy \
it writes what is inside.

Traffic is never held up: what comes faster than it can be written is lost, counted and marked. Everything is written as \
it was said, passwords and cookies included: the folder is readable for its owner alone.

Examples:
  bentpipe capture --client 10.0.0.7
  bentpipe capture --host '*.example.org' --for 10m -o example
  bentpipe capture --all --max-size 100M";

/// What to capture, and where to.
#[derive(Clone, Debug, Args)]
#[command(after_help = ABOUT)]
pub(crate) struct Capture {
    /// Connections of this client; an address or a network; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    client: Vec<String>,
    /// Connections with requests for this host; *.example.org for all below; may be repeated
    #[arg(long, value_name = "HOST")]
    host: Vec<String>,
    /// Everybody's connections
    #[arg(long, conflicts_with_all = ["client", "host"])]
    all: bool,
    #[command(flatten)]
    output: Output,
    /// End after this time, such as 10m
    #[arg(long = "for", value_name = "TIME", value_parser = parse_time)]
    period: Option<Duration>,
    /// Bytes of each request's and response's content in capture.har
    #[arg(long, value_name = "SIZE", default_value = "1M")]
    bodies: ByteCount,
    /// Memory of the proxy for what is not written yet; more than it holds is lost and marked
    #[arg(long, value_name = "SIZE", default_value = "64M")]
    queue: ByteCount,
}

/// Where a capture goes.
#[derive(Clone, Debug, Args)]
pub(super) struct Output {
    /// The folder to write into; one named after the time, here, if it is left out
    #[arg(short = 'o', long = "output", value_name = "DIR")]
    pub(super) folder: Option<PathBuf>,
    /// End when the files have this size together
    #[arg(long, value_name = "SIZE", default_value = "1G")]
    max_size: ByteCount,
    /// Bytes of each connection that its dump shows; the raw streams have all
    #[arg(long, value_name = "SIZE", default_value = "1M")]
    dump: ByteCount,
}

impl Output {
    /// The place that is meant.
    pub(super) fn place(&self, har: bool) -> Place {
        let began = Clock::system().now();
        let named = || {
            let time = jiff::Timestamp::try_from(began).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
            PathBuf::from(time.strftime("capture-%Y%m%d-%H%M%S").to_string())
        };
        let folder = self.folder.clone().unwrap_or_else(named);
        Place { folder, most: self.max_size.0, shown: self.dump.0, began, har }
    }
}

/// Captures until it is ended.
///
/// # Errors
/// If nobody is named, no proxy runs, or files cannot be written.
pub(super) fn run(command: &Capture, loaded: &Loaded) -> anyhow::Result<()> {
    if command.client.is_empty() && command.host.is_empty() && !command.all {
        bail!("say whose connections: --client ADDRESS, --host HOST, or --all");
    }
    let operator = Operator::running(loaded)?;
    let socket = operator.socket().context("no bentpipe is running")?;
    let asked = Asked {
        clients: command.client.clone(),
        hosts: command.host.clone(),
        bodies: command.bodies.0,
        queue: command.queue.0,
    };
    let mut stream = UnixStream::connect(socket).with_context(|| socket.display().to_string())?;
    ask(&mut stream, &asked)?;
    let place = command.output.place(true);
    let folder = place.folder.display().to_string();
    let recorder = match Recorder::begin(place) {
        // Which names the folder.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(error.into()),
        begun => begun.with_context(|| folder.clone())?,
    };
    // Before anything is said: who reads it may send the signal at once.
    end_later(stream.try_clone()?, command.period)?;
    let mut out = io::stdout();
    writeln!(out, "Capturing into {folder}; Ctrl-C ends it.\n{SECRETS}")?;
    out.flush()?;
    let ended = record(&stream, recorder, &mut out);
    // A capture without a reader has no end of its own.
    let _ = stream.shutdown(Shutdown::Both);
    ended
}

/// Said once.
pub(super) const SECRETS: &str =
    "The files hold everything that is said, passwords and cookies included; only you may read them.";

/// Asks the proxy behind `stream` for a capture; when this returns, frames follow.
fn ask(stream: &mut UnixStream, asked: &Asked) -> anyhow::Result<()> {
    let content = serde_json::to_string(asked)?;
    write!(
        stream,
        "POST /v1/capture HTTP/1.1\r\nhost: bentpipe\r\nconnection: upgrade\r\nupgrade: {}\r\ncontent-length: {}\r\n\r\n{content}",
        stream::PROTOCOL,
        content.len()
    )?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut head = Vec::new();
    // One by one: what comes behind the head is not ours to read here.
    while !head.ends_with(b"\r\n\r\n") && head.len() < MOST_HEAD {
        let mut byte = [0];
        stream.read_exact(&mut byte).context("the proxy gave no answer")?;
        head.push(byte[0]);
    }
    if head.starts_with(b"HTTP/1.1 101 ") {
        stream.set_read_timeout(None)?;
        return Ok(());
    }
    let mut answer = String::new();
    stream.shutdown(Shutdown::Write)?;
    stream.take(MOST_HEAD as u64).read_to_string(&mut answer)?;
    let told = serde_json::from_str::<Value>(&answer).ok();
    let why = told.as_ref().and_then(|told| told["error"].as_str());
    Err(anyhow!("{}", why.unwrap_or("the proxy is of another version, or takes no captures")))
}

/// Bytes of an answer that are read.
const MOST_HEAD: usize = 16 * 1024;

/// Ends the capture behind `stream` at a signal or after `period`; at a second signal what it still sends is left.
fn end_later(stream: UnixStream, period: Option<Duration>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let entered = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    drop(entered);
    let waiting = move || {
        runtime.block_on(async {
            let over = async {
                match period {
                    Some(period) => tokio::time::sleep(period).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                () = over => {}
            }
            stream.shutdown(Shutdown::Write)?;
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            stream.shutdown(Shutdown::Both)
        })
    };
    std::thread::Builder::new().name("capture-end".to_owned()).spawn(waiting)?;
    Ok(())
}

/// Bytes that are read at once.
const BUFFER: usize = 1024 * 1024;

fn record(stream: &UnixStream, mut recorder: Recorder, out: &mut impl io::Write) -> anyhow::Result<()> {
    let mut from = BufReader::with_capacity(BUFFER, stream);
    let mut ended = None;
    let mut failed = None;
    // A break is as good as an end: what has come is worth keeping.
    while let Ok(Some(frame)) = Frame::read(&mut from) {
        if frame.kind == Kind::End {
            ended = Some(serde_json::from_slice::<Ended>(&frame.payload)?);
            break;
        }
        if failed.is_some() {
            continue;
        }
        match recorder.take(frame) {
            Ok(Some(line)) => writeln!(out, "{line}")?,
            Ok(None) => {}
            Err(error) => {
                failed = Some(error);
                stream.shutdown(Shutdown::Write)?;
            }
        }
    }
    let written = recorder.written();
    let sum = recorder.end(ended)?;
    writeln!(out, "{sum}\n{written} bytes of files.")?;
    match failed {
        None => Ok(()),
        Some(Stopped::Full) => {
            writeln!(out, "It ended at --max-size: what was said after that is not there.")?;
            Ok(())
        }
        Some(error) => Err(error.into()),
    }
}
