//! How single values are written: for every type that is not a text itself, the function that reads it and,
//! where `Display` is not the answer, the one that prints it. What is printed reads back as the same value.
//!
//! An error of a reading function is the sentence that says what is right; the caller adds place and value.
//! Deliberately not here: which option has which type (`options`), and lists (`options` splits them).

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use linkio::{ByteCount, LinkSpec, SpecError};

use crate::config::{AccessLog, Control, User};

/// Longer waits are typing errors, and far ones overflow the clock they are added to.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// More descriptors than any system gives a process.
const MOST_CONNECTIONS: usize = 1_000_000;

/// The HTTP/1 parser takes no smaller buffer, and no honest head is larger than the upper end.
const HEAD_SIZES: RangeInclusive<u64> = 8192..=16_000_000;

/// Reads an address and port. Where the address is left out or called localhost it is this machine's own: a proxy is
/// opened to a network only by an address that says so.
pub(super) fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    let port = match text.rsplit_once(':') {
        Some((host, port)) if host.is_empty() || host.eq_ignore_ascii_case("localhost") => port,
        _ => text,
    };
    let number = port.parse().ok().filter(|_| !port.starts_with('+'));
    let local = number.map(|port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let expected = "expected an address and port such as 127.0.0.1:3128 or [::1]:3128, or a port";
    text.parse().ok().or(local).ok_or_else(|| expected.to_owned())
}

pub(super) fn parse_path(text: &str) -> Result<PathBuf, String> {
    // The system refuses a zero byte much later, and without saying whose it was.
    if text.is_empty() || text.contains('\0') {
        return Err("expected a path".to_owned());
    }
    Ok(PathBuf::from(text))
}

pub(super) fn print_path(path: &Path) -> String {
    path.display().to_string()
}

pub(super) fn parse_field_name(text: &str) -> Result<http::HeaderName, String> {
    text.parse().map_err(|_| "expected the name of a field, such as CDN-Cache-Control".to_owned())
}

pub(super) fn parse_size(text: &str) -> Result<ByteCount, String> {
    text.parse().map_err(|_| "expected a size such as 10G or 500M".to_owned())
}

pub(super) fn parse_head_size(text: &str) -> Result<ByteCount, String> {
    let size = parse_size(text)?;
    if HEAD_SIZES.contains(&size.0) { Ok(size) } else { Err("expected a size from 8192 to 16M".to_owned()) }
}

pub(super) fn parse_body_size(text: &str) -> Result<Option<ByteCount>, String> {
    match text {
        "unlimited" => Ok(None),
        _ => parse_size(text).map(Some).map_err(|expected| format!("{expected}, or unlimited")),
    }
}

pub(super) fn print_body_size(size: &Option<ByteCount>) -> String {
    size.as_ref().map_or_else(|| "unlimited".to_owned(), ToString::to_string)
}

pub(super) fn parse_free(text: &str) -> Result<Option<ByteCount>, String> {
    match text {
        "auto" => Ok(None),
        "0" => Ok(Some(ByteCount(0))),
        _ => parse_size(text).map(Some).map_err(|expected| format!("{expected}, 0, or auto")),
    }
}

pub(super) fn print_free(size: &Option<ByteCount>) -> String {
    size.as_ref().map_or_else(|| "auto".to_owned(), ToString::to_string)
}

pub(super) fn parse_link(text: &str) -> Result<LinkSpec, String> {
    text.parse().map_err(|error: SpecError| error.about_part())
}

pub(super) fn parse_switch(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("expected on or off".to_owned()),
    }
}

pub(super) fn print_switch(on: &bool) -> String {
    if *on { "on" } else { "off" }.to_owned()
}

pub(super) fn parse_port(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err("expected a port from 1 to 65535".to_owned()),
    }
}

pub(super) fn parse_access_log(text: &str) -> Result<AccessLog, String> {
    match text {
        "off" => Ok(AccessLog::Off),
        "-" => Ok(AccessLog::Stdout),
        _ => parse_path(text)
            .map(AccessLog::File)
            .map_err(|_| "expected off, a file, or - for standard output".to_owned()),
    }
}

pub(super) fn print_access_log(log: &AccessLog) -> String {
    match log {
        AccessLog::Off => "off".to_owned(),
        AccessLog::Stdout => "-".to_owned(),
        AccessLog::File(path) => print_path(path),
    }
}

/// Reads a level, or `target=level` parts, separated by commas. The filter itself would take a level with a
/// typing error for the name of a target, and log nothing.
pub(super) fn parse_levels(text: &str) -> Result<String, String> {
    let valid = |part: &str| {
        let (target, level) = part.split_once('=').unwrap_or(("-", part));
        let named =
            !target.is_empty() && target.chars().all(|c| c.is_ascii_alphanumeric() || "_-:".contains(c));
        named && ["off", "error", "warn", "info", "debug", "trace"].contains(&level)
    };
    if text.split(',').all(valid) {
        return Ok(text.to_owned());
    }
    Err("expected off, error, warn, info, debug or trace, or parts such as warn,bentpipe=debug".to_owned())
}

/// Reads `name:password`; everything behind the first colon is password (RFC 7617 section 2).
pub(super) fn parse_user(text: &str) -> Result<User, String> {
    match text.split_once(':') {
        // "The user-id and password MUST NOT contain any control characters" (RFC 7617 section 2).
        Some((name, password))
            if !name.is_empty() && !password.is_empty() && !text.contains(char::is_control) =>
        {
            Ok(User { name: name.to_owned(), password: password.to_owned() })
        }
        _ => Err("expected name:password, neither of them empty".to_owned()),
    }
}

pub(super) fn print_user(user: &User) -> String {
    format!("{}:{}", user.name, user.password)
}

/// Two passwords for one name would make it a matter of order who gets in.
pub(super) fn distinct(users: &[User]) -> Result<(), String> {
    let repeated = users.iter().enumerate().find(|(n, user)| users[..*n].iter().any(|u| u.name == user.name));
    repeated.map_or(Ok(()), |(_, user)| Err(format!("expected each name once, {:?} is repeated", user.name)))
}

pub(super) fn parse_request_rate(text: &str) -> Result<Option<NonZeroU32>, String> {
    match text {
        "off" => Ok(None),
        _ => text.parse().map(Some).map_err(|_| "expected a number from 1, or off".to_owned()),
    }
}

pub(super) fn print_request_rate(rate: &Option<NonZeroU32>) -> String {
    rate.map_or_else(|| "off".to_owned(), |rate| rate.to_string())
}

pub(super) fn parse_connections(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if (1..=MOST_CONNECTIONS).contains(&count) => Ok(count),
        _ => Err(format!("expected a number from 1 to {MOST_CONNECTIONS}")),
    }
}

const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Reads a time of at most a year: `300ms`, `30s`, `1h30m`. Larger units come first and every number has one, so
/// that nobody has to know what a bare number would mean.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    match milliseconds(text).map(Duration::from_millis) {
        Some(duration) if duration <= LONGEST => Ok(duration),
        Some(_) => Err("expected at most a year, 365d".to_owned()),
        None => Err("expected a time such as 30s, 5m or 1h30m".to_owned()),
    }
}

/// As [`parse_duration`], for waits that end everything at once when they are zero.
pub(super) fn parse_timeout(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => Err("expected a time longer than 0s".to_owned()),
        duration => Ok(duration),
    }
}

fn milliseconds(text: &str) -> Option<u64> {
    let mut total = 0_u64;
    let mut units = UNITS.as_slice();
    let mut rest = text;
    while !rest.is_empty() {
        let (number, behind) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let (unit, behind) =
            behind.split_at(behind.find(|c: char| c.is_ascii_digit()).unwrap_or(behind.len()));
        let position = units.iter().position(|(name, _)| *name == unit)?;
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(units[position].1)?)?;
        units = &units[position + 1..];
        rest = behind;
    }
    (!text.is_empty()).then_some(total)
}

/// Prints whole milliseconds, which is all that [`parse_duration`] can give.
pub(super) fn print_duration(duration: &Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (name, length) in UNITS {
        if rest >= length {
            text.push_str(&format!("{}{name}", rest / length));
            rest %= length;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

pub(super) fn parse_control(text: &str) -> Result<Control, String> {
    match text {
        "auto" => Ok(Control::Auto),
        "off" => Ok(Control::Off),
        _ => parse_path(text).map(Control::Path).map_err(|_| "expected auto, off or a path".to_owned()),
    }
}

pub(super) fn print_control(control: &Control) -> String {
    match control {
        Control::Auto => "auto".to_owned(),
        Control::Off => "off".to_owned(),
        Control::Path(path) => print_path(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `printed` is the canonical form of `written`, or the start of what is wrong with it.
    fn check<T>(
        parse: impl Fn(&str) -> Result<T, String>,
        print: impl Fn(&T) -> String,
        written: &str,
        printed: &str,
    ) {
        match parse(written) {
            Ok(value) => assert_eq!(print(&value), printed, "{written:?}"),
            Err(reason) => {
                assert!(reason.starts_with(printed) && !printed.is_empty(), "{written:?}: {reason}");
            }
        }
    }

    #[test]
    fn links() {
        let check = |written, printed| check(parse_link, ToString::to_string, written, printed);
        check("512k/128k,rtt=600ms", "512k/128k,rtt=600ms");
        check("unlimited", "unlimited");
        check("10Mbit/s", "10M");
        check("512q", "expected a rate in bits per second such as 512k, 10M or unlimited");
        check("off", "expected a rate: unlimited for no limit, 0 for a closed link");
        assert!(parse_link("512q,rtt=1s").unwrap_err().ends_with(" at \"512q\""));
    }

    #[test]
    fn durations() {
        let check = |written, printed| check(parse_duration, print_duration, written, printed);
        check("0s", "0s");
        check("60s", "1m");
        check("90m", "1h30m");
        check("1h0m5s", "1h5s");
        check("1500ms", "1s500ms");
        check("8760h", "365d");
        check("8761h", "expected at most a year");
        check("30", "expected a time");
        check("s", "expected a time");
        check("5s1h", "expected a time");
        check("1s1s", "expected a time");
        check("1.5s", "expected a time");
        check("-1s", "expected a time");
        check("99999999999999999999h", "expected a time");
        check("", "expected a time");
        assert!(parse_timeout("0ms").is_err());
    }

    #[test]
    fn levels() {
        let check = |written, printed| check(parse_levels, String::clone, written, printed);
        check("info", "info");
        check("warn,bentpipe=debug,hyper::proto=off", "warn,bentpipe=debug,hyper::proto=off");
        check("inof", "expected off, error");
        check("bentpipe=loud", "expected off, error");
        check("=info", "expected off, error");
        check("info,", "expected off, error");
    }

    #[test]
    fn users() {
        let check = |written, printed| check(parse_user, print_user, written, printed);
        check("alice:sesame", "alice:sesame");
        check("alice:open:sesame", "alice:open:sesame");
        check("alice", "expected name:password");
        check(":sesame", "expected name:password");
        check("alice:", "expected name:password");
        check("alice:a\nb", "expected name:password");
    }

    #[test]
    fn words_beside_values() {
        check(parse_body_size, print_body_size, "unlimited", "unlimited");
        check(parse_body_size, print_body_size, "5M", "5M");
        check(parse_body_size, print_body_size, "none", "expected a size such as 10G or 500M, or unlimited");
        check(parse_request_rate, print_request_rate, "off", "off");
        check(parse_request_rate, print_request_rate, "20", "20");
        check(parse_request_rate, print_request_rate, "0", "expected a number");
        check(parse_access_log, print_access_log, "-", "-");
        check(parse_access_log, print_access_log, "/var/log/a", "/var/log/a");
        check(parse_access_log, print_access_log, "", "expected off");
        check(parse_control, print_control, "off", "off");
        check(parse_switch, print_switch, "on", "on");
        check(parse_switch, print_switch, "yes", "expected on or off");
        check(parse_control, print_control, "/run/b.sock", "/run/b.sock");
        check(parse_control, print_control, "a\0", "expected auto");
    }

    #[test]
    fn bounds() {
        assert!(parse_connections("0").is_err() && parse_connections("1000001").is_err());
        assert!(parse_head_size("8191").is_err() && parse_head_size("8192").is_ok());
        assert!(parse_head_size("17M").is_err() && parse_head_size("16M").is_ok());
        assert!(parse_port("0").is_err() && parse_port("65536").is_err());
    }

    #[test]
    fn addresses() {
        let check = |written, printed| check(parse_listen, ToString::to_string, written, printed);
        check("[::1]:0", "[::1]:0");
        check("0.0.0.0:3128", "0.0.0.0:3128");
        check("3128", "127.0.0.1:3128");
        check(":3128", "127.0.0.1:3128");
        check("localhost:3128", "127.0.0.1:3128");
        check("proxy.example:3128", "expected an address and port");
        check("[::1]", "expected an address and port");
        check("127.0.0.1", "expected an address and port");
        check("65536", "expected an address and port");
        check("+1", "expected an address and port");
        check(":", "expected an address and port");
    }
}
