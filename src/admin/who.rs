//! Who gives commands: the process behind the control socket, a token over TCP, or a signal. And who may use the socket:
//! its owner, root, and the members of the group it is given to.

use std::fmt;
use std::fs;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::net::unix::UCred;

/// Who gives a command, as the audit says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// A process on this machine, through the control socket.
    Process { uid: u32, pid: Option<i32> },
    /// Whoever presents this token.
    Token { name: Arc<str>, address: IpAddr },
    /// Somebody on this machine, who may look and change nothing.
    Onlooker(IpAddr),
    /// Whoever may send this process a signal.
    Signal,
    /// The command line, on a cache folder that no proxy has open.
    CommandLine,
}

impl Who {
    /// Whether it is whoever runs this machine, and not only somebody who was given a token.
    pub(crate) fn is_on_this_machine(&self) -> bool {
        !matches!(self, Self::Token { .. } | Self::Onlooker(_))
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process { uid, pid: Some(pid) } => write!(f, "uid={uid} pid={pid}"),
            Self::Process { uid, pid: None } => write!(f, "uid={uid}"),
            Self::Token { name, address } => write!(f, "token={name:?} address={address}"),
            Self::Onlooker(address) => write!(f, "address={address}"),
            Self::Signal => f.write_str("SIGHUP"),
            Self::CommandLine => f.write_str("command line"),
        }
    }
}

/// Judges the process at the other end of the control socket, which may belong to `group`, too. None if it may not give
/// commands. The mode of the socket keeps others out already; this holds also where that was changed.
pub(super) fn of_peer(peer: UCred, group: Option<u32>) -> Option<Who> {
    let owner = rustix::process::geteuid().as_raw();
    let in_group = |group: u32| peer.gid() == group || peer.pid().is_some_and(|pid| has_group(pid, group));
    let may = peer.uid() == owner || peer.uid() == 0 || group.is_some_and(in_group);
    may.then(|| Who::Process { uid: peer.uid(), pid: peer.pid() })
}

/// Whether `group` is among the supplementary groups of a process.
fn has_group(pid: i32, group: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|status| lists_group(&status, group))
}

fn lists_group(status: &str, group: u32) -> bool {
    let groups = status.lines().find_map(|line| line.strip_prefix("Groups:"));
    groups.is_some_and(|groups| groups.split_whitespace().any(|listed| listed.parse() == Ok(group)))
}

/// The number of the group `name`, as the file of groups says, or the number that it is.
///
/// # Errors
/// If there is none.
pub(super) fn group_number(name: &str) -> Result<u32, String> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let groups = fs::read_to_string("/etc/group").map_err(|error| format!("/etc/group: {error}"))?;
    number_in(&groups, name).ok_or_else(|| format!("there is no group {name:?} in /etc/group"))
}

/// `name:password:number:members`, a line each.
fn number_in(groups: &str, name: &str) -> Option<u32> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then(|| fields.nth(1)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_found_by_name_and_number() {
        let groups = "root:x:0:\nadm:x:4:ann,bob\nbroken\nodd:x:y:\n";
        assert_eq!(number_in(groups, "adm"), Some(4));
        assert_eq!((number_in(groups, "ad"), number_in(groups, "odd")), (None, None));
        assert_eq!(group_number("1000"), Ok(1000));
        let status = "Name:\tx\nUid:\t1000\nGroups:\t4 27 1000 \n";
        assert!(lists_group(status, 27) && !lists_group(status, 2) && !lists_group("", 4));
    }

    #[tokio::test]
    async fn the_owner_may_and_is_named() {
        let (one, _other) = tokio::net::UnixStream::pair().expect("a pair");
        let who = of_peer(one.peer_cred().expect("who it is"), None).expect("the owner");
        assert_eq!(
            who.to_string(),
            format!("uid={} pid={}", rustix::process::getuid().as_raw(), std::process::id())
        );
    }
}
