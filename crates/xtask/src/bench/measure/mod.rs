//! How a scenario is measured of one program: made ready once, then looked at in rounds. This file starts and restarts the
//! programs and leads to the others, of which each knows one kind of measurement.

mod flood;
mod keep;
mod rest;

use std::path::PathBuf;

use super::peer::{Peer, Place};
use super::processes::Processes;
use super::scenario::{Measure, Scenario};
use super::stand::Stand;
use crate::program::free_port;

/// What one round gave, by the keys of the scenario's figures.
pub(super) type Reading = Vec<(&'static str, f64)>;

/// How long and how often.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    pub(super) rounds: usize,
    pub(super) seconds: u64,
}

/// A program in one scenario.
#[derive(Debug)]
pub(super) struct Course<'a> {
    stand: &'a Stand,
    peer: &'a Peer,
    scenario: &'static Scenario,
    extent: Extent,
    folder: PathBuf,
    processes: Processes,
}

/// How many rounds a scenario has: what takes long and hardly varies is done once.
pub(super) fn rounds(scenario: &Scenario, extent: Extent) -> usize {
    match scenario.measure {
        Measure::Idle { .. } | Measure::Memory { .. } | Measure::Kill { .. } => 1,
        _ => extent.rounds,
    }
}

impl<'a> Course<'a> {
    /// Starts the program in a folder of its own and fills it as the scenario wants.
    ///
    /// # Errors
    /// When it does not start, or does not answer as it should.
    pub(super) async fn begin(
        stand: &'a Stand,
        peer: &'a Peer,
        scenario: &'static Scenario,
        extent: Extent,
    ) -> anyhow::Result<Self> {
        let folder = stand.folder().join(format!("{}-{}", scenario.name, peer.name));
        let address = free_port()?;
        let processes = launch(stand, peer, scenario, &folder, address).await?;
        let course = Self { stand, peer, scenario, extent, folder, processes };
        match scenario.measure {
            Measure::Load { policy, size, distinct, .. } => course.warm(policy, size, distinct).await?,
            Measure::Intercept { size } => course.warm_securely(size).await?,
            Measure::Idle { .. } => course.warm("kept", 1_000, 1).await?,
            Measure::Start { objects } if peer.has_disk() => {
                course.warm("kept", 10_000, objects).await?;
                tokio::time::sleep(peer.settling()).await;
            }
            Measure::Start { .. }
            | Measure::Store { .. }
            | Measure::Tunnel { .. }
            | Measure::Memory { .. }
            | Measure::Kill { .. }
            | Measure::Crowd { .. }
            | Measure::Link { .. } => {}
        }
        Ok(course)
    }

    /// One round.
    ///
    /// # Errors
    /// When an answer is wrong, or a hit none.
    pub(super) async fn round(&mut self, number: usize) -> anyhow::Result<Reading> {
        match self.scenario.measure {
            Measure::Load { policy, size, distinct, connections } => {
                self.flood(policy, size, distinct, connections).await
            }
            Measure::Store { size, count } => self.store(number, size, count).await,
            Measure::Tunnel { size } => self.tunnel(size).await,
            Measure::Intercept { size } => self.intercept(size).await,
            Measure::Idle { connections } => self.idle(connections).await,
            Measure::Memory { objects, size } => self.memory(objects, size).await,
            Measure::Start { objects } => self.restart(number, objects).await,
            Measure::Kill { objects } => self.kill(objects).await,
            Measure::Crowd { clients, size } => self.crowd(number, clients, size).await,
            Measure::Link { flows } => self.link(flows).await,
        }
    }

    /// Starts the program again, in its old folder and at its old address.
    async fn launch_again(&mut self) -> anyhow::Result<()> {
        let address = self.processes.address();
        self.processes = launch(self.stand, self.peer, self.scenario, &self.folder, address).await?;
        Ok(())
    }
}

impl Drop for Course<'_> {
    fn drop(&mut self) {
        // Gone before its folder is, and the folder before the next scenario wants the room.
        let _ = self.processes.kill();
        self.peer.tidy(self.processes.address());
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

async fn launch(
    stand: &Stand,
    peer: &Peer,
    scenario: &Scenario,
    folder: &std::path::Path,
    address: std::net::SocketAddr,
) -> anyhow::Result<Processes> {
    let root = stand.root();
    let place =
        Place { folder, address, origin: stand.origin(), root: &root, secure_origin: stand.secure_origin() };
    let command = stand.on_processor(&peer.command(&place, scenario.measure)?);
    Processes::start(command, address, &folder.join("said")).await
}
