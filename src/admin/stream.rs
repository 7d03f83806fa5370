//! How the command line reads what is no single JSON object: metrics, and events for as long as they come.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Context as _, bail};
use http::StatusCode;
use serde_json::Value;

use super::client::Operator;
use super::watch::KEEP_ALIVE;

/// Bytes of a head, or of one line, that are read.
const LONGEST_LINE: u64 = 1024 * 1024;

/// Bytes of a text that is read as a whole.
const LONGEST_TEXT: u64 = 64 * 1024 * 1024;

impl Operator {
    /// The text at `path`, in a type that `accept` asks for.
    ///
    /// # Errors
    /// What the proxy says is wrong with it, or that it cannot be reached.
    pub(crate) fn text(&self, path: &str, accept: &str) -> anyhow::Result<String> {
        let mut text = String::new();
        self.open(path, accept)?.take(LONGEST_TEXT).read_to_string(&mut text)?;
        Ok(text)
    }

    /// Hands each event at `path` to `each`, as its name and its data, until the proxy ends.
    ///
    /// # Errors
    /// What the proxy says is wrong with it, that nothing is heard from it any more, and what `each` says.
    pub(crate) fn follow(
        &self,
        path: &str,
        mut each: impl FnMut(&str, &str) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut stream = self.open(path, "text/event-stream")?;
        let mut event = Incoming::default();
        while let Some(line) = line(&mut stream)? {
            if let Some((name, data)) = event.add(&line) {
                each(&name, &data)?;
            }
        }
        Ok(())
    }

    /// The content of the answer for `path`.
    fn open(&self, path: &str, accept: &str) -> anyhow::Result<BufReader<UnixStream>> {
        let socket = self.socket().context("no bentpipe of yours is running; start one with: bentpipe")?;
        ask(socket, path, accept).with_context(|| format!("asking the bentpipe at {}", socket.display()))
    }
}

/// HTTP/1.0, so that the content ends with the connection.
fn ask(socket: &Path, path: &str, accept: &str) -> anyhow::Result<BufReader<UnixStream>> {
    let mut stream = UnixStream::connect(socket)?;
    // It is told that the proxy is there more often.
    stream.set_read_timeout(Some(KEEP_ALIVE * 3))?;
    write!(stream, "GET {path} HTTP/1.0\r\naccept: {accept}\r\n\r\n")?;
    let mut stream = BufReader::new(stream);
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP");
    let first = line(&mut stream)?.ok_or_else(malformed)?;
    let status = first.split(' ').nth(1).and_then(|code| StatusCode::from_bytes(code.as_bytes()).ok());
    while line(&mut stream)?.is_some_and(|field| !field.is_empty()) {}
    if status.ok_or_else(malformed)?.is_success() {
        return Ok(stream);
    }
    let mut text = String::new();
    stream.take(LONGEST_LINE).read_to_string(&mut text)?;
    let reply: Value = serde_json::from_str(&text).unwrap_or_default();
    bail!("{}", reply["error"].as_str().unwrap_or("the proxy refused"))
}

/// The next line, without its end; none at the end of the stream, where what has no end is no line.
fn line(stream: &mut BufReader<UnixStream>) -> anyhow::Result<Option<String>> {
    let mut bytes = Vec::new();
    let read = stream.take(LONGEST_LINE).read_until(b'\n', &mut bytes);
    match read {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            bail!("nothing is heard from the proxy any more")
        }
        // A proxy that is killed resets what it has open.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
        read => read?,
    };
    let Some(line) = bytes.strip_suffix(b"\n") else { return Ok(None) };
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    Ok(Some(String::from_utf8_lossy(line).into_owned()))
}

/// The lines of an event, until the empty one that ends it (HTML §9.2.6).
#[derive(Default)]
struct Incoming {
    name: String,
    data: String,
}

impl Incoming {
    fn add(&mut self, line: &str) -> Option<(String, String)> {
        if line.is_empty() {
            let Self { name, data } = std::mem::take(self);
            return (!data.is_empty()).then_some((name, data));
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => {
                if !self.data.is_empty() {
                    self.data.push('\n');
                }
                self.data.push_str(value);
            }
            // Comments have no field, and of numbers nothing is made here.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_end_with_an_empty_line_and_comments_are_none() {
        let mut event = Incoming::default();
        let text =
            ": watching\n\nevent: exchange\nid: 7\ndata: {\"a\":\ndata: 1}\n\n: still here\n\ndata: x\n\n";
        let events: Vec<_> = text.split_terminator('\n').filter_map(|line| event.add(line)).collect();
        let expected = [("exchange", "{\"a\":\n1}"), ("", "x")];
        assert_eq!(events, expected.map(|(name, data)| (name.to_owned(), data.to_owned())));
    }
}
