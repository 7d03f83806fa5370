//! Who may use a proxy, in a few words for its first screen. Whether a client may is `admit`'s to decide.

use std::net::SocketAddr;

use crate::config::{Admission, Others};

/// What of the configuration says who may use the proxy.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clients {
    others: Others,
    more: bool,
    accounts: bool,
}

impl Clients {
    pub(super) fn of(admission: &Admission) -> Self {
        let (others, more) = (admission.others, !admission.allow.is_empty());
        Self { others, more, accounts: admission.wants_accounts() }
    }

    /// Those of a proxy that listens on `addresses`.
    pub(super) fn of_listeners(self, addresses: &[SocketAddr]) -> String {
        let local = addresses.iter().all(|address| address.ip().is_loopback());
        let whence = match self.others {
            Others::Nobody => "nobody",
            _ if local => "this machine",
            Others::Any => "anyone who reaches the port",
            Others::Auto | Others::Private => "private networks",
        };
        let more = if self.more { " and whom admission.allow names" } else { "" };
        let accounts = if self.accounts { ", with an account" } else { "" };
        format!("{whence}{more}{accounts}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(flags: &[&str], listener: &str, expected: &str) {
        let config = crate::Config::from_flags(flags).expect("flags");
        let listener = [listener.parse().expect("an address")];
        assert_eq!(Clients::of(&config.admission).of_listeners(&listener), expected);
    }

    #[test]
    fn the_first_screen_says_who_may() {
        check(&[], "127.0.0.1:1", "this machine");
        check(&[], "0.0.0.0:1", "private networks");
        check(&["--set=admission.default=any"], "0.0.0.0:1", "anyone who reaches the port");
        check(&["--set=admission.users=a:b"], "127.0.0.1:1", "this machine, with an account");
        let named = ["--set=admission.default=nobody", "--allow=client=10.0.0.5"];
        check(&named, "0.0.0.0:1", "nobody and whom admission.allow names");
    }
}
