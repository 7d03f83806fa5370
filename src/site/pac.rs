//! The proxy auto-configuration script, `/proxy.pac` and `/wpad.dat`: a function of JavaScript that a browser asks for
//! each URL.
//!
//! It looks no name up: `isInNet`, `dnsResolve` and their like would make every page wait for the link. So a network is
//! compared with addresses that stand in the URL itself, and names are compared as text.

use std::fmt::Write as _;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::config::HostPattern;

/// Networks that the proxy refuses to reach unless it is told otherwise, and browsers reach by themselves.
const LOCAL_NETWORKS: [&str; 10] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "::/127",
    "fc00::/7",
    "fe80::/10",
];

/// What comes before the lists: how the host of a URL is read.
const READING: &str = r#"// How bentpipe wants to be used. It compares texts and numbers only; no name is looked up.

// The eight (IPv6) or two (IPv4) 16-bit parts of an address, or null for a name.
function parts(host) {
  var four = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(host);
  if (four) return [four[1] * 256 + +four[2], four[3] * 256 + +four[4]];
  if (host.indexOf(":") < 0) return null;
  var tail = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(host);
  if (tail) {
    var last = parts(tail[2]);
    if (!last) return null;
    host = tail[1] + last[0].toString(16) + ":" + last[1].toString(16);
  }
  var halves = host.split("::");
  var front = halves[0] ? halves[0].split(":") : [];
  var back = halves.length > 1 && halves[1] ? halves[1].split(":") : [];
  var all = [], i;
  for (i = 0; i < front.length; i++) all.push(parseInt(front[i], 16));
  for (i = front.length + back.length; i < 8 && halves.length > 1; i++) all.push(0);
  for (i = 0; i < back.length; i++) all.push(parseInt(back[i], 16));
  if (all.length != 8) return null;
  // An IPv4 address inside an IPv6 one counts as itself.
  var mapped = all[5] == 65535;
  for (i = 0; i < 5; i++) mapped = mapped && all[i] == 0;
  return mapped ? [all[6], all[7]] : all;
}

// Whether the first `bits` of an address are those of a network.
function within(address, network, bits) {
  if (address.length != network.length) return false;
  for (var i = 0; bits > 0; i++, bits -= 16) {
    var unit = bits >= 16 ? 1 : Math.pow(2, 16 - bits);
    if (Math.floor(address[i] / unit) != Math.floor(network[i] / unit)) return false;
  }
  return true;
}

"#;

/// What comes behind them.
const DECIDING: &str = r#"
function FindProxyForURL(url, host) {
  host = host.toLowerCase().replace(/^\[|\]$/g, "").replace(/%.*$/, "").replace(/\.$/, "");
  // The pages of the proxy itself.
  if (host == "bentpipe.local") return proxy;
  var address = parts(host), i;
  if (address) {
    for (i = 0; i < networks.length; i++) {
      if (within(address, networks[i][0], networks[i][1])) return "DIRECT";
    }
    return proxy;
  }
  // A name without a dot is one of the local network.
  if (host.indexOf(".") < 0) return "DIRECT";
  for (i = 0; i < names.length; i++) {
    if (host == names[i]) return "DIRECT";
  }
  for (i = 0; i < domains.length; i++) {
    if (shExpMatch(host, "*." + domains[i])) return "DIRECT";
  }
  return proxy;
}
"#;

/// The script that names `proxy` (`192.0.2.1:3128`) for all but what is local and what `direct` lists.
pub(super) fn script(proxy: &str, direct: &[HostPattern]) -> String {
    let local = LOCAL_NETWORKS.iter().filter_map(|text| text.parse().ok());
    let mut networks: Vec<IpNet> = local.collect();
    let (mut names, mut domains) = (vec!["localhost"], vec!["localhost", "local"]);
    for rule in direct {
        match rule {
            HostPattern::Network(net) => networks.push(*net),
            HostPattern::Exactly(name) => names.push(name),
            HostPattern::Below(name) => domains.push(name),
            // The option takes none of these.
            HostPattern::All | HostPattern::Local | HostPattern::Like(_) => {}
        }
    }
    let mut script = READING.to_owned();
    let _ = writeln!(script, "var proxy = {};", text(&format!("PROXY {proxy}")));
    let _ = writeln!(script, "var networks = [\n{}\n];", lines(networks.iter().map(network)));
    let _ = writeln!(
        script,
        "var names = [{}];",
        names.iter().map(|name| text(name)).collect::<Vec<_>>().join(", ")
    );
    let domains: Vec<_> = domains.iter().map(|name| text(name)).collect();
    let _ = writeln!(script, "var domains = [{}];", domains.join(", "));
    script + DECIDING
}

fn lines(items: impl Iterator<Item = String>) -> String {
    items.map(|item| format!("  {item}")).collect::<Vec<_>>().join(",\n")
}

/// The 16-bit parts of a network's address, and its bits.
fn network(net: &IpNet) -> String {
    let parts: Vec<String> = match net.addr() {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            [[a, b], [c, d]].iter().map(|pair| u16::from_be_bytes(*pair).to_string()).collect()
        }
        IpAddr::V6(address) => address.segments().iter().map(ToString::to_string).collect(),
    };
    format!("[[{}], {}]", parts.join(", "), net.prefix_len())
}

/// A string of JavaScript. Nothing but letters, digits and the marks of names and addresses is left as it is.
fn text(content: &str) -> String {
    let mut text = "\"".to_owned();
    for character in content.chars() {
        if character.is_ascii_alphanumeric() || " .-_:[]".contains(character) {
            text.push(character);
        } else {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                let _ = write!(text, "\\u{unit:04x}");
            }
        }
    }
    text + "\""
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::*;

    const PROXY: &str = "PROXY 192.0.2.1:3128";

    fn direct(rules: &str) -> Vec<HostPattern> {
        crate::Config::from_flags(["--set", &format!("pac.direct={rules}")]).expect("rules").pac_direct
    }

    /// What the script says of each host, in a JavaScript engine with the one helper of PAC that the script uses; none
    /// where there is no engine.
    fn run(script: &str, hosts: &[&str]) -> Option<Vec<String>> {
        let helper = "function shExpMatch(s, p) { return new RegExp('^' + p.replace(/[.]/g, '\\\\.')\
                      .replace(/[*]/g, '.*').replace(/[?]/g, '.') + '$').test(s); }";
        let asked = serde_json::to_string(hosts).expect("JSON");
        let ask = format!("{asked}.forEach(h => console.log(FindProxyForURL('https://' + h + '/', h)));");
        let mut node =
            match Command::new("node").arg("-").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn() {
                Ok(node) => node,
                Err(error) => {
                    eprintln!("SKIPPED: the PAC script was not run: node: {error}");
                    return None;
                }
            };
        let mut input = node.stdin.take().expect("its input");
        write!(input, "'use strict';\n{script}\n{helper}\n{ask}").expect("a script");
        drop(input);
        let output = node.wait_with_output().expect("an end");
        assert!(output.status.success(), "the script failed");
        Some(String::from_utf8(output.stdout).expect("text").lines().map(str::to_owned).collect())
    }

    fn check(rules: &str, expected: &[(&str, &str)]) {
        let hosts: Vec<_> = expected.iter().map(|(host, _)| *host).collect();
        let Some(said) = run(&script("192.0.2.1:3128", &direct(rules)), &hosts) else { return };
        let said: Vec<_> = hosts.iter().copied().zip(said.iter().map(String::as_str)).collect();
        assert_eq!(said, expected, "{rules}");
    }

    #[test]
    fn local_hosts_are_reached_directly_and_all_others_through_the_proxy() {
        check(
            "",
            &[
                ("example.org", PROXY),
                ("www.Example.ORG.", PROXY),
                ("intranet", "DIRECT"),
                ("localhost", "DIRECT"),
                ("a.localhost", "DIRECT"),
                ("printer.local", "DIRECT"),
                ("printer.local.", "DIRECT"),
                ("bentpipe.local", PROXY),
                ("Bentpipe.Local.", PROXY),
                ("notlocal", "DIRECT"),
                ("not.localx", PROXY),
                ("10.example.org", PROXY),
            ],
        );
    }

    #[test]
    fn addresses_are_compared_as_numbers() {
        check(
            "",
            &[
                ("127.0.0.1", "DIRECT"),
                ("10.255.0.1", "DIRECT"),
                ("11.0.0.1", PROXY),
                ("172.15.255.255", PROXY),
                ("172.16.0.0", "DIRECT"),
                ("172.31.255.255", "DIRECT"),
                ("172.32.0.0", PROXY),
                ("192.168.1.1", "DIRECT"),
                ("169.254.169.254", "DIRECT"),
                ("100.127.255.255", "DIRECT"),
                ("100.128.0.0", PROXY),
                ("93.184.216.34", PROXY),
                ("::1", "DIRECT"),
                ("[::1]", "DIRECT"),
                ("::2", PROXY),
                ("fe80::1%25eth0", "DIRECT"),
                ("fd00:1:2:3:4:5:6:7", "DIRECT"),
                ("[2001:db8::1]", PROXY),
                ("::ffff:10.0.0.1", "DIRECT"),
                ("::ffff:5db8:d822", PROXY),
            ],
        );
    }

    #[test]
    fn what_the_operator_lists_is_reached_directly_too() {
        check(
            "*.school.example,one.example,203.0.113.0/25,2001:db8:5::/48",
            &[
                ("www.school.example", "DIRECT"),
                ("school.example", PROXY),
                ("notschool.example", PROXY),
                ("one.example", "DIRECT"),
                ("www.one.example", PROXY),
                ("203.0.113.127", "DIRECT"),
                ("203.0.113.128", PROXY),
                ("2001:db8:5:1::9", "DIRECT"),
                ("2001:db8:6::9", PROXY),
            ],
        );
    }

    #[test]
    fn the_script_reads_well() {
        insta::assert_snapshot!(script(
            "192.0.2.1:3128",
            &direct("*.school.example,one.example,203.0.113.0/25")
        ));
    }

    #[test]
    fn nothing_gets_out_of_a_string() {
        assert_eq!(
            text("a\"\\</script>\n\u{2028}"),
            "\"a\\u0022\\u005c\\u003c\\u002fscript\\u003e\\u000a\\u2028\""
        );
        assert_eq!(text("PROXY [2001:db8::1]:3128"), "\"PROXY [2001:db8::1]:3128\"");
    }
}
