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
        "\nQuestion 1 of 5: ",
        "\nQuestion 2 of 5: ",
        "\nQuestion 3 of 5: ",
        "\nQuestion 4 of 5: ",
        "\nQuestion 5 of 5: ",
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
    assert!(!run.said.contains("Question 3"), "a flag has answered it: {}", run.said);
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

#[test]
fn what_is_hardly_meant_is_asked_for_again() {
    let run = run(&setup(false, false, &[]), &[], "7\nmachine\n2\n2M\n512\n512M\n\n\n");
    assert_eq!(run.ended, Ok(()), "{}", run.said);
    for part in ["port 7 alone is hardly meant", "   2 means 2 bit/s; 2M?", "   512 means 512 bytes; 512M?"] {
        assert!(run.said.contains(part), "{part:?} in {}", run.said);
    }
    let lines = run.lines();
    for line in ["listen = [\"127.0.0.1:3128\"]", "spec = \"2M\"", "size = \"512M\""] {
        assert!(lines.contains(&line.to_owned()), "{line} in {lines:?}");
    }
}

#[test]
fn every_file_that_is_replaced_is_named() {
    let start = |files: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        files.iter().for_each(|name| fs::write(folder.path().join(name), "# mine\n").unwrap());
        folder
    };
    let run = run_in(start(&["users"]), &setup(true, false, &["ann"]), &[], "");
    let users = run.folder.path().join("users").display().to_string();
    let refused = format!(
        "{users} is there already; --replace replaces it and keeps the old one; the accounts in users go out of force"
    );
    assert_eq!(run.ended, Err(refused));

    let run = run_in(start(&["users", "bentpipe.toml"]), &setup(false, false, &["ann"]), &[], "\n\n\n\ny\n");
    assert_eq!(run.ended, Ok(()), "{}", run.said);
    let folder = run.folder.path().display();
    let asked = format!("{folder}/bentpipe.toml and {folder}/users are there already. Replace them? ");
    assert!(
        run.said.contains(&asked) && run.said.contains("accounts in users go out of force"),
        "{}",
        run.said
    );
    assert_eq!(fs::read_to_string(run.folder.path().join("users.old")).unwrap(), "# mine\n");
}
