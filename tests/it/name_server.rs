//! A name server of a test's own, on 127.0.0.1 by UDP (RFC 1035 §4.1): it answers what it was told, or not at all, and
//! remembers what it was asked.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// What it says about a name.
#[derive(Clone)]
pub(crate) enum Says {
    /// These addresses, for so many seconds.
    Addresses(Vec<IpAddr>, u32),
    /// A response code and no record but an SOA with this minimum.
    Nothing(u8, u32),
    /// A response code alone.
    Fault(u8),
    /// No answer.
    Silence,
}

pub(crate) const NOERROR: u8 = 0;
pub(crate) const SERVFAIL: u8 = 2;
pub(crate) const NXDOMAIN: u8 = 3;

/// A running name server.
pub(crate) struct NameServer {
    address: SocketAddr,
    zone: Arc<Mutex<HashMap<String, Says>>>,
    asked: watch::Receiver<Vec<String>>,
    serving: AbortHandle,
}

impl NameServer {
    pub(crate) async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let address = socket.local_addr().expect("an address");
        let zone: Arc<Mutex<HashMap<String, Says>>> = Arc::default();
        let (heard, asked) = watch::channel(Vec::new());
        let known = Arc::clone(&zone);
        let serving = tokio::spawn(async move {
            let mut message = [0; 2048];
            while let Ok((length, from)) = socket.recv_from(&mut message).await {
                let Some((name, kind)) = question(&message[..length]) else { continue };
                let says = known.lock().expect("the zone").get(&name).cloned();
                let kinds = HashMap::from([(1, "A"), (28, "AAAA")]);
                heard.send_modify(|asked| asked.push(format!("{} {name}", kinds.get(&kind).unwrap_or(&"?"))));
                let answer =
                    answer(&message[..length], &name, kind, says.unwrap_or(Says::Nothing(NXDOMAIN, 60)));
                if let Some(answer) = answer {
                    let _ = socket.send_to(&answer, from).await;
                }
            }
        });
        Self { address, zone, asked, serving: serving.abort_handle() }
    }

    /// The option that has a proxy ask here, with little patience.
    pub(crate) fn flags(&self) -> [String; 2] {
        [format!("--set=dns.servers={}", self.address), "--set=dns.timeout=300ms".to_owned()]
    }

    /// From now on it says this about `name`.
    pub(crate) fn says(&self, name: &str, says: Says) {
        self.zone.lock().expect("the zone").insert(name.to_owned(), says);
    }

    /// From now on `name` is at `addresses` for so many seconds.
    pub(crate) fn leads(&self, name: &str, addresses: &[&str], seconds: u32) {
        let addresses = addresses.iter().map(|address| address.parse().expect("an address")).collect();
        self.says(name, Says::Addresses(addresses, seconds));
    }

    /// The questions so far, such as `A example.org`.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.borrow().clone()
    }

    /// Waits until so many questions were asked.
    pub(crate) async fn wait_for(&self, count: usize) {
        let mut asked = self.asked.clone();
        asked.wait_for(|asked| asked.len() >= count).await.expect("a name server");
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Lets so much time pass at once, for everything in this process.
pub(crate) async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// The name and the type asked for.
fn question(message: &[u8]) -> Option<(String, u16)> {
    let mut labels = Vec::new();
    let mut at = 12;
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(message.get(at..at + length)?).to_ascii_lowercase());
        at += length;
    }
    Some((labels.join("."), u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?])))
}

fn answer(query: &[u8], name: &str, kind: u16, says: Says) -> Option<Vec<u8>> {
    let (code, records, authority) = match says {
        Says::Silence => return None,
        Says::Fault(code) => (code, Vec::new(), Vec::new()),
        Says::Nothing(code, minimum) => (code, Vec::new(), vec![soa(minimum)]),
        Says::Addresses(addresses, seconds) => {
            let fitting = addresses.into_iter().filter(|address| address.is_ipv4() == (kind == 1));
            let records: Vec<_> = fitting.map(|address| record(address, seconds)).collect();
            let authority = if records.is_empty() { vec![soa(seconds)] } else { Vec::new() };
            (NOERROR, records, authority)
        }
    };
    let mut message = query.get(..2)?.to_vec();
    message.extend_from_slice(&[0x81, 0x80 | code, 0, 1]);
    message.extend_from_slice(&u16::try_from(records.len()).ok()?.to_be_bytes());
    message.extend_from_slice(&u16::try_from(authority.len()).ok()?.to_be_bytes());
    message.extend_from_slice(&[0, 0]);
    // The question as it came, which ends four bytes behind its name.
    message.extend_from_slice(query.get(12..12 + name.len() + 2 + 4)?);
    records.iter().chain(&authority).for_each(|record| message.extend_from_slice(record));
    Some(message)
}

/// The name of a record is the question's.
const SAME_NAME: [u8; 2] = [0xc0, 12];

fn record(address: IpAddr, seconds: u32) -> Vec<u8> {
    let (kind, data) = match address {
        IpAddr::V4(address) => (1_u16, address.octets().to_vec()),
        IpAddr::V6(address) => (28, address.octets().to_vec()),
    };
    whole(kind, seconds, &data)
}

/// No servers' names, and five numbers of which the last is the minimum (RFC 1035 §3.3.13).
fn soa(minimum: u32) -> Vec<u8> {
    let mut data = vec![0, 0];
    for number in [1, 60, 60, 60, minimum] {
        data.extend_from_slice(&u32::to_be_bytes(number));
    }
    whole(6, minimum, &data)
}

fn whole(kind: u16, seconds: u32, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).expect("a short record");
    [
        SAME_NAME.as_slice(),
        &kind.to_be_bytes(),
        &1_u16.to_be_bytes(),
        &seconds.to_be_bytes(),
        &length.to_be_bytes(),
        data,
    ]
    .concat()
}
