//! What a lane does to bytes on their way, in virtual time: delay, jitter, loss, the window, the FIFO's length.
#![expect(clippy::unwrap_used, reason = "helpers outside the tests proper fail the test, too")]

use std::time::Duration;

use linkio::{ClientKey, Direction, FlowId, Grant, Lane, LinkModel, LinkSpec, Moment};

const SECOND: u64 = 1_000_000_000;

/// A lane whose flows send all they may.
struct Busy {
    lane: Lane,
    now: Moment,
    flows: Vec<(FlowId, u64)>,
    /// Bytes each flow has left to send.
    left: Vec<u64>,
    grants: Vec<Grant>,
}

impl Busy {
    fn new(spec: &str, flows: &[u64]) -> Self {
        let spec: LinkSpec = spec.parse().unwrap();
        let mut lane = Lane::new(&LinkModel::from(spec), Direction::Down, Moment::START);
        let open = |(client, _): (usize, &u64)| (lane.open(ClientKey(client as u64)), 0);
        let opened = flows.iter().enumerate().map(open).collect();
        Self { lane, now: Moment::START, flows: opened, left: flows.to_vec(), grants: Vec::new() }
    }

    /// Lets every flow send what it may until `end`.
    fn run(&mut self, end: Moment) {
        while self.now < end {
            let mut next = Some(end);
            for index in 0..self.flows.len() {
                next = next.min(self.visit(index)).or(next);
            }
            self.now = next.unwrap_or(end).max(self.now + Duration::from_nanos(1)).min(end);
        }
    }

    /// Lets the flow at `index` send all it may now; returns when something happens next.
    fn visit(&mut self, index: usize) -> Option<Moment> {
        let (flow, arrived) = self.flows[index];
        let view = self.lane.visit(flow, 0, self.now, &mut self.grants);
        let bytes = view.room.min(self.left[index]);
        self.left[index] -= bytes;
        let after = self.lane.visit(flow, bytes, self.now, &mut self.grants);
        self.flows[index].1 = arrived + view.arrived + after.arrived;
        [after.again, after.next].into_iter().flatten().min()
    }

    fn arrived(&self) -> Vec<u64> {
        self.flows.iter().map(|(_, arrived)| *arrived).collect()
    }
}

/// When all of `bytes` have arrived over `spec`, in milliseconds.
fn time_for(spec: &str, bytes: u64) -> u64 {
    let mut busy = Busy::new(spec, &[bytes]);
    while busy.arrived()[0] < bytes {
        let end = busy.now + Duration::from_micros(100);
        busy.run(end);
    }
    busy.now.as_nanos() / 1_000_000
}

#[test]
fn a_window_grows_by_what_is_acknowledged() {
    // Without it: the rate and half a round trip.
    assert_eq!(time_for("1M,rtt=600ms", 125_000), 1300);
    // 10, 20, 40 segments of 1448 bytes, then the last 16: three round trips before the last begins, each after the
    // first packet of the one before it has crossed.
    let (packet, last) = (12, (125_000 - 70 * 1448) * 8 / 1000);
    assert_eq!(time_for("1M,rtt=600ms,tcp=slow-start", 125_000), 3 * (600 + packet) + 300 + last);
    // A link that does not limit shows the round trips alone.
    assert_eq!(time_for("rtt=600ms,tcp=slow-start", 125_000), 3 * 600 + 300);
}

#[test]
fn a_loss_is_a_stall_and_costs_no_bytes() {
    let spec = "1M,rtt=100ms,loss=2%,seed=3";
    let mut busy = Busy::new(spec, &[u64::MAX / 4]);
    busy.run(Moment::from_nanos(100 * SECOND));
    let (lost, packets) = busy
        .grants
        .iter()
        .fold((0, 0), |(lost, packets), grant| (lost + u64::from(grant.lost > 0), packets + 1));
    assert!((lost as f64 / packets as f64 - 0.02).abs() < 0.004, "{lost} of {packets}");
    // Every packet that is lost crosses once more.
    let crossed: u64 = busy.grants.iter().map(|grant| grant.bytes).sum();
    let share = crossed as f64 / 12_500_000.0;
    assert!((share - 1.0 / 1.0204).abs() < 0.004, "{share}");
    assert!(crossed - busy.arrived()[0] < 30_000);
    // The same seed loses the same packets.
    let mut again = Busy::new(spec, &[u64::MAX / 4]);
    again.run(Moment::from_nanos(100 * SECOND));
    assert!(again.grants == busy.grants);
}

#[test]
fn losses_with_a_window_leave_what_tcp_leaves() {
    // The rate of the square root formula: segments * 1.22 / (rtt * sqrt(loss)), of Mathis et al. 1997.
    let mut busy = Busy::new("100M,rtt=100ms,loss=1%,tcp=slow-start,seed=1", &[u64::MAX / 4]);
    busy.run(Moment::from_nanos(60 * SECOND));
    let rate = busy.arrived()[0] as f64 / 60.0;
    let formula = 1448.0 * 1.22 / (0.1 * 0.1);
    assert!((0.5..1.5).contains(&(rate / formula)), "{rate} {formula}");
}

#[test]
fn a_full_fifo_is_as_long_as_it_says() {
    let mut busy = Busy::new("512k,queue=fifo:500ms", &[u64::MAX / 4, u64::MAX / 4, 1000]);
    let small = std::mem::take(&mut busy.left[2]);
    busy.run(Moment::from_nanos(10 * SECOND));
    let delay = busy.lane.link().queueing_delay(busy.now).unwrap();
    assert!((480..=545).contains(&delay.as_millis()), "{delay:?}");
    busy.left[2] = small;
    let begun = busy.now;
    while busy.arrived()[2] < small {
        let end = busy.now + Duration::from_millis(1);
        busy.run(end);
    }
    let waited = busy.now.since(begun);
    assert!((480..=600).contains(&waited.as_millis()), "{waited:?}");
}

#[test]
fn nothing_crosses_during_an_outage_and_nothing_is_lost_by_it() {
    let mut busy = Busy::new("1M,outage=10s/30s,seed=2", &[u64::MAX / 4]);
    busy.run(Moment::from_nanos(60 * SECOND));
    let arrived = busy.arrived()[0];
    assert!(arrived.abs_diff(40 * 125_000) <= 3000, "{arrived}");
    let gaps =
        busy.grants.windows(2).filter(|pair| pair[1].departure.since(pair[0].departure).as_secs() >= 10);
    assert_eq!(gaps.count(), 2);
}

#[test]
fn jitter_spreads_arrivals_and_keeps_their_order() {
    let spec: LinkSpec = "10M,rtt=100ms,jitter=80ms,seed=5".parse().unwrap();
    let mut lane = Lane::new(&LinkModel::from(spec), Direction::Down, Moment::START);
    let (flow, mut grants) = (lane.open(ClientKey(1)), Vec::new());
    let mut delays = Vec::new();
    for packet in 0..2000_u64 {
        let sent = Moment::from_nanos(packet * 200_000_000);
        lane.visit(flow, 100, sent, &mut grants);
        let due = std::iter::repeat(()).find_map(|()| {
            let view = lane.visit(flow, 0, sent + Duration::from_millis(1), &mut grants);
            view.again
        });
        let due = due.unwrap();
        delays.push(due.since(sent).as_secs_f64() * 1e3);
        assert_eq!(lane.visit(flow, 0, due, &mut grants).arrived, 100);
    }
    let mean = delays.iter().sum::<f64>() / 2000.0;
    let (least, most) =
        delays.iter().fold((f64::MAX, 0.0_f64), |(least, most), x| (least.min(*x), most.max(*x)));
    assert!(
        (mean - 70.0).abs() < 2.0 && least < 51.0 && most > 89.0 && most <= 90.2,
        "{least} {mean} {most}"
    );
}

/// Makes the lane one of `spec`, now.
fn change(busy: &mut Busy, spec: &str) {
    let spec: LinkSpec = spec.parse().unwrap();
    busy.lane.set(&LinkModel::from(spec), busy.now, &mut busy.grants);
}

#[test]
fn a_window_that_was_switched_off_holds_nobody_up_later() {
    let mut busy = Busy::new("8k,rtt=20ms,tcp=slow-start,queue=fifo:1h", &[30_000]);
    busy.run(Moment::from_nanos(60_000_000));
    // All that the window allowed waits, and crosses without one.
    change(&mut busy, "10M");
    busy.run(Moment::from_nanos(SECOND));
    assert_eq!(busy.arrived(), [30_000]);
    change(&mut busy, "8k,rtt=20ms,tcp=slow-start,queue=fifo:1h");
    busy.left[0] = 1000;
    busy.run(Moment::from_nanos(3 * SECOND));
    assert_eq!(busy.arrived(), [31_000]);
}

#[test]
fn one_flow_has_a_bounded_amount_on_its_way() {
    for spec in [
        "100M,queue=fifo:1h",
        "10G,rtt=10s",
        "200M,rtt=600ms,loss=50%",
        "unlimited,rtt=5s",
        "1M,queue=fifo:1h",
    ] {
        let spec: LinkSpec = spec.parse().unwrap();
        let mut lane = Lane::new(&LinkModel::from(spec.clone()), Direction::Down, Moment::START);
        let (flow, mut grants, mut asked, mut arrived) = (lane.open(ClientKey(1)), Vec::new(), 0, 0);
        for step in 0..20_000_u64 {
            let now = Moment::from_nanos(step * 1_000_000);
            let view = lane.visit(flow, 0, now, &mut grants);
            let after = lane.visit(flow, view.room, now, &mut grants);
            asked += view.room;
            arrived += view.arrived + after.arrived;
            grants.clear();
            assert!(asked - arrived <= 33 * 1024 * 1024, "{spec}: {}", asked - arrived);
        }
    }
}
