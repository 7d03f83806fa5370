//! Reading DER (X.690 §10), as far as the certificates need it that bentpipe itself made: values one behind the other.
//!
//! It makes no DER, and knows nothing of certificates.

pub(super) const INTEGER: u8 = 0x02;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(super) const UTF8_STRING: u8 = 0x0c;
pub(super) const UTC_TIME: u8 = 0x17;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;

/// A context-specific tag of a constructed value.
pub(super) const fn constructed(number: u8) -> u8 {
    0xa0 | number
}

/// A context-specific tag of a primitive value.
pub(super) const fn primitive(number: u8) -> u8 {
    0x80 | number
}

/// Values one behind the other, of which the first is taken at a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next value, tag and content; none at the end, or where there is no DER.
    pub(super) fn any(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        // Tags of more than one byte occur in no certificate.
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x83 => {
                let (octets, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (octets.iter().fold(0, |length, octet| length << 8 | usize::from(*octet)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    /// The content of the next value if it has this tag; otherwise nothing is taken.
    pub(super) fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let mut ahead = *self;
        let (found, content) = ahead.any()?;
        (found == tag).then(|| {
            *self = ahead;
            content
        })
    }

    /// The values within the next one, if it has this tag.
    pub(super) fn within(&mut self, tag: u8) -> Option<Reader<'a>> {
        self.take(tag).map(Reader)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_are_taken_by_their_tags() {
        let mut reader = Reader::new(&[0x30, 0x03, 0x02, 0x01, 0x05, 0x04, 0x81, 0x01, 0x07]);
        assert_eq!(reader.take(INTEGER), None);
        assert_eq!(reader.within(SEQUENCE).and_then(|mut within| within.take(INTEGER)), Some(&[5][..]));
        assert_eq!(reader.take(OCTET_STRING), Some(&[7][..]));
        assert_eq!(reader.any(), None);
    }

    #[test]
    fn what_is_cut_short_or_no_der_gives_nothing() {
        for bytes in [
            &[0x30][..],
            &[0x30, 0x02, 0x00],
            &[0x30, 0x80, 0, 0],
            &[0x1f, 0x01, 0x00],
            &[0x30, 0x84, 0, 0, 0, 0],
        ] {
            assert_eq!(Reader::new(bytes).any(), None, "{bytes:x?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_come_to_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut reader = Reader::new(&bytes);
            let mut taken = 0;
            while let Some((_, content)) = reader.any() {
                taken += 2 + content.len();
            }
            prop_assert!(taken <= bytes.len());
        }
    }
}
