//! How metrics are written: the text format of Prometheus (version 0.0.4) and that of OpenMetrics (1.0), which differ in
//! the names of counters and in their end. It knows no metric.

use std::fmt::Write as _;

use super::histogram::Spread;

/// The two formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Prometheus,
    OpenMetrics,
}

impl Format {
    /// The one that an Accept field asks for: OpenMetrics where it is named and not refused.
    pub(crate) fn of(accept: Option<&str>) -> Self {
        let is_wanted = |range: &str| {
            let mut parameters = range.split(';').map(str::trim);
            let is_open = parameters
                .next()
                .is_some_and(|media_type| media_type.eq_ignore_ascii_case("application/openmetrics-text"));
            let is_refused = parameters.any(|parameter| {
                let quality = parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q="));
                quality.is_some_and(|quality| quality.parse::<f32>().is_ok_and(|quality| quality == 0.0))
            });
            is_open && !is_refused
        };
        match accept.is_some_and(|accept| accept.split(',').any(is_wanted)) {
            true => Self::OpenMetrics,
            false => Self::Prometheus,
        }
    }

    /// Its Content-Type.
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// What kind of value a metric has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Only grows, until the process ends.
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    /// As both formats call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Names and values of labels.
pub(crate) type Labels<'a> = &'a [(&'static str, &'a str)];

/// Metrics as they are written, one after the other.
#[derive(Debug)]
pub(crate) struct Exposition {
    text: String,
    format: Format,
    /// The one whose samples follow.
    name: &'static str,
}

impl Exposition {
    /// Nothing written yet.
    pub(crate) fn new(format: Format) -> Self {
        Self { text: String::with_capacity(32 * 1024), format, name: "" }
    }

    /// Begins the metric `name`, whose samples follow.
    pub(crate) fn begin(&mut self, name: &'static str, kind: Kind, help: &str) {
        let family = match (self.format, kind) {
            // "The MetricPoint's Total value is exposed with the suffix _total" and the family without it (OpenMetrics).
            (Format::OpenMetrics, Kind::Counter) => name.strip_suffix("_total").unwrap_or(name),
            _ => name,
        };
        self.name = name;
        let (help, kind) = (escaped(help, false), kind.name());
        let _ = write!(self.text, "# HELP {family} {help}\n# TYPE {family} {kind}\n");
    }

    /// One sample of it.
    pub(crate) fn sample(&mut self, labels: Labels<'_>, value: f64) {
        self.line("", labels, None, value);
    }

    /// One sample that is a whole number.
    pub(crate) fn whole(&mut self, labels: Labels<'_>, value: u64) {
        // Every reader takes values as floats; what is beyond 2^53 is off by a millionth of a millionth.
        self.sample(labels, value as f64);
    }

    /// All samples of a histogram.
    pub(crate) fn histogram(&mut self, labels: Labels<'_>, spread: &Spread) {
        for (bound, count) in &spread.buckets {
            self.line("_bucket", labels, Some(&format!("{bound:?}")), *count as f64);
        }
        self.line("_bucket", labels, Some("+Inf"), spread.count as f64);
        self.line("_sum", labels, None, spread.sum);
        self.line("_count", labels, None, spread.count as f64);
    }

    /// The whole text.
    pub(crate) fn end(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }

    fn line(&mut self, suffix: &str, labels: Labels<'_>, bound: Option<&str>, value: f64) {
        let _ = write!(self.text, "{}{suffix}", self.name);
        let labels = labels.iter().copied().chain(bound.map(|bound| ("le", bound)));
        let mut open = false;
        for (name, value) in labels {
            let before = if open { ',' } else { '{' };
            let _ = write!(self.text, "{before}{name}=\"{}\"", escaped(value, true));
            open = true;
        }
        let _ = writeln!(self.text, "{} {}", if open { "}" } else { "" }, number(value));
    }
}

/// Backslashes and line feeds are escaped everywhere, quotes in the values of labels.
fn escaped(text: &str, quotes: bool) -> String {
    let text = text.replace('\\', "\\\\").replace('\n', "\\n");
    if quotes { text.replace('"', "\\\"") } else { text }
}

fn number(value: f64) -> String {
    match value {
        f64::INFINITY => "+Inf".to_owned(),
        f64::NEG_INFINITY => "-Inf".to_owned(),
        value if value.is_nan() => "NaN".to_owned(),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_format(accept: Option<&str>, expected: Format) {
        assert_eq!(Format::of(accept), expected, "{accept:?}");
    }

    #[test]
    fn openmetrics_is_written_for_who_asks_for_it() {
        check_format(None, Format::Prometheus);
        check_format(Some("*/*"), Format::Prometheus);
        check_format(Some("text/plain;version=0.0.4;q=0.5,*/*;q=0.1"), Format::Prometheus);
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5";
        check_format(Some(prometheus), Format::OpenMetrics);
        check_format(Some("application/openmetrics-text; q=0, text/plain"), Format::Prometheus);
    }

    fn written(format: Format) -> String {
        let mut out = Exposition::new(format);
        out.begin("a_total", Kind::Counter, "What \\ it is.");
        out.whole(&[("x", "1\"2"), ("y", "z")], 7);
        out.begin("b", Kind::Gauge, "B.");
        out.sample(&[], f64::INFINITY);
        out.begin("c_seconds", Kind::Histogram, "C.");
        let spread = Spread { buckets: vec![(0.5, 1), (1.0, 2)], sum: 3.25, count: 3 };
        out.histogram(&[("x", "y")], &spread);
        out.end()
    }

    #[test]
    fn both_formats_are_as_their_pages_say() {
        let expected = "# HELP a_total What \\\\ it is.\n# TYPE a_total counter\na_total{x=\"1\\\"2\",y=\"z\"} 7\n\
            # HELP b B.\n# TYPE b gauge\nb +Inf\n\
            # HELP c_seconds C.\n# TYPE c_seconds histogram\n\
            c_seconds_bucket{x=\"y\",le=\"0.5\"} 1\nc_seconds_bucket{x=\"y\",le=\"1.0\"} 2\n\
            c_seconds_bucket{x=\"y\",le=\"+Inf\"} 3\nc_seconds_sum{x=\"y\"} 3.25\nc_seconds_count{x=\"y\"} 3\n";
        assert_eq!(written(Format::Prometheus), expected);
        let open = expected.replace("HELP a_total", "HELP a").replace("TYPE a_total", "TYPE a") + "# EOF\n";
        assert_eq!(written(Format::OpenMetrics), open);
    }
}
