//! `OPTIONS`: one row an option. Flags, environment variables, files, `bentpipe config` and docs/config.md all
//! come from these rows, and a new option is a new row.
//!
//! It does not say what a default is (that is `Config::default`, which a row prints with `get`), nor how the text
//! of one value is read (`value`), nor where given values come from (`load`).

use crate::config::{
    Config, access, admin, admission, class, contact, destination, direct, dns, file, intercept, log, pack,
    parent, policy, price, rule, show, token, trace, value,
};

/// One option: how it is named, given, explained, read and printed.
#[derive(Debug)]
pub(super) struct OptionRow {
    /// `section.name`, as in files and `--set`.
    pub(super) key: &'static str,
    /// The long flag without its dashes, for options that are often given by hand.
    pub(super) flag: Option<&'static str>,
    /// What stands for the value in help texts.
    pub(super) value_name: &'static str,
    /// Whether it takes any number of values: an array in a file, commas elsewhere.
    pub(super) list: bool,
    /// Reads a table of a file as the text of one value, where its values may be such: or all that is wrong, by lines.
    pub(super) tables: Option<ReadTable>,
    /// Whether its values are kept from screens and logs, and may stand elsewhere (`secret`).
    pub(super) secret: bool,
    /// Whether another value takes effect after a restart only.
    pub(super) restart: bool,
    /// Whether only a command on this machine may set it: what names files, folders or programs, or holds secrets, reaches
    /// further than this proxy.
    pub(super) local: bool,
    /// A value of a secret option as it may be shown.
    pub(super) mask: fn(&str) -> String,
    /// One sentence, with units.
    pub(super) help: &'static str,
    /// Reads values into the configuration; exactly one unless `list`.
    pub(super) set: fn(&mut Config, &[&str]) -> Result<(), Rejected>,
    /// The values in canonical form, which `set` reads back as the same.
    pub(super) get: fn(&Config) -> Vec<String>,
}

/// What makes a text of a table.
pub(super) type ReadTable = fn(&file::Table) -> Result<String, Vec<(usize, String)>>;

impl OptionRow {
    /// The environment variable: `BENTPIPE_CACHE_SIZE` for `cache.size`.
    pub(super) fn variable(&self) -> String {
        format!("BENTPIPE_{}", self.key.replace('.', "_").to_ascii_uppercase())
    }

    /// The values in `text`. Outside of arrays, commas separate those of a list; nothing between two of them is no value.
    pub(super) fn split(&self, text: &str) -> Vec<String> {
        if !self.list {
            return vec![text.to_owned()];
        }
        text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
    }

    /// The default in canonical form, the same on every machine.
    pub(super) fn default(&self) -> Vec<String> {
        (self.get)(&Config::unsettled())
    }
}

/// Why `set` did not take what was given.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rejected {
    /// The one value that is wrong, if it is one of them.
    pub(super) value: Option<String>,
    /// What is right.
    pub(super) reason: String,
}

const VALUE: OptionRow = OptionRow {
    key: "",
    flag: None,
    value_name: "VALUE",
    list: false,
    tables: None,
    secret: false,
    restart: false,
    local: false,
    mask: show::masked,
    help: "",
    set: |_, _| Ok(()),
    get: |_| Vec::new(),
};

const LIST: OptionRow = OptionRow { list: true, ..VALUE };

/// Every option, in the order in which files and help show them.
pub(super) static OPTIONS: &[OptionRow] = &[
    OptionRow {
        key: "listen",
        flag: Some("listen"),
        value_name: "ADDRESS:PORT",
        help: "Addresses on which clients are served; a port alone is on 127.0.0.1, and port 0 takes a free one.",
        set: |config, given| match given {
            [] => Err(Rejected::all("expected at least one address")),
            _ => put_all(&mut config.listen, given, value::parse_listen),
        },
        get: |config| each(&config.listen, ToString::to_string),
        ..LIST
    },
    OptionRow {
        key: "https_listen",
        flag: Some("https-listen"),
        value_name: "ADDRESS:PORT",
        help: "Addresses on which clients are served that speak TLS to the proxy itself; a port alone is on 127.0.0.1.",
        set: |config, given| put_all(&mut config.https_listen, given, value::parse_listen),
        get: |config| each(&config.https_listen, ToString::to_string),
        ..LIST
    },
    OptionRow {
        key: "parent",
        local: true,
        flag: Some("parent"),
        value_name: "URL",
        secret: true,
        mask: parent::masked,
        help: "Proxy through which origins are reached: direct for none, http://HOST:PORT or socks5://HOST:PORT, with \
               USER:PASSWORD@ before the host where it wants them (docs/upstream.md).",
        set: |config, given| put(&mut config.parents.parent, given, parent::parse),
        get: |config| vec![parent::print(&config.parents.parent)],
        ..VALUE
    },
    OptionRow {
        key: "parent_rules",
        local: true,
        value_name: "HOSTS=URL",
        secret: true,
        mask: parent::masked,
        help: "Other proxies for some hosts, of which the first rule that matches counts: \
               *.example=http://other.example:3128, 192.0.2.0/24=direct, local=direct.",
        set: |config, given| put_all(&mut config.parents.rules, given, parent::parse_rule),
        get: |config| each(&config.parents.rules, parent::print_rule),
        ..LIST
    },
    OptionRow {
        key: "no_parent",
        value_name: "HOSTS",
        help: "Hosts that are reached without a parent: names, *.example for all below one, networks for addresses \
               that stand in the target itself, and local for names and addresses of local networks.",
        set: |config, given| put_all(&mut config.parents.except, given, parent::parse_hosts),
        get: |config| each(&config.parents.except, ToString::to_string),
        ..LIST
    },
    OptionRow {
        key: "parent_fallback",
        value_name: "none/direct",
        help: "What is done when a parent cannot be reached: none is an error, direct reaches the origin without it.",
        set: |config, given| put(&mut config.parents.fallback, given, parent::parse_fallback),
        get: |config| vec![parent::print_fallback(&config.parents.fallback)],
        ..VALUE
    },
    OptionRow {
        key: "cache.dir",
        local: true,
        restart: true,
        flag: Some("cache-dir"),
        value_name: "FOLDER",
        help: "Folder of the stored responses; auto is bentpipe in $XDG_CACHE_HOME or ~/.cache, and \
               /var/cache/bentpipe without a home.",
        set: |config, given| put(&mut config.cache.dir, given, value::parse_path),
        get: |config| vec![value::print_path(&config.cache.dir)],
        ..VALUE
    },
    OptionRow {
        key: "cache.size",
        flag: Some("cache-size"),
        value_name: "BYTES",
        help: "Room for all stored responses together, in bytes: 500M, 10G, 8GiB.",
        set: |config, given| put(&mut config.cache.size, given, value::parse_size),
        get: |config| vec![config.cache.size.to_string()],
        ..VALUE
    },
    OptionRow {
        key: "cache.max_object",
        value_name: "BYTES",
        help: "Largest single body that is stored, in bytes; at most cache.size.",
        set: |config, given| put(&mut config.cache.max_object, given, value::parse_size),
        get: |config| vec![config.cache.max_object.to_string()],
        ..VALUE
    },
    OptionRow {
        key: "cache.rule",
        flag: Some("cache-rule"),
        value_name: "NAME:RULE",
        tables: Some(rule::table::text),
        help: "What is decided in place of origins about their responses, as in docs: host=docs.example.org; \
               type=text/html; min-fresh=1h; the first rule that matches counts; in a file also [[cache.rule]] \
               (docs/cache-rules.md).",
        set: |config, given| {
            put_all(&mut config.cache.rules, given, rule::parse)?;
            rule::distinct(&config.cache.rules).map_err(Rejected::all)
        },
        get: |config| each(&config.cache.rules, rule::print),
        ..LIST
    },
    OptionRow {
        key: "cache.packs",
        flag: Some("cache-packs"),
        value_name: "NAMES",
        help: "Ready-made rules behind those of cache.rule: apt, pypi, npm, crates, windows-updates, apple-updates \
               (docs/cache-rules.md).",
        set: |config, given| put_all(&mut config.cache.packs, given, pack::parse),
        get: |config| each(&config.cache.packs, |pack| pack.name.to_owned()),
        ..LIST
    },
    OptionRow {
        key: "cache.targeted",
        flag: Some("cache-targeted"),
        value_name: "FIELDS",
        help: "Response fields that stand in place of Cache-Control and Expires, the most applicable first: \
               Bentpipe-Cache-Control, CDN-Cache-Control (RFC 9213).",
        set: |config, given| put_all(&mut config.cache.targeted, given, value::parse_field_name),
        get: |config| each(&config.cache.targeted, ToString::to_string),
        ..LIST
    },
    OptionRow {
        key: "cache.min_free",
        flag: Some("cache-min-free"),
        value_name: "BYTES",
        help: "Room that the cache leaves free on its disk, in bytes: what is worth least goes, and nothing is stored, \
               while there is less; auto is a twentieth of the disk, but no more than 512M.",
        set: |config, given| put(&mut config.cache.min_free, given, value::parse_free),
        get: |config| vec![value::print_free(&config.cache.min_free)],
        ..VALUE
    },
    OptionRow {
        key: "cache.memory",
        flag: Some("cache-memory"),
        value_name: "BYTES",
        help: "The most that bodies which are asked for again and again take of the memory, in bytes. All others are read \
               from the disk.",
        set: |config, given| put(&mut config.cache.memory, given, value::parse_size),
        get: |config| vec![config.cache.memory.to_string()],
        ..VALUE
    },
    OptionRow {
        key: "link.spec",
        flag: Some("link"),
        value_name: "RATES",
        help: "The link to keep to or to imitate: payload bits per second, as 512k or 10M/2M (down/up), a preset such \
               as geo, auto=90% of what there is, or unlimited; then options such as rtt=600ms (docs/links.md).",
        set: |config, given| put(&mut config.link.spec, given, value::parse_link),
        get: |config| vec![config.link.spec.to_string()],
        ..VALUE
    },
    OptionRow {
        key: "link.trace",
        local: true,
        flag: Some("link-trace"),
        value_name: "FILES",
        help: "Files that say how much can cross when, in place of the rates: off, FILE, or down=FILE,up=FILE; \
               Mahimahi packet-delivery traces or CSV (docs/links.md).",
        set: |config, given| put(&mut config.link.trace, given, trace::parse),
        get: |config| vec![config.link.trace.to_string()],
        ..VALUE
    },
    OptionRow {
        key: "link.rules",
        value_name: "CLASS[*WEIGHT]:CONDITIONS",
        help: "Which traffic goes first on the link: the first rule that matches gives its class (interactive, bulk or \
               background) and its weight in it from 1 to 100, as in bulk: size=1M or interactive*4: \
               host=*.example.org; conditions are host, type, client, user, size and method, and all of a rule, \
               between semicolons, must hold.",
        set: |config, given| put_all(&mut config.link.rules, given, class::parse_rule),
        get: |config| each(&config.link.rules, ToString::to_string),
        ..LIST
    },
    OptionRow {
        key: "link.classes",
        value_name: "CLASS:CLAIMS",
        help: "What the classes of link.rules may claim: higher priority first, weight among equals, a floor that is \
               theirs in any case, a ceiling beyond which they get only what nobody else wants.",
        set: |config, given| {
            let wrong = |(value, reason)| Rejected { value: Some(value), reason };
            config.link.classes = policy::parse_all(given).map_err(wrong)?;
            Ok(())
        },
        get: |config| policy::print_all(&config.link.classes),
        ..LIST
    },
    OptionRow {
        key: "link.weights",
        value_name: "CLIENT=WEIGHT",
        help: "Shares of clients in the link, from 1 to 100 where others have 1: an address, a network or an account \
               and its weight, as 10.0.0.5=4, 10.1.0.0/16=2 or ann=2; the first that matches counts.",
        set: |config, given| put_all(&mut config.link.weights, given, class::parse_weight),
        get: |config| each(&config.link.weights, ToString::to_string),
        ..LIST
    },
    OptionRow {
        key: "link.dns",
        value_name: "on/off",
        help: "Whether name lookups cross the link, too, because the name server is at its far end: on or off.",
        set: |config, given| put(&mut config.link.dns, given, value::parse_switch),
        get: |config| vec![value::print_switch(&config.link.dns)],
        ..VALUE
    },
    OptionRow {
        key: "link.price",
        value_name: "PRICE",
        help: "What traffic across the link costs, for the dashboard to say what was saved: 12 EUR/GB, 0.05 $/MB, or \
               none.",
        set: |config, given| put(&mut config.link.price, given, price::parse),
        get: |config| vec![price::print(&config.link.price)],
        ..VALUE
    },
    OptionRow {
        key: "dns.servers",
        value_name: "ADDRESS[:PORT]",
        help: "Name servers that are asked in place of those the system names: 192.0.2.53, [::1]:5353.",
        set: |config, given| put_all(&mut config.dns.servers, given, dns::parse_server),
        get: |config| each(&config.dns.servers, dns::print_server),
        ..LIST
    },
    OptionRow {
        key: "dns.hosts",
        value_name: "NAME=ADDRESSES",
        help: "Names whose addresses are said here and asked of no name server: intranet.example=10.0.0.5, or \
               *.example=10.0.0.5;fd00::5 for all names below one (docs/upstream.md).",
        set: |config, given| put_all(&mut config.dns.hosts, given, dns::parse_entry),
        get: |config| each(&config.dns.hosts, dns::print_entry),
        ..LIST
    },
    OptionRow {
        key: "dns.stale",
        value_name: "TIME",
        help: "How long after its time the last answer about a name is still used when no name server gives another; \
               0s is never (RFC 8767).",
        set: |config, given| put(&mut config.dns.stale, given, value::parse_duration),
        get: |config| vec![value::print_duration(&config.dns.stale)],
        ..VALUE
    },
    OptionRow {
        key: "dns.timeout",
        value_name: "TIME",
        help: "Longest wait for an answer about a name, over all name servers and attempts.",
        set: |config, given| put(&mut config.dns.timeout, given, value::parse_timeout),
        get: |config| vec![value::print_duration(&config.dns.timeout)],
        ..VALUE
    },
    OptionRow {
        key: "destinations.allow",
        flag: Some("allow-destination"),
        value_name: "NETWORK[:PORTS]",
        help: "Networks that may be reached although they are loopback, private or link-local: 10.0.0.0/8, \
               127.0.0.1:8000-8999, [::1]:80.",
        set: |config, given| put_all(&mut config.destinations.allow, given, destination::parse),
        get: |config| each(&config.destinations.allow, destination::print),
        ..LIST
    },
    OptionRow {
        key: "destinations.connect_ports",
        value_name: "PORT",
        help: "Ports to which CONNECT may open tunnels.",
        set: |config, given| put_all(&mut config.destinations.connect_ports, given, value::parse_port),
        get: |config| each(&config.destinations.connect_ports, ToString::to_string),
        ..LIST
    },
    OptionRow {
        key: "tls.roots",
        local: true,
        flag: Some("tls-roots"),
        value_name: "FILES",
        help: "Files of certificates (PEM) from which those of https origins may descend, beside the ones this machine \
               trusts: a school's or a company's own authority.",
        set: |config, given| put_all(&mut config.tls.roots, given, value::parse_path),
        get: |config| each(&config.tls.roots, |path| value::print_path(path)),
        ..LIST
    },
    OptionRow {
        key: "tls.certificate",
        local: true,
        value_name: "FILE",
        help: "The certificate chain (PEM) that clients of https_listen see; off has one made by the local authority.",
        set: |config, given| put(&mut config.tls.certificate, given, admission::parse_file),
        get: |config| vec![admission::print_file(&config.tls.certificate)],
        ..VALUE
    },
    OptionRow {
        key: "tls.key",
        local: true,
        value_name: "FILE",
        help: "The key (PEM) of tls.certificate.",
        set: |config, given| put(&mut config.tls.key, given, admission::parse_file),
        get: |config| vec![admission::print_file(&config.tls.key)],
        ..VALUE
    },
    OptionRow {
        key: "tls.intercept.hosts",
        flag: Some("intercept"),
        value_name: "HOSTS",
        help: "Hosts whose HTTPS is opened here, so that it is cached like http: example.org, *.example.org (those below \
               it) or all; devices must trust the certificate of `bentpipe ca init` (docs/https.md).",
        set: |config, given| put_all(&mut config.intercept.hosts, given, intercept::parse),
        get: |config| each(&config.intercept.hosts, ToString::to_string),
        ..LIST
    },
    OptionRow {
        key: "tls.intercept.never",
        flag: Some("intercept-never"),
        value_name: "HOSTS",
        help: "Hosts whose HTTPS is never opened, whatever tls.intercept.hosts says: bank.example, *.bank.example.",
        set: |config, given| put_all(&mut config.intercept.never, given, intercept::parse),
        get: |config| each(&config.intercept.never, ToString::to_string),
        ..LIST
    },
    OptionRow {
        key: "log.access",
        local: true,
        flag: Some("access-log"),
        value_name: "FILE",
        help: "Where one line an exchange goes: off, a file that is appended to, or - for standard output.",
        set: |config, given| put(&mut config.log.access, given, value::parse_access_log),
        get: |config| vec![value::print_access_log(&config.log.access)],
        ..VALUE
    },
    OptionRow {
        key: "log.format",
        value_name: "FORMAT",
        help: "How a line of the access log looks: squid (its native format), common or combined (Apache's), or json.",
        set: |config, given| put(&mut config.log.format, given, log::parse_format),
        get: |config| vec![log::print_format(&config.log.format)],
        ..VALUE
    },
    OptionRow {
        key: "log.level",
        flag: Some("log-level"),
        value_name: "LEVEL",
        help: "What goes to standard error: off, error, warn, info, debug or trace, or parts such as \
               warn,bentpipe=debug.",
        set: |config, given| put(&mut config.log.level, given, value::parse_levels),
        get: |config| vec![config.log.level.clone()],
        ..VALUE
    },
    OptionRow {
        key: "log.query",
        value_name: "keep/hash/drop",
        help: "What the access log says of the query of a URL: all of it, a short hash by which the same ones are known \
               until bentpipe stops, or nothing.",
        set: |config, given| put(&mut config.log.query, given, admission::parse_query_log),
        get: |config| vec![admission::print_query_log(&config.log.query)],
        ..VALUE
    },
    OptionRow {
        key: "log.rotate_size",
        value_name: "SIZE",
        help: "The access log's file is set aside and compressed before it would be longer than this, such as 100M; 0 for \
               any length.",
        set: |config, given| put(&mut config.log.rotation.size, given, log::parse_size),
        get: |config| vec![log::print_size(&config.log.rotation.size)],
        ..VALUE
    },
    OptionRow {
        key: "log.rotate_age",
        value_name: "TIME",
        help: "The access log's file is set aside and compressed when it was begun so long ago, such as 1d; 0 for any age.",
        set: |config, given| put(&mut config.log.rotation.age, given, log::parse_age),
        get: |config| vec![log::print_age(&config.log.rotation.age)],
        ..VALUE
    },
    OptionRow {
        key: "log.rotate_keep",
        value_name: "COUNT",
        help: "How many files of the access log that were set aside are kept; older ones are deleted.",
        set: |config, given| put(&mut config.log.rotation.keep, given, log::parse_keep),
        get: |config| vec![config.log.rotation.keep.to_string()],
        ..VALUE
    },
    OptionRow {
        key: "log.sample",
        value_name: "SHARE",
        help: "How many of the exchanges that went well the access log tells, from 0 to 1, or by what became of them: \
               hit=0.01,miss=0.5,tunnel=1,own=1. Errors, refusals and what was cut short are always written.",
        set: |config, given| put(&mut config.log.sampling, given, log::parse_sampling),
        get: |config| vec![log::print_sampling(&config.log.sampling)],
        ..VALUE
    },
    OptionRow {
        key: "admission.deny",
        flag: Some("deny"),
        value_name: "CONDITIONS",
        tables: Some(access::table::text),
        help: "What nobody may ask for: conditions client, host, port, method, time and user that must all hold, as in \
               games: host=*.games.example; time=Mon-Fri 08:00-17:00; in a file also [[admission.deny]] \
               (docs/admission.md).",
        set: |config, given| put_all(&mut config.admission.deny, given, access::parse),
        get: |config| each(&config.admission.deny, ToString::to_string),
        ..LIST
    },
    OptionRow {
        key: "admission.allow",
        flag: Some("allow"),
        value_name: "CONDITIONS",
        tables: Some(access::table::text),
        help: "What may be asked for that no rule of admission.deny forbids, by the same conditions: \
               client=203.0.113.0/24; in a file also [[admission.allow]].",
        set: |config, given| put_all(&mut config.admission.allow, given, access::parse),
        get: |config| each(&config.admission.allow, ToString::to_string),
        ..LIST
    },
    OptionRow {
        key: "admission.default",
        value_name: "CLIENTS",
        help: "Who may ask for what no rule speaks of: private (clients in private networks and on this machine), any, \
               nobody, or auto: any where only this machine can ask, otherwise private.",
        set: |config, given| put(&mut config.admission.others, given, access::parse_others),
        get: |config| vec![access::print_others(&config.admission.others)],
        ..VALUE
    },
    OptionRow {
        key: "admission.users",
        local: true,
        value_name: "NAME:PASSWORD",
        secret: true,
        help: "Accounts such as ann:secret, one of which every request must then present; others get 407; also \
               @file:PATH, a file with one in each line, or @env:NAME.",
        set: |config, given| {
            put_all(&mut config.admission.users, given, value::parse_user)?;
            value::distinct(&config.admission.users).map_err(Rejected::all)
        },
        get: |config| each(&config.admission.users, value::print_user),
        ..LIST
    },
    OptionRow {
        key: "admission.users_file",
        local: true,
        value_name: "FILE",
        help: "Accounts by a file of htpasswd, NAME:HASH in each line, with hashes of bcrypt (htpasswd -B) or argon2; \
               read again when it changes; off is none.",
        set: |config, given| put(&mut config.admission.users_file, given, admission::parse_file),
        get: |config| vec![admission::print_file(&config.admission.users_file)],
        ..VALUE
    },
    OptionRow {
        key: "admission.tokens",
        local: true,
        value_name: "NAME=TOKEN",
        secret: true,
        help: "Bearer tokens of at least 16 characters that stand for accounts, as robot=TOKEN or robot=sha256:HEX; also \
               @file:PATH, a file with one in each line, or @env:NAME.",
        set: |config, given| {
            put_all(&mut config.admission.tokens, given, token::parse)?;
            token::distinct(&config.admission.tokens).map_err(Rejected::all)
        },
        get: |config| each(&config.admission.tokens, ToString::to_string),
        ..LIST
    },
    OptionRow {
        key: "admission.no_auth",
        value_name: "NETWORK",
        help: "Networks whose clients present no account although others must.",
        set: |config, given| put_all(&mut config.admission.no_auth, given, destination::parse_client),
        get: |config| each(&config.admission.no_auth, destination::print_network),
        ..LIST
    },
    OptionRow {
        key: "admission.requests_per_second",
        value_name: "NUMBER",
        help: "Requests a second that each client address (of IPv6 each /64) may make; off is no limit.",
        set: |config, given| put(&mut config.admission.requests_per_second, given, value::parse_request_rate),
        get: |config| vec![value::print_request_rate(&config.admission.requests_per_second)],
        ..VALUE
    },
    OptionRow {
        key: "admission.burst",
        value_name: "NUMBER",
        help: "Requests that a client may make at once before admission.requests_per_second holds; auto is as many as in \
               a second.",
        set: |config, given| put(&mut config.admission.burst, given, admission::parse_burst),
        get: |config| vec![admission::print_burst(&config.admission.burst)],
        ..VALUE
    },
    OptionRow {
        key: "limits.connections",
        value_name: "NUMBER",
        help: "Client connections open at the same moment, as far as the system gives descriptors; more wait to be accepted.",
        set: |config, given| put(&mut config.limits.connections, given, value::parse_connections),
        get: |config| vec![config.limits.connections.to_string()],
        ..VALUE
    },
    OptionRow {
        key: "limits.connections_per_client",
        value_name: "NUMBER",
        help: "Connections that each client address (of IPv6 each /64) may have open at the same moment; more get 429; \
               auto is half of limits.connections, or all of them up to 64.",
        set: |config, given| put(&mut config.limits.connections_per_client, given, admission::parse_share),
        get: |config| vec![admission::print_share(&config.limits.connections_per_client)],
        ..VALUE
    },
    OptionRow {
        key: "limits.requests_per_client",
        value_name: "NUMBER",
        help: "Requests of each client address (of IPv6 each /64) that may be under way at the same moment; more get \
               429; auto is as for limits.connections_per_client.",
        set: |config, given| put(&mut config.limits.requests_per_client, given, admission::parse_share),
        get: |config| vec![admission::print_share(&config.limits.requests_per_client)],
        ..VALUE
    },
    OptionRow {
        key: "limits.uri",
        value_name: "BYTES",
        help: "Longest request target, in bytes, from 256 to 64k; longer ones get 414.",
        set: |config, given| put(&mut config.limits.uri, given, admission::parse_uri_size),
        get: |config| vec![config.limits.uri.to_string()],
        ..VALUE
    },
    OptionRow {
        key: "limits.request_fields",
        value_name: "NUMBER",
        help: "Most field lines of a request, from 50 to 10000; more get 431.",
        set: |config, given| put(&mut config.limits.request_fields, given, admission::parse_field_count),
        get: |config| vec![config.limits.request_fields.to_string()],
        ..VALUE
    },
    OptionRow {
        key: "limits.request_head",
        value_name: "BYTES",
        help: "Largest request line and fields together, in bytes, from 8192 to 16M.",
        set: |config, given| put(&mut config.limits.request_head, given, value::parse_head_size),
        get: |config| vec![config.limits.request_head.to_string()],
        ..VALUE
    },
    OptionRow {
        key: "limits.request_body",
        value_name: "BYTES",
        help: "Largest request body, in bytes, or unlimited.",
        set: |config, given| put(&mut config.limits.request_body, given, value::parse_body_size),
        get: |config| vec![value::print_body_size(&config.limits.request_body)],
        ..VALUE
    },
    OptionRow {
        key: "timeouts.connect",
        value_name: "TIME",
        help: "Longest wait for a connection to an origin, over all of its addresses: 30s, 1m30s.",
        set: |config, given| put(&mut config.timeouts.connect, given, value::parse_timeout),
        get: |config| vec![value::print_duration(&config.timeouts.connect)],
        ..VALUE
    },
    OptionRow {
        key: "timeouts.request_head",
        value_name: "TIME",
        help: "Longest wait for the rest of a request head that a client began.",
        set: |config, given| put(&mut config.timeouts.request_head, given, value::parse_timeout),
        get: |config| vec![value::print_duration(&config.timeouts.request_head)],
        ..VALUE
    },
    OptionRow {
        key: "timeouts.client",
        value_name: "TIME",
        help: "Longest wait for a client that sends nothing of content it announced, or takes nothing of a response; at \
               most timeouts.idle.",
        set: |config, given| put(&mut config.timeouts.client, given, value::parse_timeout),
        get: |config| vec![value::print_duration(&config.timeouts.client)],
        ..VALUE
    },
    OptionRow {
        key: "timeouts.idle",
        value_name: "TIME",
        help: "Longest wait for the next byte of a request or response under way.",
        set: |config, given| put(&mut config.timeouts.idle, given, value::parse_timeout),
        get: |config| vec![value::print_duration(&config.timeouts.idle)],
        ..VALUE
    },
    OptionRow {
        key: "timeouts.tunnel_idle",
        value_name: "TIME",
        help: "Longest wait for the next byte of a tunnel, in either direction.",
        set: |config, given| put(&mut config.timeouts.tunnel_idle, given, value::parse_timeout),
        get: |config| vec![value::print_duration(&config.timeouts.tunnel_idle)],
        ..VALUE
    },
    OptionRow {
        key: "timeouts.stale",
        value_name: "TIME",
        help: "For an origin to answer while a stored response could be served in its place; then the stored one \
               is served.",
        set: |config, given| put(&mut config.timeouts.stale, given, value::parse_timeout),
        get: |config| vec![value::print_duration(&config.timeouts.stale)],
        ..VALUE
    },
    OptionRow {
        key: "timeouts.resume",
        value_name: "TIME",
        help: "How long an origin is asked again and again to go on with a download that broke off, while clients wait \
               for the rest.",
        set: |config, given| put(&mut config.timeouts.resume, given, value::parse_timeout),
        get: |config| vec![value::print_duration(&config.timeouts.resume)],
        ..VALUE
    },
    OptionRow {
        key: "timeouts.drain",
        value_name: "TIME",
        help: "Longest wait, after bentpipe is told to stop, for exchanges under way; 0s is none.",
        set: |config, given| put(&mut config.timeouts.drain, given, value::parse_duration),
        get: |config| vec![value::print_duration(&config.timeouts.drain)],
        ..VALUE
    },
    OptionRow {
        key: "timeouts.upgrade",
        value_name: "TIME",
        help: "Longest wait, after another process took over, for exchanges and tunnels under way; then they are ended \
               as by a stop.",
        set: |config, given| put(&mut config.timeouts.upgrade, given, value::parse_timeout),
        get: |config| vec![value::print_duration(&config.timeouts.upgrade)],
        ..VALUE
    },
    OptionRow {
        key: "timeouts.upgrade_start",
        value_name: "TIME",
        help: "For a process that is to take over to come up; the present one goes on if it does not.",
        set: |config, given| put(&mut config.timeouts.upgrade_start, given, value::parse_timeout),
        get: |config| vec![value::print_duration(&config.timeouts.upgrade_start)],
        ..VALUE
    },
    OptionRow {
        key: "timeouts.keep_alive",
        value_name: "TIME",
        help: "How long an unused connection to an origin is kept.",
        set: |config, given| put(&mut config.timeouts.keep_alive, given, value::parse_timeout),
        get: |config| vec![value::print_duration(&config.timeouts.keep_alive)],
        ..VALUE
    },
    OptionRow {
        key: "control.socket",
        local: true,
        restart: true,
        flag: Some("control"),
        value_name: "PATH",
        help: "Socket on which a running bentpipe takes commands: auto, off or a path.",
        set: |config, given| put(&mut config.control, given, value::parse_control),
        get: |config| vec![value::print_control(&config.control)],
        ..VALUE
    },
    OptionRow {
        key: "control.group",
        local: true,
        restart: true,
        value_name: "GROUP",
        help: "Group of this machine whose members may give commands on the socket, too; off is nobody but the user who \
               runs bentpipe, and root.",
        set: |config, given| put(&mut config.admin.group, given, admin::parse_group),
        get: |config| vec![admin::print_group(&config.admin.group)],
        ..VALUE
    },
    OptionRow {
        key: "admin.listen",
        local: true,
        restart: true,
        value_name: "ADDRESS:PORT",
        help: "Addresses on which the admin interface is served over TCP, besides the socket: 3129, which is on \
               127.0.0.1; one that others reach wants admin.token (docs/admin-api.md).",
        set: |config, given| put_all(&mut config.admin.listen, given, value::parse_listen),
        get: |config| each(&config.admin.listen, ToString::to_string),
        ..LIST
    },
    OptionRow {
        key: "admin.names",
        local: true,
        value_name: "NAMES",
        help: "Names by which browsers reach the admin interface, beside its addresses and localhost: \
               proxy.school.example; a request for another name is refused.",
        set: |config, given| put_all(&mut config.admin.names, given, admin::parse_name),
        get: |config| each(&config.admin.names, ToString::to_string),
        ..LIST
    },
    OptionRow {
        key: "admin.token",
        local: true,
        value_name: "NAME=TOKEN",
        secret: true,
        help: "Bearer tokens of at least 16 characters with which the admin interface over TCP may be used to change \
               something, as ann=TOKEN or ann=sha256:HEX; also @file:PATH, a file with one in each line, or @env:NAME.",
        set: |config, given| {
            put_all(&mut config.admin.tokens, given, token::parse)?;
            token::distinct(&config.admin.tokens).map_err(Rejected::all)
        },
        get: |config| each(&config.admin.tokens, ToString::to_string),
        ..LIST
    },
    OptionRow {
        key: "ca.dir",
        local: true,
        flag: Some("ca-dir"),
        value_name: "FOLDER",
        help: "Folder of the certificate authority that `bentpipe ca init` makes; auto is bentpipe/ca in $XDG_DATA_HOME \
               or ~/.local/share, and /var/lib/bentpipe/ca without a home.",
        set: |config, given| put(&mut config.ca_dir, given, value::parse_path),
        get: |config| vec![value::print_path(&config.ca_dir)],
        ..VALUE
    },
    OptionRow {
        key: "pac.direct",
        value_name: "HOSTS",
        help: "What browsers that ask /proxy.pac reach without bentpipe, beside local names and private networks: \
               *.school.example, 203.0.113.0/24.",
        set: |config, given| put_all(&mut config.pac_direct, given, direct::parse),
        get: |config| each(&config.pac_direct, ToString::to_string),
        ..LIST
    },
    OptionRow {
        key: "pages.contact",
        value_name: "TEXT",
        help: "Whom readers of bentpipe's own pages may ask, such as those that say that something is not allowed: a mail \
               address, or a text such as Ms Rao, room 12; or none.",
        set: |config, given| put(&mut config.contact, given, contact::parse),
        get: |config| vec![contact::print(&config.contact)],
        ..VALUE
    },
];

impl Rejected {
    fn all(reason: impl Into<String>) -> Rejected {
        Rejected { value: None, reason: reason.into() }
    }
}

fn put<T>(place: &mut T, given: &[&str], parse: fn(&str) -> Result<T, String>) -> Result<(), Rejected> {
    let [text] = given else { return Err(Rejected::all("expected one value, not a list")) };
    *place = one(text, parse)?;
    Ok(())
}

fn put_all<T>(
    place: &mut Vec<T>,
    given: &[&str],
    parse: fn(&str) -> Result<T, String>,
) -> Result<(), Rejected> {
    *place = given.iter().map(|text| one(text, parse)).collect::<Result<_, _>>()?;
    Ok(())
}

fn one<T>(text: &str, parse: fn(&str) -> Result<T, String>) -> Result<T, Rejected> {
    parse(text).map_err(|reason| Rejected { value: Some(text.to_owned()), reason })
}

fn each<T>(values: &[T], print: fn(&T) -> String) -> Vec<String> {
    values.iter().map(print).collect()
}

/// The row of `key`.
pub(super) fn find(key: &str) -> Option<&'static OptionRow> {
    OPTIONS.iter().find(|row| row.key == key)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_name_is_one_options_own() {
        let unique = |names: Vec<String>| names.iter().collect::<HashSet<_>>().len() == names.len();
        assert!(unique(OPTIONS.iter().map(|row| row.key.to_owned()).collect()));
        assert!(unique(OPTIONS.iter().map(OptionRow::variable).collect()));
        assert!(unique(OPTIONS.iter().filter_map(|row| row.flag.map(str::to_owned)).collect()));
    }

    #[test]
    fn secrets_files_and_folders_are_set_on_this_machine_alone() {
        let names_one = |row: &OptionRow| {
            row.secret || ["FILE", "FILES", "FOLDER", "PATH", "GROUP"].contains(&row.value_name)
        };
        for row in OPTIONS {
            let of_the_door = row.key.starts_with("control.") || row.key.starts_with("admin.");
            assert_eq!(row.local, names_one(row) || of_the_door, "{}", row.key);
        }
    }

    #[test]
    fn every_help_is_one_sentence_that_fits_a_table() {
        for row in OPTIONS {
            assert!(row.help.ends_with('.') && !row.help.contains(['|', '\n']), "{}", row.key);
        }
    }
}
