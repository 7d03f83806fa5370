//! Grants a second with few and with many flows: the cost of one packet must not grow with the number of flows.

use divan::{Bencher, black_box, counter::ItemsCount};
use linkio::{BitRate, Capacity, ClientKey, FlowId, Grant, Link, Moment};

const PACKETS: u64 = 10_000;

fn main() {
    divan::main();
}

/// Every flow of its own client, each with enough waiting for the whole run.
fn busy(flows: u64) -> (Link, Vec<FlowId>) {
    let mut link = Link::new(Capacity::Constant(BitRate::from_bits_per_second(100_000_000)));
    let flows = (0..flows).map(|client| link.open(ClientKey(client))).collect::<Vec<_>>();
    for flow in &flows {
        link.ask(*flow, PACKETS * 1500, Moment::START);
    }
    (link, flows)
}

/// One packet a step, each asked for again: what a dispatcher does on a busy link.
#[divan::bench(args = [1, 100, 10_000])]
fn step_by_step(bencher: Bencher<'_, '_>, flows: u64) {
    let (mut link, _) = busy(flows);
    let (mut grants, mut now) = (Vec::<Grant>::new(), Moment::START);
    bencher.counter(ItemsCount::new(PACKETS)).bench_local(|| {
        for _ in 0..PACKETS {
            now = link.step(now, &mut grants).unwrap_or(now);
            for Grant { flow, bytes, .. } in grants.drain(..) {
                link.ask(flow, black_box(bytes), now);
            }
        }
    });
}

/// Many packets a step: what a late wake-up finds.
#[divan::bench(args = [1, 100, 10_000])]
fn in_one_step(bencher: Bencher<'_, '_>, flows: u64) {
    let (mut link, flows) = busy(flows);
    let (mut grants, mut now) = (Vec::<Grant>::new(), Moment::START);
    bencher.counter(ItemsCount::new(PACKETS)).bench_local(|| {
        // 1500 bytes take 120 us at 100 Mbit/s.
        now = Moment::from_nanos(now.as_nanos() + PACKETS * 120_000);
        black_box(link.step(now, &mut grants));
        grants.clear();
        let each = PACKETS * 1500 / flows.len() as u64 + 1;
        flows.iter().for_each(|flow| link.ask(*flow, each, now));
    });
}
