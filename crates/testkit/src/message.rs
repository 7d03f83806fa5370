//! The parts of an HTTP/1.1 message as they stood on the wire: fields in order and with their case, contents,
//! trailers and how the contents ended (RFC 9112 §5, §6, §7.1).
//!
//! It interprets nothing beyond what framing needs, and it neither reads nor writes a socket: `wire.rs` does.

use std::fmt;

/// Field lines in the order and with the case they had on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// Adds a field line at the end.
    pub fn push(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.push((name.into(), value.into()));
    }

    /// The value of the first field line of this name; names compare without case.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values(name).first().copied()
    }

    /// The values of all field lines of this name, in order.
    #[must_use]
    pub fn values(&self, name: &str) -> Vec<&str> {
        self.iter().filter(|(held, _)| held.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
    }

    /// Whether a field line of this name is there.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// Every field line, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// How many field lines there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no field line.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a comma-separated list under this name has `member`, compared without case (RFC 9110 §5.6.1).
    #[must_use]
    pub fn lists(&self, name: &str, member: &str) -> bool {
        self.values(name)
            .iter()
            .flat_map(|value| value.split(','))
            .any(|each| each.trim().eq_ignore_ascii_case(member))
    }

    /// Reads `Name: value` (without its line end); a line without a colon keeps everything as its name, so
    /// that a test still sees it.
    pub(crate) fn push_line(&mut self, line: &str) {
        match line.split_once(':') {
            Some((name, value)) => self.push(name, value.trim_matches([' ', '\t'])),
            None => self.push(line, ""),
        }
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Fields {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(lines: I) -> Self {
        Self(lines.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl fmt::Display for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().try_for_each(|(name, value)| write!(f, "{name}: {value}\r\n"))
    }
}

/// A start line with its fields, and the bytes they came as.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The request line or status line, without its line end.
    pub start_line: String,
    /// The field lines.
    pub fields: Fields,
    /// The bytes as received, the empty line included.
    pub raw: Vec<u8>,
}

/// How the contents of a message ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// As the framing promised: all of Content-Length, the last chunk, or nothing where nothing was due.
    Clean,
    /// At the end of the connection, as the framing allows when it names no length (RFC 9112 §6.3, point 8).
    Closed,
    /// The connection ended or failed before the framing was fulfilled.
    Cut,
}

/// The contents of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// The bytes, without any chunked framing.
    pub bytes: Vec<u8>,
    /// The trailer fields.
    pub trailers: Fields,
    /// How they ended.
    pub ending: Ending,
}

/// Where the contents of a message end, by its head (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// After this many bytes.
    Length(u64),
    /// After the last chunk and the trailers.
    Chunked,
    /// When the connection ends.
    UntilClose,
}

impl Framing {
    /// The framing of a request: without a length it has no contents.
    pub(crate) fn of_request(fields: &Fields) -> Self {
        Self::declared(fields).unwrap_or(Self::Length(0))
    }

    /// The framing of a response with `status` to a request with `method`.
    pub(crate) fn of_response(method: &str, status: u16, fields: &Fields) -> Self {
        let bodiless = method == "HEAD" || status < 200 || status == 204 || status == 304;
        let tunnel = method == "CONNECT" && (200..300).contains(&status);
        if bodiless || tunnel {
            return Self::Length(0);
        }
        Self::declared(fields).unwrap_or(Self::UntilClose)
    }

    fn declared(fields: &Fields) -> Option<Self> {
        if fields.lists("transfer-encoding", "chunked") {
            return Some(Self::Chunked);
        }
        fields.value("content-length").and_then(|value| value.parse().ok()).map(Self::Length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str) -> Fields {
        let mut fields = Fields::default();
        text.lines().for_each(|line| fields.push_line(line));
        fields
    }

    #[test]
    fn fields_keep_their_order_case_and_duplicates() {
        let fields = fields("Set-Cookie: a=1\nX-Odd:  spaced \t\nset-cookie: b=2");
        assert_eq!(fields.values("SET-COOKIE"), ["a=1", "b=2"]);
        assert_eq!(fields.to_string(), "Set-Cookie: a=1\r\nX-Odd: spaced\r\nset-cookie: b=2\r\n");
    }

    #[test]
    fn framing_follows_rfc_9112_section_6_3() {
        let check = |method: &str, status: u16, text: &str, expected: Framing| {
            assert_eq!(
                Framing::of_response(method, status, &fields(text)),
                expected,
                "{method} {status} {text}"
            );
        };
        check("GET", 200, "content-length: 5", Framing::Length(5));
        check("GET", 200, "content-length: 5\ntransfer-encoding: chunked", Framing::Chunked);
        check("GET", 200, "", Framing::UntilClose);
        check("HEAD", 200, "content-length: 5", Framing::Length(0));
        check("GET", 304, "content-length: 5", Framing::Length(0));
        check("CONNECT", 200, "", Framing::Length(0));
        check("CONNECT", 407, "content-length: 5", Framing::Length(5));
        assert_eq!(Framing::of_request(&fields("host: a")), Framing::Length(0));
    }
}
