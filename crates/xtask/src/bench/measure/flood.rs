//! Rounds of load: hits, what is passed through, what is stored, tunnels, one cold object for a crowd, a full link. Each
//! round tells the processor time of the program for what was answered, and has the origin's counter say whether it was
//! answered from where it should.

use std::time::{Duration, Instant};

use anyhow::ensure;

use super::{Course, Reading};
use crate::bench::peer::Kind;
use crate::bench::stand::{Load, Tally, Until};

/// The part of hits that may be none, as a server that stores much at once drops some: one in this many.
const TOLERANCE: f64 = 1_000.0;

/// How long stored responses get to be on their way before they are asked for.
const SETTLING: Duration = Duration::from_millis(700);

impl Course<'_> {
    /// Asks for all that will be asked for, so that what can be stored is; and again, since some store only then.
    pub(super) async fn warm(&self, policy: &str, size: u64, distinct: u64) -> anyhow::Result<()> {
        for _ in 0..2 {
            let load = if distinct > 1 {
                self.plan(format!("each:/{policy}/{size}/"), 64, Until::Count(distinct))
            } else {
                self.plan(format!("one:/{policy}/{size}/0"), 1, Until::Count(1))
            };
            self.stand.load(&load).await?;
            tokio::time::sleep(SETTLING).await;
        }
        Ok(())
    }

    pub(super) async fn warm_securely(&self, size: u64) -> anyhow::Result<()> {
        let mut load = self.plan(format!("one:/kept/{size}/0"), 1, Until::Count(2));
        load.way = self.authority();
        self.stand.load(&load).await?;
        tokio::time::sleep(SETTLING).await;
        Ok(())
    }

    /// One path, or many at random, for the time of a round.
    pub(super) async fn flood(
        &self,
        policy: &str,
        size: u64,
        distinct: u64,
        connections: usize,
    ) -> anyhow::Result<Reading> {
        let paths = if distinct > 1 {
            format!("any:{distinct}:/{policy}/{size}/")
        } else {
            format!("one:/{policy}/{size}/0")
        };
        let load = self.plan(paths, connections, self.time());
        let (tally, cost, fetched) = self.timed(&load).await?;
        let is_hit = policy == "kept";
        if is_hit {
            ensure!(fetched * TOLERANCE <= tally.answers, "{fetched} of {} were no hits", tally.answers);
        } else if self.peer.kind != Kind::Floor {
            ensure!(fetched >= tally.answers, "{fetched} fetches for {} answers", tally.answers);
        }
        Ok(reading(&tally, cost))
    }

    /// New objects, each once; some of them are asked for again.
    pub(super) async fn store(&self, round: usize, size: u64, count: u64) -> anyhow::Result<Reading> {
        let paths = format!("each:/kept/{size}/round-{round}-");
        let load = self.plan(paths.clone(), 64, Until::Count(count));
        let (tally, cost, fetched) = self.timed(&load).await?;
        ensure!(fetched >= tally.answers, "{fetched} fetches for {} answers", tally.answers);
        let before = self.stand.requests().await?;
        let again = (count / 20).max(1);
        self.stand.load(&self.plan(paths, 8, Until::Count(again))).await?;
        let fetched = self.stand.requests().await? - before;
        ensure!(fetched * 100 <= again, "{fetched} of {again} were not stored");
        Ok(reading(&tally, cost))
    }

    /// A large body through a tunnel.
    pub(super) async fn tunnel(&self, size: u64) -> anyhow::Result<Reading> {
        let mut load = self.plan(format!("one:/passed/{size}/0"), 4, self.time());
        "tunnel".clone_into(&mut load.way);
        let (tally, cost, fetched) = self.timed(&load).await?;
        ensure!(fetched >= tally.answers, "{fetched} fetches for {} answers", tally.answers);
        Ok(reading(&tally, cost))
    }

    /// Hits through tunnels that the program opens.
    pub(super) async fn intercept(&self, size: u64) -> anyhow::Result<Reading> {
        let mut load = self.plan(format!("one:/kept/{size}/0"), 64, self.time());
        load.way = self.authority();
        let (tally, cost, fetched) = self.timed(&load).await?;
        ensure!(fetched * TOLERANCE <= tally.answers, "{fetched} of {} were no hits", tally.answers);
        Ok(reading(&tally, cost))
    }

    /// Many clients at once for one object that nobody has yet and that comes slowly.
    pub(super) async fn crowd(&self, round: usize, clients: usize, size: u64) -> anyhow::Result<Reading> {
        let load =
            self.plan(format!("one:/slow/{size}/round-{round}"), clients, Until::Count(clients as u64));
        let (tally, _, fetched) = self.timed(&load).await?;
        Ok(vec![("fetches", fetched), ("first-byte", tally.slowest_start * 1e3)])
    }

    /// More flows than the link has room for, for at least ten seconds.
    pub(super) async fn link(&self, flows: usize) -> anyhow::Result<Reading> {
        let time = Duration::from_secs((self.extent.seconds * 2).max(10));
        let load = self.plan("one:/passed/100000000/0".to_owned(), flows, Until::Cut(time));
        let before = self.processes.processor_seconds()?;
        let start = Instant::now();
        let tally = self.stand.load(&load).await?;
        let used = self.processes.processor_seconds()? - before;
        let part = used / start.elapsed().as_secs_f64();
        let most = tally.shares.iter().copied().fold(0.0, f64::max);
        let least = tally.shares.iter().copied().fold(f64::INFINITY, f64::min);
        ensure!(least > 0.0, "a flow got nothing");
        let mbit = tally.bytes * 8.0 / tally.seconds / 1e6;
        Ok(vec![("cpu", part * 100.0), ("spread", most / least), ("mbit", mbit)])
    }

    /// Load on this program, as a proxy is asked.
    pub(super) fn plan(&self, paths: String, connections: usize, until: Until) -> Load {
        let way = "absolute".to_owned();
        Load { proxy: self.processes.address(), way, paths, connections, until }
    }

    /// Runs `load`, and gives beside its count the processor seconds that it cost and how often the origin was asked.
    #[expect(clippy::cast_precision_loss, reason = "requests stay far below 2^53")]
    async fn timed(&self, load: &Load) -> anyhow::Result<(Tally, f64, f64)> {
        let fetched = self.stand.requests().await?;
        let before = self.processes.processor_seconds()?;
        let tally = self.stand.load(load).await?;
        let after = self.processes.settled_seconds().await?;
        let fetched = self.stand.requests().await? - fetched;
        ensure!(tally.answers > 0.0, "no answer");
        Ok((tally, after - before, fetched as f64))
    }

    fn time(&self) -> Until {
        Until::Time(Duration::from_secs(self.extent.seconds))
    }

    /// The file of the certificate that this program's own descend from.
    fn authority(&self) -> String {
        self.folder.join("authority.pem").display().to_string()
    }
}

/// All that follows from a count and what it cost; a scenario takes of it what it has figures for.
fn reading(tally: &Tally, processor_seconds: f64) -> Reading {
    vec![
        ("cpu", processor_seconds * 1e6 / tally.answers),
        ("cpu-gb", processor_seconds * 1e9 / tally.bytes.max(1.0)),
        ("requests", tally.answers / tally.seconds),
        ("rate", tally.bytes / tally.seconds / 1e6),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_for_a_request_and_for_a_gigabyte() {
        let tally =
            Tally { answers: 1_000.0, bytes: 2e9, seconds: 4.0, slowest_start: 0.0, shares: Vec::new() };
        let expected = [("cpu", 500.0), ("cpu-gb", 0.25), ("requests", 250.0), ("rate", 500.0)];
        for ((key, value), (expected_key, expected)) in reading(&tally, 0.5).into_iter().zip(expected) {
            assert!(key == expected_key && (value - expected).abs() < 1e-9, "{key}: {value}");
        }
    }
}
