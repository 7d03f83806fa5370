//! Transactions over a whole link in virtual time: known cases computed by hand, and what holds for all.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use std::time::Duration;

use linkio::sim::{Begin, Fate, Greeting, Outcome, Transaction, Workload, run};
use linkio::{ClientKey, LinkModel, LinkSpec, Moment};
use proptest::prelude::*;

fn model(spec: &str) -> LinkModel {
    spec.parse::<LinkSpec>().unwrap().into()
}

fn at(millis: u64) -> Moment {
    Moment::from_nanos(millis * 1_000_000)
}

fn request(client: u64, begin: u64, up: u64, down: u64) -> Transaction {
    Transaction {
        begin: Begin::At(at(begin)),
        standing: ClientKey(client).into(),
        host: 0,
        greeting: Greeting::default(),
        up,
        wait: Duration::ZERO,
        down,
    }
}

fn after(index: usize, pause: u64, transaction: &Transaction) -> Transaction {
    let begin = Begin::After { done: index..index + 1, pause: Duration::from_millis(pause), latest: None };
    Transaction { begin, ..transaction.clone() }
}

fn play(spec: &str, transactions: &[Transaction], workload: &Workload) -> Outcome {
    run(&Workload { transactions: transactions.to_vec(), ..workload.clone() }, &model(spec))
}

/// The milliseconds at which each transaction's first and last byte arrive.
fn check(spec: &str, transactions: &[Transaction], arrivals: &[(u64, u64)]) {
    let outcome = play(spec, transactions, &Workload::default());
    let found: Vec<_> = outcome.records.iter().map(|record| (record.first_byte, record.done)).collect();
    let expected: Vec<_> = arrivals.iter().map(|(first, last)| (Some(at(*first)), Some(at(*last)))).collect();
    assert_eq!(found, expected, "{spec}");
}

#[test]
fn one_transaction_takes_what_a_hand_computes() {
    // A handshake of 600 ms, 125 bytes in 10 ms and on their way for 300, then 50 packets of 20 ms that arrive 300
    // later.
    check("100k,rtt=600ms", &[request(1, 0, 125, 12_500)], &[(600 + 310 + 20 + 300, 600 + 310 + 1000 + 300)]);
    check("100k/50k", &[request(1, 1000, 125, 12_500)], &[(1040, 2020)]);
    check("unlimited,rtt=600ms", &[request(1, 0, 125, 1_000_000)], &[(1200, 1200)]);
    check("unlimited", &[request(1, 7, 0, 0)], &[(7, 7)]);
    let slow = Transaction { wait: Duration::from_millis(500), ..request(1, 0, 125, 12_500) };
    check("100k,rtt=600ms", &[slow], &[(1730, 2710)]);
    let greeted = Transaction { greeting: Greeting { up: 125, down: 250 }, ..request(1, 0, 125, 12_500) };
    // The greeting goes there in 310 ms and comes back in 320.
    check("100k,rtt=600ms", &[greeted], &[(1230 + 630, 2210 + 630)]);
}

#[test]
fn a_connection_is_used_again_by_any_client_until_it_is_too_old() {
    let first = request(1, 0, 125, 12_500);
    let next = |pause, host| Transaction { host, ..after(0, pause, &request(2, 0, 125, 12_500)) };
    check("100k,rtt=600ms", &[first.clone(), next(100, 0)], &[(1230, 2210), (2310 + 630, 2310 + 1610)]);
    check("100k,rtt=600ms", &[first.clone(), next(100, 1)], &[(1230, 2210), (2310 + 1230, 2310 + 2210)]);
    check(
        "100k,rtt=600ms",
        &[first.clone(), next(59_999, 0)],
        &[(1230, 2210), (62_209 + 630, 62_209 + 1610)],
    );
    check("100k,rtt=600ms", &[first, next(60_001, 0)], &[(1230, 2210), (62_211 + 1230, 62_211 + 2210)]);
}

#[test]
fn two_downloads_share_the_link() {
    let transactions = [request(1, 0, 1, 125_000), request(2, 0, 1, 125_000)];
    let outcome = play("1M", &transactions, &Workload::default());
    let done: Vec<_> =
        outcome.records.iter().map(|record| record.done.unwrap().as_nanos() / 1_000_000).collect();
    assert!(done.iter().all(|millis| (1985..=2001).contains(millis)), "{done:?}");
    assert_eq!((outcome.down.crossed, outcome.connections), (250_000, 2));
    let offered = outcome.down.offered.unwrap();
    assert!((250_000..250_010).contains(&offered), "{offered}");
}

#[test]
fn a_client_uses_so_many_connections_to_a_host_at_once() {
    let transactions: Vec<_> = (0..12).map(|_| request(1, 0, 1, 1)).collect();
    let six = Workload { connections: Some(6), ..Workload::default() };
    let outcome = play("unlimited,rtt=1s", &transactions, &six);
    let late = outcome.records.iter().filter(|record| record.done == Some(at(3000))).count();
    assert_eq!((late, outcome.connections, outcome.ended), (6, 6, at(3000)));
    let free = play("unlimited,rtt=1s", &transactions, &Workload::default());
    assert_eq!((free.connections, free.ended), (12, at(2000)));
}

#[test]
fn what_the_end_cuts_off_is_unfinished() {
    let transactions =
        [request(1, 0, 125, 12_500), after(0, 1000, &request(1, 0, 1, 1)), request(1, 9000, 1, 1)];
    let workload = Workload { until: Some(at(2000)), ..Workload::default() };
    let outcome = play("100k,rtt=600ms", &transactions, &workload);
    let fates: Vec<_> = outcome.records.iter().map(|record| record.fate).collect();
    assert_eq!(fates, [Fate::Unfinished, Fate::Waits, Fate::Waits]);
    assert_eq!((outcome.ended, outcome.records[0].done), (at(2000), None));
    assert!((9_000..10_000).contains(&outcome.records[0].arrived), "{}", outcome.records[0].arrived);
}

#[test]
fn nothing_begins_after_its_latest_moment() {
    let late = |index| {
        let begin =
            Begin::After { done: index..index + 1, pause: Duration::from_secs(1), latest: Some(at(1500)) };
        Transaction { begin, ..request(1, 0, 1, 1) }
    };
    let outcome = play("unlimited", &[request(1, 0, 1, 1), late(0), late(1), late(2)], &Workload::default());
    let fates: Vec<_> = outcome.records.iter().map(|record| record.fate).collect();
    assert_eq!(fates, [Fate::Done, Fate::Done, Fate::Dropped, Fate::Dropped]);
    assert_eq!(outcome.ended, at(1000));
}

#[test]
fn a_closed_link_ends_the_run() {
    let outcome = play("0", &[request(1, 5, 1, 1)], &Workload::default());
    assert_eq!((outcome.records[0].fate, outcome.ended, outcome.up.crossed), (Fate::Unfinished, at(5), 0));
    let until = play("0", &[request(1, 5, 1, 1)], &Workload { until: Some(at(100)), ..Workload::default() });
    assert_eq!((until.ended, until.up.offered), (at(100), Some(0)));
}

fn links() -> impl Strategy<Value = String> {
    let rate =
        prop_oneof![Just("unlimited".to_owned()), (10..3000_u64).prop_map(|kilobits| format!("{kilobits}k"))];
    let more = prop::sample::subsequence(
        vec![
            "jitter=40ms",
            "loss=2%",
            "tcp=slow-start",
            "queue=fifo:500ms",
            "count=wire",
            "outage=1s/10s",
            "seed=7",
        ],
        0..=7,
    );
    (rate.clone(), rate, 0..2000_u64, more).prop_map(|(down, up, rtt, more)| {
        let more: String = more.iter().map(|option| format!(",{option}")).collect();
        format!("{down}/{up},rtt={rtt}ms{more}")
    })
}

fn transactions() -> impl Strategy<Value = Vec<Transaction>> {
    let one = (0..5_u64, 0..5000_u64, 0..3000_u64, 0..40_000_u64, 0..3_u32, 0..800_u64, any::<bool>());
    prop::collection::vec(one, 1..40).prop_map(|all| {
        let many = all.into_iter().enumerate();
        many.map(|(index, (client, begin, up, down, host, wait, follows))| {
            let wait = Duration::from_millis(wait);
            let transaction = Transaction { host, wait, ..request(client, begin, up, down) };
            if follows && index > 0 { after(index - 1, begin, &transaction) } else { transaction }
        })
        .collect()
    })
}

proptest! {
    #[test]
    fn every_byte_crosses_once_and_each_run_is_the_same(
        link in links(), transactions in transactions(), limit in prop::option::of(1..7_usize),
    ) {
        let workload = Workload { connections: limit, ..Workload::default() };
        let outcome = play(&link, &transactions, &workload);
        let sum = |bytes: fn(&Transaction) -> u64| transactions.iter().map(|one| bytes(one).max(1)).sum::<u64>();
        prop_assert_eq!(outcome.down.crossed, sum(|one| one.down));
        prop_assert_eq!(outcome.up.crossed, sum(|one| one.up));
        for (record, asked) in outcome.records.iter().zip(&transactions) {
            prop_assert_eq!((record.fate, record.arrived), (Fate::Done, asked.down.max(1)));
            prop_assert!(record.began <= record.first_byte && record.first_byte <= record.done);
        }
        prop_assert_eq!(outcome, play(&link, &transactions, &workload));
    }

    #[test]
    fn any_end_is_kept(link in links(), transactions in transactions(), until in 0..20_000_u64) {
        let outcome = play(&link, &transactions, &Workload { until: Some(at(until)), ..Workload::default() });
        prop_assert!(outcome.ended <= at(until));
        prop_assert!(outcome.records.iter().all(|record| record.done.is_none_or(|done| done <= at(until))));
    }
}
