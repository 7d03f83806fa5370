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
    fn text_stays_text() {
        assert_eq!(escaped("<a href='x'>\"&amp;"), "&lt;a href=&#39;x&#39;&gt;&quot;&amp;amp;");
    }
}
