//! Asking name servers, through hickory: for both families at once (RFC 8305 §3), by the system's settings or the
//! operator's servers. It keeps nothing; what an answer is good for is `cache`'s.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{RData, RecordType};
use hickory_resolver::system_conf::parse_resolv_conf;
use hickory_resolver::{Resolver, TokioResolver};
use tokio::time::Instant;

use super::cache::{Missing, Outcome};
use super::local::Watched;
use crate::config::Dns;
use crate::host::Name;

/// Where the system says which name servers it has.
const SYSTEM: &str = "/etc/resolv.conf";

/// Addresses of one family that are taken from an answer.
const MOST: usize = 16;

/// "The recommended value for the Resolution Delay is 50 milliseconds" (RFC 8305 §3), and on a link whose answers take
/// longer, as long again as the first answer took.
const RESOLUTION_DELAY: Duration = Duration::from_millis(50);

/// How long an answer counts of which one family is missing: the other may have only been late.
const INCOMPLETE: Duration = Duration::from_secs(30);

/// How long an absence counts that comes without the SOA record that would say it (RFC 2308 §5).
const UNSAID: Duration = Duration::from_secs(5);

/// Longest wait for one name server before the next is tried.
const ONE_TRY: Duration = Duration::from_secs(5);

/// The name servers in use.
pub(super) struct Servers {
    given: Vec<SocketAddr>,
    timeout: Duration,
    system: Watched<System>,
    current: tokio::sync::Mutex<Option<Current>>,
}

/// What the system's settings say.
type System = Option<(ResolverConfig, ResolverOpts)>;

/// A resolver, and the settings it was made of.
#[derive(Clone)]
struct Current {
    system: Arc<System>,
    resolver: Option<TokioResolver>,
}

impl Servers {
    pub(super) fn new(dns: &Dns) -> Self {
        let system = Watched::new(SYSTEM, |text| parse_resolv_conf(text).ok());
        Self {
            given: dns.servers.clone(),
            timeout: dns.timeout,
            system,
            current: tokio::sync::Mutex::default(),
        }
    }

    /// Asks for the addresses of `name`, and of what the system's search domains make of it.
    pub(super) async fn ask(&self, name: &Name) -> Outcome {
        let current = self.current().await;
        let Some(resolver) = &current.resolver else { return Outcome::Failed(None) };
        let mut outcome = Outcome::Failed(None);
        for candidate in candidates(name, current.system.as_ref().as_ref()) {
            outcome = both(resolver, &candidate).await;
            if !matches!(outcome, Outcome::Absent(..)) {
                break;
            }
        }
        outcome
    }

    /// The resolver of the settings as they are now.
    async fn current(&self) -> Current {
        let system = self.system.content().await;
        let mut current = self.current.lock().await;
        if let Some(known) = current.as_ref().filter(|known| Arc::ptr_eq(&known.system, &system)) {
            return known.clone();
        }
        let resolver = self.resolver(system.as_ref().as_ref());
        current.insert(Current { system, resolver }).clone()
    }

    fn resolver(&self, system: Option<&(ResolverConfig, ResolverOpts)>) -> Option<TokioResolver> {
        let (config, mut options) = system.cloned().unwrap_or_default();
        let servers = match self.given.as_slice() {
            [] => config.name_servers().to_vec(),
            given => given.iter().map(|server| name_server(*server)).collect(),
        };
        if servers.is_empty() {
            tracing::warn!("no name server is known: {SYSTEM} names none, and neither does dns.servers");
            return None;
        }
        // Names are completed, remembered and read from the hosts file here; hickory would keep them for another time.
        options.use_hosts_file = ResolveHosts::Never;
        options.cache_size = 0;
        options.timeout = (self.timeout / 3).min(ONE_TRY);
        // Two servers at once would be twice the bytes on the link.
        options.num_concurrent_reqs = 1;
        let config = ResolverConfig::from_parts(None, Vec::new(), servers);
        let mut builder = Resolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        match builder.build() {
            Ok(resolver) => Some(resolver),
            Err(error) => {
                tracing::warn!(%error, "the name servers cannot be used");
                None
            }
        }
    }
}

fn name_server(server: SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = server.port();
        connection
    });
    NameServerConfig::new(server.ip(), true, connections.into())
}

/// The names to ask for, each complete. Search domains are for names with fewer dots than `ndots`, tried before the name
/// itself (resolv.conf(5)); a name of the web is never completed, which would cost it a question each.
fn candidates(name: &Name, system: Option<&(ResolverConfig, ResolverOpts)>) -> Vec<String> {
    let itself = format!("{}.", name.text());
    let Some((config, _)) =
        system.filter(|(_, options)| !name.is_complete() && name.text().matches('.').count() < options.ndots)
    else {
        return vec![itself];
    };
    let completed = config.search().iter().map(|domain| {
        let domain = domain.to_ascii();
        format!("{}.{}.", name.text(), domain.trim_end_matches('.'))
    });
    completed.filter(|name| name.len() <= 254).chain([itself]).collect()
}

/// What one family came to.
enum Family {
    Found(Vec<IpAddr>, Duration),
    Absent { exists: bool, lifetime: Duration },
    Failed(Option<&'static str>),
}

/// Asks for both families. Once one has addresses, the other is waited for only a little: a name server that is silent
/// about one of them must not hold up every connection.
async fn both(resolver: &TokioResolver, name: &str) -> Outcome {
    let begun = Instant::now();
    let mut six = std::pin::pin!(family(resolver, name, RecordType::AAAA));
    let mut four = std::pin::pin!(family(resolver, name, RecordType::A));
    let late = |one: &Family| match one {
        Family::Found(..) => begun.elapsed().max(RESOLUTION_DELAY),
        _ => Duration::MAX,
    };
    let unsaid = |_| Family::Failed(None);
    tokio::select! {
        six = &mut six => {
            let four = tokio::time::timeout(late(&six), four).await.unwrap_or_else(unsaid);
            together(six, four)
        }
        four = &mut four => {
            let six = tokio::time::timeout(late(&four), six).await.unwrap_or_else(unsaid);
            together(six, four)
        }
    }
}

fn together(six: Family, four: Family) -> Outcome {
    match (six, four) {
        (Family::Found(mut six, one), Family::Found(four, other)) => {
            six.extend(four);
            Outcome::Found(six.into(), one.min(other))
        }
        (Family::Found(found, lifetime), Family::Absent { .. })
        | (Family::Absent { .. }, Family::Found(found, lifetime)) => Outcome::Found(found.into(), lifetime),
        (Family::Found(found, lifetime), Family::Failed(_))
        | (Family::Failed(_), Family::Found(found, lifetime)) => {
            Outcome::Found(found.into(), lifetime.min(INCOMPLETE))
        }
        (Family::Absent { exists, lifetime }, Family::Absent { exists: too, lifetime: other }) => {
            let missing = if exists || too { Missing::NoAddress } else { Missing::NoName };
            Outcome::Absent(missing, lifetime.min(other))
        }
        (Family::Failed(one), Family::Failed(other)) => Outcome::Failed(one.or(other)),
        (Family::Failed(code), _) | (_, Family::Failed(code)) => Outcome::Failed(code),
    }
}

async fn family(resolver: &TokioResolver, name: &str, kind: RecordType) -> Family {
    match resolver.lookup(name, kind).await {
        Ok(found) => {
            let records = found.answers();
            let addresses: Vec<IpAddr> =
                records.iter().filter_map(|record| address(&record.data)).take(MOST).collect();
            // The aliases on the way count, too.
            let seconds = records.iter().map(|record| record.ttl).min().unwrap_or_default();
            let lifetime = Duration::from_secs(u64::from(seconds));
            if addresses.is_empty() {
                return Family::Absent { exists: true, lifetime: lifetime.max(UNSAID) };
            }
            Family::Found(addresses, lifetime)
        }
        Err(error) => fault(&error),
    }
}

fn address(data: &RData) -> Option<IpAddr> {
    match data {
        RData::A(address) => Some(IpAddr::V4(address.0)),
        RData::AAAA(address) => Some(IpAddr::V6(address.0)),
        _ => None,
    }
}

fn fault(error: &NetError) -> Family {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => match none.response_code {
            code @ (ResponseCode::NoError | ResponseCode::NXDomain) => Family::Absent {
                exists: code == ResponseCode::NoError,
                lifetime: none.negative_ttl.map_or(UNSAID, |seconds| Duration::from_secs(u64::from(seconds))),
            },
            code => Family::Failed(Some(word(code))),
        },
        NetError::Dns(DnsError::ResponseCode(code)) => Family::Failed(Some(word(*code))),
        error => {
            tracing::debug!(%error, "a name server gave no answer");
            Family::Failed(None)
        }
    }
}

/// A response code by the name it has at IANA.
fn word(code: ResponseCode) -> &'static str {
    match code {
        ResponseCode::FormErr => "FORMERR",
        ResponseCode::ServFail => "SERVFAIL",
        ResponseCode::NXDomain => "NXDOMAIN",
        ResponseCode::NotImp => "NOTIMP",
        ResponseCode::Refused => "REFUSED",
        ResponseCode::NotAuth => "NOTAUTH",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, settings: &str, expected: &[&str]) {
        let system = parse_resolv_conf(settings).ok();
        let name = Name::read(name).expect("a name");
        assert_eq!(candidates(&name, system.as_ref()), expected, "{name}");
    }

    #[test]
    fn search_domains_complete_short_names_only() {
        let settings = "nameserver 192.0.2.53\nsearch corp.example lab.example\n";
        check("intranet", settings, &["intranet.corp.example.", "intranet.lab.example.", "intranet."]);
        check("intranet.", settings, &["intranet."]);
        check("www.example.org", settings, &["www.example.org."]);
        check(
            "a.b",
            &format!("{settings}options ndots:2\n"),
            &["a.b.corp.example.", "a.b.lab.example.", "a.b."],
        );
        check("intranet", "", &["intranet."]);
    }

    fn check_together(six: Family, four: Family, expected: &str) {
        let found = match together(six, four) {
            Outcome::Found(addresses, lifetime) => format!("{} for {lifetime:?}", addresses.len()),
            Outcome::Absent(missing, lifetime) => format!("{missing:?} for {lifetime:?}"),
            Outcome::Failed(code) => format!("{code:?}"),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn one_family_is_enough_and_a_failure_is_no_absence() {
        let found = |seconds| Family::Found(vec![IpAddr::from([192, 0, 2, 1])], Duration::from_secs(seconds));
        let absent = |exists, seconds| Family::Absent { exists, lifetime: Duration::from_secs(seconds) };
        let failed = || Family::Failed(Some("SERVFAIL"));
        check_together(found(60), found(50), "2 for 50s");
        check_together(absent(true, 5), found(60), "1 for 60s");
        check_together(found(60), Family::Failed(None), "1 for 30s");
        check_together(absent(false, 9), absent(true, 5), "NoAddress for 5s");
        check_together(absent(false, 9), absent(false, 5), "NoName for 5s");
        check_together(absent(true, 9), failed(), "Some(\"SERVFAIL\")");
        check_together(Family::Failed(None), failed(), "Some(\"SERVFAIL\")");
    }
}
