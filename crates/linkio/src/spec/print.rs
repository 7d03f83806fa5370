//! The canonical text of a link specification: what is left out when read again is as it was.
//!
//! Owns the order and the spelling. A specification put together by hand, with what the grammar cannot say (points
//! that change more than rates, a rate beside `auto`), is printed without that.

use std::fmt;
use std::time::Duration;

use super::parts::{Accounting, Change, Cycle, Discipline, Framing, Loss, Point, Tcp};
use super::value::UNLIMITED;
use super::{LinkSpec, preset};
use crate::rate::BitRate;
use crate::units::{self, Unit};

const TIME_UNITS: &[Unit] = &[("ns", 1), ("us", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000)];

impl fmt::Display for LinkSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [Some(rates(self))].into_iter().chain(options(self)).flatten();
        let parts = parts.chain(self.schedule.points.iter().map(point));
        let parts = parts.chain(option("repeat", self.schedule.repeat.map(time)));
        let parts = parts.chain(option("seed", (self.seed != 0).then(|| self.seed.to_string())));
        f.pad(&parts.collect::<Vec<_>>().join(","))
    }
}

fn rates(spec: &LinkSpec) -> String {
    if let Some(percent) = spec.auto {
        return format!("auto={percent}%");
    }
    let print = |rate: Option<BitRate>| rate.map_or_else(|| UNLIMITED.to_owned(), |rate| rate.to_string());
    let (down, up) = (print(spec.down), print(spec.up));
    // `3G` alone is the preset, not three gigabits.
    let one = down == up && preset::named(&down).is_none_or(|preset| preset.spec == down);
    if one { down } else { format!("{down}/{up}") }
}

/// The options before the points, those that are not as they would be anyway.
fn options(spec: &LinkSpec) -> [Option<String>; 10] {
    [
        option("rtt", delay(spec.rtt)),
        option("jitter", delay(spec.jitter)),
        option("loss", (spec.loss != Loss::default()).then(|| loss(spec.loss))),
        option("tcp", (spec.tcp != Tcp::default()).then(|| tcp(spec.tcp).to_owned())),
        option("queue", queue(spec.queue)),
        option("count", count(spec.accounting)),
        option("outage", spec.outage.map(cycle)),
        option("pass", spec.pass.map(cycle)),
        option("rain", spec.rain.map(cycle)),
        option("handover", spec.handover.map(time)),
    ]
}

fn option(name: &str, value: Option<String>) -> Option<String> {
    value.map(|value| format!("{name}={value}"))
}

fn delay(delay: Duration) -> Option<String> {
    (!delay.is_zero()).then(|| time(delay))
}

fn time(time: Duration) -> String {
    match u64::try_from(time.as_nanos()).unwrap_or(u64::MAX) {
        0 => "0s".to_owned(),
        nanos => units::print(nanos, TIME_UNITS),
    }
}

fn cycle(cycle: Cycle) -> String {
    format!("{}/{}", time(cycle.length), time(cycle.period))
}

/// A share in percent, exactly.
fn loss(Loss(millionths): Loss) -> String {
    let text = format!("{}.{:04}", millionths / 10_000, millionths % 10_000);
    format!("{}%", text.trim_end_matches('0').trim_end_matches('.'))
}

fn tcp(tcp: Tcp) -> &'static str {
    match tcp {
        Tcp::None => "none",
        Tcp::Handshake => "handshake",
        Tcp::SlowStart => "slow-start",
    }
}

fn queue(discipline: Discipline) -> Option<String> {
    match discipline {
        Discipline::Fair => None,
        Discipline::Fifo(length) => Some(format!("fifo:{}", time(length))),
    }
}

fn count(accounting: Accounting) -> Option<String> {
    match accounting {
        Accounting::Payload => None,
        Accounting::Wire(framing) if framing == Framing::default() => Some("wire".to_owned()),
        Accounting::Wire(Framing { mtu, header, link }) => Some(format!("wire:{mtu}/{header}/{link}")),
    }
}

fn point(point: &Point) -> String {
    let name = match point.change {
        Change::Step => "at",
        Change::Ramp => "ramp",
    };
    let print = |rate: Option<BitRate>| rate.map_or_else(|| "-".to_owned(), |rate| rate.to_string());
    let (down, up) = (print(point.down), print(point.up));
    let rates = if down == up { down } else { format!("{down}/{up}") };
    format!("{name}={}:{rates}", time(point.at))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::spec::Schedule;

    fn check(text: &str, canonical: &str) {
        let spec: LinkSpec = text.parse().unwrap();
        assert_eq!(spec.to_string(), canonical);
        assert_eq!(canonical.parse(), Ok(spec));
    }

    #[test]
    fn rates_and_delays_as_typed_and_as_printed() {
        check("unlimited", "unlimited");
        check("512k", "512k");
        check("512k/512kbit/s", "512k");
        check("512k/128k", "512k/128k");
        check("unlimited/128k", "unlimited/128k");
        check("25M/unlimited", "25M/unlimited");
        check("512k/128k,rtt=600ms", "512k/128k,rtt=600ms");
        check("unlimited, rtt=1500ms", "unlimited,rtt=1.5s");
        check("0", "0");
        check("56k,rtt=250us", "56k,rtt=250us");
        check("56k,rtt=0s", "56k");
        check("512kbit/s", "512k");
        check("10Mbit/s/512Kbit/S,rtt=1m", "10M/512k,rtt=60s");
        check("10mbps / 512kbps", "10M/512k");
        check("Unlimited,RTT=1s500ms", "unlimited,rtt=1.5s");
        check("1M,rtt=600MS", "1M,rtt=600ms");
        check("rtt=600ms", "unlimited,rtt=600ms");
        check("down=1M", "1M/unlimited");
        check("3G/3G", "3G/3G");
        check("3Gbit/s", "3G/3G");
        check("3G/1G", "3G/1G");
        check("1G", "1G");
        check("auto=90%", "auto=90%");
        check(" AUTO = 100% , rtt=1s", "auto=100%,rtt=1s");
        assert_eq!(LinkSpec::default().to_string(), "unlimited");
    }

    #[test]
    fn options_as_typed_and_as_printed() {
        check("1M,seed=7,jitter=40ms,rtt=600ms", "1M,rtt=600ms,jitter=40ms,seed=7");
        check("1M,loss=0.5%", "1M,loss=0.5%");
        check("1M,loss=2.0%", "1M,loss=2%");
        check("1M,loss=0.0001%", "1M,loss=0.0001%");
        check("1M,loss=10%", "1M,loss=10%");
        check("1M,loss=0%", "1M");
        check("1M,TCP=Slow-Start", "1M,tcp=slow-start");
        check("1M,tcp=none", "1M,tcp=none");
        check("1M,queue=fair", "1M");
        check("1M,queue=FIFO : 0.5s", "1M,queue=fifo:500ms");
        check("1M,count=payload", "1M");
        check("1M,count=wire", "1M,count=wire");
        check("1M,count=wire:1500/52/14", "1M,count=wire");
        check("1M,count=Wire: 1492 / 40 / 26", "1M,count=wire:1492/40/26");
        check("1M,outage=15s/5m", "1M,outage=15s/300s");
        check("1M,pass=10m/100m", "1M,pass=600s/6000s");
        check("1M,rain=20m/12h", "1M,rain=1200s/43200s");
        check("1M,handover=15s", "1M,handover=15s");
        check("1M,seed=0", "1M");
        check("1M,seed=18446744073709551615", "1M,seed=18446744073709551615");
        check(
            "512k/128k,rtt=600ms,jitter=40ms,outage=15s/300s,queue=fifo:500ms,seed=7",
            "512k/128k,rtt=600ms,jitter=40ms,queue=fifo:500ms,outage=15s/300s,seed=7",
        );
    }

    #[test]
    fn points_as_typed_and_as_printed() {
        check("1M,at=10s:56k/16k", "1M,at=10s:56k/16k");
        check("1M,at=10s : 56kbit/s / 16k", "1M,at=10s:56k/16k");
        check("1M,ramp=1m:56k,at=0s:2M", "1M,at=0s:2M,ramp=60s:56k");
        check("1M,at=10s:-/16k", "1M,at=10s:-/16k");
        check("1M,at=10s:0", "1M,at=10s:0");
        check("at=10s:56k,ramp=20s:1M,repeat=20s", "unlimited,at=10s:56k,ramp=20s:1M,repeat=20s");
    }

    #[test]
    fn a_text_is_padded_as_a_whole() {
        assert_eq!(format!("{:>6}|", LinkSpec { down: None, ..LinkSpec::default() }), "unlimited|");
        assert_eq!(format!("{:<12}|", LinkSpec::default()), "unlimited   |");
    }

    fn time(nanos: std::ops::RangeInclusive<u64>) -> impl Strategy<Value = Duration> {
        let round = prop::sample::select(vec![1, 1_000, 1_000_000, 1_000_000_000]);
        let (least, most) = (*nanos.start(), *nanos.end());
        (nanos, round)
            .prop_map(move |(nanos, round)| Duration::from_nanos((nanos / round * round).clamp(least, most)))
    }

    const SECOND: u64 = 1_000_000_000;
    const YEAR: u64 = 8760 * 3600 * SECOND;

    fn rate() -> impl Strategy<Value = Option<BitRate>> {
        let known = prop::sample::select(vec![0, 56_000, 3_000_000_000, 4_000_000_000, 1_000_000]);
        let bits = prop_oneof![known, any::<u64>(), 0..1_000_000_u64];
        prop::option::of(bits.prop_map(BitRate::from_bits_per_second))
    }

    fn any_cycle() -> impl Strategy<Value = Option<Cycle>> {
        let cycle = time(SECOND / 10..=YEAR).prop_flat_map(|period| {
            let nanos = u64::try_from(period.as_nanos()).unwrap();
            time(1..=nanos).prop_map(move |length| Cycle { length, period })
        });
        prop::option::of(cycle)
    }

    fn any_schedule() -> impl Strategy<Value = Schedule> {
        let point = (time(0..=YEAR), any::<bool>(), rate(), rate());
        let schedule = (prop::collection::vec(point, 0..4), prop::option::of(time(SECOND / 10..=YEAR)));
        schedule.prop_map(|(points, repeat)| {
            let change = |ramp| if ramp { Change::Ramp } else { Change::Step };
            let mut points: Vec<_> = points
                .into_iter()
                .filter(|(_, _, down, up)| (*down, *up) != (None, None))
                .map(|(at, ramp, down, up)| Point {
                    at,
                    change: change(ramp),
                    down,
                    up,
                    rtt: None,
                    jitter: None,
                    loss: None,
                })
                .collect();
            points.sort_by_key(|point| point.at);
            points.dedup_by_key(|point| point.at);
            let repeat = points.last().and_then(|last| repeat.map(|repeat| repeat.max(last.at)));
            Schedule { points, repeat }
        })
    }

    /// How bytes are treated: loss, TCP, queue, what is counted, and chance.
    fn any_manners() -> impl Strategy<Value = LinkSpec> {
        let tcp = prop::sample::select(vec![Tcp::None, Tcp::Handshake, Tcp::SlowStart]);
        let fifo = time(1_000_000..=3600 * SECOND).prop_map(Discipline::Fifo);
        let queue = prop_oneof![Just(Discipline::Fair), fifo];
        let framing = (68..=u16::MAX).prop_flat_map(|mtu| (Just(mtu), 0..=mtu / 2, 0..=1000_u16));
        let framing = framing.prop_map(|(mtu, header, link)| Framing { mtu, header, link });
        let framing = prop_oneof![Just(Framing::default()), framing];
        let count = prop_oneof![Just(Accounting::Payload), framing.prop_map(Accounting::Wire)];
        (0..=500_000_u32, tcp, queue, count, any::<u64>()).prop_map(|(loss, tcp, queue, accounting, seed)| {
            LinkSpec { loss: Loss(loss), tcp, queue, accounting, seed, ..LinkSpec::default() }
        })
    }

    fn any_spec() -> impl Strategy<Value = LinkSpec> {
        let rates = (rate(), rate(), any_schedule(), prop::option::of(1..=100_u8));
        let delays = (time(0..=3600 * SECOND), time(0..=3600 * SECOND));
        let cycles = (any_cycle(), any_cycle(), any_cycle());
        let handover = prop::option::of(time(SECOND..=YEAR));
        (rates, delays, cycles, handover, any_manners()).prop_map(
            |(rates, delays, cycles, handover, manners)| {
                let (down, up, schedule, auto) = rates;
                let ((rtt, jitter), (outage, pass, rain)) = (delays, cycles);
                let spec = LinkSpec {
                    down,
                    up,
                    rtt,
                    jitter,
                    outage,
                    pass,
                    rain,
                    handover,
                    schedule,
                    auto,
                    ..manners
                };
                valid(spec)
            },
        )
    }

    /// `spec` without what the grammar refuses: rates beside `auto`, and ramps from no rate.
    fn valid(mut spec: LinkSpec) -> LinkSpec {
        if spec.auto.is_some() {
            (spec.down, spec.up, spec.schedule) = (None, None, Schedule::default());
        }
        if spec.down.is_none() || spec.up.is_none() {
            spec.schedule.points.iter_mut().for_each(|point| point.change = Change::Step);
        }
        spec
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(spec in any_spec()) {
            let text = spec.to_string();
            prop_assert_eq!(text.parse(), Ok(spec), "{}", text);
        }
    }
}
