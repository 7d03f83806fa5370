//! `cargo xtask kill`: bentpipe is killed with SIGKILL while it stores, and what it answers after its restart,
//! with the origin gone, is compared byte for byte.
//!
//! It says nothing of a power cut: the system's page cache survives a killed process.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::ensure;
use testkit::{Origin, Reply, Response, client};
use tokio::task::JoinSet;

use crate::program::{Program, build_bentpipe};

/// How much to store and how often to kill.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Kills, each with a new cache and a later moment.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Objects being stored when the kill comes.
    #[arg(long, default_value_t = 200)]
    objects: usize,
    /// Objects stored whole, two seconds before that.
    #[arg(long, default_value_t = 50)]
    settled: usize,
}

/// What became of objects after the restart.
#[derive(Debug, Default)]
struct Outcome {
    hits: usize,
    misses: usize,
    wrong: Vec<String>,
}

/// Runs every round and prints its counts.
///
/// # Errors
/// When a hit has wrong bytes, or an object that was stored two seconds before the kill is no hit.
pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    let binary = build_bentpipe()?;
    let mut failed = false;
    for round in 1..=options.rounds {
        let origin = Origin::with_handler(|request| Some(object(&request.target))).await?;
        let cache = tempfile::tempdir()?;
        let proxy = Program::bentpipe(&binary, cache.path(), &[]).await?;
        let settled: Vec<_> = (0..options.settled).map(|n| origin.url(&format!("/settled/{n}"))).collect();
        let arriving: Vec<_> = (0..options.objects).map(|n| origin.url(&format!("/arriving/{n}"))).collect();
        load(proxy.address(), &settled, settled.len(), || Ok(())).await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let until = options.objects * round / (options.rounds + 1);
        load(proxy.address(), &arriving, until, move || proxy.kill()).await?;
        origin.stop().await;
        let proxy = Program::bentpipe(&binary, cache.path(), &[]).await?;
        let settled = ask_all(proxy.address(), &settled).await?;
        let arriving = ask_all(proxy.address(), &arriving).await?;
        println!(
            "round {round}: killed after {until} of {} objects; then {} of {} settled and {} arriving ones were hits, {} wrong",
            options.objects,
            settled.hits,
            options.settled,
            arriving.hits,
            settled.wrong.len() + arriving.wrong.len(),
        );
        for wrong in settled.wrong.iter().chain(&arriving.wrong) {
            println!("  {wrong}");
        }
        failed |= settled.misses > 0 || !settled.wrong.is_empty() || !arriving.wrong.is_empty();
    }
    ensure!(!failed, "a settled object was lost or a hit was wrong");
    Ok(())
}

/// Loads `urls` on 16 connections at a time and calls `then` as soon as `until` of them are whole.
async fn load(
    proxy: SocketAddr,
    urls: &[String],
    until: usize,
    then: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let next = Arc::new(AtomicUsize::new(0));
    let whole = Arc::new(AtomicUsize::new(0));
    let urls: Arc<[String]> = urls.into();
    let mut workers = JoinSet::new();
    for _ in 0..16 {
        let (next, whole, urls) = (Arc::clone(&next), Arc::clone(&whole), Arc::clone(&urls));
        workers.spawn(async move {
            while let Some(url) = urls.get(next.fetch_add(1, Ordering::Relaxed)) {
                // After the kill every request fails; that is what the workers are for.
                let Ok(answer) = client::get(proxy, url).await else { return };
                whole.fetch_add(usize::from(answer.is_whole()), Ordering::Relaxed);
            }
        });
    }
    while whole.load(Ordering::Relaxed) < until {
        ensure!(!workers.is_empty(), "bentpipe did not answer every request");
        while workers.try_join_next().is_some() {}
        tokio::task::yield_now().await;
    }
    then()?;
    workers.join_all().await;
    Ok(())
}

/// Asks for every object once, with the origin gone.
async fn ask_all(proxy: SocketAddr, urls: &[String]) -> io::Result<Outcome> {
    let mut outcome = Outcome::default();
    for url in urls {
        let answer = client::get(proxy, url).await?;
        let path = url.splitn(4, '/').nth(3).unwrap_or_default();
        match judge(&answer, &body(&format!("/{path}"))) {
            Verdict::Hit => outcome.hits += 1,
            Verdict::Miss => outcome.misses += 1,
            Verdict::Wrong(what) => outcome.wrong.push(format!("{url}: {what}")),
        }
    }
    Ok(outcome)
}

/// What one answer means.
enum Verdict {
    Hit,
    Miss,
    Wrong(String),
}

fn judge(answer: &Response, expected: &[u8]) -> Verdict {
    match answer.status {
        502 | 504 => Verdict::Miss,
        200 if !answer.is_whole() => Verdict::Wrong(format!("broke off after {} bytes", answer.body.len())),
        200 if answer.body == expected => Verdict::Hit,
        200 => Verdict::Wrong(format!("{} bytes that differ", answer.body.len())),
        _ => Verdict::Wrong(answer.status_line.clone()),
    }
}

/// An object arrives over some hundred milliseconds, so that a kill finds every stage of storing at work.
fn object(path: &str) -> Reply {
    let reply = Reply::new(200).pace(8_192, Duration::from_millis(30));
    reply.field("cache-control", "max-age=3600").field("etag", &format!("\"{path}\"")).body(body(path))
}

/// The body of an object: 100 bytes to 200 KB that follow from its path, so that nothing needs remembering.
fn body(path: &str) -> Vec<u8> {
    let mut state = path.bytes().fold(0x9e37_79b9_7f4a_7c15_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3).rotate_left(17)
    });
    let length = 100 + usize::try_from(state % 200_000).unwrap_or_default();
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
