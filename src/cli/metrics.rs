//! `bentpipe metrics`: the figures of the running proxy, as they are scraped.

use std::io::Write as _;

use clap::Args;

use crate::admin::client::Operator;
use crate::config::Loaded;
use crate::metrics;

/// Print the metrics of the running proxy.
#[derive(Clone, Debug, Args)]
pub(crate) struct Metrics {
    /// In the format of OpenMetrics 1.0, in place of that of Prometheus
    #[arg(long)]
    openmetrics: bool,
    /// Print the page that says what each of them is (docs/metrics.md); no proxy is asked
    #[arg(long, conflicts_with = "openmetrics")]
    reference: bool,
}

/// Carries it out.
pub(crate) fn run(command: &Metrics, loaded: &Loaded) -> anyhow::Result<()> {
    let text = if command.reference {
        metrics::reference()
    } else {
        let accept = if command.openmetrics { "application/openmetrics-text" } else { "text/plain" };
        Operator::running(loaded)?.text("/metrics", accept)?
    };
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(())
}
