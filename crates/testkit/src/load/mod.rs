//! A load generator: keep-alive connections through a proxy that send GET after GET for paths of `contents`, and count,
//! time and compare what comes.
//!
//! Of every answer it checks the status and the length, and of the first of each connection and every hundredth after it
//! every byte. It measures nothing about the machine (xtask reads `/proc`).

mod stream;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustls::ClientConfig;
use tokio::task::JoinSet;
use tokio::time::Instant;

use stream::Exchange;

/// Of so many answers on a connection one is compared byte by byte.
const ONE_IN: u64 = 100;

/// The name that an origin with TLS has, wherever it is: what names a proxy opens is told by name.
pub const SECURE_NAME: &str = "bench.test";

/// How requests reach the origin.
#[derive(Clone, Debug)]
pub enum Way {
    /// As a proxy is asked: `GET http://authority/path`.
    Absolute,
    /// In a tunnel that CONNECT opens.
    Tunnel,
    /// The same, with TLS in the tunnel, to [`SECURE_NAME`].
    Secure(Arc<ClientConfig>),
}

/// What is asked for.
#[derive(Clone, Debug)]
pub enum Paths {
    /// One path again and again.
    One(String),
    /// One of this many paths that begin so and end with a number, each as often as any other, in no order.
    Any(String, u64),
    /// Paths that begin so and end with a number, each once.
    Each(String),
}

/// When it ends.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// No request is sent after this time; those under way are waited for.
    Time(Duration),
    /// So many requests have been answered.
    Count(u64),
    /// After this time all connections are cut, wherever they are. What came in its first fifth does not count.
    Cut(Duration),
}

/// A run of load.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where the proxy listens.
    pub proxy: SocketAddr,
    /// The origin that is asked for.
    pub origin: SocketAddr,
    /// How requests reach it.
    pub way: Way,
    /// What is asked for.
    pub paths: Paths,
    /// Keep-alive connections.
    pub connections: usize,
    /// When it ends.
    pub until: Until,
}

/// What a run of load counted.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Whole answers with status 200.
    pub answers: u64,
    /// Bytes of contents.
    pub bytes: u64,
    /// Answers of which every byte was compared.
    pub compared: u64,
    /// Connections that were closed between two answers and opened again.
    pub reopened: u64,
    /// From the first request to the last answer.
    pub elapsed: Duration,
    /// The longest time from a request to the first byte of its answer.
    pub slowest_start: Duration,
    /// Bytes of contents of each connection.
    pub shares: Vec<u64>,
}

/// What the connections of one run have in common.
struct Shared {
    plan: Plan,
    next: AtomicU64,
    stop: AtomicBool,
    answers: AtomicU64,
    compared: AtomicU64,
    reopened: AtomicU64,
    /// In microseconds.
    slowest_start: AtomicU64,
    shares: Vec<AtomicU64>,
}

impl Shared {
    fn shares(&self) -> Vec<u64> {
        self.shares.iter().map(|share| share.load(Ordering::Relaxed)).collect()
    }

    /// The path to ask for now, if any is left.
    fn path(&self, random: &mut u64) -> Option<String> {
        if self.stop.load(Ordering::Relaxed) {
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        if matches!(self.plan.until, Until::Count(count) if number >= count) {
            return None;
        }
        Some(match &self.plan.paths {
            Paths::One(path) => path.clone(),
            Paths::Any(start, count) => {
                // A linear congruential generator: its upper bits are random enough to spread load.
                *random =
                    random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                format!("{start}{}", (*random >> 33) % (*count).max(1))
            }
            Paths::Each(start) => format!("{start}{number}"),
        })
    }
}

/// Carries out `plan`.
///
/// # Errors
/// Those of the sockets; `InvalidData` for an answer that is not the 200 with the contents that it should be.
pub async fn run(plan: Plan) -> io::Result<Tally> {
    let connections = plan.connections;
    let until = plan.until;
    let shared = Arc::new(Shared {
        plan,
        next: AtomicU64::new(0),
        stop: AtomicBool::new(false),
        answers: AtomicU64::new(0),
        compared: AtomicU64::new(0),
        reopened: AtomicU64::new(0),
        slowest_start: AtomicU64::new(0),
        shares: (0..connections).map(|_| AtomicU64::new(0)).collect(),
    });
    let mut since = Instant::now();
    let mut before = vec![0; connections];
    let mut workers = JoinSet::new();
    for index in 0..connections {
        workers.spawn(repeat(Arc::clone(&shared), index));
    }
    match until {
        Until::Count(_) => {}
        Until::Time(duration) => {
            guarded(&mut workers, duration).await?;
            shared.stop.store(true, Ordering::Relaxed);
        }
        Until::Cut(duration) => {
            guarded(&mut workers, duration / 5).await?;
            (since, before) = (Instant::now(), shared.shares());
            guarded(&mut workers, duration * 4 / 5).await?;
            workers.abort_all();
        }
    }
    let is_cut = matches!(until, Until::Cut(_));
    while let Some(ended) = workers.join_next().await {
        match ended {
            Err(error) if is_cut && error.is_cancelled() => {}
            ended => ended.map_err(io::Error::other)??,
        }
    }
    let elapsed = since.elapsed();
    let mut shares = shared.shares();
    shares.iter_mut().zip(before).for_each(|(share, before)| *share -= before);
    Ok(Tally {
        answers: shared.answers.load(Ordering::Relaxed),
        bytes: shares.iter().sum(),
        compared: shared.compared.load(Ordering::Relaxed),
        reopened: shared.reopened.load(Ordering::Relaxed),
        elapsed,
        slowest_start: Duration::from_micros(shared.slowest_start.load(Ordering::Relaxed)),
        shares,
    })
}

/// Waits for `duration`; a connection that fails says so at once and not when the time is over.
async fn guarded(workers: &mut JoinSet<io::Result<()>>, duration: Duration) -> io::Result<()> {
    let over = tokio::time::sleep(duration);
    tokio::pin!(over);
    loop {
        tokio::select! {
            () = &mut over => return Ok(()),
            ended = workers.join_next() => match ended {
                Some(ended) => ended.map_err(io::Error::other)??,
                None => return Ok(()),
            },
        }
    }
}

/// One connection: request after request until there is nothing left to ask for.
async fn repeat(shared: Arc<Shared>, index: usize) -> io::Result<()> {
    let plan = &shared.plan;
    let mut exchange = Exchange::open(plan).await?;
    let mut random = index as u64;
    let mut count = 0;
    while let Some(path) = shared.path(&mut random) {
        let is_compared = count % ONE_IN == 0;
        let sent = Instant::now();
        let first = match exchange.begin(plan, &path).await {
            // A server may close a connection that has been served (RFC 9112 §9.5), and a client asks again on another.
            Err(error) if error.kind() == io::ErrorKind::NotConnected && count > 0 => {
                exchange = Exchange::open(plan).await?;
                shared.reopened.fetch_add(1, Ordering::Relaxed);
                exchange.begin(plan, &path).await?
            }
            begun => begun?,
        };
        let waited = u64::try_from(sent.elapsed().as_micros()).unwrap_or(u64::MAX);
        shared.slowest_start.fetch_max(waited, Ordering::Relaxed);
        shared.shares[index].fetch_add(first, Ordering::Relaxed);
        exchange.compare(&path, is_compared)?;
        while exchange.is_unfinished() {
            let read = exchange.go_on().await?;
            shared.shares[index].fetch_add(read, Ordering::Relaxed);
            exchange.compare(&path, is_compared)?;
        }
        shared.compared.fetch_add(u64::from(is_compared), Ordering::Relaxed);
        shared.answers.fetch_add(1, Ordering::Relaxed);
        count += 1;
    }
    Ok(())
}
