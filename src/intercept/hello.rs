//! The first message of a TLS connection: which host it names, before anything is answered (RFC 8446 §4.1.2, RFC 6066
//! §3). Pure: it reads bytes that somebody else collected, and decides nothing.

/// Bytes of records that are read in search of a whole ClientHello. Those of browsers have about 2 kB, with keys of
/// post-quantum methods.
pub(crate) const MOST: usize = 16 * 1024;

/// What bytes at the beginning of a connection are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Beginning {
    /// The beginning of a ClientHello; more is to come.
    Incomplete,
    /// A whole ClientHello.
    Hello(Hello),
    /// Something else, or a ClientHello that is malformed or too long.
    Other,
}

/// What a ClientHello says of who is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hello {
    /// The host it names, in lower case; none without the extension, and where it is no host name.
    pub(crate) server_name: Option<String>,
}

/// Reads the beginning of a connection.
pub(crate) fn read(bytes: &[u8]) -> Beginning {
    match hello(bytes) {
        Ok(hello) => Beginning::Hello(hello),
        Err(Broken::Short) if bytes.len() < MOST => Beginning::Incomplete,
        Err(Broken::Short | Broken::Malformed) => Beginning::Other,
    }
}

/// Why there is no ClientHello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    /// The bytes end before it does.
    Short,
    Malformed,
}

/// The content type of handshake messages (RFC 8446 §5.1).
const HANDSHAKE: u8 = 22;
/// The type of a ClientHello (RFC 8446 §4).
const CLIENT_HELLO: u8 = 1;
/// Bytes of a record's content at most (RFC 8446 §5.1).
const MOST_IN_RECORD: usize = 1 << 14;
/// The extension `server_name` (RFC 6066 §3).
const SERVER_NAME: u16 = 0;
/// The kind of name that is a host's (RFC 6066 §3).
const HOST_NAME: u8 = 0;

fn hello(bytes: &[u8]) -> Result<Hello, Broken> {
    let message = message(bytes)?;
    // From here on everything is there, or the message lies about its own length.
    parse(&message).ok_or(Broken::Malformed)
}

/// The ClientHello without its header, put together from the records it comes in.
fn message(bytes: &[u8]) -> Result<Vec<u8>, Broken> {
    let mut records = Cursor(bytes);
    let mut content = Vec::new();
    loop {
        let kind = records.byte().ok_or(Broken::Short)?;
        let version = records.byte().ok_or(Broken::Short)?;
        if kind != HANDSHAKE || version != 3 {
            return Err(Broken::Malformed);
        }
        records.byte().ok_or(Broken::Short)?;
        let length = records.u16().ok_or(Broken::Short)?;
        if length == 0 || length > MOST_IN_RECORD {
            return Err(Broken::Malformed);
        }
        let (record, is_whole) = records.take_most(length);
        content.extend_from_slice(record);
        let mut message = Cursor(&content);
        if let Some(kind) = message.byte()
            && kind != CLIENT_HELLO
        {
            return Err(Broken::Malformed);
        }
        if let Some(length) = message.u24() {
            if length > MOST {
                return Err(Broken::Malformed);
            }
            if let Some(body) = message.take(length) {
                return Ok(body.to_vec());
            }
        }
        if !is_whole {
            return Err(Broken::Short);
        }
    }
}

/// What a whole ClientHello says. `None` if its lengths do not fit each other.
fn parse(message: &[u8]) -> Option<Hello> {
    let mut message = Cursor(message);
    let _version_and_random = message.take(2 + 32)?;
    let session = message.byte()?;
    message.take(session.into())?;
    let suites = message.u16()?;
    message.take(suites)?;
    let compressions = message.byte()?;
    message.take(compressions.into())?;
    let mut hello = Hello::default();
    if message.0.is_empty() {
        // Before TLS 1.3 there need be no extensions.
        return Some(hello);
    }
    let length = message.u16()?;
    let mut extensions = Cursor(message.take(length)?);
    if !message.0.is_empty() {
        return None;
    }
    while !extensions.0.is_empty() {
        let kind = extensions.u16()?;
        let length = extensions.u16()?;
        let content = extensions.take(length)?;
        if kind == usize::from(SERVER_NAME) {
            hello.server_name = server_name(content)?;
        }
    }
    Some(hello)
}

/// The host of a `server_name` extension. "The ServerNameList MUST NOT contain more than one name of the same name_type"
/// (RFC 6066 §3).
fn server_name(content: &[u8]) -> Option<Option<String>> {
    let mut content = Cursor(content);
    let length = content.u16()?;
    let mut names = Cursor(content.take(length)?);
    let mut host = None;
    while !names.0.is_empty() {
        let kind = names.byte()?;
        let length = names.u16()?;
        let name = names.take(length)?;
        if kind == HOST_NAME {
            if host.is_some() {
                return None;
            }
            host = Some(host_name(name));
        }
    }
    Some(host.flatten())
}

/// "The hostname is represented as a byte string using ASCII encoding without a trailing dot" (RFC 6066 §3).
fn host_name(name: &[u8]) -> Option<String> {
    let is_host = !name.is_empty()
        && name.len() <= 253
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte));
    is_host.then(|| String::from_utf8_lossy(name).to_ascii_lowercase())
}

/// Bytes that are still to be read.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// As many of `length` bytes as there are, and whether that is all of them.
    fn take_most(&mut self, length: usize) -> (&'a [u8], bool) {
        let there = length.min(self.0.len());
        (self.take(there).unwrap_or_default(), there == length)
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn u16(&mut self) -> Option<usize> {
        let high = self.byte()?;
        Some(usize::from(high) << 8 | usize::from(self.byte()?))
    }

    fn u24(&mut self) -> Option<usize> {
        let high = self.byte()?;
        Some(usize::from(high) << 16 | self.u16()?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A ClientHello for `names` in records of `record` bytes.
    fn client_hello(names: &[&str], record: usize) -> Vec<u8> {
        let mut list = Vec::new();
        for name in names {
            list.push(HOST_NAME);
            list.extend(length(name.len()));
            list.extend(name.as_bytes());
        }
        let mut extension = length(list.len()).to_vec();
        extension.extend(list);
        let mut extensions = vec![0, 43, 0, 3, 2, 3, 4];
        if !names.is_empty() {
            extensions.extend([0, 0]);
            extensions.extend(length(extension.len()));
            extensions.extend(extension);
        }
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.extend([0, 0, 2, 0x13, 1, 1, 0]);
        body.extend(length(extensions.len()));
        body.extend(extensions);
        let mut message = vec![CLIENT_HELLO, 0];
        message.extend(length(body.len()));
        message.extend(body);
        message
            .chunks(record)
            .flat_map(|part| [&[HANDSHAKE, 3, 1], &length(part.len())[..], part].concat())
            .collect()
    }

    fn length(length: usize) -> [u8; 2] {
        u16::try_from(length).unwrap().to_be_bytes()
    }

    fn check(names: &[&str], expected: Option<&str>) {
        for record in [1, 7, 10_000] {
            let hello = Hello { server_name: expected.map(str::to_owned) };
            assert_eq!(read(&client_hello(names, record)), Beginning::Hello(hello), "{names:?} {record}");
        }
    }

    #[test]
    fn the_host_is_what_server_name_says() {
        check(&["example.org"], Some("example.org"));
        check(&["WWW.Example.org"], Some("www.example.org"));
        check(&[], None);
        check(&["exa mple.org"], None);
        check(&[""], None);
    }

    #[test]
    fn what_is_no_client_hello_is_something_else() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"SSH-2.0-OpenSSH_9.2\r\n",
            &[22, 2, 0, 0, 1],
            &[22, 3, 1, 0, 0],
            &[22, 3, 1, 0xff, 0xff],
            &[22, 3, 1, 0, 4, 2],
            &[22, 3, 1, 0, 4, 1, 0xff, 0, 0],
        ] {
            assert_eq!(read(bytes), Beginning::Other, "{bytes:?}");
        }
        assert_eq!(read(&client_hello(&["a.example", "b.example"], 500)), Beginning::Other);
        assert_eq!(read(b""), Beginning::Incomplete);
    }

    proptest! {
        #[test]
        fn every_beginning_of_a_hello_is_incomplete(record in 1usize..200, cut in 0usize..1000) {
            let whole = client_hello(&["example.org"], record);
            let cut = cut % whole.len();
            prop_assert_eq!(read(&whole[..cut]), Beginning::Incomplete);
        }

        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = read(&bytes);
            let _ = read(&[&[22, 3, 1][..], &bytes].concat());
        }

        #[test]
        fn a_spoilt_hello_is_read(at in 0usize..100, byte: u8) {
            let mut hello = client_hello(&["example.org"], 60);
            let at = at % hello.len();
            hello[at] = byte;
            let _ = read(&hello);
        }
    }
}
