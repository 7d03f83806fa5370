//! The machine the self-test runs on: how late its timers are, what CPU time this process takes, how many sockets it
//! may open, and the settings of a test host's own sockets.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getpid, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::figures::percentile;

/// The settings of a test host's socket: no waiting for acknowledgements, and a congestion control that does not pace
/// by itself. Where the system does not know that one, its own stays.
pub(super) fn prepare(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    #[cfg(target_os = "linux")]
    let _ = rustix::net::sockopt::set_tcp_congestion(stream, "cubic")
        .or_else(|_| rustix::net::sockopt::set_tcp_congestion(stream, "reno"));
}

/// CPU time of this process until now, on all cores together.
pub(super) fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or(0))
}

/// Takes as many open files as the system gives, and says how many that is.
pub(super) fn open_files() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok() {
        return maximum.unwrap_or(u64::MAX);
    }
    current.unwrap_or(u64::MAX)
}

/// A folder of this process's own that goes when it is dropped.
pub(super) struct Folder(PathBuf);

impl Folder {
    /// An empty folder among the system's temporary files.
    ///
    /// # Errors
    /// If it cannot be made, or is there already.
    pub(super) fn new() -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("bentpipe-selftest-{}", getpid().as_raw_nonzero()));
        std::fs::create_dir(&path)?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// How late a sleep ends on this machine, as long as it is watched.
pub(super) struct Watch {
    late: Arc<Mutex<Vec<f64>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// How late timers were, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lateness {
    median: f64,
    high: f64,
    most: f64,
}

impl Watch {
    /// A thread that sleeps for a moment again and again and keeps how much longer it took.
    pub(super) fn start() -> Self {
        let (late, stop) = (Arc::<Mutex<Vec<f64>>>::default(), Arc::<AtomicBool>::default());
        let (kept, stopped) = (late.clone(), stop.clone());
        let watch = move || {
            while !stopped.load(Ordering::Relaxed) {
                let begun = Instant::now();
                std::thread::sleep(PAUSE);
                let over = begun.elapsed().saturating_sub(PAUSE);
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(over.as_secs_f64() * 1e3);
            }
        };
        let thread = std::thread::Builder::new().name("timers".to_owned()).spawn(watch).ok();
        Self { late, stop, thread }
    }

    /// How many sleeps were watched.
    pub(super) fn count(&self) -> usize {
        self.late.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The latest of all but the first `count`, in milliseconds.
    pub(super) fn worst_since(&self, count: usize) -> f64 {
        let late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
        late.iter().skip(count).copied().fold(0.0, f64::max)
    }

    /// What was seen until now.
    pub(super) fn seen(&self) -> Lateness {
        let late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |percent| percentile(&late, percent);
        Lateness { median: of(50.0), high: of(99.0), most: of(100.0) }
    }
}

/// Short enough for many samples, long enough not to be a load.
const PAUSE: Duration = Duration::from_millis(5);

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Lateness {
    /// For people.
    pub(crate) fn print(self) -> String {
        let Self { median, high, most } = self;
        format!("{median:.2} ms (median), {high:.2} ms (99 %), {most:.2} ms at most")
    }

    /// For programs, in seconds.
    pub(crate) fn json(self) -> Value {
        let Self { median, high, most } = self;
        json!({ "p50_seconds": median / 1e3, "p99_seconds": high / 1e3, "max_seconds": most / 1e3 })
    }
}
