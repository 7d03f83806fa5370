//! The pages of the site in HTML. They say plainly what it means to install the certificate.

use super::html::page;
use super::{Facts, steps};
use crate::ca::RootCertificate;
use crate::config::HostPattern;
use crate::text::escaped;

/// Hosts and patterns that are named; the others are counted.
const MOST_NAMED: usize = 24;

/// The first page: what this is, the certificate, the steps, how to use the proxy.
pub(super) fn welcome(facts: &Facts<'_>) -> String {
    let proxy = escaped(facts.proxy);
    let certificate = match facts.certificates.as_slice() {
        [] => without_certificate(),
        [current, rest @ ..] => with_certificate(facts, current, rest),
    };
    let content = format!(
        "<h1>bentpipe</h1>\n\
         <p>This is the proxy between you and a thin link to the internet. It keeps what was fetched once, so that it \
         need not cross the link again, and shares the link among all who use it.</p>\n\
         {certificate}\
         <p><a href=\"/status/\">How the link is, and what is under way</a></p>\n\
         <h2>Use this proxy</h2>\n\
         <p>HTTP and HTTPS proxy: <code>{proxy}</code></p>\n\
         <p>Address for automatic configuration (PAC): <code>http://{proxy}/proxy.pac</code></p>\n\
         <pre><code>export http_proxy=http://{proxy} https_proxy=http://{proxy}</code></pre>\n"
    );
    page("bentpipe", &content)
}

fn without_certificate() -> String {
    "<p>HTTPS passes through it unopened: there is no certificate to install.</p>\n".to_owned()
}

fn with_certificate(facts: &Facts<'_>, current: &RootCertificate, next: &[&RootCertificate]) -> String {
    let proxy = escaped(facts.proxy);
    let next_link = match next {
        [] => "",
        _ => {
            "<li><a href=\"/ca-next.crt\">The next one <small>.crt (DER)</small></a></li>\n\
             <li><a href=\"/ca-next.pem\">The next one <small>.pem</small></a></li>\n"
        }
    };
    let next: String = next.iter().map(|next| described("The next certificate", next)).collect();
    let both = if next.is_empty() {
        ""
    } else {
        "<p>The certificate is about to be replaced. Install the next one beside it; the profile holds both.</p>\n"
    };
    let steps: String = steps::ALL
        .iter()
        .map(|steps| {
            format!("<details><summary>{}</summary>\n{}\n</details>\n", steps.name, steps.at(&proxy))
        })
        .collect();
    format!(
        "<h2>The certificate of this proxy</h2>\n{}{both}\
         <div class=\"get\">\n<ul>\n\
         <li><a href=\"/ca.crt\">Windows, Android, Java <small>.crt (DER)</small></a></li>\n\
         <li><a href=\"/ca.mobileconfig\">iPhone, iPad, macOS <small>.mobileconfig</small></a></li>\n\
         <li><a href=\"/ca.pem\">Linux, Firefox, tools <small>.pem</small></a></li>\n{next_link}</ul>\n\
         <img src=\"/ca.qr.svg\" alt=\"QR code of http://{proxy}/ca\" width=\"176\" height=\"176\">\n</div>\n\
         <p class=\"soft\">The code leads a phone to <code>http://{proxy}/ca</code>.</p>\n\
         {}{next}<h2>How to install it</h2>\n{steps}",
        meaning(facts),
        described("Compare this with what whoever runs the proxy tells you", current),
    )
}

/// What there is not.
pub(super) fn not_found() -> String {
    let content = "<h1>There is no such page here</h1>\n<p>This is the proxy itself. It has a \
                   <a href=\"/\">welcome</a> and a <a href=\"/status/\">page of figures</a>.</p>\n";
    page("Not found", content)
}

/// For whoever forgot the slash.
pub(super) fn moved_to(path: &str) -> String {
    page(
        "bentpipe",
        &format!(
            "<meta http-equiv=\"refresh\" content=\"0; url={path}\">\n<p><a href=\"{path}\">{path}</a></p>\n"
        ),
    )
}

/// What it means to install it.
fn meaning(facts: &Facts<'_>) -> String {
    let hosts = &facts.intercept.hosts;
    if hosts.is_empty() {
        return "<p>HTTPS passes through unopened at the moment. A device that trusts this certificate lets the proxy \
                open it when whoever runs the proxy says so.</p>\n"
            .to_owned();
    }
    let (named, others) = hosts.split_at(hosts.len().min(MOST_NAMED));
    let named: Vec<_> =
        named.iter().map(|rule| format!("<code>{}</code>", escaped(&rule.to_string()))).collect();
    let others = if others.is_empty() { String::new() } else { format!(" and {} more", others.len()) };
    let never = match facts.intercept.never.as_slice() {
        [] => String::new(),
        never => {
            let shown: Vec<_> = never
                .iter()
                .take(MOST_NAMED)
                .map(|rule| format!("<code>{}</code>", escaped(&rule.to_string())))
                .collect();
            format!(" Never: {}.", shown.join(", "))
        }
    };
    let opened = if hosts.contains(&HostPattern::All) {
        "every HTTPS site".to_owned()
    } else {
        format!("{}{others}. All other HTTPS passes through unread", named.join(", "))
    };
    format!(
        "<p>With it on your device, the proxy can open HTTPS pages, keep them, and give them to the next reader without \
         fetching them again. That means that <b>whoever runs this proxy can read what you do on the sites it \
         opens</b>, passwords included. Install it only if you trust them. Without it, those sites show a warning, or \
         pass through unopened after the first try.</p>\n\
         <p>Opened here: {opened}.{never}</p>\n"
    )
}

/// By what a certificate is told from another.
fn described(heading: &str, certificate: &RootCertificate) -> String {
    format!(
        "<p>{heading}:<br><b>{}</b>, valid until {}, signs for {}<br>SHA-256 <code>{}</code></p>\n",
        escaped(&certificate.name),
        certificate.last_day(),
        escaped(&certificate.scope.to_string()),
        certificate.fingerprint(),
    )
}

/// Where a certificate is asked for and there is none.
pub(super) fn no_certificate() -> String {
    page(
        "No certificate",
        "<h1>No certificate</h1>\n<p>This proxy opens no HTTPS, so there is no certificate to install. Whoever runs it \
         makes one with <code>bentpipe ca init</code>.</p>\n",
    )
}

/// To a method that is neither GET nor HEAD.
pub(super) fn not_allowed() -> String {
    page(
        "Method not allowed",
        "<h1>Method not allowed</h1>\n<p>These pages can only be read: GET or HEAD.</p>\n",
    )
}
