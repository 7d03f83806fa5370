//! Half an hour of a busy link: what a packet costs with all that happens to it, from request to response.

use std::time::Duration;

use divan::{Bencher, black_box};
use linkio::sim::{Begin, Greeting, Transaction, Workload, run};
use linkio::{ClientKey, LinkModel, LinkSpec, Moment};

fn main() {
    divan::main();
}

/// Fifty clients that read page after page, and ask for more than crosses.
fn pages() -> Workload {
    let mut transactions = Vec::new();
    for client in 0..50_u64 {
        let mut before = None;
        for page in 0..15_u64 {
            let document = transactions.len();
            let begin = match before.replace(document) {
                None => Begin::At(Moment::from_nanos(client * 1_000_000_000)),
                Some(before) => {
                    Begin::After { done: before..document, pause: Duration::from_secs(30), latest: None }
                }
            };
            let mut ask = |begin, down| {
                transactions.push(Transaction {
                    begin,
                    standing: ClientKey(client).into(),
                    host: u32::try_from((client + page) % 20).unwrap_or(0),
                    greeting: Greeting::default(),
                    up: 600,
                    wait: Duration::ZERO,
                    down,
                });
            };
            ask(begin, 20_000 + page * 1000);
            for object in 0..8 {
                let begin =
                    Begin::After { done: document..document + 1, pause: Duration::ZERO, latest: None };
                ask(begin, 10_000 + (object * 7919 + page * 104_729) % 150_000);
            }
        }
    }
    let until = Some(Moment::after_start(Duration::from_secs(1800)));
    Workload { transactions, connections: Some(6), until, ..Workload::default() }
}

#[divan::bench(args = ["2M/512k", "2M/512k,rtt=600ms", "2M/512k,rtt=600ms,tcp=slow-start"])]
fn half_an_hour(bencher: Bencher<'_, '_>, link: &str) {
    let workload = pages();
    let model = LinkModel::from(link.parse::<LinkSpec>().unwrap_or_default());
    bencher.bench_local(|| black_box(run(&workload, &model)));
}
