//! What of the stored objects is there after the program is: the time to the first hit after a stop, and the hits that are
//! left after `kill -9`.

use std::time::{Duration, Instant};

use anyhow::bail;
use testkit::client::{Client, Request};

use super::{Course, Reading};
use crate::bench::stand::Until;

/// How long a program may answer from the origin before it is said never to hit.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long ago the last object was stored when the program is killed.
const LAST_STORED: Duration = Duration::from_secs(2);

/// How long a program gets after the kill to find what it has: some look through their folders while they serve.
const RECOVERY: Duration = Duration::from_secs(3);

impl Course<'_> {
    /// Stops the program as it wants to be stopped, starts it, and waits for the first answer that the origin had no part in.
    pub(super) async fn restart(&mut self, round: usize, objects: u64) -> anyhow::Result<Reading> {
        if !self.peer.has_disk() {
            return Ok(vec![("ms", f64::INFINITY)]);
        }
        // An object that was asked for too early is stored anew: each time another one is asked for, in each round others.
        let paths = (0..objects).map(|number| (number * 7 + round as u64 * 1_000) % objects);
        self.processes.stop().await?;
        let start = Instant::now();
        self.launch_again().await?;
        for number in paths {
            if start.elapsed() > PATIENCE {
                break;
            }
            let before = self.stand.requests().await?;
            let asked = Instant::now();
            let is_answered = self.ask(number).await.unwrap_or_default();
            let at = start.elapsed();
            if is_answered && self.stand.requests().await? == before {
                return Ok(vec![("ms", at.as_secs_f64() * 1e3)]);
            }
            tokio::time::sleep(Duration::from_millis(2).saturating_sub(asked.elapsed())).await;
        }
        Ok(vec![("ms", f64::INFINITY)])
    }

    /// Stores objects, kills the program, and counts in percent those that it still has.
    #[expect(clippy::cast_precision_loss, reason = "a thousand objects")]
    pub(super) async fn kill(&mut self, objects: u64) -> anyhow::Result<Reading> {
        let load = self.plan("each:/kept/10000/".to_owned(), 64, Until::Count(objects));
        self.stand.load(&load).await?;
        tokio::time::sleep(LAST_STORED).await;
        self.processes.kill()?;
        self.launch_again().await?;
        tokio::time::sleep(RECOVERY).await;
        let before = self.stand.requests().await?;
        self.stand.load(&load).await?;
        let fetched = self.stand.requests().await? - before;
        if fetched > objects {
            bail!("{fetched} fetches for {objects} objects");
        }
        Ok(vec![("kept", 100.0 * (objects - fetched) as f64 / objects as f64)])
    }

    async fn ask(&self, number: u64) -> anyhow::Result<bool> {
        let path = format!("/kept/10000/{number}");
        let url = format!("http://{}{path}", self.stand.origin());
        let mut client = Client::connect(self.processes.address()).await?;
        let answer = client.request(&Request::new("GET", &url)).await?;
        Ok(answer.status == 200 && testkit::contents::are(&path, 0, &answer.body))
    }
}
