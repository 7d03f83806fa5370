//! `AdminListen`: where a running bentpipe takes commands besides its socket, from whom, and how these values are
//! written.
//!
//! As in `value`: what is printed reads back as the same value, and an error is the sentence that says what is right.

use std::net::SocketAddr;

use crate::config::Token;

/// The admin interface over TCP, and who may use the control socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdminListen {
    /// Addresses on which commands are taken; mostly none.
    pub listen: Vec<SocketAddr>,
    /// Names under which the interface is reached, in lower case, beside its addresses and `localhost`.
    pub names: Vec<String>,
    /// Who may change something, and, from elsewhere than this machine, see something.
    pub tokens: Vec<Token>,
    /// Whose members may use the control socket, too: a name or a number.
    pub group: Option<String>,
}

impl AdminListen {
    /// The first address that others than this machine reach, although nobody is asked for a token.
    pub(super) fn unguarded(&self) -> Option<SocketAddr> {
        let is_open = |address: &&SocketAddr| !address.ip().to_canonical().is_loopback();
        self.listen.iter().find(is_open).copied().filter(|_| self.tokens.is_empty())
    }
}

/// Reads a name as a Host field has it, without a port.
pub(super) fn parse_name(text: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let is_name = !text.is_empty() && text.len() <= 255 && text.bytes().all(fits);
    is_name
        .then(|| text.to_ascii_lowercase())
        .ok_or_else(|| "expected a host name such as proxy.school.example".to_owned())
}

/// Reads the name or number of a group of this machine, or `off`.
pub(super) fn parse_group(text: &str) -> Result<Option<String>, String> {
    let is_name = !text.is_empty() && !text.contains([':', ',', ' ', '\0', '\n']);
    match text {
        "off" => Ok(None),
        _ if is_name => Ok(Some(text.to_owned())),
        _ => Err("expected the name of a group, or off".to_owned()),
    }
}

pub(super) fn print_group(group: &Option<String>) -> String {
    group.clone().unwrap_or_else(|| "off".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    #[test]
    fn names_and_groups() {
        assert_eq!(parse_name("Proxy.Example").as_deref(), Ok("proxy.example"));
        assert!(["", "a b", "a:80", "a/b", "*.a"].iter().all(|name| parse_name(name).is_err()));
        assert_eq!(parse_group("adm"), Ok(Some("adm".to_owned())));
        assert_eq!((parse_group("off"), print_group(&None)), (Ok(None), "off".to_owned()));
        assert!(parse_group("a:b").is_err() && parse_group("").is_err());
    }

    #[track_caller]
    fn check(flags: &[&str], fault: Option<&str>) {
        let errors = Config::from_flags(flags).err().map(|errors| errors.to_string());
        assert_eq!(errors.is_some(), fault.is_some(), "{flags:?}: {errors:?}");
        assert!(errors.unwrap_or_default().contains(fault.unwrap_or_default()));
    }

    #[test]
    fn what_others_reach_wants_a_token() {
        let token = "--set=admin.token=ann=0123456789abcdef";
        check(&["--set=admin.listen=3129"], None);
        check(&["--set=admin.listen=[::1]:3129"], None);
        check(&["--set=admin.listen=0.0.0.0:3129", token], None);
        check(&["--set=admin.listen=0.0.0.0:3129"], Some("--set: admin.listen = \"0.0.0.0:3129\": "));
        check(&["--set=admin.listen=3129,192.0.2.1:3129"], Some("192.0.2.1:3129"));
    }
}
