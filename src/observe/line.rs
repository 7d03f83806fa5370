//! A line of the access log in the format that is wanted. It chooses; what a format looks like is in the file of each.

use std::fmt::Write as _;

use jiff::tz::TimeZone;

use super::event::event;
use super::url::Urls;
use super::{apache, squid};
use crate::config::{AccessFormat, Share};
use crate::exchange::{Details, Record};
use crate::text::plain_json;

/// Writes lines in one format.
pub(crate) struct Lines {
    format: AccessFormat,
    urls: Urls,
    /// That of this machine, in which some formats write the time.
    zone: TimeZone,
}

impl Lines {
    pub(crate) fn new(format: AccessFormat, urls: Urls) -> Self {
        Self { format, urls, zone: TimeZone::system() }
    }

    /// Whether it needs what clients tell of themselves.
    pub(crate) fn wants_told(&self) -> bool {
        self.format == AccessFormat::Combined
    }

    /// The line for `record`, with its line feed. Where only some are written, `share` of its kind are, which the formats
    /// say that can.
    pub(crate) fn write(&self, record: &Record, details: &Details, share: Option<Share>) -> String {
        let mut line = String::with_capacity(256);
        match self.format {
            AccessFormat::Squid => squid::native(&mut line, record, details, &self.urls),
            AccessFormat::Common => apache::line(&mut line, record, details, &self.urls, &self.zone, false),
            AccessFormat::Combined => apache::line(&mut line, record, details, &self.urls, &self.zone, true),
            AccessFormat::Json => {
                let mut event = event(record, details, &self.urls);
                if let Some(share) = share {
                    event["sample_rate"] = share.fraction().into();
                }
                let _ = writeln!(line, "{}", plain_json(&event.to_string()));
            }
        }
        line
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::net::IpAddr;
    use std::time::SystemTime;

    use http::{Method, Uri, Version};

    use super::*;
    use crate::config::QueryLog;
    use crate::exchange::{Exchange, Observers};

    /// An exchange of which so much is known.
    pub(in crate::observe) fn ended(method: &str, target: &'static str, details: Details) -> Exchange {
        ended_at(SystemTime::UNIX_EPOCH, method, target, details)
    }

    /// The same that came at that time.
    pub(in crate::observe) fn ended_at(
        at: SystemTime,
        method: &str,
        target: &'static str,
        details: Details,
    ) -> Exchange {
        let (method, target) = (method.parse::<Method>().expect("a method"), Uri::from_static(target));
        let (client, observers) = (IpAddr::from([127, 0, 0, 1]), Observers::new(Vec::new()));
        let exchange = Exchange::begin(method, target, Version::HTTP_11, client, at, &observers);
        exchange.note(|known| *known = details);
        exchange
    }

    #[test]
    fn json_says_how_many_are_written() {
        let lines = Lines::new(AccessFormat::Json, Urls::new(QueryLog::Keep));
        let exchange = ended("GET", "http://a/", Details::default());
        let value = |share| {
            serde_json::from_str::<serde_json::Value>(
                &exchange.with(|details| lines.write(exchange.record(), details, share)),
            )
        };
        assert_eq!(value(Some(Share::ALL)).expect("JSON")["sample_rate"], 1.0);
        assert!(value(None).expect("JSON").get("sample_rate").is_none());
    }

    #[test]
    fn json_shows_what_is_hidden_in_a_url() {
        let lines = Lines::new(AccessFormat::Json, Urls::new(QueryLog::Keep));
        let exchange = ended("GET", "http://a/\u{9b}2J\u{202e}", Details::default());
        let line = exchange.with(|details| lines.write(exchange.record(), details, None));
        assert!(
            line.contains("http://a/\\u009b2J\\u202e") && !line.contains(['\u{9b}', '\u{202e}']),
            "{line}"
        );
    }
}
