//! The fields of a request by which it is judged, found in one pass over all of them: looking each of them up by its name
//! would cost more than all the rest of judging. What they mean is `target`'s and `mod`'s.

use http::header::{CONTENT_LENGTH, COOKIE, HOST, TRANSFER_ENCODING, UPGRADE, VIA};
use http::{HeaderMap, HeaderValue};

/// Which fields there are.
#[derive(Debug, Default)]
pub(super) struct Fields<'a> {
    /// Field lines. In HTTP/2 "the Cookie header field MAY be split into separate header fields" (RFC 9113 §8.2.3), as
    /// browsers do it: these count as the one line that they become.
    pub(super) lines: usize,
    /// Bytes of the field lines as HTTP/1.1 writes them.
    pub(super) bytes: usize,
    pub(super) host: Lines<'a>,
    pub(super) transfer_encoding: Lines<'a>,
    pub(super) content_length: Lines<'a>,
    pub(super) cookie: Lines<'a>,
    pub(super) upgrade: Lines<'a>,
    pub(super) via: Lines<'a>,
}

/// The lines of one field.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lines<'a> {
    pub(super) first: Option<&'a HeaderValue>,
    pub(super) has_more: bool,
}

impl<'a> Fields<'a> {
    pub(super) fn of(headers: &'a HeaderMap) -> Self {
        let mut fields = Self { lines: headers.len(), ..Self::default() };
        for (name, value) in headers {
            fields.bytes += name.as_str().len() + value.len() + 4;
            let lines = if *name == HOST {
                &mut fields.host
            } else if *name == COOKIE {
                fields.lines -= usize::from(fields.cookie.first.is_some());
                &mut fields.cookie
            } else if *name == CONTENT_LENGTH {
                &mut fields.content_length
            } else if *name == TRANSFER_ENCODING {
                &mut fields.transfer_encoding
            } else if *name == UPGRADE {
                &mut fields.upgrade
            } else if *name == VIA {
                &mut fields.via
            } else {
                continue;
            };
            lines.add(value);
        }
        fields
    }
}

impl<'a> Lines<'a> {
    /// Whether the field is there.
    pub(super) fn is_there(self) -> bool {
        self.first.is_some()
    }

    fn add(&mut self, value: &'a HeaderValue) {
        match self.first {
            None => self.first = Some(value),
            Some(_) => self.has_more = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn one_pass_finds_what_looking_up_finds(names in prop::collection::vec(0_usize..8, 0..12)) {
            let known = ["host", "cookie", "content-length", "transfer-encoding", "upgrade", "via", "age", "x-other"];
            let mut headers = HeaderMap::new();
            for (value, name) in names.iter().enumerate() {
                headers.append(known[*name], HeaderValue::from(value));
            }
            let fields = Fields::of(&headers);
            let Fields { host, cookie, content_length, transfer_encoding, upgrade, via, .. } = fields;
            let found = [host, cookie, content_length, transfer_encoding, upgrade, via];
            for (name, lines) in known.iter().zip(found) {
                let count = headers.get_all(*name).iter().count();
                prop_assert_eq!((lines.first, lines.has_more), (headers.get(*name), count > 1));
                prop_assert_eq!(lines.is_there(), count > 0);
            }
            let bytes = headers.iter().map(|(name, value)| format!("{name}: {}\r\n", value.to_str().unwrap()).len());
            prop_assert_eq!(fields.bytes, bytes.sum::<usize>());
            let cookies = headers.get_all(COOKIE).iter().count();
            prop_assert_eq!(fields.lines, headers.len() - cookies.saturating_sub(1));
        }
    }
}
