//! `cargo xtask upgrade`: five upgrades in a row under mixed load: hits, misses, downloads of two minutes, tunnels and
//! HTTP/2. No request may fail, no byte be wrong, and next to no throughput be lost.
//!
//! Every client asks at a fixed pace, so that a stall shows as requests that are missing, whatever the machine can do.

mod client;
mod origin;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tempfile::TempDir;
use testkit::client::{Client, Request};
use tokio::task::JoinSet;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::program::{Program, build_bentpipe, free_port};
use client::{Kind, Note, Scene};

/// What to do.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Connections at the same time.
    #[arg(long, default_value_t = 200)]
    connections: usize,
    /// Upgrades in a row.
    #[arg(long, default_value_t = 5)]
    upgrades: u64,
    /// Seconds between them.
    #[arg(long, default_value_t = 12)]
    apart: u64,
    /// Milliseconds between two requests of a connection.
    #[arg(long, default_value_t = 200)]
    pause: u64,
    /// The link.
    #[arg(long, default_value = "20M")]
    link: String,
    /// Objects that are stored before it begins.
    #[arg(long, default_value_t = 0)]
    objects: u64,
    /// The program, in place of a release build of this tree.
    #[arg(long)]
    binary: Option<PathBuf>,
}

/// Seconds that belong to an upgrade: from this many before it on, and until this many after it.
const AROUND: (f64, f64) = (0.5, 3.5);
/// Until all clients are at their pace.
const WARM: Duration = Duration::from_secs(5);
/// What may be lost, in percent.
const LOSS: f64 = 2.0;
/// The share of the pace that has to be held away from upgrades. Below it the machine is the limit, and what is lost
/// around upgrades cannot be told from what it is short of.
const HELD: f64 = 0.98;

/// Runs it and prints the figures.
///
/// # Errors
/// When a request failed, a byte was wrong, too much was lost, or something did not come up.
pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    let binary = options.binary.clone().map_or_else(build_bentpipe, Ok)?;
    let home = tempfile::tempdir()?;
    let tls = trusted(&binary, &home)?;
    let (origin, echo) = (origin::start().await?, origin::echo().await?);
    let (secure, control) = (free_port()?, home.path().join("control"));
    let program = start(&binary, &home, secure, &options.link).await?;
    let scene = Arc::new(Scene {
        proxy: program.address(),
        secure,
        origin: origin.url(""),
        echo,
        tls,
        pause: Duration::from_millis(options.pause),
        begun: Instant::now(),
        is_over: AtomicBool::new(false),
        next: AtomicU64::new(0),
        notes: Mutex::default(),
    });
    fill(&scene, options.objects).await?;
    let begun = scene.begun.elapsed();
    let clients = begin(&scene, options.connections);
    tokio::time::sleep(WARM).await;
    let mut upgrades = Vec::new();
    let mut last = 0;
    for _ in 0..options.upgrades {
        tokio::time::sleep(Duration::from_secs(options.apart)).await;
        let at = scene.begun.elapsed();
        let said = command(&binary, &home, &["--control", &control.to_string_lossy(), "upgrade"])?;
        let took = scene.begun.elapsed() - at;
        println!("{:6.1} s  {} ms  {}", at.as_secs_f64(), took.as_millis(), said.trim());
        let process = said.split(' ').nth(1).and_then(|number| number.parse().ok());
        last = process.context("which process serves")?;
        upgrades.push(at);
    }
    // The downloads take two minutes from the beginning.
    while scene.begun.elapsed() < begun + Duration::from_secs(130) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let end = scene.begun.elapsed();
    scene.is_over.store(true, Ordering::Relaxed);
    clients.join_all().await;
    let notes = std::mem::take(&mut *scene.notes.lock().unwrap_or_else(PoisonError::into_inner));
    let said = program.said()?;
    if let Some(process) = rustix::process::Pid::from_raw(last) {
        let _ = rustix::process::kill_process(process, rustix::process::Signal::TERM);
    }
    for line in said.lines().filter(|line| line.contains("taken over") || line.contains("panicked")) {
        println!("{line}");
    }
    let asking = options.connections - clients_of(Kind::Download, options.connections);
    let pace = asking as f64 * 1000.0 / options.pause as f64;
    report(&notes, &upgrades, (begun + WARM, end), pace)
}

/// Makes an authority and trusts it.
fn trusted(binary: &Path, home: &TempDir) -> anyhow::Result<Arc<ClientConfig>> {
    command(binary, home, &["ca", "init"])?;
    let pem = command(binary, home, &["ca", "export"])?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        roots.add(certificate?)?;
    }
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

/// What `binary` says to `arguments`.
fn command(binary: &Path, home: &TempDir, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(binary)
        .env_clear()
        .env("HOME", home.path())
        .env("XDG_RUNTIME_DIR", home.path())
        .args(arguments)
        .output()
        .context("the program could not be started")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{arguments:?}: {}", said.trim());
    Ok(String::from_utf8(output.stdout)?)
}

async fn start(
    binary: &Path,
    home: &TempDir,
    secure: std::net::SocketAddr,
    link: &str,
) -> anyhow::Result<Program> {
    let address = free_port()?;
    let mut command = Command::new(binary);
    command.env_clear().env("HOME", home.path()).env("XDG_RUNTIME_DIR", home.path());
    command
        .arg("--cache-dir")
        .arg(home.path().join("cache"))
        .arg("--control")
        .arg(home.path().join("control"));
    command.args(["--listen", &address.to_string(), "--https-listen", &secure.to_string(), "--link", link]);
    command.args(["--allow-destination", "127.0.0.1:1-65535"]);
    Program::start(command, address).await
}

/// Has `objects` stored.
async fn fill(scene: &Arc<Scene>, objects: u64) -> anyhow::Result<()> {
    let mut filling = JoinSet::new();
    for first in 0..16 {
        let scene = Arc::clone(scene);
        filling.spawn(async move {
            let mut client = Client::connect(scene.proxy).await?;
            for number in (first..objects).step_by(16) {
                let url = format!("{}{}", scene.origin, origin::Path::Object(number));
                client.request(&Request::new("GET", &url)).await?;
            }
            Ok::<_, std::io::Error>(())
        });
    }
    for filled in filling.join_all().await {
        filled?;
    }
    Ok(())
}

/// Starts the clients: of a hundred 50 ask for hits, 24 for misses, 5 download, 10 have tunnels and 10 HTTP/2; one asks on
/// ever new connections.
fn begin(scene: &Arc<Scene>, connections: usize) -> JoinSet<()> {
    let mut clients = JoinSet::new();
    for number in 0..connections {
        clients.spawn(Arc::clone(scene).run(kind(number, connections)));
    }
    clients
}

fn kind(number: usize, connections: usize) -> Kind {
    match number * 100 / connections {
        0..50 => Kind::Hit,
        50..74 => Kind::Miss,
        74..79 => Kind::Download,
        79..89 => Kind::Tunnel,
        89..99 => Kind::Shared,
        _ => Kind::Fresh,
    }
}

fn clients_of(meant: Kind, connections: usize) -> usize {
    (0..connections).filter(|number| kind(*number, connections) == meant).count()
}

/// Prints what became of all, and fails where it is not what it has to be.
fn report(
    notes: &[Note],
    upgrades: &[Duration],
    (from, to): (Duration, Duration),
    pace: f64,
) -> anyhow::Result<()> {
    let mut kinds: BTreeMap<Kind, Vec<&Note>> = BTreeMap::new();
    for note in notes {
        kinds.entry(note.kind).or_default().push(note);
    }
    println!("{:<10} {:>8} {:>7} {:>12} {:>12} {:>12}", "", "done", "failed", "median", "99.9 %", "longest");
    for (kind, notes) in &kinds {
        let failed = notes.iter().filter(|note| note.fault.is_some()).count();
        let mut took: Vec<_> = notes.iter().map(|note| note.took).collect();
        took.sort_unstable();
        let at =
            |share: usize| took.get(took.len() * share / 1000).or(took.last()).copied().unwrap_or_default();
        let milliseconds = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1000.0);
        let (middle, most, all) = (milliseconds(at(500)), milliseconds(at(999)), milliseconds(at(1000)));
        let done = notes.len() - failed;
        println!("{:<10} {done:>8} {failed:>7} {middle:>12} {most:>12} {all:>12}", format!("{kind:?}"));
    }
    let faults: Vec<_> = notes.iter().filter_map(|note| Some((note, note.fault.as_ref()?))).collect();
    for (note, fault) in faults.iter().take(20) {
        println!("{:6.1} s  {:?}: {fault}", note.at.as_secs_f64(), note.kind);
    }
    let (around, apart) = rates(notes, upgrades, from, to);
    let loss = (1.0 - around / apart) * 100.0;
    println!("requests a second: {around:.1} around upgrades, {apart:.1} else, {pace:.1} asked for");
    ensure!(faults.is_empty(), "{} requests failed", faults.len());
    ensure!(
        apart >= pace * HELD,
        "the machine does not hold this pace, so no loss can be told; give a longer --pause"
    );
    println!("{loss:.2} % lost around upgrades");
    ensure!(loss < LOSS, "more than {LOSS} % were lost");
    Ok(())
}

/// Requests that were answered in a second: around upgrades, and else.
fn rates(notes: &[Note], upgrades: &[Duration], from: Duration, to: Duration) -> (f64, f64) {
    let windows: Vec<_> =
        upgrades.iter().map(|at| (at.as_secs_f64() - AROUND.0, at.as_secs_f64() + AROUND.1)).collect();
    let is_around = |at: f64| windows.iter().any(|(first, last)| (*first..*last).contains(&at));
    let (mut around, mut apart) = (0_u32, 0_u32);
    for note in notes.iter().filter(|note| note.kind != Kind::Download && note.fault.is_none()) {
        if note.at < from || note.at > to {
            continue;
        }
        if is_around(note.at.as_secs_f64()) { around += 1 } else { apart += 1 }
    }
    let length: f64 = windows.iter().map(|(first, last)| last - first).sum();
    let all = (to - from).as_secs_f64();
    (f64::from(around) / length, f64::from(apart) / (all - length))
}
