//! Tests of `setup`: what is asked on a terminal, answered by a text.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use super::*;

/// A folder to write to, and what came of it.
struct Run {
    folder: tempfile::TempDir,
    said: String,
    ended: Result<(), String>,
}

impl Run {
    fn path(&self) -> PathBuf {
        self.folder.path().join("bentpipe.toml")
    }

    fn lines(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path()).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        lines.map(str::to_owned).collect()
    }
}

fn setup(yes: bool, replace: bool, accounts: &[&str]) -> Setup {
    Setup { yes, replace, accounts: accounts.iter().map(|&name| name.to_owned()).collect() }
}

fn run_in(folder: tempfile::TempDir, command: &Setup, flags: &[&str], answers: &str) -> Run {
    let line = ["bentpipe", "config", "check"].iter().chain(flags);
    let matches = crate::cli::command().try_get_matches_from(line).unwrap();
    let draft = Draft::of(&clap::FromArgMatches::from_arg_matches(&matches).unwrap()).unwrap();
    let place = Place::at(&folder.path().join("bentpipe.toml"));
    let mut said = Vec::new();
    let ended = answer(command, draft, &place, &mut answers.as_bytes(), &mut said);
    let ended = ended.map_err(|error| format!("{error:#}"));
    Run { folder, said: String::from_utf8(said).unwrap(), ended }
}

fn run(command: &Setup, flags: &[&str], answers: &str) -> Run {
    run_in(tempfile::tempdir().unwrap(), command, flags, answers)
}

#[test]
fn enter_five_times_is_safe() {
    let run = run(&setup(false, false, &[]), &["--set", "cache.dir=/nonexistent/cache"], "\n\n\n\n\n");
    assert_eq!(run.ended, Ok(()));
    let lines = run.lines();
    assert_eq!(lines[0], "listen = [\"127.0.0.1:3128\"]");
    assert!(lines.contains(&"spec = \"unlimited\"".to_owned()), "{lines:?}");
    assert!(
        !lines.iter().any(|line| line.starts_with("intercept") || line.starts_with("users")),
        "{lines:?}"
    );
    for part in [
        "\n1  ",
        "\n2  ",
        "\n3  ",
        "\n4  ",
        "\n5  ",
        "wrote ",
        "  listen = [",
        "Next:\n  1. bentpipe --config",
    ] {
        assert!(run.said.contains(part), "{part:?} in {}", run.said);
    }
    assert!(!run.said.contains('\u{1b}'), "a dumb terminal");
}

#[test]
fn answers_stand_in_the_file() {
    let run = run(&setup(false, false, &[]), &[], "network\ngeo\n 500M \n*.wikipedia.org\nann, ben\n");
    assert_eq!(run.ended, Ok(()));
    let lines = run.lines().join("\n");
    for part in [
        "listen = [\"0.0.0.0:3128\"]",
        "size = \"500M\"",
        "intercept.hosts = [\"*.wikipedia.org\"]",
        "users_file =",
    ] {
        assert!(lines.contains(part), "{part:?} in {lines}");
    }
    let users = fs::read_to_string(run.folder.path().join("users")).unwrap();
    let names: Vec<_> = users.lines().filter_map(|line| line.split(':').next()).collect();
    assert_eq!(names, ["ann", "ben"]);
    let mode = fs::metadata(run.folder.path().join("users")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(run.said.contains("password of ann: ") && run.said.contains("ca init"), "{}", run.said);
}

#[test]
fn wrong_answers_are_asked_for_again() {
    let run = run(
        &setup(false, false, &[]),
        &["--cache-size", "2G"],
        "everybody\nmachine\nquick\n1M\nno\na b\nnone\n",
    );
    assert_eq!(run.ended, Ok(()), "{}", run.said);
    assert!(run.said.contains("   \"quick\": "), "{}", run.said);
    assert!(run.said.contains("   \"a b\": expected a name"), "{}", run.said);
    assert!(!run.said.contains("\n3  "), "a flag has answered it: {}", run.said);
    assert!(run.lines().contains(&"spec = \"1M\"".to_owned()), "{:?}", run.lines());
}

#[test]
fn answers_that_end_or_never_end_write_nothing() {
    let check = |answers: &str, expected: &str| {
        let run = run(&setup(false, false, &[]), &[], answers);
        assert!(run.ended.as_ref().is_err_and(|error| error.contains(expected)), "{:?}", run.ended);
        assert!(!run.path().exists());
    };
    check("", "the answers ended");
    check("\n\n\n\n", "the answers ended");
    check(&"x".repeat(100_000), "longer than");
}

#[test]
fn a_file_that_is_there_is_kept() {
    let start = || {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("bentpipe.toml"), "# mine\n").unwrap();
        folder
    };
    let mine = |run: &Run, name: &str| fs::read_to_string(run.folder.path().join(name)).ok();

    let run = run_in(start(), &setup(true, false, &[]), &[], "");
    assert!(run.ended.as_ref().is_err_and(|error| error.contains("--replace")), "{:?}", run.ended);
    assert_eq!(mine(&run, "bentpipe.toml").as_deref(), Some("# mine\n"));

    let run = run_in(start(), &setup(false, false, &[]), &[], "\n\n\n\n\n\n");
    assert!(run.said.ends_with("nothing was written\n"), "{}", run.said);
    assert_eq!(mine(&run, "bentpipe.toml").as_deref(), Some("# mine\n"));

    for run in [
        run_in(start(), &setup(true, true, &[]), &[], ""),
        run_in(start(), &setup(false, false, &[]), &[], "\n\n\n\n\nmaybe\nY\n"),
    ] {
        assert_eq!(run.ended, Ok(()), "{}", run.said);
        assert_eq!(mine(&run, "bentpipe.toml.old").as_deref(), Some("# mine\n"));
        assert!(run.lines().contains(&"spec = \"unlimited\"".to_owned()));
        assert_eq!(fs::read_dir(run.folder.path()).unwrap().count(), 2);
    }
}

#[test]
fn a_file_with_secrets_is_its_owners_and_is_not_shown() {
    let run = run(&setup(true, false, &[]), &["--set", "admission.users=ann:sesame"], "");
    assert_eq!(run.ended, Ok(()));
    assert!(!run.said.contains("sesame"), "{}", run.said);
    assert!(run.lines().contains(&"users = [\"ann:sesame\"]".to_owned()), "{:?}", run.lines());
    assert_eq!(fs::metadata(run.path()).unwrap().permissions().mode() & 0o777, 0o600);
}
