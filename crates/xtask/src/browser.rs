//! `cargo xtask browser`: the fixture site in a real browser, direct, through an empty and through a filled
//! cache behind a thin link, and whether the three look the same and took the time they should. With `--https` over HTTPS that
//! bentpipe opens, its authority trusted by the browser's own store, and once more with the origin stopped.
//!
//! It needs Chromium, and for `--https` NSS's certutil. Pictures are compared as files: the same pixels make the same PNG in the same browser.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::Value;
use testkit::Site;
use testkit::tls::Tls;

use crate::chromium;
use crate::program::{Program, build_bentpipe, site_folder};

/// The site's name where it needs one.
const NAME: &str = "site.test";

/// How long a page may take in the browser.
const PATIENCE: Duration = Duration::from_secs(120);

/// The link and the browser.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The browser's command.
    #[arg(long, default_value = "chromium")]
    browser: String,
    /// Rate of the link, both directions, in kbit/s.
    #[arg(long, default_value_t = 512)]
    kilobits: u32,
    /// Round trip time of the link in milliseconds.
    #[arg(long, default_value_t = 600)]
    rtt: u32,
    /// The site is an https one, opened by bentpipe's own authority.
    #[arg(long)]
    https: bool,
    /// Keep the screenshots in this folder.
    #[arg(long)]
    keep: Option<PathBuf>,
}

/// What one visit of the page gave.
#[derive(Debug, Default)]
struct Visit {
    load: Duration,
    images: u64,
    fonts: u64,
    picture: Vec<u8>,
    origin_requests: usize,
    origin_bytes: u64,
    requests: usize,
    hits: usize,
    link_down: u64,
    others: usize,
}

/// The places of one run.
struct Scene<'a> {
    options: &'a Options,
    site: Site,
    /// The site's URL as the browser is told it.
    url: String,
    folder: &'a Path,
    log: PathBuf,
    log_read: usize,
}

/// Visits three times, prints the table and judges it.
///
/// # Errors
/// When a program cannot be started, a page does not load, or an expectation does not hold.
pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    let binary = build_bentpipe()?;
    let folder = tempfile::tempdir()?;
    let log = folder.path().join("access.log");
    let link = format!("{}k,rtt={}ms", options.kilobits, options.rtt);
    let log_text = log.to_string_lossy().into_owned();
    let mut arguments: Vec<String> =
        ["--link", &link, "--access-log", &log_text, "--set", "log.format=json"].map(str::to_owned).into();
    let site = match options.https {
        true => Site::start_tls(&site_folder(), &Tls::new().for_names(&[NAME])).await?,
        false => Site::start(&site_folder()).await?,
    };
    let mut url = site.url("/");
    if options.https {
        url = format!("https://{NAME}:{}/", site.address().port());
        arguments.extend(trusted(&binary, folder.path(), &site)?);
    }
    // What the browser asks on its own account stays here: not even a name of it is looked up.
    for host in ["127.0.0.1", NAME] {
        arguments.extend(["--allow".to_owned(), format!("host={host}")]);
    }
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let proxy = Program::bentpipe(&binary, &folder.path().join("cache"), &arguments).await?;
    let mut scene = Scene { options, site, url, folder: folder.path(), log, log_read: 0 };
    let through = proxy.address().to_string();
    let direct = scene.visit("direct", None).await?;
    let cold = scene.visit("cold", Some(&through)).await?;
    let warm = scene.visit("warm", Some(&through)).await?;
    scene.site.stop().await;
    let offline = scene.visit("offline", Some(&through)).await?;
    println!("\nlink {link}, {} resources\n", scene.site.paths().len());
    let head = ["visit", "load ms", "requests", "hits", "link bytes", "origin req", "origin bytes"];
    println!(
        "{:<8} {:>8} {:>9} {:>6} {:>11} {:>11} {:>13}",
        head[0], head[1], head[2], head[3], head[4], head[5], head[6]
    );
    for (name, visit) in [("direct", &direct), ("cold", &cold), ("warm", &warm), ("offline", &offline)] {
        println!(
            "{name:<8} {:>8} {:>9} {:>6} {:>11} {:>11} {:>13}",
            visit.load.as_millis(),
            visit.requests,
            visit.hits,
            visit.link_down,
            visit.origin_requests,
            visit.origin_bytes,
        );
    }
    let others = cold.others + warm.others;
    if others > 0 {
        println!("({others} requests of the browser's own are not counted)");
    }
    let mut faults = judge(&direct, &cold, &warm, options);
    if offline.hits < warm.hits {
        faults.push(format!(
            "offline: only {} hits of {}, with the origin stopped",
            offline.hits, offline.requests
        ));
    }
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    println!(
        "\nall expectations hold: same picture three times, cold as the link allows, warm at least 10 times faster"
    );
    Ok(())
}

/// What does not hold.
fn judge(direct: &Visit, cold: &Visit, warm: &Visit, options: &Options) -> Vec<String> {
    let mut faults = Vec::new();
    let mut expect = |holds: bool, what: String| {
        if !holds {
            faults.push(what);
        }
    };
    for (name, visit) in [("cold", cold), ("warm", warm)] {
        expect(visit.picture == direct.picture, format!("{name}: the picture differs from the direct one"));
        let shown = (visit.images, visit.fonts);
        expect(
            shown == (direct.images, direct.fonts),
            format!("{name}: {shown:?} images and fonts were shown"),
        );
        expect(visit.requests > 0, format!("{name}: the access log names no request for the site"));
    }
    expect(direct.images > 30 && direct.fonts > 0, "direct: the page did not load whole".to_owned());
    // bits / (kbit/s) is milliseconds. The page needs its bytes and, one behind the other, at least the
    // connection, the document and what the document names.
    let bytes = Duration::from_millis(cold.link_down * 8 / u64::from(options.kilobits.max(1)));
    let round_trips = Duration::from_millis(u64::from(options.rtt));
    // What is fetched after the load event crosses the link too but is not in the load time.
    let least = bytes.mul_f64(0.95);
    let most = bytes * 3 / 2 + round_trips * 12;
    let range = format!("cold: loaded in {:?}, the link allows {least:?} to {most:?}", cold.load);
    expect(cold.load >= least && cold.load <= most, range);
    let faster = format!("warm: {:?} is not 10 times faster than {:?}", warm.load, cold.load);
    expect(warm.load * 10 <= cold.load, faster);
    expect(
        warm.hits >= warm.requests.saturating_sub(2),
        format!("warm: only {} hits of {}", warm.hits, warm.requests),
    );
    faults
}

impl Scene<'_> {
    /// One visit with a browser profile of its own.
    async fn visit(&mut self, name: &str, proxy: Option<&str>) -> anyhow::Result<Visit> {
        println!("{name} ...");
        let before = (self.site.requests().len(), self.site.traffic());
        let picture = self.folder.join(format!("{name}.png"));
        let dom = self.browse(name, proxy, &picture).await?;
        // The log and the last request, which the page makes after loading, may lag behind the browser.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let attribute = |marker: &str| number_after(&dom, marker);
        let mut visit = Visit {
            load: Duration::from_millis(
                attribute("load-ms\" content=\"").context("the page did not finish loading")?,
            ),
            images: attribute("data-images=\"").unwrap_or(0),
            fonts: attribute("data-fonts=\"").unwrap_or(0),
            picture: fs::read(&picture).context("the browser made no screenshot")?,
            origin_requests: self.site.requests().len() - before.0,
            origin_bytes: self.site.traffic().written - before.1.written,
            ..Visit::default()
        };
        self.read_log(&mut visit)?;
        if let Some(keep) = &self.options.keep {
            fs::create_dir_all(keep)?;
            fs::copy(&picture, keep.join(format!("{name}.png")))?;
        }
        Ok(visit)
    }

    /// Runs the browser to its end and gives the document as it was after loading.
    async fn browse(&self, name: &str, proxy: Option<&str>, picture: &Path) -> anyhow::Result<String> {
        let dom = self.folder.join(format!("{name}.html"));
        let mut command = Command::new(&self.options.browser);
        command.args(chromium::arguments(&self.folder.join(format!("{name}-profile"))));
        command.args(["--window-size=1000,1200", "--dump-dom"]);
        command.arg(format!("--screenshot={}", picture.display()));
        match proxy {
            // Without the bypass rule Chromium never asks a proxy for loopback addresses.
            Some(proxy) => command
                .args([format!("--proxy-server=http://{proxy}"), "--proxy-bypass-list=<-loopback>".into()]),
            None => command.arg("--no-proxy-server"),
        };
        if self.options.https {
            // The browser's own store of certificates is in its user's home.
            command.env("HOME", self.folder);
            command.arg(format!("--host-resolver-rules=MAP {NAME} 127.0.0.1"));
        }
        command.arg(&self.url).stdout(fs::File::create(&dom)?).stderr(Stdio::null());
        let mut child =
            command.spawn().with_context(|| format!("{} could not be started", self.options.browser))?;
        let start = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if start.elapsed() > PATIENCE {
                child.kill()?;
                child.wait()?;
                bail!("{name}: the browser did not end within {PATIENCE:?}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        ensure!(status.success(), "{name}: the browser ended with {status}");
        Ok(fs::read_to_string(&dom)?)
    }

    /// Adds what the access log says since the last visit.
    fn read_log(&mut self, visit: &mut Visit) -> anyhow::Result<()> {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let site = &self.url;
        for line in text.lines().skip(self.log_read) {
            let line: Value = serde_json::from_str(line).with_context(|| format!("access log: {line}"))?;
            if !line["url"].as_str().is_some_and(|url| url.starts_with(site.as_str())) {
                visit.others += 1;
                continue;
            }
            visit.requests += 1;
            visit.link_down += line["link_down"].as_u64().unwrap_or(0);
            let status = line["cache_status"].as_str().unwrap_or_default();
            visit.hits += usize::from(status.contains("hit"));
        }
        self.log_read = text.lines().count();
        Ok(())
    }
}

/// Makes an authority for the site's name and has the browser trust it, and the site's own for the direct visit. Returns
/// what bentpipe is to be told.
fn trusted(binary: &Path, folder: &Path, site: &Site) -> anyhow::Result<Vec<String>> {
    let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let (authority, roots) = (path("ca"), path("roots.pem"));
    fs::write(&roots, site.root_pem())?;
    let intercept = ["--ca-dir", &authority, "--intercept", NAME];
    let run = |program: &Path, arguments: &[&str]| -> anyhow::Result<Vec<u8>> {
        let output = Command::new(program).args(arguments).output();
        let output = output.with_context(|| format!("{} could not be started", program.display()))?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{} {arguments:?}: {said}", program.display());
        Ok(output.stdout)
    };
    run(binary, &[&intercept[..], &["ca", "init"]].concat())?;
    fs::write(path("ca.pem"), run(binary, &[&intercept[..], &["ca", "export"]].concat())?)?;
    fs::create_dir_all(folder.join(".pki/nssdb"))?;
    let (certutil, store) = (Path::new("certutil"), format!("sql:{}", path(".pki/nssdb")));
    run(certutil, &["-d", &store, "-N", "--empty-password"])?;
    for (name, file) in [("site", &roots), ("bentpipe", &path("ca.pem"))] {
        run(certutil, &["-d", &store, "-A", "-t", "C,,", "-n", name, "-i", file])?;
    }
    let names = format!("dns.hosts={NAME}=127.0.0.1");
    let ports = format!("destinations.connect_ports={}", site.address().port());
    let further = ["--tls-roots", &roots, "--set", &names, "--set", &ports];
    Ok(intercept.iter().chain(&further).map(|&argument| argument.to_owned()).collect())
}

/// The number that stands behind the first `marker`.
fn number_after(text: &str, marker: &str) -> Option<u64> {
    let (_, rest) = text.split_once(marker)?;
    let end = rest.find(|char: char| !char.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_from_a_document() {
        let dom = r#"<meta name="load-ms" content="8123" data-images="37">"#;
        assert_eq!(number_after(dom, "load-ms\" content=\""), Some(8123));
        assert_eq!(number_after(dom, "data-fonts=\""), None);
    }
}
