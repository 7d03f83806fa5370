//! Any text as a link's description: refused with its place, or printed and read again as the same.

use linkio::{BitRate, ByteCount, LinkSpec};

#[test]
fn a_link_spec_is_refused_or_survives_printing() {
    bolero::check!().with_iterations(5_000).with_type::<(Vec<Word>, String)>().for_each(|(words, text)| {
        let composed: String = words.iter().map(|word| word.text()).collect();
        for text in [composed.as_str(), text.as_str()] {
            check(text);
        }
    });
}

fn check(text: &str) {
    match text.parse::<LinkSpec>() {
        Ok(spec) => assert_eq!(spec.to_string().parse::<LinkSpec>().ok(), Some(spec), "{text:?}"),
        Err(error) => assert!(!error.to_string().is_empty(), "{text:?}"),
    }
    if let Ok(rate) = text.parse::<BitRate>() {
        assert_eq!(rate.to_string().parse::<BitRate>().ok(), Some(rate), "{text:?}");
    }
    if let Ok(count) = text.parse::<ByteCount>() {
        assert_eq!(count.to_string().parse::<ByteCount>().ok(), Some(count), "{text:?}");
    }
}

/// Pieces of the grammar, so that random inputs get past its first letter.
#[derive(Clone, Debug, bolero::TypeGenerator)]
enum Word {
    Number(u64),
    Small(u8),
    Sign(u8),
    Unit(u8),
}

impl Word {
    fn text(&self) -> String {
        let pick = |from: &[&str], at: u8| from[usize::from(at) % from.len()].to_owned();
        match self {
            Self::Number(number) => number.to_string(),
            Self::Small(number) => number.to_string(),
            Self::Sign(at) => pick(&["/", ",", ".", "=", " ", "-"], *at),
            Self::Unit(at) => {
                pick(&["k", "M", "G", "KiB", "B", "bit/s", "ms", "s", "us", "rtt", "unlimited"], *at)
            }
        }
    }
}
