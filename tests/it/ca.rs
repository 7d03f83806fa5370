//! `bentpipe ca ...` as a user types it, and what the authority makes as other programs see it (RFC 5280).

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::commands::Home;

/// The folder of the authority where nobody names another.
fn ca(home: &Home) -> std::path::PathBuf {
    home.path().join(".local/share/bentpipe/ca")
}

/// What openssl says; none, and a word about it, where it is not installed.
fn openssl(arguments: &[&str]) -> Option<Output> {
    match Command::new("openssl").args(arguments).output() {
        Ok(output) => Some(output),
        Err(error) => {
            eprintln!("SKIPPED: certificates were not shown to openssl: {error}");
            None
        }
    }
}

fn text_of(certificate: &Path) -> Option<String> {
    let path = certificate.to_string_lossy();
    let output = openssl(&["x509", "-noout", "-text", "-nameopt", "oneline", "-in", &path])?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).expect("text"))
}

#[test]
fn an_authority_is_made_once_and_its_key_is_private() {
    let home = Home::new();
    let said = home.run(&["ca", "init", "--name", "Clinic Nord"]);
    for part in [
        "made a certificate authority\n\nname         Clinic Nord CA ",
        "\nsigns for    any host\n",
        "/ca/current/ca.key (who has it can read what is opened)\n",
        "tls.intercept.hosts is empty, so this one may sign for any host.",
        "bentpipe ca install\n",
        ":3128/ without it\n",
    ] {
        assert!(said.contains(part), "{part:?} in {said}");
    }
    let mode = |path: &str| fs::metadata(ca(&home).join(path)).expect(path).permissions().mode() & 0o7777;
    assert_eq!([mode(""), mode("current"), mode("current/ca.key")], [0o700, 0o700, 0o600]);
    let before = fs::read(ca(&home).join("current/ca.key")).expect("a key");
    let error = home.fail(&["ca", "init"], 1);
    assert!(
        error.ends_with(
            "there is a certificate authority already; to replace it see bentpipe ca rotate --help"
        )
    );
    assert_eq!(fs::read(ca(&home).join("current/ca.key")).expect("a key"), before);
    let elsewhere = home.folder("elsewhere");
    home.run(&["--ca-dir", &elsewhere, "ca", "init"]);
    assert!(Path::new(&elsewhere).join("current/ca.crt").is_file());
}

/// RFC 5280 §4.2.1.9 (BasicConstraints), §4.2.1.3 (KeyUsage), §4.2.1.10 (NameConstraints), §4.1.2.2 (serial).
#[test]
fn the_certificate_says_what_an_authority_must_as_openssl_reads_it() {
    let home = Home::new();
    home.run(&["--intercept", "*.wiki.example,docs.example", "ca", "init"]);
    let Some(text) = text_of(&ca(&home).join("current/ca.crt")) else { return };
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "Signature Algorithm: ecdsa-with-SHA256",
        "ASN1 OID: prime256v1",
        "X509v3 Basic Constraints: critical CA:TRUE, pathlen:0",
        "X509v3 Key Usage: critical Certificate Sign, CRL Sign",
        "X509v3 Subject Key Identifier:",
        "X509v3 Name Constraints: critical Permitted: DNS:docs.example DNS:wiki.example DNS:bentpipe.local \
         Excluded: IP:0.0.0.0/0.0.0.0 IP:0:0:0:0:0:0:0:0/0:0:0:0:0:0:0:0",
    ] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    let serial =
        text.split("Serial Number: ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a serial");
    assert_eq!(serial.split(':').count(), 20, "{serial}");
}

#[test]
fn every_form_of_export_is_the_same_certificate() {
    let home = Home::new();
    assert!(home.fail(&["ca", "export"], 1).ends_with("make one with bentpipe ca init"));
    home.run(&["ca", "init"]);
    let pem = home.run(&["ca", "export"]);
    assert_eq!(pem, fs::read_to_string(ca(&home).join("current/ca.crt")).expect("a certificate"));
    assert!(!pem.contains("PRIVATE"));
    let [der, profile] = ["ca.der", "ca.mobileconfig"].map(|name| home.folder(name));
    assert_eq!(home.run(&["ca", "export", "--format", "der", "-o", &der]), format!("written into {der}\n"));
    home.run(&["ca", "export", "--format", "mobileconfig", "-o", &profile]);
    let profile = fs::read_to_string(profile).expect("a profile");
    let coded: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    assert!(profile.contains(&format!("<data>{coded}</data>")), "{profile}");
    let Some(output) = openssl(&["x509", "-inform", "DER", "-in", &der]) else { return };
    assert_eq!(String::from_utf8(output.stdout).expect("text"), pem);
    let said = home.run(&["ca", "status", "--json"]);
    let status: Value = serde_json::from_str(&said).expect("JSON");
    let fingerprint = status["certificates"][0]["fingerprint"].as_str().expect("a fingerprint");
    let Some(output) = openssl(&["x509", "-noout", "-fingerprint", "-sha256", "-inform", "DER", "-in", &der])
    else {
        return;
    };
    assert!(String::from_utf8_lossy(&output.stdout).trim().ends_with(fingerprint));
}

#[test]
fn a_rotation_publishes_both_and_then_the_new_one_alone() {
    let home = Home::new();
    assert!(home.fail(&["ca", "rotate"], 1).ends_with("make one with bentpipe ca init"));
    assert!(home.fail(&["ca", "rotate", "--now"], 1).ends_with("make one with bentpipe ca init"));
    home.run(&["ca", "init", "--name", "Ship"]);
    let old = home.run(&["ca", "export"]);
    let said = home.run(&["--intercept", "*.wiki.example", "ca", "rotate"]);
    assert!(said.starts_with("made, and published beside the one in force\n"), "{said}");
    assert!(said.contains("signs for    wiki.example, bentpipe.local and what is below\n"), "{said}");
    assert!(home.fail(&["ca", "rotate"], 1).contains("bentpipe ca rotate --now puts it in force"));
    assert_eq!(home.run(&["ca", "export"]), old);
    let next = home.run(&["ca", "export", "--next"]);
    assert_eq!(
        home.run(&["ca", "export", "--format", "mobileconfig"]).matches("com.apple.security.root").count(),
        2
    );
    assert!(home.run(&["ca", "status"]).contains("to follow with bentpipe ca rotate --now:\n"));
    home.run(&["ca", "rotate", "--now"]);
    assert_eq!(home.run(&["ca", "export"]), next);
    assert!(home.fail(&["ca", "export", "--next"], 1).contains("none is to follow"));
    assert!(!ca(&home).join("previous/ca.key").exists());
    // What the new one was not made for is told.
    let status = home.run(&["--intercept", "*.wiki.example,other.example", "ca", "status"]);
    assert!(status.contains("\nnot covered  other.example of tls.intercept.hosts;"), "{status}");
    assert!(!status.contains("not covered  *.wiki.example"), "{status}");
    // At once, without a step between.
    let before = home.run(&["ca", "export"]);
    let said = home.run(&["ca", "rotate", "--now"]);
    assert!(
        said.contains("name         Ship CA ")
            && said.contains("signs for    wiki.example, bentpipe.local and"),
        "{said}"
    );
    let after = home.run(&["ca", "export"]);
    assert_ne!(after, before);
}

#[test]
fn status_says_where_it_is_trusted_and_what_is_wrong() {
    let home = Home::new();
    assert!(home.fail(&["ca", "status"], 1).ends_with("make one with bentpipe ca init"));
    home.run(&["ca", "init"]);
    let status = home.run(&["ca", "status"]);
    for part in [
        "name         bentpipe CA ",
        "\nleft         3649 days\n",
        "\ntrusted by\n",
        "\nproxy        no bentpipe of yours is running",
    ] {
        assert!(status.contains(part), "{part:?} in {status}");
    }
    let key = ca(&home).join("current/ca.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("a mode");
    let status = home.run(&["ca", "status"]);
    assert!(status.contains("its mode is 0644, so that others can read it: chmod 600 "), "{status}");
    let error = home.fail(&["--intercept", "all", "--listen", "127.0.0.1:0"], 1);
    assert!(error.contains("chmod 600"), "{error}");
    // Where nothing is to be opened, that stops nobody.
    home.serve("cache", &[]).stop();
}

#[test]
fn hosts_to_be_opened_need_an_authority() {
    let home = Home::new();
    let error = home.fail(&["--intercept", "*.wiki.example", "--listen", "127.0.0.1:0"], 1);
    let folder = ca(&home);
    let expected = format!(
        "bentpipe: --intercept: tls.intercept.hosts: names hosts, and there is no certificate authority in {} to open them \
         with: make one with bentpipe ca init",
        folder.display()
    );
    assert_eq!(error, expected);
    home.run(&["--intercept", "*.wiki.example", "ca", "init"]);
    home.serve("cache", &["--intercept", "*.wiki.example"]).stop();
}

#[test]
fn wrong_hosts_are_told_with_their_line() {
    let home = Home::new();
    let file = home.folder("bentpipe.toml");
    let check = |text: &str, expected: &str| {
        fs::write(&file, text).expect("a file");
        assert_eq!(
            home.fail(&["--config", &file, "config", "check"], 2),
            format!("{file}:{expected}"),
            "{text}"
        );
    };
    check(
        "[tls.intercept]\nhosts = ['*.wiki.example', 'https://docs.example/']\n",
        "2: tls.intercept.hosts = \"https://docs.example/\": expected a host such as example.org or *.example.org, or \
         all; did you mean docs.example?",
    );
    check(
        "[tls.intercept]\nhost = 'all'\n",
        "2: \"tls.intercept.host\" is not an option; did you mean tls.intercept.hosts?",
    );
    check(
        "[tls]\nintercept = 'all'\n",
        "2: \"tls.intercept\" is not an option; did you mean tls.intercept.hosts?",
    );
    check(
        "[pac]\ndirect = '10.0.0.1/8'\n",
        "2: pac.direct = \"10.0.0.1/8\": expected no bits beyond the prefix: 10.0.0.0/8 or 10.0.0.1",
    );
    fs::write(&file, "[tls.intercept]\nhosts = 'all'\nnever = ['*.bank.example']\n").expect("a file");
    let shown = home.run(&["--config", &file, "config", "show"]);
    assert!(shown.contains("tls.intercept.hosts") && shown.contains("= [\"all\"] "), "{shown}");
}

/// A machine without stores of its own: what is found of the system's must not be changed by a test.
#[test]
fn what_would_be_done_can_be_seen_first() {
    let home = Home::new();
    assert!(home.fail(&["ca", "install", "--dry-run"], 1).ends_with("make one with bentpipe ca init"));
    home.run(&["ca", "init"]);
    fs::create_dir_all(home.path().join(".pki/nssdb")).expect("a folder");
    fs::write(home.path().join(".pki/nssdb/cert9.db"), "").expect("a database");
    let bin = home.path().join("bin");
    fs::create_dir(&bin).expect("a folder");
    fs::write(bin.join("certutil"), "#!/bin/sh\nexit 1\n").expect("a program");
    fs::set_permissions(bin.join("certutil"), fs::Permissions::from_mode(0o755)).expect("a mode");
    let said = home.command(&["ca", "install", "--dry-run"]).env("PATH", &bin).output().expect("a run");
    let said = String::from_utf8(said.stdout).expect("text");
    let expected = format!(
        "browser ({0}/.pki/nssdb):\n  {0}/bin/certutil -A -d sql:{0}/.pki/nssdb -n 'bentpipe CA ",
        home.path().display()
    );
    assert!(said.contains(&expected) && said.contains(" -t C,, -i "), "{said}");
}
