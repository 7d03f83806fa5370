//! What a run came to, as numbers with names: the one object of `--json`, and what the table and the chart are made of.
//!
//! Owns the names, which stay as they are. Units are in them: seconds from the start of the run, bytes of the streams,
//! bits per second.

use std::time::Duration;

use linkio::sim::{Fate, Outcome, Record, Traffic, Transaction};
use linkio::{Accounting, Direction, LinkModel, Moment, Source};
use serde::Serialize;

use super::workload::Plan;

/// Everything that is told of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(super) link: String,
    /// What decides the rates in place of the link's own, if something does.
    pub(super) trace_down: Option<String>,
    pub(super) trace_up: Option<String>,
    /// What rates and utilisation count: `payload` or `wire`.
    pub(super) rates_count: &'static str,
    pub(super) workload: String,
    pub(super) notes: Vec<String>,
    pub(super) seed: u64,
    pub(super) simulated_seconds: f64,
    pub(super) done: usize,
    pub(super) unfinished: usize,
    pub(super) not_begun: usize,
    pub(super) connections: u64,
    /// From when a transaction was due until its first byte arrived.
    pub(super) first_byte_seconds: Percentiles,
    /// From when a transaction was due until its last byte arrived.
    pub(super) completion_seconds: Percentiles,
    pub(super) down: Way,
    pub(super) up: Way,
    pub(super) clients: Vec<Client>,
    pub(super) transactions: Vec<Row>,
}

/// One direction of the link.
#[derive(Debug, Serialize)]
pub(crate) struct Way {
    /// What crossed.
    pub(super) crossed_bytes: u64,
    /// What could have crossed at the link's rate; none without limit.
    pub(super) offered_bytes: Option<u64>,
    /// The one of the other, from 0 to 1.
    pub(super) utilisation: Option<f64>,
    pub(super) mean_bits_per_second: f64,
    /// From when a message was ready until its first packet had left the link.
    pub(super) queueing_delay_seconds: Percentiles,
    pub(super) over_time: OverTime,
}

/// Pieces of the run, each as long; the last may be cut off by its end.
#[derive(Debug, Serialize)]
pub(crate) struct OverTime {
    pub(super) piece_seconds: f64,
    pub(super) crossed_bytes: Vec<u64>,
    pub(super) offered_bytes: Option<Vec<u64>>,
}

/// Of how many, and which value so many in a hundred do not exceed.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Percentiles {
    pub(super) count: usize,
    pub(super) mean: Option<f64>,
    pub(super) p50: Option<f64>,
    pub(super) p90: Option<f64>,
    pub(super) p95: Option<f64>,
    pub(super) p99: Option<f64>,
    pub(super) max: Option<f64>,
}

/// All transactions of one client.
#[derive(Debug, Serialize)]
pub(crate) struct Client {
    pub(super) name: String,
    pub(super) transactions: usize,
    pub(super) unfinished: usize,
    pub(super) down_bytes: u64,
    pub(super) completion_seconds: Percentiles,
}

/// One transaction that began.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(super) client: String,
    pub(super) name: String,
    pub(super) host: String,
    pub(super) class: &'static str,
    pub(super) start_seconds: f64,
    pub(super) up_bytes: u64,
    pub(super) down_bytes: u64,
    /// Bytes of the response that had arrived when the run ended.
    pub(super) arrived_bytes: u64,
    /// Whether its connection was a new one.
    pub(super) new_connection: bool,
    /// Since the start of the transaction, as all that follow.
    pub(super) first_byte_seconds: Option<f64>,
    pub(super) completion_seconds: Option<f64>,
    /// Of the response over all of that time.
    pub(super) mean_bits_per_second: Option<f64>,
    pub(super) queued_up_seconds: Option<f64>,
    pub(super) queued_down_seconds: Option<f64>,
}

impl Report {
    /// The report of a run of `plan` over `model`.
    pub(crate) fn new(plan: &Plan, model: &LinkModel, seed: u64, outcome: &Outcome) -> Self {
        let records = &outcome.records;
        let fates = |fate: Fate| records.iter().filter(|record| record.fate == fate).count();
        let queued = |direction: Direction| {
            records.iter().filter_map(move |record| match direction {
                Direction::Down => record.queued_down,
                Direction::Up => record.queued_up,
            })
        };
        Self {
            link: model.spec.to_string(),
            trace_down: model.down.as_ref().map(source),
            trace_up: model.up.as_ref().map(source),
            rates_count: match model.spec.accounting {
                Accounting::Payload => "payload",
                Accounting::Wire(_) => "wire",
            },
            workload: plan.title.clone(),
            notes: plan.notes.clone(),
            seed,
            simulated_seconds: seconds(outcome.ended),
            done: fates(Fate::Done),
            unfinished: fates(Fate::Unfinished),
            not_begun: fates(Fate::Waits),
            connections: outcome.connections,
            first_byte_seconds: Percentiles::of(records.iter().filter_map(first_byte)),
            completion_seconds: Percentiles::of(records.iter().filter_map(completion)),
            down: Way::new(&outcome.down, outcome.ended, Percentiles::of(queued(Direction::Down))),
            up: Way::new(&outcome.up, outcome.ended, Percentiles::of(queued(Direction::Up))),
            clients: clients(plan, records),
            transactions: rows(plan, records),
        }
    }

    /// One JSON object, and a line end.
    ///
    /// # Errors
    /// What writing to `out` says.
    pub(crate) fn write_json(&self, mut out: impl std::io::Write) -> std::io::Result<()> {
        serde_json::to_writer(&mut out, self)?;
        writeln!(out)
    }
}

impl Way {
    fn new(traffic: &Traffic, ended: Moment, queueing_delay: Percentiles) -> Self {
        let over_time = OverTime {
            piece_seconds: traffic.crossed_over_time.width().as_secs_f64(),
            crossed_bytes: traffic.crossed_over_time.bytes().to_vec(),
            offered_bytes: traffic.offered.is_some().then(|| traffic.offered_over_time.clone()),
        };
        Self {
            crossed_bytes: traffic.crossed,
            offered_bytes: traffic.offered,
            utilisation: traffic.offered.and_then(|offered| share(traffic.crossed, offered)),
            mean_bits_per_second: rate(traffic.crossed, seconds(ended)).unwrap_or(0.0),
            queueing_delay_seconds: queueing_delay,
            over_time,
        }
    }
}

impl Percentiles {
    /// Of `times`, by nearest rank: each is a value that occurred.
    fn of(times: impl Iterator<Item = Duration>) -> Self {
        let mut times: Vec<Duration> = times.collect();
        times.sort_unstable();
        let rank = |percent: usize| {
            let place = (times.len() * percent).div_ceil(100).max(1) - 1;
            times.get(place).map(Duration::as_secs_f64)
        };
        let sum: f64 = times.iter().map(Duration::as_secs_f64).sum();
        Self {
            count: times.len(),
            mean: (!times.is_empty()).then(|| sum / times.len() as f64),
            p50: rank(50),
            p90: rank(90),
            p95: rank(95),
            p99: rank(99),
            max: rank(100),
        }
    }
}

fn clients(plan: &Plan, records: &[Record]) -> Vec<Client> {
    let mut of_client = vec![Vec::new(); plan.clients.len()];
    for (asked, record) in plan.workload.transactions.iter().zip(records) {
        let key = usize::try_from(asked.standing.client.0).unwrap_or(usize::MAX);
        if let Some(client) = of_client.get_mut(key).filter(|_| record.began.is_some()) {
            client.push(record);
        }
    }
    let named = plan.clients.iter().zip(of_client);
    named
        .map(|(name, records)| Client {
            name: name.clone(),
            transactions: records.len(),
            unfinished: records.iter().filter(|record| record.fate == Fate::Unfinished).count(),
            down_bytes: records.iter().map(|record| record.arrived).sum(),
            completion_seconds: Percentiles::of(records.iter().filter_map(|record| completion(record))),
        })
        .collect()
}

fn rows(plan: &Plan, records: &[Record]) -> Vec<Row> {
    let all = plan.workload.transactions.iter().zip(&plan.names).zip(records);
    all.filter_map(|((asked, name), record)| Some(row(plan, asked, name, record, record.began?))).collect()
}

fn row(plan: &Plan, asked: &Transaction, name: &str, record: &Record, began: Moment) -> Row {
    let completion = completion(record).map(|time| time.as_secs_f64());
    Row {
        client: plan.client(asked).to_owned(),
        name: name.to_owned(),
        host: plan.host(asked).to_owned(),
        class: asked.standing.class.name(),
        start_seconds: seconds(began),
        up_bytes: asked.up,
        down_bytes: asked.down,
        arrived_bytes: record.arrived,
        new_connection: record.dialled,
        first_byte_seconds: first_byte(record).map(|time| time.as_secs_f64()),
        completion_seconds: completion,
        mean_bits_per_second: completion.and_then(|time| rate(record.arrived, time)),
        queued_up_seconds: record.queued_up.map(|time| time.as_secs_f64()),
        queued_down_seconds: record.queued_down.map(|time| time.as_secs_f64()),
    }
}

fn first_byte(record: &Record) -> Option<Duration> {
    Some(record.first_byte?.since(record.began?))
}

fn completion(record: &Record) -> Option<Duration> {
    Some(record.done?.since(record.began?))
}

fn source(source: &Source) -> String {
    match source {
        Source::Trace(trace) => {
            let rate = super::measure::rate(trace.mean_rate().bits_per_second() as f64);
            format!("a trace of {}, {rate} on average", super::measure::time(trace.length()))
        }
        Source::Schedule(schedule) => {
            format!("a schedule of {}", super::measure::count(schedule.points.len(), "point", "points"))
        }
    }
}

fn seconds(moment: Moment) -> f64 {
    moment.since(Moment::START).as_secs_f64()
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

fn rate(bytes: u64, seconds: f64) -> Option<f64> {
    (seconds > 0.0).then(|| bytes as f64 * 8.0 / seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let of = |seconds: std::ops::RangeInclusive<u64>| Percentiles::of(seconds.map(Duration::from_secs));
        let hundred = of(1..=100);
        assert_eq!(
            (hundred.p50, hundred.p90, hundred.p99, hundred.max),
            (Some(50.0), Some(90.0), Some(99.0), Some(100.0))
        );
        assert_eq!((hundred.count, hundred.mean), (100, Some(50.5)));
        let three = of(1..=3);
        assert_eq!((three.p50, three.p95, three.max), (Some(2.0), Some(3.0), Some(3.0)));
        assert_eq!(Percentiles::of(std::iter::empty()).p50, None);
    }
}
