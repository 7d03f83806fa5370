//! Whom readers of our own pages may ask, as value and as text: a mail address, or a short text. How it is shown is
//! `respond`'s.

/// Characters: a name, a room and a number fit, and pages stay small.
const MOST: usize = 200;

/// Reads a short line, or `none`.
pub(super) fn parse(text: &str) -> Result<Option<String>, String> {
    let text = text.trim();
    if text.is_empty() || text.eq_ignore_ascii_case("none") {
        return Ok(None);
    }
    if text.chars().any(char::is_control) || text.chars().count() > MOST {
        return Err(format!(
            "expected a mail address or a text in one line of at most {MOST} characters; or none"
        ));
    }
    Ok(Some(text.to_owned()))
}

pub(super) fn print(contact: &Option<String>) -> String {
    contact.clone().unwrap_or_else(|| "none".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contact_is_one_short_line() {
        let check = |text: &str, expected: Option<&str>| {
            let contact = parse(text).expect("a contact");
            assert_eq!(contact.as_deref(), expected, "{text:?}");
            assert_eq!(parse(&print(&contact)), Ok(contact));
        };
        check("help@school.example", Some("help@school.example"));
        check(" Ms Rao, room 12 ", Some("Ms Rao, room 12"));
        check("none", None);
        check("", None);
        assert!(parse("a\nb").is_err() && parse(&"x".repeat(201)).is_err());
    }
}
