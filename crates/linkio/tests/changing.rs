//! Links that change with time, under load in virtual time: what crosses is exactly what the capacity says.

use std::sync::Arc;
use std::time::Duration;

use linkio::sim::Sim;
use linkio::{Capacity, ClientKey, Direction, LinkModel, LinkSpec, Moment, Schedule, Source, Trace};

/// The bytes of two saturated flows that cross until `seconds`.
fn crossed(capacity: Capacity, seconds: u64) -> u64 {
    let mut sim = Sim::new(capacity);
    let flows = [sim.open(ClientKey(1)), sim.open(ClientKey(2))];
    flows.iter().for_each(|flow| sim.saturate(*flow));
    sim.run_until(Moment::after_start(Duration::from_secs(seconds)));
    flows.iter().map(|flow| sim.crossed(*flow)).sum()
}

/// Fails unless `bytes` cross, to within the packet that is crossing at the end.
fn check(model: &LinkModel, seconds: u64, bytes: u64) {
    let crossed = crossed(model.capacity(Direction::Down, Moment::START), seconds);
    assert!(crossed <= bytes && bytes < crossed + 1500, "{crossed} of {bytes}");
}

#[test]
fn busy_flows_take_every_chance_of_a_trace() {
    let trace = Arc::new(Trace::parse("3\n3\n3\n7\n40\n41\n900\n1000\n").unwrap());
    check(&LinkModel { down: Some(Source::Trace(trace)), ..LinkModel::default() }, 60, 60 * 8 * 1500);
}

#[test]
fn busy_flows_take_every_chance_of_the_shared_traces() {
    for name in ["geo-rain-2M", "leo-handover-4M", "vsat-contended-512k"] {
        let path = format!("{}/../../../shared/traces/{name}.trace", env!("CARGO_MANIFEST_DIR"));
        let Ok(text) = std::fs::read_to_string(&path) else {
            eprintln!("SKIPPED: {path} is not here, so its volume was not checked");
            continue;
        };
        let trace = Arc::new(Trace::parse(&text).unwrap());
        let volume = 3 * 1500 * trace.chances();
        check(&LinkModel { down: Some(Source::Trace(trace)), ..LinkModel::default() }, 180, volume);
    }
}

#[test]
fn a_schedule_carries_its_integral() {
    let text = "time,down,change\n0,1M,\n10,3M,ramp\n20,0,\n30,64k,\n40,,repeat\n";
    let schedule = Schedule::from_csv(text).unwrap();
    let lap = (10 * 2_000_000 + 10 * 3_000_000 + 10 * 64_000) / 8;
    check(&LinkModel::from(LinkSpec { schedule, ..LinkSpec::default() }), 160, 4 * lap);
}

#[test]
fn the_example_of_the_documentation_is_read() {
    let page = include_str!("../../../docs/links.md");
    let example = page.split("```text\n").find(|part| part.starts_with("time,")).unwrap();
    let schedule = Schedule::from_csv(example.split("```").next().unwrap()).unwrap();
    assert_eq!((schedule.points.len(), schedule.repeat), (5, Some(Duration::from_secs(120))));
}
