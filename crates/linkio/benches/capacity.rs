//! The time one packet takes to be placed on links of every kind: a rate that changes must cost about as much as one
//! that does not.

use std::sync::Arc;
use std::time::Duration;

use divan::{Bencher, black_box};
use linkio::{Capacity, Cycle, Direction, LinkModel, LinkSpec, Moment, Schedule, Source, Trace};

fn main() {
    divan::main();
}

/// What the link of each row does.
const KINDS: [&str; 6] = ["constant", "outage", "handover", "everything", "ramp", "trace"];

fn capacity(kind: &str) -> Capacity {
    let cycle = |length, period| {
        Some(Cycle { length: Duration::from_secs(length), period: Duration::from_secs(period) })
    };
    let mut spec: LinkSpec = "10M".parse().unwrap_or_default();
    let all = kind == "everything";
    spec.outage = cycle(15, 300).filter(|_| all || kind == "outage");
    spec.rain = cycle(600, 3600).filter(|_| all);
    spec.pass = cycle(3000, 3600).filter(|_| all);
    spec.handover = Some(Duration::from_secs(15)).filter(|_| all || kind == "handover");
    if all || kind == "ramp" {
        let points = "time,down,change\n0,10M,\n600,20M,ramp\n1200,10M,ramp\n1800,,repeat\n";
        spec.schedule = Schedule::from_csv(points).unwrap_or_default();
    }
    let mut model = LinkModel::from(spec);
    if kind == "trace" {
        let text: String = (1..=60_000).map(|millis| format!("{millis}\n")).collect();
        model.down = Trace::parse(&text).ok().map(|trace| Source::Trace(Arc::new(trace)));
    }
    model.capacity(Direction::Down, Moment::START)
}

/// 1500 bytes each, at moments all over an hour.
#[divan::bench(args = KINDS)]
fn packet(bencher: Bencher<'_, '_>, kind: &str) {
    let (capacity, mut now) = (capacity(kind), 0);
    bencher.bench_local(|| {
        now = (now + 1_234_567_891) % 3_600_000_000_000;
        black_box(capacity.time_for(black_box(Moment::from_nanos(now)), black_box(1500)))
    });
}

/// The largest packet at those moments.
#[divan::bench(args = KINDS)]
fn quantum(bencher: Bencher<'_, '_>, kind: &str) {
    let (capacity, mut now) = (capacity(kind), 0);
    bencher.bench_local(|| {
        now = (now + 1_234_567_891) % 3_600_000_000_000;
        black_box(capacity.quantum(black_box(Moment::from_nanos(now))))
    });
}
