//! The filters that `bentpipe cache ls`, `purge`, `pin` and `unpin` share, as they are typed.

use clap::Args;
use linkio::ByteCount;

use crate::admin::selection::Selection;

/// Which stored responses are meant. All that is given must hold.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Which ones")]
pub(crate) struct Filters {
    /// Those whose URL begins so, such as `http://example.org/images/`
    #[arg(long, value_name = "URL")]
    prefix: Option<String>,
    /// Those of a host, such as example.org, '*.example.org' or 'example.org:8080'
    #[arg(long, value_name = "GLOB")]
    host: Option<String>,
    /// Those of a media type, such as text/html or 'image/*'
    #[arg(long = "type", value_name = "GLOB")]
    media_type: Option<String>,
    /// Those that the operator's rule of this name matches
    #[arg(long, value_name = "NAME")]
    tag: Option<String>,
    /// Those received or last validated longer ago than this, such as 12h, 7d or 2w
    #[arg(long, value_name = "AGE", value_parser = parse_age)]
    older_than: Option<u64>,
    /// Those received or last validated since, such as 30m
    #[arg(long, value_name = "AGE", value_parser = parse_age)]
    newer_than: Option<u64>,
    /// Those of which more bytes are held, such as 1M
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    larger_than: Option<u64>,
    /// Those of which fewer bytes are held, such as 100k
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    smaller_than: Option<u64>,
    /// Those held only in part
    #[arg(long)]
    partial: bool,
    /// Those that are not fresh any more
    #[arg(long)]
    stale: bool,
}

impl Filters {
    /// What they select, of `url` where one is given.
    pub(crate) fn selection(self, url: Option<String>) -> Selection {
        let Self { prefix, host, media_type, tag, older_than, newer_than, larger_than, smaller_than, .. } =
            self;
        Selection {
            url,
            prefix,
            host,
            media_type,
            tag,
            older_than,
            newer_than,
            larger_than,
            smaller_than,
            partial: self.partial,
            stale: self.stale,
            ..Selection::default()
        }
    }
}

pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let parsed: Result<ByteCount, _> = text.parse();
    parsed.map(|count| count.0).map_err(|_| "expected a size such as 1M or 500k".to_owned())
}

/// Seconds, from numbers with the units s, m, h, d and w in a row.
fn parse_age(text: &str) -> Result<u64, String> {
    let expected = || "expected an age such as 12h, 7d or 1d12h".to_owned();
    let (mut seconds, mut rest) = (0u64, text);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(expected)?;
        let number: u64 = rest[..digits].parse().map_err(|_| expected())?;
        let unit = match rest.as_bytes()[digits] {
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            b'd' => 24 * 3600,
            b'w' => 7 * 24 * 3600,
            _ => return Err(expected()),
        };
        seconds = number.checked_mul(unit).and_then(|more| seconds.checked_add(more)).ok_or_else(expected)?;
        rest = &rest[digits + 1..];
    }
    if text.is_empty() { Err(expected()) } else { Ok(seconds) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_numbers_with_units() {
        let check = |text: &str, expected: Option<u64>| assert_eq!(parse_age(text).ok(), expected, "{text}");
        check("7d", Some(604_800));
        check("1w1d", Some(691_200));
        check("1h30m", Some(5400));
        check("90s", Some(90));
        check("", None);
        check("7", None);
        check("d", None);
        check("7y", None);
        check("7é", None);
        check("99999999999999999999d", None);
        check("9999999999999999999w", None);
    }
}
