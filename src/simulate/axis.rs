//! The axes of a chart: which values are marked, and where they are.
//!
//! Owns numbers only.

/// Time from the start to the end of a run.
#[derive(Debug)]
pub(super) struct Axis {
    /// In seconds.
    pub(super) end: f64,
    /// Seconds between marks.
    step: f64,
    /// What marks count, and how many seconds that is.
    pub(super) unit: &'static str,
    scale: f64,
}

/// An axis of so many seconds, which are more than zero, with five to ten marks.
pub(super) fn time_axis(end: f64) -> Axis {
    let (unit, scale) = match end {
        0.0..1.0 => ("milliseconds", 1e-3),
        1.0..180.0 => ("seconds", 1.0),
        180.0..10_800.0 => ("minutes", 60.0),
        _ => ("hours", 3600.0),
    };
    Axis { end, step: round_step(end / scale / 10.0) * scale, unit, scale }
}

impl Axis {
    /// The place of a moment between `left` and `right`.
    pub(super) fn x(&self, seconds: f64, left: f64, right: f64) -> f64 {
        left + (right - left) * (seconds / self.end).clamp(0.0, 1.0)
    }

    /// Each mark, in seconds, and its text.
    pub(super) fn ticks(&self) -> Vec<(f64, String)> {
        let count = (0..=20).map(f64::from).map(|number| number * self.step);
        count
            .take_while(|seconds| *seconds <= self.end * 1.000_001)
            .map(|seconds| {
                let value = seconds / self.scale;
                // Steps are one digit: so many decimals show it.
                let decimals = if self.step / self.scale >= 0.99 { 0 } else { 3 };
                let text = format!("{value:.decimals$}");
                let text =
                    if decimals > 0 { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
                (seconds, text.to_owned())
            })
            .collect()
    }
}

/// The smallest of 1, 2 and 5 times a power of ten that is at least `least`.
fn round_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0]
        .into_iter()
        .map(|digit| digit * power)
        .find(|step| *step >= least * 0.999)
        .unwrap_or(power * 10.0)
}

/// The powers of ten, as exponents, that enclose two positive values; never the same one twice.
pub(super) fn decades(least: f64, most: f64) -> (f64, f64) {
    let low = least.max(1e-9).log10().floor();
    let high = most.max(1e-9).log10().ceil();
    (low, high.max(low + 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_round_and_few() {
        let check = |end: f64, unit: &str, texts: &[&str]| {
            let axis = time_axis(end);
            let found: Vec<String> = axis.ticks().into_iter().map(|(_, text)| text).collect();
            assert_eq!(
                (axis.unit, &found[..texts.len()]),
                (unit, texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>().as_slice())
            );
            assert!((5..=11).contains(&found.len()), "{found:?}");
        };
        check(2.21, "seconds", &["0", "0.5", "1"]);
        check(100.0, "seconds", &["0", "10", "20"]);
        check(600.0, "minutes", &["0", "1", "2"]);
        check(86_400.0, "hours", &["0", "5", "10"]);
        check(0.04, "milliseconds", &["0", "5", "10"]);
        check(1e12, "hours", &["0", "50000000"]);
        check(1e-9, "milliseconds", &["0"]);
    }

    #[test]
    fn decades_enclose() {
        assert_eq!(decades(0.6, 45.0), (-1.0, 2.0));
        assert_eq!(decades(1.0, 1.0), (0.0, 1.0));
        assert_eq!(decades(0.0, 0.0), (-9.0, -8.0));
    }
}
