//! How a client reaches the proxy: the address that pages and the PAC script name.
//!
//! The Host field is the client's own idea of it, and may be anything at all: what is not plainly a host and a port is
//! not taken.

use std::net::SocketAddr;

use super::is_site;
use crate::host::Host;

/// The host and port at which the client has reached the proxy: those of its Host field, or the address where its
/// connection arrived.
pub(super) fn of_proxy(host: Option<&str>, local: SocketAddr) -> String {
    host.and_then(|host| named(host, local)).unwrap_or_else(|| {
        // A listener for both families sees IPv4 addresses in IPv6 ones, which nobody types.
        SocketAddr::new(local.ip().to_canonical(), local.port()).to_string()
    })
}

fn named(field: &str, local: SocketAddr) -> Option<String> {
    let (host, port) = match field.rsplit_once(':') {
        // A colon within brackets is the address's own.
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (field, None),
    };
    if is_site(host) {
        return None;
    }
    let port = match port {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().ok().filter(|port: &u16| *port > 0)?
        }
        Some(_) => return None,
        // A port that was left out is 80, which a redirection has brought here: as a proxy we are at our own.
        None => local.port(),
    };
    Some(match Host::read(host).ok()? {
        Host::Address(address) => SocketAddr::new(address, port).to_string(),
        Host::Name(name) => format!("{}:{port}", name.text()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(host: Option<&str>, local: &str, expected: &str) {
        assert_eq!(of_proxy(host, local.parse().expect("an address")), expected, "{host:?}");
    }

    #[test]
    fn the_clients_own_idea_counts_where_it_is_one() {
        let local = "192.0.2.1:3128";
        check(Some("proxy.example:3128"), local, "proxy.example:3128");
        check(Some("Proxy.Example."), local, "proxy.example:3128");
        check(Some("wpad:80"), local, "wpad:80");
        check(Some("[2001:db8::1]:8080"), local, "[2001:db8::1]:8080");
        check(Some("[2001:db8::1]"), local, "[2001:db8::1]:3128");
        check(Some("192.0.2.9:8080"), local, "192.0.2.9:8080");
        check(Some("3221225993:8080"), local, "192.0.2.9:8080");
        check(None, local, local);
        check(Some("bentpipe.local"), local, local);
        check(Some("Bentpipe.Local.:80"), local, local);
        check(None, "[::ffff:192.0.2.1]:3128", local);
        check(None, "[2001:db8::1]:3128", "[2001:db8::1]:3128");
    }

    #[test]
    fn what_is_no_host_and_port_is_not_taken() {
        for wrong in [
            "",
            "a b:1",
            "a:0",
            "a:65536",
            "a:+1",
            "a:",
            "\";alert(1)//:1",
            "<b>:80",
            "a\\:1",
            "256.0.0.1:80",
            "[::1:80",
        ] {
            check(Some(wrong), "192.0.2.1:3128", "192.0.2.1:3128");
        }
    }
}
