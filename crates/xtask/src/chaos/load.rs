//! Load: clients that ask for ever new objects, note which answers came whole and when, and are stopped or cut off.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::random::Random;
use super::stand::{Answer, Asker};

/// Clients that ask at the same time.
const CLIENTS: usize = 8;
/// What a client waits after an answer: the machine is not the subject.
const REST: Duration = Duration::from_millis(10);

/// Running load.
#[derive(Debug)]
pub(super) struct Load {
    workers: JoinSet<Vec<Answered>>,
    stop: Arc<AtomicBool>,
}

/// One answer.
#[derive(Clone, Debug)]
pub(super) struct Answered {
    /// What was asked for.
    pub(super) path: String,
    /// When the last byte had come.
    pub(super) at: Instant,
    /// What came.
    pub(super) answer: Answer,
}

impl Load {
    /// Asks for objects whose names begin with `prefix`, each once; every tenth arrives slowly.
    pub(super) fn begin(asker: &Asker, prefix: &str, random: &mut Random) -> Self {
        let (stop, next) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut workers = JoinSet::new();
        for client in 0..CLIENTS {
            let (asker, stop, next, prefix) =
                (asker.clone(), Arc::clone(&stop), Arc::clone(&next), prefix.to_owned());
            let seed = u64::try_from(random.within(0..1 << 30)).unwrap_or_default();
            let mut random = Random::new(seed, &client.to_string());
            workers.spawn(async move {
                let mut answered = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let path = path(&prefix, number, random.body_length());
                    let answer = asker.ask(&path).await;
                    answered.push(Answered { path, at: Instant::now(), answer });
                    tokio::time::sleep(REST).await;
                }
                answered
            });
        }
        Self { workers, stop }
    }

    /// Stops asking and returns every answer.
    pub(super) async fn finish(self) -> Vec<Answered> {
        self.stop.store(true, Ordering::Relaxed);
        self.workers.join_all().await.into_iter().flatten().collect()
    }
}

/// The path of an object of the load.
fn path(prefix: &str, number: usize, length: usize) -> String {
    let slow = if number % 10 == 9 { "slow-" } else { "" };
    format!("/{length}/{slow}{prefix}-{number}")
}

/// The paths of those that came whole and right: at least `age` before `moment`, and after that.
pub(super) fn split(answered: &[Answered], moment: Instant, age: Duration) -> (Vec<String>, Vec<String>) {
    let right = answered.iter().filter(|answered| answered.answer == Answer::Right);
    let (old, young): (Vec<_>, Vec<_>) = right.partition(|answered| answered.at + age <= moment);
    let paths =
        |answered: Vec<&Answered>| answered.into_iter().map(|answered| answered.path.clone()).collect();
    (paths(old), paths(young))
}
