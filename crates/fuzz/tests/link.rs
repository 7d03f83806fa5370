//! Any text as a link's description, trace or schedule: refused with its place, or a link that answers every question;
//! a description is printed and read again as the same.

use std::sync::Arc;

use linkio::{BitRate, ByteCount, Direction, LinkModel, LinkSpec, Moment, Schedule, Source, Trace};

#[test]
fn a_link_spec_is_refused_or_survives_printing() {
    bolero::check!().with_iterations(5_000).with_type::<(Vec<Word>, String)>().for_each(|(words, text)| {
        let composed: String = words.iter().map(|word| word.text()).collect();
        for text in [composed.as_str(), text.as_str()] {
            check(text);
        }
    });
}

fn check(text: &str) {
    match text.parse::<LinkSpec>() {
        Ok(spec) => {
            assert_eq!(spec.to_string().parse::<LinkSpec>().ok(), Some(spec.clone()), "{text:?}");
            carry(&LinkModel::from(spec), text);
        }
        Err(error) => assert!(!error.to_string().is_empty(), "{text:?}"),
    }
    if let Ok(rate) = text.parse::<BitRate>() {
        assert_eq!(rate.to_string().parse::<BitRate>().ok(), Some(rate), "{text:?}");
    }
    if let Ok(count) = text.parse::<ByteCount>() {
        assert_eq!(count.to_string().parse::<ByteCount>().ok(), Some(count), "{text:?}");
    }
}

/// Whatever link it is, it answers every question about itself, at any moment.
fn carry(model: &LinkModel, text: &str) {
    for direction in [Direction::Down, Direction::Up] {
        let (capacity, way) =
            (model.capacity(direction, Moment::START), model.propagation(direction, Moment::START));
        for at in [0, 1_000_000_007, u64::MAX / 2, u64::MAX].map(Moment::from_nanos) {
            let (quantum, limit) = (capacity.quantum(at), capacity.backlog_limit(at));
            assert!(quantum > 0 && limit > 0, "{text:?}");
            let (_, _, _) = (capacity.time_for(at, 1500), capacity.opens(at), way.one_way(at));
        }
    }
}

#[test]
fn traces_and_schedules_are_refused_with_their_line_or_can_be_followed() {
    bolero::check!().with_iterations(5_000).with_type::<(Vec<Cell>, String)>().for_each(|(cells, text)| {
        let table: String = cells.iter().map(|cell| cell.text()).collect();
        for text in [format!("time,down,up,rtt,jitter,loss,change\n{table}"), table, text.clone()] {
            if let Ok(trace) = Trace::parse(&text) {
                assert!(trace.chances() > 0 && !trace.length().is_zero(), "{text:?}");
                let source = Some(Source::Trace(Arc::new(trace)));
                carry(&LinkModel { down: source.clone(), up: source, ..LinkModel::default() }, &text);
            }
            match Schedule::from_csv(&text) {
                Ok(schedule) => {
                    let source = Some(Source::Schedule(Arc::new(schedule)));
                    carry(&LinkModel { down: source.clone(), up: source, ..LinkModel::default() }, &text);
                }
                Err(error) => assert!(error.to_string().starts_with("line "), "{text:?}: {error}"),
            }
        }
    });
}

/// Pieces of tables and traces.
#[derive(Clone, Debug, bolero::TypeGenerator)]
enum Cell {
    Number(u32),
    Small(u8),
    Word(u8),
    Comma,
    Line,
}

impl Cell {
    fn text(&self) -> String {
        const WORDS: &[&str] =
            &["512k", "0", "1.5s", "600", "2%", "step", "ramp", "repeat", "#", "\r", "-1", "1e9"];
        match self {
            Self::Number(number) => number.to_string(),
            Self::Small(number) => number.to_string(),
            Self::Word(at) => WORDS[usize::from(*at) % WORDS.len()].to_owned(),
            Self::Comma => ",".to_owned(),
            Self::Line => "\n".to_owned(),
        }
    }
}

/// Pieces of the grammar, so that random inputs get past its first letter.
#[derive(Clone, Debug, bolero::TypeGenerator)]
enum Word {
    Number(u64),
    Small(u8),
    Sign(u8),
    Unit(u8),
    Option(u8),
}

const OPTIONS: &[&str] = &[
    "rtt=",
    "jitter=",
    "loss=",
    "tcp=",
    "none",
    "slow-start",
    "queue=",
    "fifo:",
    "count=wire",
    ":",
    "outage=",
    "pass=",
    "rain=",
    "handover=",
    "at=",
    "ramp=",
    "repeat=",
    "seed=",
    "down=",
    "up=",
    "auto=",
    "geo",
    "leo",
    "south-pole",
    "-",
];

impl Word {
    fn text(&self) -> String {
        let pick = |from: &[&str], at: u8| from[usize::from(at) % from.len()].to_owned();
        match self {
            Self::Number(number) => number.to_string(),
            Self::Small(number) => number.to_string(),
            Self::Sign(at) => pick(&["/", ",", ".", "=", " ", "-"], *at),
            Self::Unit(at) => {
                pick(&["k", "M", "G", "KiB", "B", "bit/s", "ms", "s", "us", "m", "h", "%", "unlimited"], *at)
            }
            Self::Option(at) => pick(OPTIONS, *at),
        }
    }
}
