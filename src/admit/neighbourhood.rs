//! Whose an address is, for everything that is counted by client. One machine may take any address of its IPv6 /64
//! (RFC 4291 §2.5.4, RFC 8981), so that a /64 counts as one client, and an IPv4 address as itself.

use std::net::{IpAddr, Ipv6Addr};

/// The address that stands for everybody who is counted with `address`.
pub(crate) fn of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(u128::from(v6) & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

/// Whether `address` is not the internet's: this machine, private networks (RFC 1918, RFC 4193), shared address space
/// (RFC 6598) and link-local ones (RFC 3927, RFC 4291 §2.5.6).
pub(crate) fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [first, second, ..] = v4.octets();
            let shared = first == 100 && (64..=127).contains(&second);
            v4.is_loopback() || v4.is_private() || v4.is_link_local() || shared
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(address: &str, counted_as: &str, private: bool) {
        let address = address.parse().expect("an address");
        assert_eq!(
            (of(address).to_string().as_str(), is_private(address)),
            (counted_as, private),
            "{address}"
        );
    }

    #[test]
    fn an_ipv6_network_of_64_bits_is_one_client() {
        check("10.1.2.3", "10.1.2.3", true);
        check("::ffff:10.1.2.3", "10.1.2.3", true);
        check("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::", false);
        check("fd00::1", "fd00::", true);
    }

    #[test]
    fn private_networks_are_those_of_their_rfcs() {
        for (address, private) in [
            ("127.9.9.9", true),
            ("172.16.0.1", true),
            ("172.32.0.1", false),
            ("192.168.255.1", true),
            ("100.64.0.1", true),
            ("100.128.0.1", false),
            ("169.254.1.1", true),
            ("203.0.113.7", false),
            ("0.0.0.0", false),
        ] {
            check(address, address, private);
        }
        check("::1", "::", true);
        check("fe80::1", "fe80::", true);
    }
}
