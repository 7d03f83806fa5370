//! Tests of `trust`, on machines that are folders, with programs that write down how they are called.

use std::os::unix::fs::PermissionsExt as _;

use tempfile::TempDir;

use super::*;
use crate::ca::{Made, Scope};

/// A machine in a folder, with programs that write down how they are called.
struct Stage {
    folder: TempDir,
    machine: Machine,
}

impl Stage {
    fn new(folders: &[&str], programs: &[&str]) -> Self {
        let folder = TempDir::new().expect("a folder");
        let (root, bin) = (folder.path().join("stage"), folder.path().join("bin"));
        for path in folders.iter().map(|name| root.join(name)).chain([bin.clone()]) {
            fs::create_dir_all(path).expect("a folder");
        }
        for program in programs {
            let path = bin.join(program);
            let log = folder.path().join("calls");
            let script = format!("#!/bin/sh\necho {program} \"$@\" >> '{}'\n", log.display());
            fs::write(&path, script).expect("a program");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
        }
        let home = Some(root.join("home"));
        let machine = Machine { root, home, search: vec![bin], is_administrator: true };
        Self { folder, machine }
    }

    fn database(&self, name: &str) {
        let folder = self.machine.root.join("home").join(name);
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("cert9.db"), "").expect("a database");
    }

    /// A text without the places of this run.
    fn plain(&self, text: &str) -> String {
        text.replace(&self.folder.path().to_string_lossy().into_owned(), "")
    }

    fn stores(&self) -> Vec<String> {
        self.machine.stores().stores.iter().map(|store| self.plain(&store.to_string())).collect()
    }
}

fn certificate(stage: &Stage) -> (RootCertificate, PathBuf) {
    let made = Made::new("Test", &Scope::Any, crate::Clock::manual().now()).expect("an authority");
    let file = stage.folder.path().join("ca.crt");
    fs::write(&file, made.certificate.pem()).expect("a file");
    (made.certificate, file)
}

fn check_system(folder: &str, programs: &[&str], expected: &[&str]) {
    assert_eq!(Stage::new(&[folder], programs).stores(), expected, "{folder} {programs:?}");
}

#[test]
fn the_store_of_each_system_is_known() {
    let debian = "usr/local/share/ca-certificates";
    check_system(
        debian,
        &["update-ca-certificates"],
        &["this system (/stage/usr/local/share/ca-certificates)"],
    );
    let fedora = "etc/pki/ca-trust/source/anchors";
    check_system(fedora, &["update-ca-trust"], &["this system (/stage/etc/pki/ca-trust/source/anchors)"]);
    let suse = "etc/pki/trust/anchors";
    check_system(suse, &["update-ca-certificates"], &["this system (/stage/etc/pki/trust/anchors)"]);
    let arch = "etc/ca-certificates/trust-source/anchors";
    check_system(
        arch,
        &["update-ca-trust"],
        &["this system (/stage/etc/ca-certificates/trust-source/anchors)"],
    );
    check_system(debian, &[], &[]);
    let notes = Stage::new(&[], &[]).machine.stores().notes;
    assert!(notes.len() == 1 && notes[0].starts_with("No trust store of this system"), "{notes:?}");
}

#[test]
fn browsers_have_stores_of_their_own() {
    let stage = Stage::new(&[], &["certutil"]);
    stage.database(".pki/nssdb");
    stage.database(".mozilla/firefox/b.default");
    stage.database(".mozilla/firefox/a.default");
    let expected = [".pki/nssdb", ".mozilla/firefox/a.default", ".mozilla/firefox/b.default"];
    assert_eq!(stage.stores(), expected.map(|name| format!("browser (/stage/home/{name})")));
    let without = Stage::new(&[], &[]);
    without.database(".pki/nssdb");
    let found = without.machine.stores();
    assert!(found.stores.is_empty() && found.notes[1].contains("libnss3-tools"), "{found:?}");
    assert_eq!(Stage::new(&[], &["certutil"]).stores(), [""; 0]);
    assert_eq!(Stage::new(&[], &["certutil", "chromium"]).stores(), ["browser (/stage/home/.pki/nssdb)"]);
}

fn perform(steps: &[Step]) {
    steps.iter().for_each(|step| step.perform().unwrap_or_else(|error| panic!("{step}: {error}")));
}

#[test]
fn a_folder_takes_the_certificate_and_gives_it_back() {
    let stage = Stage::new(&["usr/local/share/ca-certificates"], &["update-ca-certificates"]);
    let (certificate, file) = certificate(&stage);
    let store = stage.machine.stores().stores.remove(0);
    assert!(store.needs_administrator() && !store.holds(&certificate));
    let steps = store.install(&certificate, &file);
    let shown: Vec<_> = steps.iter().map(|step| stage.plain(&step.to_string())).collect();
    let name = format!("bentpipe-{}.crt", certificate.short());
    let copied = format!("install -m 644 /ca.crt /stage/usr/local/share/ca-certificates/{name}");
    assert_eq!(shown, [copied, "/bin/update-ca-certificates".to_owned()]);
    perform(&steps);
    assert!(store.holds(&certificate));
    perform(&store.uninstall(&certificate, &file));
    assert!(!store.holds(&certificate));
    perform(&store.uninstall(&certificate, &file));
    let calls = fs::read_to_string(stage.folder.path().join("calls")).expect("calls");
    assert_eq!(calls, "update-ca-certificates\n".repeat(3));
}

#[test]
fn a_database_is_changed_by_certutil() {
    let stage = Stage::new(&[], &["certutil", "chromium"]);
    let (certificate, file) = certificate(&stage);
    let store = stage.machine.stores().stores.remove(0);
    assert!(!store.needs_administrator() && !store.holds(&certificate));
    perform(&store.install(&certificate, &file));
    perform(&store.uninstall(&certificate, &file));
    let calls = fs::read_to_string(stage.folder.path().join("calls")).expect("calls");
    let (database, name) = ("-d sql:/stage/home/.pki/nssdb", &certificate.name);
    let expected = format!(
        "certutil -N {database} --empty-password\ncertutil -A {database} -n {name} -t C,, -i /ca.crt\n\
         certutil -D {database} -n {name}\n"
    );
    assert_eq!(stage.plain(&calls), expected);
    assert!(stage.machine.root.join("home/.pki/nssdb").is_dir());
}

#[test]
fn steps_are_shown_as_a_shell_takes_them() {
    let step = run(Path::new("/bin/a b"), [os("x"), os(""), os("it's"), os("C,,")]);
    assert_eq!(step.to_string(), "'/bin/a b' x '' 'it'\\''s' C,,");
    let failing = run(Path::new("/bin/sh"), [os("-c"), os("echo no >&2; exit 3")]);
    assert!(failing.perform().expect_err("a failure").to_string().ends_with(": no"));
}
