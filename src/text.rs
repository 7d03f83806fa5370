//! Figures and texts as people and browsers read them.

/// Text as it may stand in an element of HTML or XML, or in a quoted attribute.
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// Whether `character` is not seen, but moves the cursor, changes the terminal or the order of what is read: controls (C0,
/// DEL, C1) and what formats text of both directions (Unicode's `Bidi_Control`).
pub(crate) fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

/// A text of somebody else's for a terminal, on one line: what is hidden in it is written out, as `\u{1b}`.
pub(crate) fn harmless(text: &str) -> String {
    written_out(text, |character| character.escape_unicode().to_string(), is_hidden)
}

/// The same of several lines, of which the ends stay.
pub(crate) fn harmless_lines(text: &str) -> String {
    let is_hidden = |character| character != '\n' && is_hidden(character);
    written_out(text, |character| character.escape_unicode().to_string(), is_hidden)
}

/// `json` as a text that shows all that is hidden in its strings (RFC 8259 §7): it means the same. The ends of lines between
/// its values stay; in strings there are none.
pub(crate) fn plain_json(json: &str) -> String {
    let escape = |character| format!("\\u{:04x}", u32::from(character));
    written_out(json, escape, |character| character != '\n' && is_hidden(character))
}

fn written_out(text: &str, escape: impl Fn(char) -> String, is_hidden: impl Fn(char) -> bool) -> String {
    let mut written = String::with_capacity(text.len());
    for character in text.chars() {
        if is_hidden(character) {
            written.push_str(&escape(character));
        } else {
            written.push(character);
        }
    }
    written
}

/// Bytes as people read them: at most three digits and a decimal unit.
pub(crate) fn human(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut units = ["B", "kB", "MB", "GB", "TB"].iter();
    let mut unit = units.next().unwrap_or(&"B");
    while value >= 999.5 {
        let Some(next) = units.next() else { break };
        value /= 1000.0;
        unit = next;
    }
    let number = if value >= 99.95 { format!("{value:.0}") } else { format!("{value:.1}") };
    format!("{} {unit}", number.trim_end_matches(".0"))
}

/// So many of something: `1 response`, `2 responses`. `one` is a word that takes an s.
pub(crate) fn counted(number: u64, one: &str) -> String {
    format!("{number} {one}{}", if number == 1 { "" } else { "s" })
}

/// Text whose percent-encoding is undone (RFC 3986 §2.1); none where it is not percent-encoded text.
pub(crate) fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        let value = digit()? * 16 + digit()?;
        bytes.push(u8::try_from(value).ok()?);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_shown_with_at_most_three_digits() {
        assert_eq!(human(0), "0 B");
        assert_eq!(human(999), "999 B");
        assert_eq!(human(1_000), "1 kB");
        assert_eq!(human(123_456), "123 kB");
        assert_eq!(human(10_000_000_000), "10 GB");
        assert_eq!(human(10_200), "10.2 kB");
        assert_eq!(human(100_000), "100 kB");
        assert_eq!(human(999_960), "1 MB");
    }

    #[test]
    fn one_is_no_plural() {
        let responses = [0, 1, 2].map(|number| counted(number, "response"));
        assert_eq!(responses, ["0 responses", "1 response", "2 responses"]);
    }

    #[test]
    fn nothing_moves_the_cursor_or_turns_the_text() {
        assert_eq!(harmless("a\u{1b}[2J\u{9b}1m\n"), "a\\u{1b}[2J\\u{9b}1m\\u{a}");
        assert_eq!(harmless("a\u{202e}b\u{2066}\u{200f}\u{61c}"), "a\\u{202e}b\\u{2066}\\u{200f}\\u{61c}");
        assert_eq!(harmless("\u{e4}\u{5d0} \u{200d}"), "\u{e4}\u{5d0} \u{200d}", "what is written stays");
        assert_eq!(harmless_lines("a\t\u{85}\nb\n"), "a\\u{9}\\u{85}\nb\n");
        let value = serde_json::json!({ "url": "a\u{9b}\u{202e}\u{7f}\u{e4}" });
        let text = plain_json(&format!("{value:#}\n"));
        assert_eq!(text, "{\n  \"url\": \"a\\u009b\\u202e\\u007f\u{e4}\"\n}\n");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).ok(), Some(value));
    }

    #[test]
    fn text_stays_text() {
        assert_eq!(escaped("<a href='x'>\"&amp;"), "&lt;a href=&#39;x&#39;&gt;&quot;&amp;amp;");
    }
}
