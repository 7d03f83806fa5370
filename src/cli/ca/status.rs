//! `bentpipe ca status`: the authority, where it is trusted, and what the running proxy says about the connections that
//! it opens and those that it leaves alone.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::bail;
use http::Method;
use serde_json::{Value, json};

use super::{facts, nothing};
use crate::admin::client::Operator;
use crate::ca::trust::Machine;
use crate::ca::{Folder, RootCertificate};
use crate::config::Loaded;
use crate::text::counted;

/// What the control socket is asked for: `{"leaves": n, "spliced": [{"client", "host", "since", "reason"}]}`.
const ROUTE: &str = "/v1/ca";
/// What lets every client be tried again.
const FORGET: &str = "/v1/ca/forget";

/// Fewer days than these are worth a word: devices are visited once in a long while.
const SOON: u64 = 180;

/// Shows all of it; returns what to print.
pub(super) fn status(
    folder: &Folder,
    loaded: &Loaded,
    now: SystemTime,
    json: bool,
) -> anyhow::Result<String> {
    let published = folder.published()?;
    let certificates: Vec<_> = published.iter().map(|(certificate, _)| certificate).collect();
    let Some((current, next)) = certificates.split_first() else { bail!(nothing(folder)) };
    let proxy = proxy(loaded);
    let found = Machine::here().stores();
    let stores: Vec<_> = found
        .stores
        .iter()
        .map(|store| {
            let held = certificates.iter().map(|certificate| store.holds(certificate)).collect();
            (store.to_string(), held)
        })
        .collect();
    if json {
        return Ok(format!("{:#}\n", as_json(&certificates, &stores, &proxy, now)));
    }
    let mut text = facts(current);
    writeln!(text, "left         {}", left(current, now))?;
    writeln!(text, "key          {}", folder.key_path().display())?;
    // What no client would accept is told before it happens.
    let uncovered: Vec<_> =
        loaded.config.intercept.hosts.iter().filter(|rule| !current.scope.covers_rule(rule)).collect();
    for rule in uncovered {
        writeln!(
            text,
            "not covered  {rule} of tls.intercept.hosts; it takes another one: bentpipe ca rotate"
        )?;
    }
    if let Err(error) = folder.load() {
        writeln!(text, "wrong        {error}")?;
    }
    for next in next {
        write!(text, "\nto follow with bentpipe ca rotate --now:\n{}", facts(next))?;
    }
    text += "\ntrusted by\n";
    for (name, held) in &stores {
        writeln!(text, "  {:14} {name}", in_words(held))?;
    }
    for note in &found.notes {
        writeln!(text, "  {note}")?;
    }
    text.push('\n');
    text += &proxy_in_words(&proxy);
    Ok(text)
}

/// Where the running proxy that was named has its authority; none where none can be asked.
pub(super) fn folder(loaded: &Loaded) -> Option<PathBuf> {
    let reply = Operator::running(loaded).ok()?.ask(&Method::GET, ROUTE, None).ok()?;
    reply["folder"].as_str().map(PathBuf::from)
}

/// Has the running proxy open the connections of every client again; returns what to print.
pub(super) fn retry(loaded: &Loaded) -> anyhow::Result<String> {
    let reply = Operator::running(loaded)?.ask(&Method::POST, FORGET, None)?;
    let forgotten = reply["forgotten"].as_u64().unwrap_or(0);
    let pairs = if forgotten == 1 { "pair of client and host is" } else { "pairs of client and host are" };
    Ok(format!("{forgotten} {pairs} opened again\n"))
}

fn left(certificate: &RootCertificate, now: SystemTime) -> String {
    match certificate.days_left(now) {
        None => "nothing: it is no longer valid; bentpipe ca rotate --now".to_owned(),
        Some(days) if days < SOON => format!("{days} days; make the next one soon: bentpipe ca rotate"),
        Some(days) => format!("{days} days"),
    }
}

fn in_words(held: &Vec<bool>) -> &'static str {
    match held.as_slice() {
        [true] | [true, true] => "yes",
        [true, false] => "yes, not next",
        [false, true] => "only the next",
        _ => "no",
    }
}

/// What the running proxy says, or why it says nothing.
fn proxy(loaded: &Loaded) -> Result<(String, Value), String> {
    let operator = Operator::running(loaded).map_err(|error| format!("{error:#}"))?;
    let name = operator.name();
    let reply = operator.ask(&Method::GET, ROUTE, None).map_err(|error| format!("{name}: {error:#}"))?;
    Ok((name, reply))
}

fn proxy_in_words(proxy: &Result<(String, Value), String>) -> String {
    let (name, reply) = match proxy {
        Ok(proxy) => proxy,
        Err(reason) => return format!("proxy        {reason}\n"),
    };
    let made = counted(reply["leaves"].as_u64().unwrap_or(0), "certificate");
    let mut text = format!("proxy        {name}: {made} made\n");
    let spliced = reply["spliced"].as_array().map_or(&[][..], Vec::as_slice);
    if spliced.is_empty() {
        return text + "unopened     nothing that was to be opened\n";
    }
    text += "unopened     connections that were to be opened, and why they are left alone for a day\n";
    for pair in spliced {
        // Hosts are what clients wrote: no terminal is to act on them.
        let part = |name: &str| pair[name].as_str().unwrap_or("-").escape_debug().to_string();
        text += &format!(
            "  {} -> {} since {}: {}\n",
            part("client"),
            part("host"),
            part("since"),
            part("reason")
        );
    }
    text
}

fn as_json(
    certificates: &[&RootCertificate],
    stores: &[(String, Vec<bool>)],
    proxy: &Result<(String, Value), String>,
    now: SystemTime,
) -> Value {
    let certificate = |certificate: &&RootCertificate| {
        json!({
            "name": certificate.name,
            "fingerprint": certificate.fingerprint(),
            "valid_until": certificate.last_day(),
            "days_left": certificate.days_left(now),
            "signs_for": certificate.scope.to_string(),
        })
    };
    let store = |(name, held): &(String, Vec<bool>)| json!({ "store": name, "trusts": held });
    let proxy = match proxy {
        Ok((_, reply)) => reply.clone(),
        Err(reason) => json!({ "error": reason }),
    };
    json!({
        "certificates": certificates.iter().map(certificate).collect::<Vec<_>>(),
        "stores": stores.iter().map(store).collect::<Vec<_>>(),
        "proxy": proxy,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_proxy_leaves_alone_is_told_without_acting_on_it() {
        let pair = json!({ "client": "10.0.0.5", "host": "a\u{1b}[2J.example", "since": "10:00", "reason": "alert" });
        let said = proxy_in_words(&Ok(("on port 3128".into(), json!({ "leaves": 3, "spliced": [pair] }))));
        assert!(said.starts_with("proxy        on port 3128: 3 certificates made\n"), "{said}");
        assert!(said.ends_with("  10.0.0.5 -> a\\u{1b}[2J.example since 10:00: alert\n"), "{said}");
        let one = proxy_in_words(&Ok(("on port 3128".into(), json!({ "leaves": 1, "spliced": [] }))));
        assert!(one.starts_with("proxy        on port 3128: 1 certificate made\n"), "{one}");
        assert_eq!(proxy_in_words(&Err("none runs".into())), "proxy        none runs\n");
    }
}
