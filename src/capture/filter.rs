//! Whose connections a capture is about: clients, hosts, or both.

use std::net::IpAddr;

use http::Uri;
use ipnet::IpNet;

use crate::config::{HostPattern, read_client, read_host};
use crate::host::Host;

/// Whose connections are meant. Nobody named means everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    clients: Vec<IpNet>,
    hosts: Vec<HostPattern>,
}

impl Filter {
    /// The clients and hosts that are written so.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub(crate) fn read(clients: &[String], hosts: &[String]) -> Result<Self, String> {
        let clients =
            clients.iter().map(|text| read_client(text).map_err(|why| format!("--client {text}: {why}")));
        let hosts = hosts.iter().map(|text| read_host(text).map_err(|why| format!("--host {text}: {why}")));
        Ok(Self { clients: clients.collect::<Result<_, _>>()?, hosts: hosts.collect::<Result<_, _>>()? })
    }

    /// Whether it can be told from the client alone.
    pub(super) fn is_without_hosts(&self) -> bool {
        self.hosts.is_empty()
    }

    /// Whether `client` may be meant.
    pub(super) fn is_about(&self, client: IpAddr) -> bool {
        self.clients.is_empty() || self.clients.iter().any(|net| net.contains(&client.to_canonical()))
    }

    /// Whether a request for `target` is meant.
    pub(super) fn is_for(&self, target: &Uri) -> bool {
        let Some(host) = target.host() else { return self.hosts.is_empty() };
        self.hosts.is_empty()
            || Host::read(host).is_ok_and(|host| self.hosts.iter().any(|pattern| pattern.matches(&host)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(clients: &str, hosts: &str, client: &str, target: &'static str, expected: bool) {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let filter = Filter::read(&words(clients), &words(hosts)).expect("a filter");
        let client = client.parse().expect("an address");
        let is = filter.is_about(client) && filter.is_for(&Uri::from_static(target));
        assert_eq!(is, expected, "{clients} {hosts}: {client} {target}");
    }

    #[test]
    fn clients_and_hosts_are_both_asked() {
        check("", "", "192.0.2.1", "http://a.example/", true);
        check("192.0.2.1", "", "192.0.2.1", "http://a.example/", true);
        check("192.0.2.1", "", "::ffff:192.0.2.1", "http://a.example/", true);
        check("192.0.2.0/24 2001:db8::/32", "", "192.0.3.1", "http://a.example/", false);
        check("", "*.example", "192.0.2.1", "http://A.Example./", true);
        check("", "b.example", "192.0.2.1", "http://a.example/", false);
        check("", "127.0.0.1", "192.0.2.1", "http://0x7f.1:80/", true);
        check("192.0.2.1", "a.example", "192.0.2.2", "http://a.example/", false);
        check("", "a.example", "192.0.2.2", "a.example:443", true);
        check("", "a.example", "192.0.2.2", "/", false);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let wrong = Filter::read(&["here".to_owned()], &[]).expect_err("no address");
        assert!(wrong.starts_with("--client here: "), "{wrong}");
    }
}
