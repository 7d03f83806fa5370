//! The page of a refusal: what happened in plain words, until when and whom to ask, and set off from that a line for
//! whoever looks after the proxy. What it says is `refusal`'s and `denied`'s. It is small, and loads nothing.

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;

use super::refusal::Told;
use crate::text::escaped;

pub(super) const MEDIA_TYPE: &str = "text/html; charset=utf-8";

/// Whom readers of pages may ask, as the option `pages.contact` says: a mail address, or a text such as a name and a
/// number; often nobody.
#[derive(Clone, Debug, Default)]
pub(crate) struct Contact(Option<Arc<str>>);

impl Contact {
    pub(crate) fn new(contact: Option<&str>) -> Self {
        Self(contact.map(Into::into))
    }

    fn html(&self) -> Option<String> {
        let contact = escaped(self.0.as_deref()?);
        let is_mail = contact.contains('@') && !contact.contains(char::is_whitespace);
        Some(if is_mail { format!("<a href=\"mailto:{contact}\">{contact}</a>") } else { contact })
    }
}

/// The page that says what was `told`.
pub(super) fn page(told: &Told, contact: &Contact) -> Bytes {
    let reason = told.status.canonical_reason().unwrap_or("Error");
    let (code, error) = (told.status.as_u16(), told.error.unwrap_or("none"));
    let (heading, text) = match &told.plainly {
        Some(plainly) => (plainly.heading, &plainly.text),
        None => (reason, &told.text),
    };
    let mut html = String::with_capacity(1500);
    // Writing to a String cannot fail.
    let _ = write!(
        html,
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>{code} {reason}</title><style>body{{font:16px/1.5 sans-serif;\
         max-width:38em;margin:12vh auto;padding:0 1em;color:#222;background:#fff}}h1{{font-size:1.4em}}\
         small{{color:#666}}hr{{border:0;border-top:1px solid #ccc;margin:2em 0 1em}}</style><h1>{heading}</h1><p>{}</p>",
        escaped(text)
    );
    if let Some(then) = told.plainly.as_ref().and_then(|plainly| plainly.then.as_ref()) {
        let _ = write!(html, "<p>{}</p>", escaped(then));
    }
    match contact.html() {
        Some(contact) => {
            let _ = write!(html, "<p>Questions? Ask {contact}.</p>");
        }
        None if told.plainly.is_some() => {
            html.push_str("<p>Questions? Ask whoever looks after the network here.</p>");
        }
        None => {}
    }
    if told.plainly.is_some() {
        let _ = write!(
            html,
            "<hr><p><small>For whoever looks after the proxy: {}</small></p>",
            escaped(&told.text)
        );
    }
    let _ = writeln!(
        html,
        "<p><small>{code} {reason} from bentpipe, the proxy on the way ({error}).</small></p></html>"
    );
    html.into()
}

#[cfg(test)]
mod tests {
    use super::super::refusal::{Plainly, told};
    use super::*;

    #[track_caller]
    fn check(plainly: Option<Plainly>, contact: Option<&str>, expected: &[&str]) -> String {
        let told = Told { plainly, ..told(http::StatusCode::FORBIDDEN, "http_request_denied", "Rule <a>.") };
        let page = page(&told, &Contact::new(contact));
        assert!(page.len() < 4096, "{}", page.len());
        let page = String::from_utf8(page.to_vec()).expect("text");
        let mut from = 0;
        for part in expected {
            let at = page.get(from..).and_then(|rest| rest.find(part));
            from += at.unwrap_or_else(|| panic!("{part:?} in order in {page}"));
        }
        page
    }

    fn plainly(text: &str, then: &str) -> Option<Plainly> {
        Some(Plainly { heading: "Not now", text: text.to_owned(), then: Some(then.to_owned()) })
    }

    #[test]
    fn the_reader_comes_first_and_the_rule_last() {
        let parts =
            ["<h1>Not now</h1>", "<p>No <b>.</p>", "<p>At 17:00.</p>", "Questions? Ask", "<hr>", "Rule"];
        let escaped = parts.map(|part| if part.contains("<b>") { "<p>No &lt;b&gt;.</p>" } else { part });
        check(plainly("No <b>.", "At 17:00."), None, &escaped);
        let page = check(
            None,
            None,
            &["<h1>Forbidden</h1>", "<p>Rule &lt;a&gt;.</p>", "403 Forbidden from bentpipe"],
        );
        assert!(!page.contains("Questions") && !page.contains("<hr>"), "{page}");
    }

    #[test]
    fn whom_to_ask_is_said_where_it_is_known() {
        let text = "Ask Ann & Bob, room 3, tel. 12.";
        check(
            plainly("No.", "Soon."),
            Some("Ann & Bob, room 3, tel. 12"),
            &[&text.replace('&', "&amp;"), "<hr>"],
        );
        let mail = "<a href=\"mailto:help@school.example\">help@school.example</a>.";
        check(plainly("No.", "Soon."), Some("help@school.example"), &[mail, "<hr>"]);
        check(None, Some("a@\"><script>"), &["mailto:a@&quot;&gt;&lt;script&gt;\">"]);
    }
}
