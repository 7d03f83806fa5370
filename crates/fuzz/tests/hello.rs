//! Any bytes at the beginning of a tunnel that is to be looked into: what is read of them does not depend on how much
//! came at once, and a whole ClientHello stays what it is whatever follows.

#[path = "../../../src/intercept/hello.rs"]
mod hello;

use hello::{Beginning, read};

const WORDS: [&[u8]; 8] = [
    &[22, 3, 1],
    &[22, 3, 3, 0, 60, 1, 0, 0, 56, 3, 3],
    &[0; 32],
    &[0, 0, 2, 0x13, 1, 1, 0],
    &[0, 20, 0, 0, 0, 16, 0, 14, 0, 0, 11],
    b"example.org",
    &[0, 16, 0, 5, 0, 3, 2, b'h', b'2'],
    &[0xff, 0xff],
];

#[test]
fn any_beginning_is_read() {
    bolero::check!().with_iterations(2_000).with_type::<Vec<(u8, Option<u8>)>>().for_each(|pieces| {
        let mut bytes = Vec::new();
        for (word, byte) in pieces {
            bytes.extend_from_slice(WORDS[usize::from(*word) % WORDS.len()]);
            bytes.extend(byte);
        }
        let whole = read(&bytes);
        for cut in 0..bytes.len() {
            let part = read(&bytes[..cut]);
            // Nothing is decided too early and taken back later.
            assert!(part == Beginning::Incomplete || part == whole, "{cut} of {bytes:?}");
        }
        bytes.push(0);
        if matches!(whole, Beginning::Hello(_) | Beginning::Other) {
            assert_eq!(read(&bytes), whole, "{bytes:?}");
        }
    });
}
