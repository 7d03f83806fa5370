//! A reader of HTTP/1.1 that takes nothing but the letter of RFC 9112, and says what it does not take.

/// What the beginning of some bytes is.
pub(crate) enum Read {
    Whole(usize, String),
    Partial,
    Wrong(&'static str),
}

/// One request at the beginning of `bytes`, read by the letter.
pub(crate) fn request(bytes: &[u8]) -> Read {
    let head = match head(bytes) {
        Ok(head) => head,
        Err(read) => return read,
    };
    let words: Vec<_> = head.start.split(' ').collect();
    let [method, target, "HTTP/1.1"] = words.as_slice() else { return Read::Wrong("the request line") };
    if method.is_empty() || !(target.starts_with('/') || *target == "*") {
        return Read::Wrong("the method or target");
    }
    if head.values("host").len() != 1 || head.values("via").is_empty() {
        return Read::Wrong("Host or Via");
    }
    match head.content(bytes, 0) {
        Content::Whole(length) => Read::Whole(length, (*target).to_owned()),
        Content::Partial => Read::Partial,
        Content::Wrong(why) => Read::Wrong(why),
    }
}

/// All of `received` is responses, the last of which may break off.
pub(crate) fn check_responses(received: &[u8], method: Option<&str>, cause: &[u8]) {
    let mut rest = received;
    let mut answers = 0;
    while !rest.is_empty() {
        let head = match head(rest) {
            Ok(head) => head,
            Err(Read::Partial) => return,
            Err(_) => panic!("{} is no response to {}", show(rest), show(cause)),
        };
        // To a client that speaks HTTP/1.0, in its version.
        let behind = head.start.strip_prefix("HTTP/1.1 ").or_else(|| head.start.strip_prefix("HTTP/1.0 "));
        let status = behind.and_then(|rest| rest.get(..3)?.parse::<u16>().ok());
        let Some(status) = status else { panic!("{} is no status line, after {}", head.start, show(cause)) };
        let is_bare = status < 200 || status == 204 || status == 304 || method == Some("HEAD");
        // Which method a response is to is not known here where any bytes were the request.
        let length = match (is_bare, head.content(rest, 1)) {
            (true, _) => head.length,
            (false, Content::Whole(length)) => length,
            (false, Content::Partial) => return,
            (false, Content::Wrong(why)) => panic!("{why} in {} after {}", show(rest), show(cause)),
        };
        answers += usize::from(status >= 200);
        rest = &rest[length.min(rest.len())..];
        if method.is_none() && rest.first().is_some_and(|byte| *byte != b'H') {
            panic!("{} is behind a response, after {}", show(rest), show(cause));
        }
    }
    assert!(
        method.is_none() || answers <= 1,
        "{} is more than one answer, after {}",
        show(received),
        show(cause)
    );
}

struct Head {
    start: String,
    fields: Vec<(String, String)>,
    length: usize,
}

enum Content {
    /// Where the message ends.
    Whole(usize),
    Partial,
    Wrong(&'static str),
}

fn head(bytes: &[u8]) -> Result<Head, Read> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").ok_or(Read::Partial)?;
    let text: String = bytes[..end].iter().copied().map(char::from).collect();
    let mut lines = text.split("\r\n");
    let start = lines.next().unwrap_or_default().to_owned();
    let odd = |text: &str| text.contains(|c: char| c.is_ascii_control() && c != '\t');
    if odd(&start) {
        return Err(Read::Wrong("a control character in the start line"));
    }
    let mut fields = Vec::new();
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            return Err(Read::Wrong("a line without a colon"));
        };
        let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if name.is_empty() || !name.chars().all(is_token) || odd(value) {
            return Err(Read::Wrong("a field line"));
        }
        fields.push((name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()));
    }
    Ok(Head { start, fields, length: end + 4 })
}

impl Head {
    fn values(&self, name: &str) -> Vec<&str> {
        self.fields.iter().filter(|(own, _)| own == name).map(|(_, value)| value.as_str()).collect()
    }

    /// Where the content ends; `unframed` is 0 where content without a length is none, and 1 where it ends with the
    /// connection.
    fn content(&self, bytes: &[u8], unframed: usize) -> Content {
        match (self.values("content-length").as_slice(), self.values("transfer-encoding").as_slice()) {
            ([], []) if unframed == 0 => Content::Whole(self.length),
            ([], []) => Content::Whole(bytes.len()),
            ([], ["chunked"]) => chunks(bytes, self.length),
            ([length], []) if length.bytes().all(|byte| byte.is_ascii_digit()) => {
                match length.parse::<usize>() {
                    Ok(length) if length <= bytes.len() - self.length => Content::Whole(self.length + length),
                    Ok(_) => Content::Partial,
                    Err(_) => Content::Wrong("the length"),
                }
            }
            _ => Content::Wrong("the framing"),
        }
    }
}

fn chunks(bytes: &[u8], mut at: usize) -> Content {
    let line = |at: usize| {
        let end = bytes.get(at..)?.windows(2).position(|window| window == b"\r\n")?;
        Some((String::from_utf8_lossy(&bytes[at..at + end]).into_owned(), at + end + 2))
    };
    loop {
        let Some((size, behind)) = line(at) else { return Content::Partial };
        let digits = !size.is_empty() && size.bytes().all(|byte| byte.is_ascii_hexdigit());
        let Some(size) = usize::from_str_radix(&size, 16).ok().filter(|_| digits) else {
            return Content::Wrong("a chunk size");
        };
        at = behind;
        if size == 0 {
            break;
        }
        match bytes.get(at + size..at + size + 2) {
            Some(b"\r\n") => at += size + 2,
            Some(_) => return Content::Wrong("the end of a chunk"),
            None => return Content::Partial,
        }
    }
    loop {
        let Some((trailer, behind)) = line(at) else { return Content::Partial };
        at = behind;
        if trailer.is_empty() {
            return Content::Whole(at);
        }
        if trailer.starts_with("content-length:") || trailer.starts_with("transfer-encoding:") {
            return Content::Wrong("a trailer");
        }
    }
}

/// Bytes as they can be printed.
pub(crate) fn show(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}
