//! A link specification taken apart: what stands first, then options, then what they mean together.
//!
//! Owns which names there are, how often each may be given, and the rules that concern several of them. Single values
//! are read by `value.rs`.

use std::str::FromStr;

use super::error::{SpecError, Wrong};
use super::nearest::nearest;
use super::parts::{Change, Point};
use super::value::{self, DELAY, EXPECTED_RATE, PERIOD, SATELLITE, is};
use super::{LinkSpec, preset};
use crate::rate::BitRate;

const EXPECTED_OPTION: &str = "expected an option such as rtt=600ms";
const EXPECTED_FIRST: &str = "expected rates or a preset in the first place only, as in 512k/128k,rtt=600ms";
const EXPECTED_AUTO: &str = "expected auto in the place of the rates, as in auto=90%,rtt=600ms";
const EXPECTED_NO_RATES: &str = "expected no rates beside auto, which measures them";
const EXPECTED_START: &str =
    "expected a rate for the ramp to begin at, as in 1M,ramp=60s:56k: unlimited has no line to a rate";

/// The options, for whoever mistypes one.
const NAMES: [&str; 17] = [
    "down", "up", "rtt", "jitter", "loss", "tcp", "queue", "count", "outage", "pass", "rain", "handover",
    "at", "ramp", "repeat", "seed", "auto",
];

impl FromStr for LinkSpec {
    type Err = SpecError;

    /// Reads the grammar of this module.
    ///
    /// # Errors
    /// Names the first part that is not of the grammar, and what would be right there.
    fn from_str(input: &str) -> Result<Self, SpecError> {
        read(input, Names::Known).map_err(|wrong| wrong.about(input))
    }
}

/// Whether the first part may be a preset. In the text of a preset it is not: `56k` there is the rate.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Names {
    Known,
    Unknown,
}

fn read(input: &str, names: Names) -> Result<LinkSpec, Wrong<'_>> {
    let mut parts = input.split(',');
    let mut reading = Reading::begin(parts.next().unwrap_or_default(), names)?;
    for part in parts {
        reading.option(part)?;
    }
    reading.finish()
}

/// What has been read so far, and the pieces of text that later rules may be about.
#[derive(Default)]
struct Reading<'a> {
    spec: LinkSpec,
    given: Vec<&'static str>,
    points: Vec<(Point, &'a str)>,
    /// An option that gives rates.
    rated: Option<&'a str>,
    repeat: Option<&'a str>,
}

impl<'a> Reading<'a> {
    /// Reads what stands first: rates, a preset, `auto`, or already an option.
    fn begin(part: &'a str, names: Names) -> Result<Self, Wrong<'a>> {
        let mut reading = Self::default();
        let text = part.trim();
        if let Some((_, value)) = text.split_once('=').filter(|(name, _)| is(name, "auto")) {
            reading.given.push("auto");
            reading.spec.auto = Some(value::percent(value).map_err(|wrong| wrong.or_at(part))?);
        } else if let Some(preset) = preset::named(text).filter(|_| names == Names::Known) {
            let spec = read(preset.spec, Names::Unknown);
            reading.spec = spec.map_err(|wrong| Wrong::new(part, wrong.message()))?;
        } else if text.contains('=') || NAMES.iter().any(|name| is(text, name)) {
            reading.option(part)?;
        } else {
            let rates = value::rates(part).map_err(|wrong| perhaps_a_preset(wrong, part));
            (reading.spec.down, reading.spec.up) = rates?;
        }
        Ok(reading)
    }

    fn option(&mut self, part: &'a str) -> Result<(), Wrong<'a>> {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let Some(&known) = NAMES.iter().find(|known| is(name, known)) else {
            return Err(no_option(part, name).or_at(part));
        };
        // A point is one of many by nature; anything else given twice is a contradiction.
        if !["at", "ramp"].contains(&known) && self.given.contains(&known) {
            return Err(Wrong::new(part, format!("expected {known} only once")));
        }
        self.given.push(known);
        if ["down", "up", "at", "ramp"].contains(&known) {
            self.rated = Some(part);
        }
        self.take(known, value).map_err(|wrong| wrong.or_at(part))
    }

    fn take(&mut self, name: &'static str, value: &'a str) -> Result<(), Wrong<'a>> {
        let spec = &mut self.spec;
        match name {
            "down" => spec.down = value::rate(value)?,
            "up" => spec.up = value::rate(value)?,
            "rtt" => spec.rtt = value::time(value, "rtt=600ms or rtt=1.5s", &DELAY)?,
            "jitter" => spec.jitter = value::time(value, "jitter=40ms", &DELAY)?,
            "loss" => spec.loss = value::loss(value)?,
            "tcp" => spec.tcp = value::tcp(value)?,
            "queue" => spec.queue = value::discipline(value)?,
            "count" => spec.accounting = value::accounting(value)?,
            "outage" => spec.outage = value::cycle(value, "outage=15s/300s")?,
            "pass" => spec.pass = value::cycle(value, "pass=10m/100m")?,
            "rain" => spec.rain = value::cycle(value, "rain=20m/12h")?,
            "handover" => spec.handover = value::time_or_none(value, "handover=15s", &SATELLITE)?,
            "at" => self.points.push((value::point(value, Change::Step, "at=10s:56k/16k")?, value)),
            "ramp" => self.points.push((value::point(value, Change::Ramp, "ramp=60s:56k/16k")?, value)),
            "repeat" => {
                spec.schedule.repeat = Some(value::time(value, "repeat=120s", &PERIOD)?);
                self.repeat = Some(value);
            }
            "seed" => spec.seed = value::seed(value)?,
            // About the whole part, not its value.
            _ => return Err(Wrong::new("", EXPECTED_AUTO)),
        }
        Ok(())
    }

    /// What the options mean together.
    fn finish(mut self) -> Result<LinkSpec, Wrong<'a>> {
        if let (Some(_), Some(part)) = (self.spec.auto, self.rated) {
            return Err(Wrong::new(part, EXPECTED_NO_RATES));
        }
        self.points.sort_by_key(|(point, _)| point.at);
        self.check_points()?;
        self.check_repeat()?;
        if !self.points.is_empty() {
            self.spec.schedule.points = self.points.into_iter().map(|(point, _)| point).collect();
        }
        Ok(self.spec)
    }

    fn check_points(&self) -> Result<(), Wrong<'a>> {
        let alike = self.points.windows(2).find(|pair| pair[0].0.at == pair[1].0.at);
        if let Some([_, (_, text)]) = alike {
            return Err(Wrong::new(text, "expected points at different times"));
        }
        let (mut down, mut up) = (self.spec.down, self.spec.up);
        for (point, text) in &self.points {
            let endless = |from: Option<BitRate>, to: Option<BitRate>| from.is_none() && to.is_some();
            if point.change == Change::Ramp && (endless(down, point.down) || endless(up, point.up)) {
                return Err(Wrong::new(text, EXPECTED_START));
            }
            (down, up) = (point.down.or(down), point.up.or(up));
        }
        Ok(())
    }

    fn check_repeat(&self) -> Result<(), Wrong<'a>> {
        let (Some(text), Some(repeat)) = (self.repeat, self.spec.schedule.repeat) else { return Ok(()) };
        match self.points.last() {
            None => Err(Wrong::new(text, "expected points beside repeat, as in 1M,at=60s:56k,repeat=120s")),
            Some((last, _)) if repeat < last.at => Err(Wrong::new(
                text,
                "expected repeat not before the last point, as in 1M,at=60s:56k,repeat=120s",
            )),
            Some(_) => Ok(()),
        }
    }
}

/// The error about an option whose name is none.
fn no_option<'a>(part: &'a str, name: &'a str) -> Wrong<'a> {
    let rates = !part.contains('=') && !part.trim().is_empty();
    if rates && (preset::named(part.trim()).is_some() || value::rates(part).is_ok()) {
        return Wrong::new(part, EXPECTED_FIRST);
    }
    let names = NAMES.iter().copied();
    let perhaps = nearest(name.trim(), names).map(|name| format!(" (did you mean {name}?)"));
    Wrong::new(name, format!("{EXPECTED_OPTION}{}", perhaps.unwrap_or_default()))
}

/// The error about a first part that is no rate: a word is more likely meant as a name.
fn perhaps_a_preset<'a>(wrong: Wrong<'a>, part: &'a str) -> Wrong<'a> {
    let text = part.trim();
    let presets = preset::presets().iter().map(|preset| preset.name);
    let words = presets.clone().chain([value::UNLIMITED]).chain(NAMES);
    let perhaps = nearest(text, words).map(|name| format!(" (did you mean {name}?)"));
    if wrong.message() != EXPECTED_RATE || !(perhaps.is_some() || is_word(text)) {
        return wrong;
    }
    let names = presets.collect::<Vec<_>>().join(", ");
    let perhaps = perhaps.unwrap_or_default();
    Wrong::new(part, format!("{EXPECTED_RATE}, a preset ({names}), or an option such as rtt=600ms{perhaps}"))
}

/// Whether `text` looks like a name: it begins with a letter and is not two rates.
fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic()) && !text.contains('/')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `text` is refused at `part` of it, and `expected` is in the message.
    fn refused(text: &str, part: &str, expected: &str) {
        let error = text.parse::<LinkSpec>().expect_err(text);
        assert_eq!(&text[error.span.clone()], part, "{error}");
        assert!(error.message.contains(expected), "{error}");
    }

    fn error(text: &str) -> SpecError {
        text.parse::<LinkSpec>().expect_err(text)
    }

    #[test]
    fn an_error_names_the_wrong_part() {
        assert_eq!(error("512q").to_string(), format!("\"512q\": {EXPECTED_RATE}"));
        assert_eq!(error("512k/128q").to_string(), format!("\"512k/128q\": {EXPECTED_RATE} at \"128q\""));
        assert_eq!(error("512k/ 128q").span, 6..10);
        assert_eq!(error("512k,rtt=600").span, 9..12);
        assert_eq!(error("").span, 0..0);
        assert_eq!(error("").message, EXPECTED_RATE);
        assert_eq!(error("512k,").span, 5..5);
        assert_eq!(error("512k,").message, EXPECTED_OPTION);
        assert_eq!(
            error("512k,delay=1s").to_string(),
            format!("\"512k,delay=1s\": {EXPECTED_OPTION} at \"delay\"")
        );
        assert!(error("512k,rtt=600").to_string().ends_with("in h, m, s, ms, us or ns at \"600\""));
        let sides = "expected one rate, or two as down/up such as 512k/128k";
        assert_eq!(error("64k/").to_string(), format!("\"64k/\": {sides}"));
        assert_eq!(error("64k/,rtt=1s").to_string(), format!("\"64k/,rtt=1s\": {sides} at \"64k/\""));
        assert_eq!(error("1M/1M/1M").message, sides);
        assert!(error("off").message.contains("unlimited"));
    }

    #[test]
    fn what_is_given_twice_contradicts_itself() {
        refused("512k,rtt=1s,rtt=2s", "rtt=2s", "expected rtt only once");
        refused("geo,up=1M,UP=2M", "UP=2M", "expected up only once");
        refused("auto=90%,auto=80%", "auto=80%", "expected auto only once");
        refused("1M,at=1s:1M,ramp=1s:2M", "1s:2M", "different times");
    }

    #[test]
    fn a_name_that_is_none_is_guessed() {
        refused("512k, jiter =1s", "jiter", "(did you mean jitter?)");
        refused("512k,hand-over=1s", "hand-over", "(did you mean handover?)");
        refused("goe,rtt=1s", "goe", "(did you mean geo?)");
        refused("soutpole", "soutpole", "(did you mean south-pole?)");
        refused("unlimted", "unlimted", "(did you mean unlimited?)");
        refused("satellite", "satellite", "inmarsat-bgan, geo, geo-hts");
        refused("fast/slow", "fast", "expected a rate");
        refused("512k,geo", "geo", EXPECTED_FIRST);
        refused("rtt=1s,512k/128k", "512k/128k", EXPECTED_FIRST);
        refused("512k,auto=90%", "auto=90%", EXPECTED_AUTO);
        refused("512k,=1s", "=1s", EXPECTED_OPTION);
    }

    #[test]
    fn a_wrong_value_is_shown_with_a_right_one() {
        refused("1M,rtt", "rtt", "rtt=600ms");
        refused("rtt", "rtt", "rtt=600ms");
        refused("1M,rtt=", "rtt=", "rtt=600ms");
        refused("1M,rtt=2h", "2h", "at most 1h");
        refused("1M,jitter=-1s", "-1s", "jitter=40ms");
        refused("1M,loss=51%", "51%", "at most 50%");
        refused("1M,loss=0.00001%", "0.00001%", "4 decimals");
        refused("1M,loss=0.5", "0.5", "loss=0.5%");
        refused("1M,tcp=reno", "reno", "tcp=slow-start");
        refused("1M,queue=fifo", "fifo", "queue=fifo:500ms");
        refused("1M,queue=fifo:", "fifo:", "queue=fifo:500ms");
        refused("1M,queue=fifo:0s", "0s", "from 1ms to 1h");
        refused("1M,count=wire:1500", "1500", "wire:1500/52/14");
        refused("1M,count=wire:60/0/0", "60/0/0", "from 68 to 65535");
        refused("1M,count=wire:1500/751/0", "1500/751/0", "at most half");
        refused("1M,count=wire:+1500/52/14", "+1500/52/14", "MTU/HEADER/LINK");
        refused("1M,count=frames", "frames", "count=payload");
        refused("1M,seed=-1", "-1", "seed=7");
        refused("1M,seed=+1", "+1", "seed=7");
        refused("1M,seed=", "seed=", "seed=7");
        refused("auto=0%", "0%", "auto=90%");
        refused("auto=101%,rtt=1s", "101%", "from 1% to 100%");
        refused("auto=0.5%", "0.5%", "whole");
        refused("auto=", "auto=", "auto=90%");
        refused("auto", "auto", "in the place of the rates, as in auto=90%");
        refused("geo,down=off", "off", "0 for a closed link");
    }

    #[test]
    fn a_wrong_cycle_or_point_is_shown_with_a_right_one() {
        refused("1M,outage=15s", "15s", "outage=15s/300s");
        refused("1M,outage=15s/", "15s/", "outage=15s/300s");
        refused("1M,outage=0s/300s", "0s", "longer than 0s");
        refused("1M,outage=301s/300s", "301s", "at most the period");
        refused("1M,rain=1ms/99ms", "99ms", "from 100ms to 8760h");
        refused("1M,pass=10m/8761h", "8761h", "from 100ms to 8760h");
        refused("1M,handover=999ms", "999ms", "from 1s");
        refused("1M,at=10s", "10s", "at=10s:56k/16k");
        refused("1M,at=10s:", "10s:", "at=10s:56k/16k");
        refused("1M,at=10:56k", "10", "at=10s:56k/16k");
        refused("1M,at=10s:-", "-", "one direction");
        refused("1M,at=10s:-/-", "-/-", "one direction");
        refused("1M,at=10s:1M/unlimited", "unlimited", "never unlimited");
        refused("1M,at=10s:1M/2M/3M", "1M/2M/3M", "down/up");
        refused("1M,ramp=8761h:1M", "8761h", "at most 8760h");
    }

    #[test]
    fn parts_that_do_not_go_together() {
        refused("auto=90%,down=1M", "down=1M", EXPECTED_NO_RATES);
        refused("auto=90%,at=10s:1M", "at=10s:1M", EXPECTED_NO_RATES);
        refused("rtt=1s,ramp=10s:1M", "10s:1M", EXPECTED_START);
        refused("1M/unlimited,ramp=10s:1M/1k", "10s:1M/1k", EXPECTED_START);
        refused("1M,repeat=60s", "60s", "points beside repeat");
        refused("1M,repeat=60s,at=61s:1k", "60s", "not before the last point");
    }

    #[test]
    fn later_parts_override_a_preset() {
        let check =
            |text: &str, printed: &str| assert_eq!(text.parse::<LinkSpec>().unwrap().to_string(), printed);
        check("geo", "512k/128k,rtt=600ms,tcp=slow-start");
        check(" GEO , RTT = 550ms", "512k/128k,rtt=550ms,tcp=slow-start");
        check("geo,down=1M", "1M/128k,rtt=600ms,tcp=slow-start");
        check("geo,up=unlimited", "512k/unlimited,rtt=600ms,tcp=slow-start");
        check("leo,handover=none,tcp=handshake,rtt=0s", "100M/10M");
        check("south-pole,outage=none,jitter=0s", "40k,rtt=750ms,tcp=slow-start");
        check("3g,down=1M,up=1M", "1M,rtt=300ms,tcp=slow-start");
        check("56k", "56k");
    }

    proptest! {
        #[test]
        fn any_text_reads_without_panic(text in "[0-9a-zé,/.=:%+ -]*|.*") {
            readable_or_refused(&text)?;
        }

        #[test]
        fn any_parts_read_without_panic(parts in prop::collection::vec(piece(), 0..8)) {
            readable_or_refused(&parts.concat())?;
        }
    }

    fn readable_or_refused(text: &str) -> Result<(), TestCaseError> {
        match text.parse::<LinkSpec>() {
            Ok(spec) => prop_assert_eq!(spec.to_string().parse(), Ok(spec)),
            Err(error) => {
                prop_assert!(text.get(error.span.clone()).is_some());
                prop_assert!(error.to_string().contains("expected"));
            }
        }
        Ok(())
    }

    /// Pieces of the grammar, so that random texts get past their first letters.
    fn piece() -> impl Strategy<Value = String> {
        let presets: Vec<_> = preset::presets().iter().map(|preset| preset.name).collect();
        let values = [
            "512k",
            "1M/",
            "600ms",
            "15s/300s",
            "10s:",
            "1k/-",
            "fifo:1s",
            "wire:1500/52/14",
            "50%",
            "none",
            "7",
            "é",
        ];
        let text = |choices: Vec<&'static str>| prop::sample::select(choices).prop_map(str::to_owned);
        prop_oneof![
            text(NAMES.to_vec()).prop_map(|name| format!(",{name}=")),
            text(presets),
            text(values.to_vec()),
        ]
    }
}
