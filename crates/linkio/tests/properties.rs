//! What holds for every link and every order of events, in virtual time.
#![expect(clippy::unwrap_used, reason = "helpers outside the tests proper fail the test, too")]

use std::num::NonZeroU32;
use std::time::Duration;

use linkio::sim::Sim;
use linkio::{
    Accounting, BitRate, Capacity, Class, ClientKey, FlowId, Framing, Grant, Link, Moment, Standing, Weight,
};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

const SECOND: u64 = 1_000_000_000;
const NANOBITS: u128 = 8_000_000_000;

/// Shrunk failures are kept in `properties.regressions`, beside this file.
fn kept() -> ProptestConfig {
    let persistence = FileFailurePersistence::WithSource("regressions");
    ProptestConfig { failure_persistence: Some(Box::new(persistence)), ..ProptestConfig::default() }
}

fn constant(bits: u64) -> Capacity {
    Capacity::Constant(BitRate::from_bits_per_second(bits))
}

fn seconds(count: u64) -> Moment {
    Moment::from_nanos(count * SECOND)
}

/// Any rate a link may have, each size of it as likely as the others.
fn rates() -> impl Strategy<Value = u64> {
    (1..=30_u32).prop_flat_map(|bits| (1_u64 << bits)..=(2_u64 << bits))
}

fn capacities() -> impl Strategy<Value = Capacity> {
    prop_oneof![1 => Just(Capacity::Unlimited), 1 => Just(constant(0)), 6 => rates().prop_map(constant)]
}

#[derive(Clone, Debug)]
enum Event {
    Open(u64),
    Offer(usize, u64),
    Assign(usize, u64, usize),
    Cancel(usize),
    Close(usize),
    Change(Capacity),
    Fifo(bool),
    Wire(bool),
    Wait(u64),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        1 => (0..4_u64).prop_map(Event::Open),
        6 => (0..8_usize, 0..20_000_u64).prop_map(|(flow, bytes)| Event::Offer(flow, bytes)),
        1 => (0..8_usize, 0..4_u64, 0..3_usize).prop_map(|(flow, client, class)| Event::Assign(flow, client, class)),
        1 => any::<bool>().prop_map(Event::Fifo),
        1 => any::<bool>().prop_map(Event::Wire),
        1 => (0..8_usize).prop_map(Event::Cancel),
        1 => (0..8_usize).prop_map(Event::Close),
        1 => capacities().prop_map(Event::Change),
        6 => (0..50_000_000_u64).prop_map(Event::Wait),
    ];
    prop::collection::vec(event, 1..200)
}

/// Plays `events` on a link and returns what it granted, what was asked and what was given back.
fn play(events: &[Event]) -> (Link, Vec<Grant>, u64, u64) {
    let mut link = Link::new(constant(1_000_000));
    let (mut now, mut grants) = (Moment::START, Vec::new());
    let mut flows: Vec<FlowId> = (0..8).map(|flow| link.open(ClientKey(flow % 3))).collect();
    let (mut asked, mut returned) = (0, 0);
    for event in events {
        match *event {
            Event::Open(client) => {
                flows[0] = {
                    returned += link.close(flows[0]);
                    link.open(ClientKey(client))
                }
            }
            Event::Offer(flow, bytes) => {
                let before = link.backlog();
                link.ask(flows[flow], bytes, now);
                asked += link.backlog() - before;
            }
            Event::Assign(flow, client, class) => {
                link.assign(flows[flow], Standing { class: Class::ALL[class], ..ClientKey(client).into() });
            }
            Event::Fifo(fifo) => link.set_fifo(fifo),
            Event::Wire(wire) => link.set_accounting(match wire {
                true => Accounting::Wire(Framing::default()),
                false => Accounting::Payload,
            }),
            Event::Cancel(flow) => returned += link.cancel(flows[flow]),
            Event::Close(flow) => returned += link.close(flows[flow]),
            Event::Change(ref capacity) => link.set_capacity(capacity.clone(), now, &mut grants),
            Event::Wait(nanos) => {
                now = now + Duration::from_nanos(nanos);
                link.step(now, &mut grants);
            }
        }
        assert_eq!(asked, returned + total(&grants) + link.backlog(), "after {event:?}");
    }
    (link, grants, asked, returned)
}

fn weighing(weight: u32) -> Weight {
    Weight::new(NonZeroU32::new(weight).unwrap())
}

fn total(grants: &[Grant]) -> u64 {
    grants.iter().map(|grant| grant.bytes).sum()
}

proptest! {
    #![proptest_config(kept())]

    #[test]
    fn bytes_are_conserved_and_depart_in_order(events in events()) {
        let (mut link, mut grants, asked, returned) = play(&events);
        link.set_capacity(Capacity::Unlimited, seconds(3600), &mut grants);
        prop_assert_eq!(link.step(seconds(3600), &mut grants), None);
        prop_assert_eq!(link.backlog(), 0);
        prop_assert_eq!(asked, returned + total(&grants));
        prop_assert!(grants.is_sorted_by_key(|grant| grant.departure));
    }

    #[test]
    fn no_window_exceeds_the_capacity_by_more_than_a_packet(bits in rates(), events in events()) {
        let mut link = Link::new(constant(bits));
        let (mut now, mut grants) = (Moment::START, Vec::new());
        let flows: Vec<FlowId> = (0..8).map(|flow| link.open(ClientKey(flow % 3))).collect();
        for event in events {
            match event {
                Event::Offer(flow, bytes) => link.ask(flows[flow], bytes, now),
                Event::Wait(nanos) => {
                    now = now + Duration::from_nanos(nanos);
                    link.step(now, &mut grants);
                }
                _ => {}
            }
        }
        // Work done beyond what the rate allows so far; a window exceeds the capacity by how much it rises. What
        // departs first in a window is the one packet more, and a departure is a whole nanosecond, rounded up.
        let (mut work, mut lowest) = (0_i128, i128::MAX);
        for grant in &grants {
            work += i128::from(grant.bytes) * 8_000_000_000;
            let ahead = work - i128::from(grant.departure.as_nanos()) * i128::from(bits);
            prop_assert!(lowest == i128::MAX || ahead - lowest < 2 * i128::from(bits));
            lowest = lowest.min(ahead);
        }
    }

    #[test]
    fn the_link_never_rests_while_something_waits(bits in rates(), asks in prop::collection::vec((0..20_usize, 1..50_000_u64), 1..50)) {
        let mut sim = Sim::new(constant(bits));
        let flows: Vec<FlowId> = (0..20).map(|flow| sim.open(ClientKey(flow / 5))).collect();
        for (flow, bytes) in &asks {
            sim.offer(flows[*flow], *bytes);
        }
        sim.run_out(Moment::from_nanos(u64::MAX));
        let work: u128 = asks.iter().map(|(_, bytes)| u128::from(*bytes) * NANOBITS).sum();
        prop_assert_eq!(u128::from(sim.now().as_nanos()), work.div_ceil(u128::from(bits)));
    }

    #[test]
    fn late_steps_cost_no_rate(bits in rates(), waits in prop::collection::vec(0..30_000_000_u64, 1..20)) {
        let (mut late, mut grants, mut now) = (Link::new(constant(bits)), Vec::new(), Moment::START);
        let flow = late.open(ClientKey(1));
        late.ask(flow, u64::MAX / 2, now);
        for wait in waits {
            now = now + Duration::from_nanos(wait);
            late.step(now, &mut grants);
        }
        let crossed = u128::from(total(&grants)) * NANOBITS;
        let capacity = u128::from(now.as_nanos()) * u128::from(bits);
        let packet = u128::from(constant(bits).quantum(Moment::START)) * NANOBITS;
        prop_assert!(crossed <= capacity && capacity < crossed + packet);
    }

    #[test]
    fn equal_flows_differ_by_at_most_a_quantum(bits in rates(), clients in 1..12_u64, each in 1..6_u64, checks in prop::collection::vec(0..300_u64, 1..8)) {
        let mut sim = Sim::new(constant(bits));
        let flows: Vec<FlowId> = (0..clients * each).map(|flow| sim.open(ClientKey(flow % clients))).collect();
        flows.iter().for_each(|flow| sim.saturate(*flow));
        for packets in checks {
            let nanos = u128::from(packets * constant(bits).quantum(Moment::START)) * NANOBITS / u128::from(bits);
            sim.run_until(sim.now() + Duration::from_nanos(u64::try_from(nanos).unwrap()));
            let shares = flows.iter().map(|flow| sim.crossed(*flow));
            let (least, most) = (shares.clone().min(), shares.max());
            // Whoever is new gets a packet at once, and pays for it later.
            let packet = 1500 + constant(bits).quantum(Moment::START);
            prop_assert!(most.zip(least).is_some_and(|(most, least)| most - least <= packet));
        }
    }

    #[test]
    fn nobody_starves(bits in 10_000..10_000_000_u64, flows in 1..20_u64, asks in prop::collection::vec((1..5_u64, 1..3000_u64), 1..100)) {
        let mut sim = Sim::new(constant(bits));
        let patient = sim.open(ClientKey(0));
        sim.saturate(patient);
        let others: Vec<FlowId> = (1..=flows).map(|client| sim.open(ClientKey(client))).collect();
        // Everybody else asks little and often, and so is new as often as can be.
        for (wait, bytes) in asks.iter().cycle().take(400) {
            others.iter().for_each(|flow| sim.offer(*flow, *bytes));
            sim.run_until(sim.now() + Duration::from_millis(*wait * 10));
        }
        let all: u64 = total(sim.history());
        let fair = all / (flows + 1);
        prop_assert!(sim.crossed(patient) + 3 * constant(bits).quantum(Moment::START) >= fair / 2, "{} of {all}", sim.crossed(patient));
    }
}

#[test]
fn a_client_with_eight_flows_gets_what_one_with_one_gets() {
    let mut sim = Sim::new(constant(1_000_000));
    let flows: Vec<FlowId> = (0..9).map(|flow| sim.open(ClientKey(u64::from(flow > 0)))).collect();
    flows.iter().for_each(|flow| sim.saturate(*flow));
    sim.run_until(seconds(60));
    let eight: u64 = flows[1..].iter().map(|flow| sim.crossed(*flow)).sum();
    assert!(sim.crossed(flows[0]).abs_diff(eight) <= 1500);
    assert!(sim.crossed(flows[0]) + eight > 7_500_000 - 1500);
}

#[test]
fn flows_of_one_client_share_by_weight() {
    let mut sim = Sim::new(constant(1_000_000));
    let flows =
        [1, 2, 4].map(|weight| sim.open(Standing { weight: weighing(weight), ..ClientKey(1).into() }));
    flows.iter().for_each(|flow| sim.saturate(*flow));
    sim.run_until(seconds(60));
    let shares = flows.map(|flow| sim.crossed(flow) as f64);
    assert!(
        (shares[1] / shares[0] - 2.0).abs() < 0.02 && (shares[2] / shares[0] - 4.0).abs() < 0.02,
        "{shares:?}"
    );
}

#[test]
fn clients_share_by_weight() {
    let mut sim = Sim::new(constant(1_000_000));
    let flows = [1, 2, 4, 2].map(|weight| {
        // The last client shares the third's key, so that one client has two flows.
        let key = ClientKey(u64::from(if weight == 2 { 2_u32 } else { weight }));
        sim.open(Standing { client_weight: weighing(weight), ..key.into() })
    });
    flows.iter().for_each(|flow| sim.saturate(*flow));
    sim.run_until(seconds(60));
    let shares = flows.map(|flow| sim.crossed(flow) as f64);
    let two = shares[1] + shares[3];
    assert!((two / shares[0] - 2.0).abs() < 0.02 && (shares[2] / shares[0] - 4.0).abs() < 0.02, "{shares:?}");
}

#[test]
fn background_yields_within_a_packet_and_is_never_forgotten() {
    let mut sim = Sim::new(constant(1_000_000));
    let background = sim.open(Standing { class: Class::Background, ..ClientKey(1).into() });
    let download = sim.open(ClientKey(1));
    sim.saturate(background);
    sim.run_until(seconds(10));
    assert!(sim.crossed(background) >= 1_250_000 - 1500);
    sim.offer(download, 100_000);
    let before = sim.crossed(background);
    sim.run_until(sim.now() + Duration::from_millis(820));
    assert_eq!(sim.crossed(download), 100_000);
    let meanwhile = sim.crossed(background) - before;
    assert!((1500..=4500).contains(&meanwhile), "{meanwhile}");
}

#[test]
fn a_first_in_first_out_link_serves_in_the_order_of_asking() {
    let mut link = Link::new(constant(8_000_000));
    link.set_fifo(true);
    let flows = [1, 2, 3].map(|client| link.open(ClientKey(client)));
    for (flow, bytes) in [(0, 5000), (1, 2000), (0, 1000), (2, 700)] {
        link.ask(flows[flow], bytes, Moment::START);
    }
    link.cancel(flows[1]);
    link.ask(flows[1], 100, Moment::START);
    let mut grants = Vec::new();
    link.step(seconds(1), &mut grants);
    let mut order: Vec<(usize, u64)> = Vec::new();
    for grant in grants {
        let flow = flows.iter().position(|flow| *flow == grant.flow).unwrap();
        match order.last_mut() {
            Some((last, bytes)) if *last == flow => *bytes += grant.bytes,
            _ => order.push((flow, grant.bytes)),
        }
    }
    assert_eq!(order, [(0, 6000), (2, 700), (1, 100)]);
}

#[test]
fn headers_cost_their_share_of_the_wire() {
    let mut sim = Sim::new(constant(1_000_000));
    sim.link_mut().set_accounting(Accounting::Wire(Framing::default()));
    let flows = [1, 2].map(|client| sim.open(ClientKey(client)));
    flows.iter().for_each(|flow| sim.saturate(*flow));
    sim.run_until(seconds(60));
    let crossed = flows.map(|flow| sim.crossed(flow));
    let payload = 7_500_000 * 1448 / 1514;
    assert!((crossed[0] + crossed[1]).abs_diff(payload) <= 3000, "{crossed:?} of {payload}");
    assert!(crossed[0].abs_diff(crossed[1]) <= 1500);
    // A lone small message is a packet of its own.
    let mut link = Link::new(constant(8_000));
    link.set_accounting(Accounting::Wire(Framing::default()));
    let flow = link.open(ClientKey(1));
    link.ask(flow, 34, Moment::START);
    assert_eq!(link.step(Moment::START, &mut Vec::new()), Some(Moment::from_nanos(100_000_000)));
}

#[test]
fn a_paced_flow_earns_no_burst() {
    let bits = 10_000_000;
    let (mut link, mut grants, mut now) = (Link::new(constant(bits)), Vec::new(), Moment::START);
    let paced = link.open(ClientKey(1));
    // Half the rate, stepped by a timer that is half a millisecond late each time.
    for _ in 0..2000 {
        link.step(now, &mut grants);
        link.ask(paced, 1500, now);
        now = now + Duration::from_micros(2400);
        link.step(now, &mut grants);
    }
    let (begin, before) = (now, total(&grants));
    link.ask(paced, 1_000_000, now);
    link.step(begin + Duration::from_millis(10), &mut grants);
    let burst = (total(&grants) - before).saturating_sub(bits / 8 / 100);
    assert!(burst <= 2 * 1500 + bits / 8 / 1000 * 2, "{burst}");
}

#[test]
fn after_a_step_down_what_is_left_of_a_packet_does_not_hold_the_link() {
    let mut link = Link::new(constant(10_000_000));
    let (mut grants, bulk) = (Vec::new(), link.open(ClientKey(1)));
    link.ask(bulk, 100_000, Moment::START);
    link.set_capacity(constant(56_000), Moment::from_nanos(100_000), &mut grants);
    let small = link.open(ClientKey(2));
    link.ask(small, 100, Moment::from_nanos(100_000));
    let mut now = Moment::from_nanos(100_000);
    while !grants.iter().any(|grant| grant.flow == small) {
        now = link.step(now, &mut grants).unwrap();
    }
    let last = grants.last().unwrap();
    assert!(last.departure < Moment::from_nanos(40_000_000), "{last:?}");
    link.set_capacity(Capacity::Unlimited, now, &mut grants);
    link.step(now, &mut grants);
    assert_eq!(total(&grants), 100_100);
}

#[test]
fn a_small_answer_crosses_a_slow_busy_link_whole() {
    let mut sim = Sim::new(constant(56_000));
    let bulk = sim.open(ClientKey(1));
    sim.saturate(bulk);
    let small = sim.open(ClientKey(2));
    sim.run_until(seconds(5));
    sim.offer(small, 1300);
    // Its own time on the link and at most one quantum of bulk, a whole one here.
    sim.run_until(
        sim.now() + Duration::from_micros(1300 * 8_000_000 / 56_000) + Duration::from_micros(20_001),
    );
    assert_eq!(sim.crossed(small), 1300);
    // What it had beyond its share it pays back.
    sim.saturate(small);
    sim.run_until(sim.now() + Duration::from_secs(20));
    let total = sim.crossed(small);
    assert!(total.abs_diff(20 * 56_000 / 8 / 2) <= 1500, "{total}");
}

#[test]
fn a_small_object_under_bulk_waits_a_packet_not_a_queue() {
    let mut sim = Sim::new(constant(1_000_000));
    for client in 0..20 {
        let bulk = sim.open(ClientKey(client));
        sim.saturate(bulk);
    }
    let small = sim.open(ClientKey(99));
    sim.run_until(seconds(5));
    sim.offer(small, 1000);
    sim.run_until(sim.now() + Duration::from_millis(12 + 8));
    assert_eq!(sim.crossed(small), 1000);
}

#[test]
fn a_change_keeps_the_work_done_on_the_packet_that_is_crossing() {
    let mut sim = Sim::new(constant(8_000));
    let flow = sim.open(ClientKey(1));
    sim.offer(flow, 160);
    sim.run_until(Moment::from_nanos(80_000_000));
    sim.set_capacity(constant(0));
    sim.run_until(seconds(100));
    assert_eq!((sim.crossed(flow), sim.link().queueing_delay(sim.now())), (0, None));
    sim.set_capacity(constant(16_000));
    // 80 of 160 bytes crossed before the outage, the rest now at twice the rate.
    sim.run_out(seconds(200));
    assert_eq!(sim.now(), Moment::from_nanos(100 * SECOND + 40_000_000));
    assert_eq!(sim.crossed(flow), 160);
}

#[test]
fn a_gap_of_the_schedulers_own_making_is_made_good_and_a_pause_is_not() {
    let mut link = Link::new(constant(8_000_000));
    let mut grants = Vec::new();
    let flow = link.open(ClientKey(1));
    let at = |micros: u64| Moment::from_nanos(micros * 1000);
    link.ask(flow, 1000, at(0));
    // The step comes 5 ms late and the flow asks again at once: the link carries on from where it was.
    link.step(at(6000), &mut grants);
    link.ask(flow, 1000, at(6100));
    assert_eq!(link.step(at(6100), &mut grants), None);
    assert_eq!(grants[1].departure, at(2000));
    // A source that pauses longer than that starts afresh, without a burst.
    link.ask(flow, 1000, at(9000));
    assert_eq!(link.step(at(9000), &mut grants), Some(at(10_000)));
}

#[test]
fn a_closed_flow_asks_in_vain_and_harms_nobody() {
    let mut link = Link::new(constant(1000));
    let gone = link.open(ClientKey(1));
    assert_eq!(link.close(gone), 0);
    let heir = link.open(ClientKey(1));
    link.ask(gone, 500, Moment::START);
    link.assign(gone, ClientKey(2));
    assert_eq!((link.cancel(gone), link.close(gone), link.backlog(), link.flows()), (0, 0, 0, 1));
    link.ask(heir, 500, Moment::START);
    assert_eq!((heir.index(), link.backlog(), link.waiting(heir)), (gone.index(), 500, 372));
}
