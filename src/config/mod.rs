//! `Config`: every value bentpipe can be told, decided and checked, and nothing that was merely typed.
//!
//! This file owns the types and their defaults. It reads no text: the table of options (`options`) says how
//! each value is written, `load` and `merge` decide which of several given values counts, and `serve` hands the parts of
//! a `Config` to the constructors that need them.

mod access;
mod admin;
mod admission;
mod calling;
pub(crate) mod changes;
mod class;
mod contact;
mod destination;
mod direct;
mod dns;
mod draft;
mod error;
mod file;
mod flags;
mod folders;
mod given;
mod host;
mod intercept;
mod load;
mod log;
mod merge;
mod nearest;
mod options;
mod pack;
mod parent;
mod policy;
mod price;
pub(crate) mod rule;
mod secret;
mod show;
mod token;
pub(crate) mod trace;
mod value;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;
use linkio::{ByteCount, ClassPolicy, LinkSpec};
use rfc9111::{Policy, Rule, Rules};

pub use access::{AccessRule, Clients, Hours, Others};
pub use admin::AdminListen;
pub use admission::{Admission, User};
pub use class::{ClassRule, ClientWeight, Condition, Sharer};
pub use destination::AllowedDestination;
pub(crate) use destination::parse_client as read_client;
pub use dns::{Dns, HostEntry};
pub(crate) use draft::{Draft, read_alone};
pub use error::{ConfigError, ConfigErrors, Source};
pub(crate) use flags::Flags;
use folders::Folders;
pub(crate) use folders::{SYSTEM_FILE, usual_cache, usual_file};
pub use given::Given;
pub(crate) use given::Hand;
pub use host::HostPattern;
pub(crate) use host::{is_below, read_host};
pub use intercept::Intercept;
pub(crate) use load::{Loaded, load_here};
pub use log::{Rotation, Sampling, Share};
pub use pack::Pack;
pub use parent::{Credentials, Parent, ParentRule, ParentScheme, Parents};
pub use price::Price;
pub(crate) use show::{example, reference, show, show_json};
pub use token::Token;
pub use trace::{LinkTrace, TraceFile};
pub(crate) use value::parse_duration;

/// Everything bentpipe was told, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Addresses clients connect to; never empty. Port 0 asks the system for a free port.
    pub listen: Vec<SocketAddr>,
    /// Addresses clients connect to with TLS; often none.
    pub https_listen: Vec<SocketAddr>,
    /// Where stored responses live and how much room they have.
    pub cache: CacheConfig,
    /// The link every byte to and from an origin crosses.
    pub link: LinkConfig,
    /// Proxies through which origins are reached.
    pub parents: Parents,
    /// How names become addresses.
    pub dns: Dns,
    /// Which destinations clients may reach.
    pub destinations: Destinations,
    /// TLS.
    pub tls: TlsConfig,
    /// What is written about exchanges and about bentpipe itself.
    pub log: LogConfig,
    /// Who may ask, and how often.
    pub admission: Admission,
    /// How much a client may hold at once.
    pub limits: Limits,
    /// How long bentpipe waits, and for what.
    pub timeouts: Timeouts,
    /// Where a running bentpipe takes commands.
    pub control: Control,
    /// Who else gives commands, and where.
    pub admin: AdminListen,
    /// The folder of the certificate authority, which need not be there.
    pub ca_dir: PathBuf,
    /// Whose HTTPS is opened on its way.
    pub intercept: Intercept,
    /// What browsers that ask `/proxy.pac` reach without bentpipe, beside what is local anyway.
    pub pac_direct: Vec<HostPattern>,
    /// Whom readers of our own pages may ask: a text or a mail address.
    pub contact: Option<String>,
}

/// The store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheConfig {
    /// The folder of the stored responses.
    pub dir: PathBuf,
    /// The most bytes all stored responses together take.
    pub size: ByteCount,
    /// The largest single body that is stored, in bytes; at most `size`.
    pub max_object: ByteCount,
    /// What the cache leaves free of its file system, in bytes; `None` for a twentieth of it, but no more than 512 MB.
    pub min_free: Option<ByteCount>,
    /// What bodies may take of the memory, in bytes.
    pub memory: ByteCount,
    /// Response fields that replace Cache-Control and Expires, the most applicable first (RFC 9213 section 2.2).
    pub targeted: Vec<HeaderName>,
    /// What is decided in place of origins: the first rule that matches counts.
    pub rules: Vec<Rule>,
    /// Ready-made rules, asked behind `rules`.
    pub packs: Vec<Pack>,
}

impl CacheConfig {
    /// All rules in the order in which they are asked.
    pub fn rules_in_force(&self) -> Rules {
        let packs = self.packs.iter().flat_map(|pack| &pack.rules);
        Rules::new(self.rules.iter().chain(packs).cloned())
    }

    /// What is decided where RFC 9111 leaves a choice.
    pub(crate) fn policy(&self) -> Policy {
        Policy { targeted: self.targeted.clone().into(), ..Policy::default() }
    }
}

/// The link every byte to and from an origin crosses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkConfig {
    /// Its rates, delays and all else that can be said in a line.
    pub spec: LinkSpec,
    /// Files that say how much can cross when.
    pub trace: LinkTrace,
    /// Class and weight of what crosses the link: the first rule that matches counts.
    pub rules: Vec<ClassRule>,
    /// Shares of clients in the link: the first that matches counts, and 1 is everybody else's.
    pub weights: Vec<ClientWeight>,
    /// What each class may claim, in the order of `Class::ALL`.
    pub classes: [ClassPolicy; 3],
    /// Whether name lookups cross the link, too: the name server is at its far end.
    pub dns: bool,
    /// What traffic across it costs.
    pub price: Option<Price>,
}

impl Default for LinkConfig {
    fn default() -> LinkConfig {
        LinkConfig {
            spec: LinkSpec::default(),
            trace: LinkTrace::default(),
            rules: Vec::new(),
            weights: Vec::new(),
            classes: ClassPolicy::DEFAULT,
            dns: false,
            price: None,
        }
    }
}

/// Which destinations clients may reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destinations {
    /// Exceptions to the refusal of loopback, private and link-local addresses.
    pub allow: Vec<AllowedDestination>,
    /// The ports CONNECT may name (RFC 9110 section 9.3.6 asks for such a limit).
    pub connect_ports: Vec<u16>,
}

/// TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsConfig {
    /// Files of certificates (PEM) that origins' certificates may descend from, beside those this machine trusts.
    pub roots: Vec<PathBuf>,
    /// The certificate chain shown at `https_listen` (PEM), and its key; one made by the local authority without.
    pub certificate: Option<PathBuf>,
    /// The key of `certificate` (PEM).
    pub key: Option<PathBuf>,
}

/// What is written about exchanges and about bentpipe itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// Where the access log goes.
    pub access: AccessLog,
    /// How a line of the access log looks.
    pub format: AccessFormat,
    /// Which diagnostics go to standard error: a level, or `target=level` parts, separated by commas.
    pub level: String,
    /// What the access log says of the query of a URL.
    pub query: QueryLog,
    /// When the access log's file is set aside.
    pub rotation: Rotation,
    /// How much of what went well is written.
    pub sampling: Sampling,
}

/// What the access log says of the query of a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryLog {
    /// All of it.
    Keep,
    /// A short hash under a key that ends with the process.
    Hash,
    /// Nothing.
    Drop,
}

/// Where the access log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLog {
    /// No access log is written.
    Off,
    /// One line an exchange to standard output.
    Stdout,
    /// One line an exchange appended to this file.
    File(PathBuf),
}

/// How a line of the access log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessFormat {
    /// Squid's native format, which existing analysers read.
    Squid,
    /// Apache's Common Log Format.
    Common,
    /// The same with Referer and User-Agent, Apache's Combined Log Format.
    Combined,
    /// One JSON object a line.
    Json,
}

/// How much clients may hold at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Client connections open at the same moment; at least 1.
    pub connections: usize,
    /// Those of one client address, of IPv6 one /64; `None` is [`Limits::share`].
    pub connections_per_client: Option<usize>,
    /// Exchanges under way of one client address, of IPv6 one /64; `None` is [`Limits::share`].
    pub requests_per_client: Option<usize>,
    /// The longest request target, in bytes; from 256 to 64,000.
    pub uri: ByteCount,
    /// The most field lines of a request; from 50 to 10,000.
    pub request_fields: usize,
    /// The largest request head, in bytes: request line and fields; at least 8192.
    pub request_head: ByteCount,
    /// The largest request body, in bytes; `None` is no limit.
    pub request_body: Option<ByteCount>,
}

impl Limits {
    /// What one client may have of all connections: half of them, so that it takes them from nobody; but of few all.
    pub fn share(&self) -> usize {
        self.connections.min((self.connections / 2).max(64))
    }
}

/// How long bentpipe waits, and for what. None is zero but `drain`, and none is longer than a year.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection to an origin to open, over all of its addresses.
    pub connect: Duration,
    /// For a client to finish sending a request head it began.
    pub request_head: Duration,
    /// For a client to send the next byte of its content, or to take the next one of a response; no longer than `idle`.
    pub client: Duration,
    /// For the next byte, in either direction, of a request or response under way.
    pub idle: Duration,
    /// For the next byte of a tunnel, in either direction.
    pub tunnel_idle: Duration,
    /// For an origin to answer while a stored response could be served in its place.
    pub stale: Duration,
    /// For an origin to go on with a download that broke off.
    pub resume: Duration,
    /// For exchanges under way to finish after bentpipe was told to stop.
    pub drain: Duration,
    /// For exchanges under way to finish after another process took over.
    pub upgrade: Duration,
    /// For a process that is to take over to come up.
    pub upgrade_start: Duration,
    /// For an unused connection to an origin to be used again.
    pub keep_alive: Duration,
}

/// Where a running bentpipe takes commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// At the platform's usual place for sockets.
    Auto,
    /// Nowhere.
    Off,
    /// At this socket.
    Path(PathBuf),
}

impl Config {
    /// What `flags` say and the defaults for the rest: no environment, and no file but the one a `--config`
    /// among them names.
    ///
    /// # Errors
    /// Everything that is wrong with the flags: unknown ones, and values that cannot be read.
    ///
    /// ```
    /// let config = bentpipe::Config::from_flags(["--listen", "127.0.0.1:0", "--set", "limits.connections=16"])?;
    /// assert_eq!(config.limits.connections, 16);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_flags(flags: impl IntoIterator<Item: AsRef<str>>) -> Result<Config, ConfigErrors> {
        Ok(load::without_surroundings(&Flags::parse(flags)?)?.config)
    }

    /// The defaults as the option table writes them: places that depend on the machine are still named `auto`.
    fn unsettled() -> Config {
        Config {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 3128))],
            https_listen: Vec::new(),
            cache: CacheConfig {
                dir: PathBuf::from(folders::AUTO),
                size: ByteCount(10_000_000_000),
                max_object: ByteCount(1_000_000_000),
                rules: Vec::new(),
                packs: Vec::new(),
                targeted: Vec::new(),
                min_free: None,
                memory: ByteCount(32_000_000),
            },
            link: LinkConfig::default(),
            parents: Parents::default(),
            dns: Dns::default(),
            destinations: Destinations { allow: Vec::new(), connect_ports: vec![443, 563, 8443] },
            tls: TlsConfig::default(),
            log: LogConfig {
                access: AccessLog::Off,
                format: AccessFormat::Squid,
                level: "info".to_owned(),
                query: QueryLog::Keep,
                rotation: Rotation { size: None, age: None, keep: 7 },
                sampling: Sampling::ALL,
            },
            admission: Admission {
                users: Vec::new(),
                users_file: None,
                tokens: Vec::new(),
                no_auth: Vec::new(),
                requests_per_second: None,
                burst: None,
                allow: Vec::new(),
                deny: Vec::new(),
                others: Others::Auto,
            },
            limits: Limits {
                connections: 4096,
                connections_per_client: None,
                requests_per_client: None,
                uri: ByteCount(16_000),
                request_fields: 100,
                request_head: ByteCount(64_000),
                request_body: None,
            },
            timeouts: Timeouts {
                connect: Duration::from_secs(60),
                request_head: Duration::from_secs(60),
                client: Duration::from_secs(60),
                idle: Duration::from_secs(300),
                tunnel_idle: Duration::from_secs(3600),
                stale: Duration::from_secs(15),
                resume: Duration::from_mins(5),
                drain: Duration::from_secs(30),
                upgrade: Duration::from_secs(600),
                upgrade_start: Duration::from_secs(20),
                keep_alive: Duration::from_secs(60),
            },
            control: Control::Auto,
            admin: AdminListen::default(),
            ca_dir: PathBuf::from(folders::AUTO),
            intercept: Intercept::default(),
            pac_direct: Vec::new(),
            contact: None,
        }
    }

    /// Replaces what depends on the machine by the places `folders` knows, and what depends on other values by what
    /// they leave of it.
    fn settle(&mut self, folders: &Folders) {
        self.cache.max_object = self.cache.max_object.min(self.cache.size);
        self.timeouts.client = self.timeouts.client.min(self.timeouts.idle);
        folders.settle_cache(&mut self.cache.dir);
        folders.settle_ca(&mut self.ca_dir);
        for path in self.tls.roots.iter_mut().chain(&mut self.tls.certificate).chain(&mut self.tls.key) {
            folders.expand_home(path);
        }
        if let AccessLog::File(path) = &mut self.log.access {
            folders.expand_home(path);
        }
        if let Some(path) = &mut self.admission.users_file {
            folders.expand_home(path);
        }
        if let Control::Path(path) = &mut self.control {
            folders.expand_home(path);
        }
    }
}

/// The defaults on a machine of which nothing is known: no home, no environment.
impl Default for Config {
    fn default() -> Config {
        let mut config = Config::unsettled();
        config.settle(&Folders::default());
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_in_debug_output() {
        let config = Config::from_flags(["--set", "admission.users=alice:sesame"]).unwrap();
        assert!(!format!("{config:?}").contains("sesame"));
    }

    #[test]
    fn no_object_may_be_larger_than_the_cache() {
        let load = |flags: &[&str]| Config::from_flags(flags).map(|config| config.cache.max_object);
        assert_eq!(load(&["--cache-size=5M"]), Ok(ByteCount(5_000_000)), "the default follows");
        assert_eq!(load(&["--cache-size=5M", "--set=cache.max_object=5M"]), Ok(ByteCount(5_000_000)));
        let error = load(&["--cache-size=5M", "--set=cache.max_object=6M"]).unwrap_err().to_string();
        let expected = "--set: cache.max_object = \"6M\": larger than cache.size, which is 5M (--cache-size)";
        assert_eq!(error, expected);
    }

    #[test]
    fn the_default_is_what_no_flags_give() {
        assert_eq!(Config::from_flags([""; 0]).unwrap(), Config::default());
    }
}
