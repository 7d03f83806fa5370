//! The measurements by name, in the order in which they are made. Each is a function in a file beside this one and
//! gives one row or more.

mod change;
mod cost;
mod latency;
mod rate;
mod sharing;
mod trace;

use super::stand::Bench;
use super::table::Row;

/// One measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measurement {
    /// A download that has a link of this rate to itself.
    Goodput(&'static str),
    /// An upload that has a link of this rate to itself.
    Upload(&'static str),
    /// So many downloads of one client on a link of this rate.
    Fairness(usize, &'static str),
    /// A GET, a POST and tunnels both ways.
    Kinds,
    /// A client with one flow beside one with eight.
    Clients,
    /// A client that does not read beside three that do.
    Stalled,
    /// Three of four flows leave.
    Leaving,
    /// Short requests beside a download on a link of this rate.
    Small(&'static str),
    /// A page beside a download.
    Page,
    /// Stored content beside a download.
    Hit,
    /// Short requests on a link with a round trip of so many milliseconds.
    RoundTrip(u32),
    /// The same beside a download.
    BusyRoundTrip(u32),
    /// What jitter adds to a round trip.
    Jitter,
    /// A link that is changed under a download.
    Change,
    /// Links that change by themselves, under a download.
    Trace,
    /// CPU time of so many flows on a link of this rate.
    Cost(usize, &'static str),
    /// Streams over an unlimited link beside bare ones.
    Unlimited,
}

use Measurement::{
    BusyRoundTrip, Change, Clients, Cost, Fairness, Goodput, Hit, Jitter, Kinds, Leaving, Page, RoundTrip,
    Small, Stalled, Trace, Unlimited, Upload,
};

/// All measurements in their order. Those of one list run side by side, each with a proxy of its own: they are no load.
pub(super) const PLAN: &[&[Measurement]] = &[
    &[Goodput("56k"), Goodput("512k"), Goodput("1M")],
    &[Goodput("10M")],
    &[Goodput("100M")],
    &[Goodput("1G")],
    &[Upload("1M"), Upload("10M")],
    &[Fairness(2, "1M"), Fairness(10, "1M")],
    &[Fairness(100, "10M")],
    // At 10M each of 1000 flows would get four packets in five seconds, which cannot be equal to three percent.
    &[Fairness(1000, "100M")],
    &[Cost(1000, "10M")],
    &[Kinds, Clients, Leaving],
    &[Stalled],
    &[Small("56k"), Small("1M"), Small("10M")],
    &[Page, Hit],
    &[RoundTrip(0), RoundTrip(40), RoundTrip(600), RoundTrip(1500)],
    &[BusyRoundTrip(0), BusyRoundTrip(40), BusyRoundTrip(600), BusyRoundTrip(1500)],
    &[Jitter],
    &[Change],
    &[Trace],
    &[Unlimited],
];

impl Measurement {
    /// What it is called on the command line: the kind, and what tells it from its like.
    pub(super) fn name(self) -> String {
        match self {
            Goodput(rate) => format!("goodput-{rate}"),
            Upload(rate) => format!("upload-{rate}"),
            Fairness(flows, _) => format!("fairness-{flows}"),
            Kinds => "kinds".to_owned(),
            Clients => "clients".to_owned(),
            Stalled => "stalled".to_owned(),
            Leaving => "leaving".to_owned(),
            Small(rate) => format!("small-{rate}"),
            Page => "page".to_owned(),
            Hit => "hit".to_owned(),
            RoundTrip(millis) => format!("rtt-{millis}ms"),
            BusyRoundTrip(millis) => format!("busyrtt-{millis}ms"),
            Jitter => "jitter".to_owned(),
            Change => "change".to_owned(),
            Trace => "trace".to_owned(),
            Cost(flows, _) => format!("cost-{flows}"),
            Unlimited => "unlimited".to_owned(),
        }
    }

    /// Whether `name` means it: its own name, or that of its kind.
    pub(super) fn is_called(self, name: &str) -> bool {
        let own = self.name();
        own == name || own.split('-').next() == Some(name)
    }

    /// Makes it. A measurement that fails is a row that says so.
    pub(super) async fn make(self, bench: &Bench) -> Vec<Row> {
        let made = match self {
            Goodput(rate) => rate::goodput(bench, rate).await,
            Upload(rate) => rate::upload(bench, rate).await,
            Fairness(flows, rate) => sharing::flows(bench, flows, rate).await,
            Kinds => sharing::kinds(bench).await,
            Clients => sharing::clients(bench).await,
            Stalled => sharing::stalled(bench).await,
            Leaving => sharing::leaving(bench).await,
            Small(rate) => latency::small(bench, rate).await,
            Page => latency::page(bench).await,
            Hit => latency::hit(bench).await,
            RoundTrip(millis) => latency::round_trip(bench, millis).await,
            BusyRoundTrip(millis) => latency::busy_round_trip(bench, millis).await,
            Jitter => latency::jitter(bench).await,
            Change => change::change(bench).await,
            Trace => trace::follow_all(bench).await,
            Cost(flows, rate) => cost::flows(bench, flows, rate).await,
            Unlimited => cost::unlimited(bench).await,
        };
        made.unwrap_or_else(|why| vec![Row::trouble(self.name(), format!("{why:#}"))])
    }
}

/// The name of every measurement's kind, once, for help and errors.
pub(super) fn kinds() -> Vec<String> {
    let mut kinds = Vec::new();
    for measurement in PLAN.concat() {
        let name = measurement.name();
        let kind = name.split('-').next().unwrap_or_default().to_owned();
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    kinds
}

/// Bits per second of a rate of the plan.
fn nominal(rate: &str) -> anyhow::Result<f64> {
    let rate: linkio::BitRate = rate.parse()?;
    Ok(rate.bits_per_second() as f64)
}

/// The most that may come ahead of a rate, in bytes: two packets and what 5 ms carry.
fn slack(rate: f64) -> f64 {
    2.0 * 1500.0 + 0.005 * rate / 8.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_measurement_has_a_name_of_its_own() {
        let all = PLAN.concat();
        for (n, one) in all.iter().enumerate() {
            assert!(all[n + 1..].iter().all(|other| other.name() != one.name()), "{}", one.name());
            assert!(one.name().chars().all(|char| char.is_ascii_alphanumeric() || char == '-'));
        }
    }

    #[test]
    fn names_mean_one_measurement_or_all_of_a_kind() {
        let called = |name: &str| PLAN.concat().into_iter().filter(|one| one.is_called(name)).count();
        assert_eq!(called("goodput"), 6);
        assert_eq!(called("goodput-512k"), 1);
        assert_eq!(called("rtt"), 4);
        assert_eq!(called("page"), 1);
        assert_eq!(called("good"), 0);
        assert!(kinds().iter().all(|kind| called(kind) > 0));
    }
}
