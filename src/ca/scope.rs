//! For which hosts an authority may sign: its name constraints (RFC 5280 §4.2.1.10), so that a stolen key opens no more
//! than was meant to be opened.
//!
//! A constraint names a domain with all that is below it, so `example.org` in the list permits `www.example.org`, too.

use std::fmt;

use rcgen::{CidrSubnet, GeneralSubtree, NameConstraints};

use super::der::{self, Reader};
use crate::config::{HostPattern, is_below};
use crate::host::{Host, OWN_NAME};

/// The hosts an authority may sign for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Every host: there are no constraints.
    Any,
    /// These domains and what is below them, and no address.
    Domains(Vec<String>),
}

impl Scope {
    /// The narrowest scope in which all of `hosts` are, and our own pages. A list with `all` or an address in it, and one
    /// that is still empty, sets no bounds.
    pub(crate) fn of(hosts: &[HostPattern]) -> Self {
        let domain = |rule: &HostPattern| match rule {
            HostPattern::Exactly(name) | HostPattern::Below(name) => Some(name.clone()),
            _ => None,
        };
        let domains: Option<Vec<String>> = hosts.iter().map(domain).collect();
        match domains {
            Some(mut domains) if !domains.is_empty() => {
                domains.sort();
                domains.dedup();
                domains.push(OWN_NAME.to_owned());
                Self::Domains(domains)
            }
            _ => Self::Any,
        }
    }

    /// Whether clients accept a certificate for `host` from this authority.
    pub(crate) fn covers(&self, host: &Host) -> bool {
        match (self, host) {
            (Self::Any, _) => true,
            (Self::Domains(domains), Host::Name(name)) => {
                domains.iter().any(|domain| is_below(name.text(), domain))
            }
            (Self::Domains(_), Host::Address(_)) => false,
        }
    }

    /// Whether it covers every host that `rule` can name.
    pub(crate) fn covers_rule(&self, rule: &HostPattern) -> bool {
        match (self, rule) {
            (Self::Any, _) => true,
            (Self::Domains(domains), HostPattern::Exactly(name) | HostPattern::Below(name)) => {
                domains.iter().any(|domain| is_below(name, domain))
            }
            (Self::Domains(_), _) => false,
        }
    }

    /// As the authority's certificate says it.
    pub(super) fn constraints(&self) -> Option<NameConstraints> {
        let Self::Domains(domains) = self else { return None };
        // "Restrictions apply only when the specified name form is present": without the excluded addresses the
        // authority could sign for every address.
        let addresses = [CidrSubnet::from_v4_prefix([0; 4], 0), CidrSubnet::from_v6_prefix([0; 16], 0)];
        Some(NameConstraints {
            permitted_subtrees: domains.iter().cloned().map(GeneralSubtree::DnsName).collect(),
            excluded_subtrees: addresses.into_iter().map(GeneralSubtree::IpAddress).collect(),
        })
    }

    /// Reads the content of a NameConstraints extension as [`constraints`](Self::constraints) writes it.
    pub(super) fn parse(extension: &[u8]) -> Option<Self> {
        // GeneralName ::= CHOICE { dNSName [2] IA5String, .. }
        let mut constraints = Reader::new(extension).within(der::SEQUENCE)?;
        let mut permitted = constraints.within(der::constructed(0))?;
        let mut domains = Vec::new();
        while let Some(mut subtree) = permitted.within(der::SEQUENCE) {
            let name = subtree.take(der::primitive(2))?;
            domains.push(std::str::from_utf8(name).ok()?.to_ascii_lowercase());
        }
        (!domains.is_empty()).then_some(Self::Domains(domains))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => formatter.write_str("any host"),
            Self::Domains(domains) => {
                let (first, rest) = domains.split_at(domains.len().min(6));
                write!(formatter, "{} and what is below", first.join(", "))?;
                if !rest.is_empty() {
                    write!(formatter, ", and {} more", rest.len())?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(hosts: &str) -> Scope {
        let flags = ["--intercept".to_owned(), hosts.to_owned()];
        Scope::of(&crate::Config::from_flags(flags).unwrap().intercept.hosts)
    }

    #[test]
    fn names_alone_make_bounds() {
        let domains = |names: &[&str]| {
            Scope::Domains(names.iter().chain([&OWN_NAME]).map(ToString::to_string).collect())
        };
        assert_eq!(scope("*.b.example,a.example,b.example"), domains(&["a.example", "b.example"]));
        assert_eq!(scope("a.example,all"), Scope::Any);
        assert_eq!(scope("a.example,192.0.2.1"), Scope::Any);
        assert_eq!(scope(""), Scope::Any);
    }

    #[test]
    fn a_domain_covers_itself_and_what_is_below() {
        let check = |host: &str, expected: bool| {
            assert_eq!(scope("*.a.example").covers(&Host::read(host).unwrap()), expected, "{host}");
        };
        check("a.example", true);
        check("www.a.example", true);
        check("ba.example", false);
        check("example", false);
        check("192.0.2.1", false);
        let [all, below] = [HostPattern::All, HostPattern::Below("w.a.example".into())];
        assert!(!scope("a.example").covers_rule(&all) && scope("a.example").covers_rule(&below));
        assert!(scope("all").covers_rule(&all));
    }
}
