//! What the proxy says of itself in figures, for Prometheus and whoever reads its format: `rows` has a row a metric. What
//! parts count themselves is read when it is asked for; of exchanges, which end by the thousand, `exchanges` counts a
//! little each. It decides nothing, and nobody waits for it.

pub(crate) mod exchanges;
pub(crate) mod exposition;
mod histogram;
mod look;
mod process;
mod rows;

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::SystemTime;

use bentpipe_store::Store;
use linkio::SharedLink;

use crate::clock::Clock;
use crate::exchange::Observers;
use crate::intercept::Interception;
use crate::listen::census::Census;
use crate::observe::live::Live;
use crate::observe::lost::Lost;
use crate::observe::tally::Tally;
use crate::upstream::Upstream;
use crate::upstream::names::Names;
use exchanges::Exchanges;
use exposition::{Exposition, Format};
use look::Look;

/// The parts of a running proxy whose figures are told.
pub(crate) struct Parts {
    pub(crate) exchanges: Arc<Exchanges>,
    pub(crate) tally: Tally,
    pub(crate) observers: Arc<Observers>,
    pub(crate) live: Live,
    /// Lines that the access log lost.
    pub(crate) lost_lines: Option<Arc<Lost>>,
    pub(crate) link: SharedLink,
    pub(crate) names: Names,
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) interception: Option<Arc<Interception>>,
    pub(crate) census: Arc<Census>,
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    /// When the authority's certificate ends, where there is one.
    pub(crate) authority_ends: Option<SystemTime>,
    pub(crate) started: SystemTime,
}

/// The figures of a running proxy.
pub(crate) struct Metrics {
    parts: Parts,
}

impl Metrics {
    /// Of `parts`, which have just been started.
    pub(crate) fn new(parts: Parts) -> Self {
        Self { parts }
    }

    /// Lines that the access log lost; none where there is no log.
    pub(crate) fn lost_lines(&self) -> Option<u64> {
        self.parts.lost_lines.as_ref().map(|lost| lost.so_far())
    }

    /// All of them, as they are now. Looks into `/proc`, so call it where waiting is allowed.
    pub(crate) fn written(&self, format: Format) -> String {
        let (look, mut out) = (Look::at(&self.parts, self.parts.started), Exposition::new(format));
        for row in rows::all() {
            out.begin(row.name, row.kind, row.help);
            (row.write)(&look, &mut out);
        }
        out.end()
    }
}

/// The page of all metrics, for `docs/metrics.md`.
pub(crate) fn reference() -> String {
    let mut page = INTRODUCTION.to_owned();
    for (title, rows) in rows::SECTIONS {
        let _ = write!(page, "\n## {title}\n\n| metric | kind | what it is | labels |\n|---|---|---|---|\n");
        for row in rows {
            let labels: Vec<_> =
                row.labels.iter().map(|(name, values)| format!("`{name}`: {values}")).collect();
            let (name, kind, labels) = (row.name, row.kind.name(), labels.join("; "));
            let _ = writeln!(page, "| `{name}` | {kind} | {} | {labels} |", row.help);
        }
    }
    page
}

const INTRODUCTION: &str = "# Metrics

What bentpipe says of itself in figures, in the text format of Prometheus (0.0.4), or in OpenMetrics 1.0 where `Accept` asks
for it. `bentpipe metrics` prints them; `GET /metrics` of the control interface is what they are scraped from:

```console
$ curl --unix-socket /run/user/1000/bentpipe/3128.sock http://localhost/metrics
```

Alert rules: [operation/bentpipe.rules.yml](operation/bentpipe.rules.yml). A dashboard for Grafana:
[operation/grafana.json](operation/grafana.json).

- No URL, host or client is in a label: there are a few hundred series, however many clients there are.
- Counters begin at 0 with the process. What an exchange came to is counted when it ends; the link's own counters grow as
  bytes cross.
- Answers of the cache are hits (`hit` in RFC 9211's Cache-Status), stale ones served because the origin could not be asked,
  and what was revalidated (`fwd-status=304`), which costs a question; the bytes of all three come from what is stored. Answers of
  the origin are all other responses of an origin. Failures, refusals, tunnels, bentpipe's own pages, and requests whose client
  left first are neither: they are in no ratio. The hit ratio is `rate(bentpipe_cache_answers_total{source=\"cache\"}[1h]) /
  ignoring(source) sum without(source) (rate(bentpipe_cache_answers_total[1h]))`; the part of the bytes that did not cross the
  link is `1 - rate(bentpipe_cache_answer_bytes_total{source=\"origin\"}[1h]) / ignoring(source) sum without(source)
  (rate(bentpipe_cache_answer_bytes_total[1h]))`.
- `+Inf` is the rate of a direction that is not limited, and the queueing delay of one that is closed.

This page is generated: `cargo xtask docs`.
";

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_follow_the_conventions_of_prometheus() {
        let mut names = HashSet::new();
        for row in rows::all() {
            let name = row.name;
            assert!(names.insert(name), "{name} is there twice");
            assert!(name.starts_with("bentpipe_") || name.starts_with("process_"), "{name}");
            assert_eq!(name.ends_with("_total"), row.kind == exposition::Kind::Counter, "{name}");
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
            assert!(row.help.ends_with('.') && !row.help.contains('|'), "{name}: {}", row.help);
            for unit in
                ["_milliseconds", "_ms", "_kilobytes", "_bits", "_percent", "_count", "_sum", "_bucket"]
            {
                assert!(!name.contains(unit), "{name}: no base unit, or a name that histograms need");
            }
        }
    }

    #[test]
    fn the_page_of_metrics_is_up_to_date() {
        let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md"));
        assert_eq!(page.unwrap_or_default(), reference(), "cargo xtask docs");
    }
}
