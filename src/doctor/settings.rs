//! Whether the configuration, which can be read, asks for what contradicts itself or is dangerous. What cannot be read at
//! all is `config`'s to say, before any command runs; what it names and cannot be opened, `opening`'s.

use std::net::{IpAddr, SocketAddr};

use super::{Finding, Verdict, printable};
use crate::config::{Clients, Config, ConfigError, ConfigErrors, HostPattern, Loaded, Others};
use crate::opening;

const NAME: &str = "config";

/// Judges the configuration. `has_authority`: whether there is a certificate authority.
pub(super) fn check(loaded: &Loaded, has_authority: bool) -> Vec<Finding> {
    let mut findings = judge(&loaded.config, has_authority);
    findings.extend(unopened(loaded));
    if findings.is_empty() {
        let files: Vec<_> = loaded.files.iter().map(|path| path.display().to_string()).collect();
        let from = if files.is_empty() { "defaults and flags".to_owned() } else { files.join(", ") };
        findings.push(Finding::ok(NAME, format!("read from {from}; nothing contradicts itself")));
    }
    findings
}

/// What the next start would refuse, as far as no other check looks at it.
fn unopened(loaded: &Loaded) -> Vec<Finding> {
    let tls = &loaded.config.tls;
    let is_half = tls.certificate.is_some() != tls.key.is_some();
    let is_told = |key: &str| match key {
        "tls.intercept.hosts" | "ca.dir" | "https_listen" | "cache.dir" => true,
        "tls.certificate" | "tls.key" => is_half,
        _ => false,
    };
    let ConfigErrors(errors) = opening::open(loaded).err().unwrap_or(ConfigErrors(Vec::new()));
    let new = errors.iter().filter(|error| !matches!(error, ConfigError::Value { key, .. } if is_told(key)));
    let advice = "mend it: the next start or reload refuses it; then bentpipe config check";
    new.map(|error| Finding::fail(NAME, printable(&error.to_string()), advice)).collect()
}

fn judge(config: &Config, has_authority: bool) -> Vec<Finding> {
    let doubts = [
        open_to_all(config),
        everything_is_opened(config),
        never_without_hosts(config),
        half_a_certificate(config),
        tls_without_certificate(config, has_authority),
        fallback_without_parent(config),
    ];
    doubts.into_iter().flatten().collect()
}

/// A proxy that anybody on the internet may use is found and abused within hours.
fn open_to_all(config: &Config) -> Option<Finding> {
    let admission = &config.admission;
    let allows_any = admission.allow.iter().any(|rule| {
        rule.clients.contains(&Clients::Any)
            && rule.hosts.is_empty()
            && rule.users.is_empty()
            && rule.times.is_empty()
    });
    if !(admission.others == Others::Any || allows_any) || admission.wants_accounts() {
        return None;
    }
    let listeners = config.listen.iter().chain(&config.https_listen);
    let worst = listeners.filter(|address| !address.ip().is_loopback()).max_by_key(|at| is_public(at))?;
    let advice = "set admission.default = \"private\", name the clients in admission.allow, or ask for accounts: \
                  admission.users_file";
    let text = format!("anybody who reaches {worst} may use the proxy, without an account");
    let verdict = if is_public(worst) && admission.deny.is_empty() { Verdict::Fail } else { Verdict::Warn };
    Some(Finding { verdict, ..Finding::warn(NAME, text, advice) })
}

/// Whether the internet may reach `address`; every address of this machine may be among those it is reached by.
fn is_public(address: &SocketAddr) -> bool {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => !(ip.is_private() || ip.is_link_local() || ip.is_loopback()),
        IpAddr::V6(ip) => !(ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_loopback()),
    }
}

fn everything_is_opened(config: &Config) -> Option<Finding> {
    let opens = config.intercept.hosts.contains(&HostPattern::All);
    (opens && config.intercept.never.is_empty()).then(|| {
        Finding::warn(
            NAME,
            "tls.intercept.hosts is \"all\": banks, mail and everything else is opened, and can be read here",
            "list the hosts that are worth it in tls.intercept.hosts, or those that are nobody's business in \
             tls.intercept.never",
        )
    })
}

fn never_without_hosts(config: &Config) -> Option<Finding> {
    let is_idle = config.intercept.hosts.is_empty() && !config.intercept.never.is_empty();
    is_idle.then(|| {
        Finding::warn(
            NAME,
            "tls.intercept.never names hosts, but tls.intercept.hosts names none: no HTTPS is opened at all",
            "name hosts in tls.intercept.hosts, or drop tls.intercept.never",
        )
    })
}

fn half_a_certificate(config: &Config) -> Option<Finding> {
    let (there, lacking) = match (&config.tls.certificate, &config.tls.key) {
        (Some(_), None) => ("tls.certificate", "tls.key"),
        (None, Some(_)) => ("tls.key", "tls.certificate"),
        _ => return None,
    };
    Some(Finding::fail(NAME, format!("{there} is set without {lacking}"), format!("set {lacking}, too")))
}

fn tls_without_certificate(config: &Config, has_authority: bool) -> Option<Finding> {
    let has_own = config.tls.certificate.is_some() || config.tls.key.is_some();
    let lacks = !config.https_listen.is_empty() && !has_own && !has_authority;
    lacks.then(|| {
        Finding::fail(
            NAME,
            "https_listen wants a certificate, and there is none",
            "set tls.certificate and tls.key, or make an authority: bentpipe ca init",
        )
    })
}

fn fallback_without_parent(config: &Config) -> Option<Finding> {
    let parents = &config.parents;
    let is_idle = parents.fallback && parents.parent.is_none() && parents.rules.is_empty();
    is_idle.then(|| {
        Finding::warn(
            NAME,
            "a fallback for parent proxies is set, but no parent proxy",
            "name a parent proxy, or drop the fallback; see bentpipe config show",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(flags: &[&str], expected: &[(Verdict, &str)]) {
        let config = Config::from_flags(flags).expect("flags");
        let found = judge(&config, false);
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (finding, (verdict, part)) in found.iter().zip(expected) {
            assert_eq!(finding.verdict, *verdict, "{finding:?}");
            assert!(finding.text.contains(part), "{part:?} in {finding:?}");
        }
    }

    #[test]
    fn a_proxy_that_anybody_may_use_is_dangerous() {
        let open = "--set=admission.default=any";
        check(&[], &[]);
        check(&[open], &[]);
        check(&["--listen=0.0.0.0:3128"], &[]);
        check(&[open, "--listen=0.0.0.0:3128"], &[(Verdict::Fail, "anybody who reaches 0.0.0.0:3128")]);
        check(&[open, "--listen=10.0.0.1:3128"], &[(Verdict::Warn, "anybody who reaches 10.0.0.1:3128")]);
        check(
            &["--allow=client=any", "--listen=0.0.0.0:3128"],
            &[(Verdict::Fail, "anybody who reaches 0.0.0.0:3128")],
        );
        check(&[open, "--listen=0.0.0.0:3128", "--set=admission.users=a:b"], &[]);
        check(&[open, "--listen=0.0.0.0:3128", "--deny=method=CONNECT"], &[(Verdict::Warn, "anybody")]);
    }

    #[test]
    fn what_contradicts_itself_is_told() {
        check(&["--intercept=all"], &[(Verdict::Warn, "banks")]);
        check(&["--intercept=all", "--set=tls.intercept.never=*.bank.example"], &[]);
        check(&["--set=tls.intercept.never=*.bank.example"], &[(Verdict::Warn, "no HTTPS is opened")]);
        check(&["--set=tls.key=k.pem"], &[(Verdict::Fail, "tls.key is set without tls.certificate")]);
        check(&["--https-listen=127.0.0.1:3129"], &[(Verdict::Fail, "https_listen wants a certificate")]);
    }
}
