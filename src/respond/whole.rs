//! A refusal as the bytes of a whole HTTP/1.1 message, for a connection that ends with it and that no server looks
//! after.

use std::fmt::Write as _;

use super::{Contact, Worded};
use crate::body::Body;

/// The message: status line, fields, and the page, which names `contact`.
pub(crate) fn message(refusal: Worded, contact: &Contact) -> Vec<u8> {
    let response = refusal.into_response(contact);
    let content = match response.body() {
        Body::Full(content) => content.clone(),
        _ => bytes::Bytes::new(),
    };
    let mut head = format!("HTTP/1.1 {}\r\n", response.status());
    for (name, value) in response.headers() {
        // Whatever is not text in a field of ours came from elsewhere.
        let _ = write!(head, "{name}: {}\r\n", value.to_str().unwrap_or_default());
    }
    let _ = write!(head, "connection: close\r\ncontent-length: {}\r\n\r\n", content.len());
    let mut message = head.into_bytes();
    message.extend_from_slice(&content);
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::respond::Refusal;

    #[test]
    fn the_message_is_whole() {
        let refusal = Refusal::TooManyConnections.worded();
        let message = String::from_utf8(message(refusal, &Contact::default())).expect("text");
        let (head, content) = message.split_once("\r\n\r\n").expect("a head");
        assert!(head.starts_with("HTTP/1.1 429 Too Many Requests\r\n"), "{head}");
        for field in ["retry-after: 1", "connection: close", &format!("content-length: {}", content.len())] {
            assert!(head.contains(field), "{field} in {head}");
        }
        assert!(content.contains("limits.connections_per_client"));
    }
}
