//! What a program holds while it does nothing: memory just started, with stored objects, and for each idle connection.

use std::time::Duration;

use anyhow::ensure;
use testkit::client::{Client, Request};

use super::{Course, Reading};
use crate::bench::stand::Until;

/// How long a program gets to come to rest, and to give memory back that it needs no more.
const REST: Duration = Duration::from_secs(5);

impl Course<'_> {
    /// Memory after the start, and after so many objects were stored.
    pub(super) async fn memory(&self, objects: u64, size: u64) -> anyhow::Result<Reading> {
        tokio::time::sleep(REST).await;
        let idle = megabytes(self.processes.memory()?);
        self.stand.load(&self.plan(format!("each:/kept/{size}/"), 64, Until::Count(objects))).await?;
        tokio::time::sleep(REST).await;
        Ok(vec![("idle", idle), ("filled", megabytes(self.processes.memory()?))])
    }

    /// The memory that each of so many connections takes that has had one answer and says nothing more.
    #[expect(clippy::cast_precision_loss, reason = "bytes of memory stay far below 2^53")]
    pub(super) async fn idle(&self, connections: usize) -> anyhow::Result<Reading> {
        let request = Request::new("GET", &format!("http://{}/kept/1000/0", self.stand.origin()));
        tokio::time::sleep(REST).await;
        let before = self.processes.memory()?;
        let mut clients = Vec::with_capacity(connections);
        for _ in 0..connections {
            let mut client = Client::connect(self.processes.address()).await?;
            ensure!(client.request(&request).await?.status == 200, "a connection is not served");
            clients.push(client);
        }
        tokio::time::sleep(REST).await;
        let after = self.processes.memory()?;
        // They must have been there all the time.
        for client in clients.iter_mut().step_by(50) {
            ensure!(client.request(&request).await?.status == 200, "an idle connection was closed");
        }
        Ok(vec![("bytes", (after as f64 - before as f64) / connections as f64)])
    }
}

#[expect(clippy::cast_precision_loss, reason = "bytes of memory stay far below 2^53")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
