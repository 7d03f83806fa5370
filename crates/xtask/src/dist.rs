//! `cargo xtask dist`: what is given to users. A tarball of the release binary with manual pages, completions, unit and
//! example configuration, and the same as a Debian package, whose description is in the root's Cargo.toml.
//!
//! What stands in the generated files is the program's answer to a command.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use clap::Args;

use crate::program::{build, build_bentpipe, root};

/// The target of the static build: no library of the system, for any Linux.
const STATIC: &str = "x86_64-unknown-linux-musl";

/// What to make.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// A static binary (rustup target add x86_64-unknown-linux-musl; musl-tools) and its tarball alone
    #[arg(long = "static")]
    is_static: bool,
    /// Leave the Debian package out, which needs cargo-deb
    #[arg(long)]
    no_deb: bool,
}

/// Files of the tree that go into the tarball.
const DOCUMENTS: [&str; 5] = [
    "README.md",
    "docs/install.md",
    "docs/package/bentpipe.toml",
    "docs/package/systemd/bentpipe.service",
    "docs/package/socket/bentpipe.socket",
];

/// Builds and packs.
///
/// # Errors
/// When a build or a tool fails.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let binary = match options.is_static {
        true => build(&["--package", "bentpipe", "--bin", "bentpipe", "--target", STATIC])?,
        false => build_bentpipe()?,
    };
    let folder = binary.parent().context("the binary is in no folder")?;
    let package = folder.join("package");
    generate(&binary, &package)?;
    println!("{} ({} bytes)", binary.display(), fs::metadata(&binary)?.len());
    tarball(&binary, &package, folder, options.is_static)?;
    if !options.is_static && !options.no_deb {
        let mut command = Command::new("cargo");
        command.args(["deb", "--no-build", "--package", "bentpipe"]).current_dir(root());
        run_tool(command, "cargo deb (cargo install cargo-deb)")?;
    }
    Ok(())
}

/// Has the program write its manual pages, completions and example configuration into `package`.
fn generate(binary: &Path, package: &Path) -> anyhow::Result<()> {
    if package.exists() {
        // Pages of commands that are no more would be packed as well.
        fs::remove_dir_all(package)?;
    }
    fs::create_dir_all(package)?;
    let mut man = Command::new(binary);
    man.arg("man").arg(package.join("man1"));
    run_tool(man, "bentpipe man")?;
    let pages = fs::read_dir(package.join("man1"))?.map(|page| Ok(page?.path()));
    let mut gzip = Command::new("gzip");
    // Without times, so that the same pages make the same files.
    gzip.args(["--best", "--no-name"]).args(pages.collect::<std::io::Result<Vec<_>>>()?);
    run_tool(gzip, "gzip")?;
    let printed: [(&str, &[&str]); 4] = [
        ("bentpipe.bash", &["completions", "bash"]),
        ("_bentpipe", &["completions", "zsh"]),
        ("bentpipe.fish", &["completions", "fish"]),
        ("example.toml", &["config", "example"]),
    ];
    for (name, arguments) in printed {
        let output = Command::new(binary).args(arguments).output()?;
        ensure!(output.status.success(), "bentpipe {}: {}", arguments.join(" "), output.status);
        fs::write(package.join(name), output.stdout)?;
    }
    Ok(())
}

/// Packs `bentpipe-VERSION-KIND.tar.gz` into `folder`, all in one folder of that name.
fn tarball(binary: &Path, package: &Path, folder: &Path, is_static: bool) -> anyhow::Result<()> {
    let kind = if is_static { "x86_64-linux-static" } else { "x86_64-linux" };
    let name = format!("bentpipe-{}-{kind}", env!("CARGO_PKG_VERSION"));
    let packed = package.join(&name);
    fs::create_dir_all(packed.join("man1"))?;
    fs::copy(binary, packed.join("bentpipe"))?;
    for document in DOCUMENTS {
        copy_into(&root().join(document), &packed)?;
    }
    for printed in ["bentpipe.bash", "_bentpipe", "bentpipe.fish"] {
        copy_into(&package.join(printed), &packed)?;
    }
    for page in fs::read_dir(package.join("man1"))? {
        copy_into(&page?.path(), &packed.join("man1"))?;
    }
    let archive: PathBuf = folder.join(format!("{name}.tar.gz"));
    let mut tar = Command::new("tar");
    tar.args(["--create", "--gzip", "--owner=0", "--group=0", "--numeric-owner", "--sort=name", "--file"]);
    tar.arg(&archive).arg("--directory").arg(package).arg(&name);
    run_tool(tar, "tar")?;
    fs::remove_dir_all(&packed)?;
    println!("{} ({} bytes)", archive.display(), fs::metadata(&archive)?.len());
    Ok(())
}

fn copy_into(file: &Path, folder: &Path) -> anyhow::Result<()> {
    let name = file.file_name().context("a file without a name")?;
    fs::copy(file, folder.join(name)).with_context(|| file.display().to_string())?;
    Ok(())
}

fn run_tool(mut command: Command, what: &str) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("{what} could not be started"))?;
    ensure!(status.success(), "{what}: {status}");
    Ok(())
}
