//! What packages install: the unit starts what there is, its folders are those of the packaged configuration, which is safe
//! and complete as it stands, and completions and manual pages are made by the program itself.

use std::fs;
use std::path::{Path, PathBuf};

use crate::commands::Home;

const UNIT: &str = "docs/package/systemd/bentpipe.service";
const CONFIGURATION: &str = "docs/package/bentpipe.toml";

fn in_tree(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(in_tree(path)).expect(path)
}

/// The values of a directive of the unit.
fn directive(unit: &str, name: &str) -> Vec<String> {
    let lines = unit.lines().filter_map(|line| line.split_once('='));
    lines.filter(|(known, _)| *known == name).map(|(_, value)| value.to_owned()).collect()
}

#[test]
fn the_unit_starts_commands_and_flags_that_exist() {
    let (home, unit) = (Home::new(), read(UNIT));
    let help = home.run(&["--help"]);
    let words: Vec<_> = help.split_whitespace().collect();
    let started = directive(&unit, "ExecStart");
    assert_eq!(started.len(), 1);
    let mut line = started[0].split(' ');
    assert_eq!(line.next(), Some("/usr/bin/bentpipe"));
    for word in line {
        assert!(words.contains(&word.split('=').next().expect("a word")), "{word} is not in bentpipe --help");
    }
    assert_eq!(directive(&unit, "ExecReload"), [r#"/bin/sh -c "kill -HUP ${MAINPID}""#]);
}

#[test]
fn the_packaged_configuration_is_read_without_a_warning() {
    let (home, file) = (Home::new(), in_tree(CONFIGURATION));
    let file = file.to_str().expect("text");
    let check = |file: &str| {
        let output = home.command(&["--config", file, "config", "check"]).output().expect("a run");
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(said, format!("ok ({file})\n"));
    };
    check(file);
    // What it merely suggests must be right, too.
    let text = read(CONFIGURATION);
    let suggested = text.lines().map(|line| {
        let is_option = line.strip_prefix('#').is_some_and(|rest| rest.starts_with(char::is_alphabetic));
        if is_option { format!("{}\n", &line[1..]) } else { format!("{line}\n") }
    });
    let suggested: String = suggested.collect();
    assert!(suggested.contains("\nspec = ") && suggested.contains("\nusers_file = "), "{suggested}");
    let path = home.folder("suggested.toml");
    fs::write(&path, suggested).expect("a file");
    // Its files are those of a machine on which it is installed, so nothing is opened here.
    let output = home.command(&["--config", &path, "config", "show"]).output().expect("a run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_packaged_configuration_serves_this_machine_from_the_units_folders() {
    let (home, unit) = (Home::new(), read(UNIT));
    let file = in_tree(CONFIGURATION);
    let shown = home.run(&["--config", file.to_str().expect("text"), "config", "show", "--json"]);
    let shown: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
    let value = |key: &str| shown[key]["value"].clone();
    assert_eq!(value("listen"), serde_json::json!(["127.0.0.1:3128"]));
    assert_eq!(value("log.access"), "off");
    for (key, directory, above) in [
        ("cache.dir", "CacheDirectory", "/var/cache"),
        ("ca.dir", "StateDirectory", "/var/lib"),
        ("control.socket", "RuntimeDirectory", "/run"),
    ] {
        let folder = Path::new(above).join(&directive(&unit, directory)[0]);
        let value = value(key);
        assert!(
            Path::new(value.as_str().expect(key)).starts_with(&folder),
            "{key} = {value} is not in {folder:?}"
        );
    }
}

#[test]
fn the_program_makes_completions_and_manual_pages() {
    let home = Home::new();
    for (shell, beginning) in
        [("bash", "_bentpipe()"), ("zsh", "#compdef bentpipe"), ("fish", "# Print an optspec")]
    {
        let script = home.run(&["completions", shell]);
        assert!(script.starts_with(beginning), "{shell}: {}", &script[..script.len().min(80)]);
        for word in ["simulate", "doctor", "setup", "cache-size", "intercept-never"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    let folder = home.folder("man1");
    assert_eq!(home.run(&["man", &folder]), "");
    let page = |name: &str| fs::read_to_string(Path::new(&folder).join(name)).expect(name);
    for command in
        ["serve", "link", "cache", "explain", "ca", "doctor", "config", "setup", "completions", "man"]
    {
        assert!(page("bentpipe.1").contains(&format!("bentpipe\\-{command}")), "bentpipe(1): {command}");
        assert!(page(&format!("bentpipe-{command}.1")).starts_with(".ie"), "{command}");
    }
}
