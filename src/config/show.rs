//! What `bentpipe config` prints: the values with their origins, an example file, the reference page.
//!
//! All of it comes from the option table. Values are printed as TOML that reads back as the same configuration,
//! except that secrets are masked.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::config::options::{OPTIONS, OptionRow};
use crate::config::{Config, Loaded};

/// Wider values push their comment to the right rather than everybody's.
const WIDEST: usize = 40;

/// Lines of the example file are at most so long.
const LONGEST_LINE: usize = 110;

const EXAMPLE_HEAD: &str = "\
# Every option of bentpipe with its default. A line counts once its # is gone; an option that is not set keeps
# the default of the version that runs. `bentpipe config check` says what is wrong with this file, and
# `bentpipe config show` which value counts and where it comes from.
";

/// What stands above the table of the reference page.
const REFERENCE_HEAD: &str = include_str!("reference_head.md");

/// Every value in TOML, one a line, with where it came from behind it.
pub(crate) fn show(loaded: &Loaded) -> String {
    let lines: Vec<_> = loaded
        .sources
        .iter()
        .map(|(row, source)| (row.key, toml_value(row, &visible(row, &loaded.config)), source.to_string()))
        .collect();
    let widest = |widths: &mut dyn Iterator<Item = usize>| widths.max().unwrap_or(0);
    let key_width = widest(&mut lines.iter().map(|(key, ..)| key.len()));
    let value_width = widest(&mut lines.iter().map(|(_, value, _)| value.chars().count())).min(WIDEST);
    lines.iter().fold(String::new(), |text, (key, value, source)| {
        text + &format!("{key:key_width$} = {value:value_width$}  # {}\n", source.escape_debug())
    })
}

/// Every value as one JSON object: `{"cache.size": {"value": "10G", "source": "default"}, ...}`. Values are texts,
/// those of lists arrays of texts.
pub(crate) fn show_json(loaded: &Loaded) -> String {
    let option = |(row, source): &(&'static OptionRow, _)| {
        let values = visible(row, &loaded.config);
        let value = if row.list { json!(values) } else { json!(values.concat()) };
        (row.key.to_owned(), json!({ "value": value, "source": ToString::to_string(source) }))
    };
    let options: Map<String, Value> = loaded.sources.iter().map(option).collect();
    format!("{:#}\n", Value::Object(options))
}

/// A file with every option at its default, each commented out.
pub(crate) fn example() -> String {
    let mut text = EXAMPLE_HEAD.to_owned();
    let mut section = "";
    for row in OPTIONS {
        let (within, name) = row.key.split_once('.').unwrap_or(("", row.key));
        if within != section {
            section = within;
            text += &format!("\n[{section}]\n");
        }
        let flag = row.flag.map_or_else(String::new, |flag| format!(" Flag: --{flag}."));
        let (help, default) = (comment(&format!("{}{flag}", sentence(row))), toml_value(row, &row.default()));
        text += &format!("\n{help}#{name} = {default}\n");
    }
    text
}

/// The page docs/config.md.
pub(crate) fn reference() -> String {
    let mut text = REFERENCE_HEAD.to_owned();
    text += "| Key | Flag | Environment | Default | Meaning |\n|---|---|---|---|---|\n";
    for row in OPTIONS {
        let flag = row.flag.map_or_else(String::new, |flag| format!("`--{flag} {}`", row.value_name));
        let (key, variable, default) = (row.key, row.variable(), toml_value(row, &row.default()));
        let help = sentence(row);
        text += &format!("| `{key}` | {flag} | `{variable}` | `{default}` | {help} |\n");
    }
    text
}

/// What is said of an option where there is room for it.
fn sentence(row: &OptionRow) -> String {
    let restart = if row.restart { " Takes effect after a restart." } else { "" };
    format!("{}{restart}", row.help)
}

/// The words of `text` in lines that begin with `# `, which no uncommented value does.
pub(super) fn comment(text: &str) -> String {
    let mut lines = vec!["#".to_owned()];
    for word in text.split(' ') {
        if lines.last().is_some_and(|line| line.len() + word.len() >= LONGEST_LINE) {
            lines.push("#".to_owned());
        }
        lines.last_mut().into_iter().for_each(|line| line.extend([" ", word]));
    }
    lines.join("\n") + "\n"
}

/// The values of an option as they may be seen.
pub(super) fn visible(row: &OptionRow, config: &Config) -> Vec<String> {
    let values = (row.get)(config);
    if row.secret { values.iter().map(|value| (row.mask)(value)).collect() } else { values }
}

/// The name that stands before a secret may be seen, and nothing behind it.
pub(super) fn masked(value: &str) -> String {
    match value.find([':', '=']) {
        Some(end) => value.get(..=end).unwrap_or_default().to_owned() + "***",
        None => "***".to_owned(),
    }
}

pub(super) fn toml_value(row: &OptionRow, values: &[String]) -> String {
    let values: Vec<_> = values.iter().map(|value| quoted(value)).collect();
    if row.list { format!("[{}]", values.join(", ")) } else { values.concat() }
}

/// A number stays bare, and any other text becomes a basic string on one line.
fn quoted(text: &str) -> String {
    if text.parse::<i64>().is_ok_and(|number| number.to_string() == text) {
        return text.to_owned();
    }
    let mut quoted = "\"".to_owned();
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            // A terminal must not act on what a file says, either.
            _ if letter.is_control() => _ = write!(quoted, "\\u{:04X}", u32::from(letter)),
            _ => quoted.push(letter),
        }
    }
    quoted + "\""
}

#[cfg(test)]
mod samples;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::net::{IpAddr, SocketAddr};
    use std::num::NonZeroU32;
    use std::path::PathBuf;
    use std::time::Duration;

    use linkio::{BitRate, ByteCount, Class, LinkSpec};
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;
    use rfc9111::{Directive, IgnoredQuery, Keep, Pattern, Reload, Rule};
    use tempfile::TempDir;

    use super::samples::{admission, network};
    use super::*;
    use crate::config::load::without_surroundings;
    use crate::config::{
        AccessFormat, AccessLog, AllowedDestination, CacheConfig, ClassRule, ClientWeight, Condition, Config,
        Control, Credentials, Destinations, Dns, Flags, HostEntry, HostPattern, Limits, LinkConfig,
        LogConfig, Parent, ParentRule, ParentScheme, Parents, Rotation, Sharer, Timeouts, TlsConfig, pack,
    };

    fn read_back(text: &str) -> Config {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("bentpipe.toml");
        fs::write(&path, text).unwrap();
        without_surroundings(&Flags { file: Some(path), given: Vec::new() }).unwrap().config
    }

    fn loaded(flags: &[&str]) -> Loaded {
        without_surroundings(&Flags::parse(flags).unwrap()).unwrap()
    }

    #[test]
    fn the_example_says_the_defaults_with_and_without_its_comments() {
        let example = example();
        assert_eq!(read_back(&example), Config::default());
        let line = |line: &str| {
            line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line).to_owned()
        };
        let uncommented: Vec<_> = example.lines().map(line).collect();
        let uncommented = uncommented.join("\n");
        assert_eq!(read_back(&uncommented), Config::default());
        assert_eq!(uncommented.matches(" = ").count(), OPTIONS.len());
    }

    #[test]
    fn the_example_reads_well() {
        insta::assert_snapshot!(example());
    }

    #[test]
    fn the_rules_of_the_reference_page_read_well() {
        let page = reference();
        let (_, rest) = page.split_once("```toml\n").unwrap();
        let config = read_back(rest.split_once("```").unwrap().0);
        assert_eq!((config.link.rules.len(), config.link.weights.len()), (5, 2));
    }

    #[test]
    fn the_reference_page_is_current() {
        let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/config.md")).unwrap();
        assert!(page == reference(), "docs/config.md is not current: run `cargo xtask docs`");
    }

    #[test]
    fn values_are_shown_with_where_they_came_from() {
        insta::assert_snapshot!(show(&loaded(&[
            "--allow-destination=127.0.0.1",
            "--allow-destination=[::1]:8000-8999",
            "--cache-dir=/srv/\"web\"",
            "--set=admission.users=alice:sesame",
            "--set=admission.tokens=robot=open-sesame-open-sesame",
            "--set=limits.connections=100",
            "--link=512k/128k,rtt=600ms",
        ])));
    }

    #[test]
    fn json_says_the_same() {
        let json = show_json(&loaded(&["--set=admission.users=alice:sesame", "--cache-size=1.5M"]));
        let parents =
            show_json(&loaded(&["--parent=http://ann:sesame@p:1", "--set=parent_rules=*.a=direct"]));
        let parents: Value = serde_json::from_str(&parents).unwrap();
        assert_eq!(parents["parent"]["value"], "http://ann:***@p:1");
        assert_eq!(parents["parent_rules"]["value"], json!(["*.a=direct"]));
        let json: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json.as_object().unwrap().len(), OPTIONS.len());
        assert_eq!(json["cache.size"], json!({ "value": "1.5M", "source": "--cache-size" }));
        assert_eq!(json["admission.users"], json!({ "value": ["alice:***"], "source": "--set" }));
    }

    fn time() -> impl Strategy<Value = Duration> {
        (1..=31_536_000_000_u64).prop_map(Duration::from_millis)
    }

    fn size() -> impl Strategy<Value = ByteCount> {
        prop_oneof![any::<u64>(), (0..1000_u64).prop_map(|n| n * 1_000_000), (0..64).prop_map(|n| 1_u64 << n)]
            .prop_map(ByteCount)
    }

    fn path() -> impl Strategy<Value = PathBuf> {
        "/[^\0]{0,12}".prop_map(PathBuf::from)
    }

    fn cache() -> impl Strategy<Value = CacheConfig> {
        (path(), size(), size(), cache_rules(), any::<bool>()).prop_map(|(dir, one, other, rules, apt)| {
            let (size, max_object) = (one.max(other), one.min(other));
            let packs = if apt { vec![pack::parse("apt").unwrap()] } else { Vec::new() };
            CacheConfig { dir, size, max_object, rules, packs, ..Config::default().cache }
        })
    }

    fn cache_rules() -> impl Strategy<Value = Vec<Rule>> {
        let pattern = || vec("[*a-z]{1,5}".prop_map(|text| Pattern::new(&text)), 0..3);
        let path = vec("/[a-z*,]{0,5}".prop_map(|text| Pattern::new(&text)), 0..3);
        let fresh = (0..=365_u32, 0..=86_399_u32).prop_map(|(days, seconds)| {
            Duration::from_hours(u64::from(days) * 24) + Duration::from_secs(u64::from(seconds))
        });
        let reload = prop_oneof![Just(Reload::AsAsked), Just(Reload::Revalidate), Just(Reload::Ignore)];
        let keep = prop_oneof![Just(Keep::AsStated), Just(Keep::Never), Just(Keep::Always)];
        let query = prop_oneof![
            Just(IgnoredQuery::None),
            Just(IgnoredQuery::All),
            vec("[a-z]x[*a-z]{0,5}".prop_map(|text| Pattern::new(&text)), 1..3).prop_map(IgnoredQuery::Named),
        ];
        let disregard =
            proptest::sample::subsequence(vec![Directive::NoStore, Directive::MustRevalidate], 0..=2);
        let rule = (pattern(), path, option::of(fresh), reload, keep, disregard, query).prop_map(
            |(hosts, paths, min_fresh, reload, keep, disregard, ignore_query)| {
                let rest = Rule::new("r");
                Rule { hosts, paths, min_fresh, reload, keep, disregard, ignore_query, ..rest }
            },
        );
        option::of(rule).prop_map(|rule| rule.into_iter().collect())
    }

    fn link() -> impl Strategy<Value = LinkConfig> {
        let rate = || option::of((0..=1_000_000_000_u64).prop_map(BitRate::from_bits_per_second));
        (rate(), rate(), 0..=10_000_u64).prop_map(|(down, up, rtt)| LinkConfig {
            spec: LinkSpec { down, up, rtt: Duration::from_millis(rtt), ..LinkSpec::default() },
            ..LinkConfig::default()
        })
    }

    fn weight() -> impl Strategy<Value = NonZeroU32> {
        (1..=100_u32).prop_map(|weight| NonZeroU32::new(weight).unwrap())
    }

    fn rule() -> impl Strategy<Value = ClassRule> {
        let class = prop_oneof![Just(Class::Interactive), Just(Class::Bulk), Just(Class::Background)];
        let first = prop_oneof![
            name().prop_map(|name| Condition::Host(HostPattern::Exactly(name))),
            name().prop_map(|name| Condition::Host(HostPattern::Below(name))),
            "[a-z]{1,8}/([a-z][a-z0-9.+-]{0,8}|\\*)".prop_map(Condition::Type),
            network().prop_map(Condition::Client),
        ];
        let second = prop_oneof![
            "[a-z]{1,8}".prop_map(Condition::User),
            (1..=u64::MAX).prop_map(|size| Condition::Size(ByteCount(size))),
            Just(Condition::Method(http::Method::CONNECT)),
        ];
        (class, weight(), first, option::of(second)).prop_map(|(class, weight, first, second)| ClassRule {
            class,
            weight,
            conditions: [first].into_iter().chain(second).collect(),
        })
    }

    fn client_weight() -> impl Strategy<Value = ClientWeight> {
        let sharer = prop_oneof![network().prop_map(Sharer::Network), "[a-z]{1,8}".prop_map(Sharer::User)];
        (sharer, weight()).prop_map(|(sharer, weight)| ClientWeight { sharer, weight })
    }

    fn destination() -> impl Strategy<Value = AllowedDestination> {
        let net = network();
        let ports = (1..=u16::MAX, 1..=u16::MAX).prop_map(|(a, b)| a.min(b)..=a.max(b));
        (net, option::of(ports)).prop_map(|(net, ports)| AllowedDestination { net, ports })
    }

    fn log() -> impl Strategy<Value = LogConfig> {
        let access =
            prop_oneof![Just(AccessLog::Off), Just(AccessLog::Stdout), path().prop_map(AccessLog::File)];
        let format = prop_oneof![Just(AccessFormat::Squid), Just(AccessFormat::Combined)];
        let level = "(warn|debug)(,[a-z_]{1,8}=(info|off)){0,2}";
        let rotation = (option::of((1000..=u64::MAX / 2).prop_map(ByteCount)), 1..=9999_u32)
            .prop_map(|(size, keep)| Rotation { size, age: None, keep });
        (access, format, level, rotation).prop_map(|(access, format, level, rotation)| LogConfig {
            access,
            format,
            level,
            rotation,
            ..Config::default().log
        })
    }

    fn limits() -> impl Strategy<Value = Limits> {
        let request_head = (8192..=16_000_000_u64).prop_map(ByteCount);
        (1..=1_000_000_usize, request_head, option::of(size())).prop_map(
            |(connections, request_head, request_body)| Limits {
                connections,
                request_head,
                request_body,
                connections_per_client: Some(connections),
                ..Config::default().limits
            },
        )
    }

    fn timeouts() -> impl Strategy<Value = Timeouts> {
        (time(), time(), time(), time(), time(), time(), time()).prop_map(
            |(connect, request_head, idle, tunnel_idle, stale, drain, keep_alive)| Timeouts {
                resume: idle,
                upgrade: idle,
                upgrade_start: idle,
                connect,
                request_head,
                client: idle,
                idle,
                tunnel_idle,
                stale,
                drain,
                keep_alive,
            },
        )
    }

    fn name() -> impl Strategy<Value = String> {
        "[a-z0-9]([a-z0-9-]{0,8}[a-z])?(\\.[a-z]{2,5}){1,2}"
    }

    fn hosts() -> impl Strategy<Value = HostPattern> {
        prop_oneof![
            Just(HostPattern::Local),
            network().prop_map(HostPattern::Network),
            name().prop_map(HostPattern::Below),
        ]
    }

    fn parent() -> impl Strategy<Value = Option<Parent>> {
        let credentials = option::of(("[^:\\p{C}]{1,8}", "\\PC{0,8}"));
        let scheme = prop_oneof![Just(ParentScheme::Http), Just(ParentScheme::Socks5)];
        option::of((scheme, credentials, name(), 1..=u16::MAX).prop_map(
            |(scheme, credentials, host, port)| {
                let credentials = credentials.map(|(user, password)| Credentials { user, password });
                Parent { scheme, credentials, host, port }
            },
        ))
    }

    fn parents() -> impl Strategy<Value = Parents> {
        let rule = (hosts(), parent()).prop_map(|(host, parent)| ParentRule { host, parent });
        (parent(), vec(rule, 0..3), vec(hosts(), 0..3), any::<bool>())
            .prop_map(|(parent, rules, except, fallback)| Parents { parent, rules, except, fallback })
    }

    fn dns() -> impl Strategy<Value = Dns> {
        let entry = (name(), vec(any::<IpAddr>(), 1..3))
            .prop_map(|(name, addresses)| HostEntry { host: HostPattern::Exactly(name), addresses });
        let server = (any::<IpAddr>(), 1..=u16::MAX).prop_map(SocketAddr::from);
        (vec(server, 0..3), vec(entry, 0..3), time(), time())
            .prop_map(|(servers, hosts, stale, timeout)| Dns { servers, hosts, stale, timeout })
    }

    fn any_config() -> impl Strategy<Value = Config> {
        let listen = vec(any::<(IpAddr, u16)>().prop_map(SocketAddr::from), 1..3);
        let destinations = (vec(destination(), 0..3), vec(1..=u16::MAX, 0..3))
            .prop_map(|(allow, connect_ports)| Destinations { allow, connect_ports });
        let control = prop_oneof![Just(Control::Auto), Just(Control::Off), path().prop_map(Control::Path)];
        let link = (link(), vec(rule(), 0..3), vec(client_weight(), 0..3));
        let tls = (vec(path(), 0..3), option::of(path()), option::of(path()))
            .prop_map(|(roots, certificate, key)| TlsConfig { roots, certificate, key });
        let ways = (parents(), dns(), destinations, tls);
        (listen, cache(), link, ways, log(), admission(), limits(), timeouts(), control).prop_map(
            |(
                listen,
                cache,
                link,
                (parents, dns, destinations, tls),
                log,
                admission,
                limits,
                timeouts,
                control,
            )| Config {
                listen,
                cache,
                parents,
                dns,
                link: LinkConfig { rules: link.1, weights: link.2, ..link.0 },
                destinations,
                tls,
                log,
                admission,
                limits,
                timeouts,
                control,
                ..Config::default()
            },
        )
    }

    proptest! {
        #[test]
        fn what_a_row_prints_it_reads_back(config in any_config()) {
            let mut again = Config::default();
            for row in OPTIONS {
                let values = (row.get)(&config);
                let values: Vec<_> = values.iter().map(String::as_str).collect();
                prop_assert_eq!((row.set)(&mut again, &values), Ok(()));
            }
            prop_assert_eq!(again, config);
        }

        #[test]
        fn what_is_shown_is_a_file_that_says_the_same(mut config in any_config()) {
            // Secrets are masked, so they are what is not said.
            config.admission.users.clear();
            config.admission.tokens.clear();
            let parents = config.parents.rules.iter_mut().map(|rule| &mut rule.parent);
            for parent in parents.chain([&mut config.parents.parent]).flatten() {
                parent.credentials = None;
            }
            let sources = loaded(&[]).sources;
            let shown = show(&Loaded { sources, ..Loaded::of(config.clone()) });
            prop_assert_eq!(shown.lines().count(), OPTIONS.len());
            prop_assert_eq!(read_back(&shown), config);
        }
    }
}
