//! What is known about names without asking anybody: names with a meaning of their own (RFC 6761, RFC 6762), and the
//! system's hosts file. Files of the system are read again when they change, which they do when a machine comes into
//! another network.

use std::collections::HashMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::cache::{Addresses, Missing};
use crate::config::is_below;

/// What `name` means wherever it is said; none for an ordinary name.
pub(super) fn special(name: &str) -> Option<Addresses> {
    // "Name resolution APIs and libraries SHOULD recognize localhost names as special and SHOULD always return the IP
    // loopback address for address queries" (RFC 6761 §6.3).
    let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    is_below(name, "localhost").then(|| loopback.into())
}

/// Why no name server is asked about `name`; none for an ordinary name.
pub(super) fn unasked(name: &str) -> Option<Missing> {
    // "Name resolution APIs and libraries SHOULD recognize 'invalid' names as special and SHOULD always return immediate
    // negative responses" (RFC 6761 §6.4); `local` is multicast DNS's (RFC 6762 §3), `onion` is no DNS name (RFC 7686 §2).
    ["invalid", "local", "onion"].iter().any(|domain| is_below(name, domain)).then_some(Missing::NoName)
}

/// The names of a hosts file.
pub(super) type Hosts = HashMap<String, Vec<IpAddr>>;

/// Where it is.
pub(super) const HOSTS: &str = "/etc/hosts";

/// Names taken from a hosts file at most: some are lists of what not to visit.
const MOST_HOSTS: usize = 500_000;

/// Reads a hosts file: an address and its names on each line, what follows `#` is a comment (hosts(5)).
pub(super) fn hosts(text: &[u8]) -> Hosts {
    let mut hosts = Hosts::new();
    for line in String::from_utf8_lossy(text).lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let Some(address) = words.next().and_then(|word| word.parse::<IpAddr>().ok()) else { continue };
        if hosts.len() >= MOST_HOSTS {
            break;
        }
        for name in words {
            let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
            hosts.entry(name).or_default().push(address);
        }
    }
    hosts
}

/// How often a file is looked at.
const EVERY: Duration = Duration::from_secs(5);

/// What a file of the system says, as of a few seconds ago.
pub(super) struct Watched<T> {
    path: PathBuf,
    read: fn(&[u8]) -> T,
    state: Mutex<Option<Looked<T>>>,
}

struct Looked<T> {
    at: Instant,
    modified: Option<SystemTime>,
    content: Arc<T>,
}

impl<T: Send + Sync + 'static> Watched<T> {
    /// The file at `path`, taken apart by `read`; one that is not there is empty.
    pub(super) fn new(path: &str, read: fn(&[u8]) -> T) -> Self {
        Self { path: PathBuf::from(path), read, state: Mutex::default() }
    }

    pub(super) async fn content(&self) -> Arc<T> {
        let before = {
            let mut state = self.lock();
            match &mut *state {
                Some(looked) if looked.at.elapsed() < EVERY => return looked.content.clone(),
                Some(looked) => {
                    looked.at = Instant::now();
                    Some((looked.modified, looked.content.clone()))
                }
                None => None,
            }
        };
        let (path, read, known) = (self.path.clone(), self.read, before.clone());
        let look = move || {
            let modified = fs::metadata(&path).and_then(|data| data.modified()).ok();
            if let Some((_, content)) = known.filter(|(known, _)| *known == modified) {
                return (modified, content);
            }
            (modified, Arc::new(read(&fs::read(&path).unwrap_or_default())))
        };
        let looked = tokio::task::spawn_blocking(look).await.ok();
        let fallback = || (None, before.map_or_else(|| Arc::new((self.read)(b"")), |(_, content)| content));
        let (modified, content) = looked.unwrap_or_else(fallback);
        *self.lock() = Some(Looked { at: Instant::now(), modified, content: content.clone() });
        content
    }

    fn lock(&self) -> MutexGuard<'_, Option<Looked<T>>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn localhost_is_this_machine_and_some_names_are_nobodys() {
        for name in ["localhost", "a.localhost", "a.LOCALHOST"] {
            assert!(
                special(name).is_some_and(|addresses| addresses.iter().all(IpAddr::is_loopback)),
                "{name}"
            );
        }
        assert!(special("localhost.example").is_none() && special("notlocalhost").is_none());
        assert_eq!(unasked("a.invalid"), Some(Missing::NoName));
        assert_eq!(unasked("printer.local"), Some(Missing::NoName));
        assert_eq!(unasked("local.example"), None);
    }

    #[test]
    fn a_hosts_file_gives_addresses_to_names() {
        let hosts = hosts(
            b"# all of ours\n10.0.0.1 One one.example. # first\n\nfd00::1\tone\nnonsense two\n10.0.0.2",
        );
        let one: Vec<_> = hosts["one"].iter().map(ToString::to_string).collect();
        assert_eq!(one, ["10.0.0.1", "fd00::1"]);
        assert_eq!(hosts["one.example"].len(), 1);
        assert_eq!(hosts.len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_changed_is_read_again_after_a_while() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hosts");
        fs::write(&path, "10.0.0.1 a").unwrap();
        let file = Watched::new(path.to_str().unwrap(), hosts);
        assert!(file.content().await.contains_key("a"));
        fs::write(&path, "10.0.0.1 b").unwrap();
        fs::File::open(&path).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        assert!(file.content().await.contains_key("a"), "it was looked at a moment ago");
        tokio::time::advance(EVERY).await;
        assert!(file.content().await.contains_key("b"));
        fs::remove_file(&path).unwrap();
        tokio::time::advance(EVERY).await;
        assert!(file.content().await.is_empty());
    }
}
