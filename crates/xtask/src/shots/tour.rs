//! `docs/tour.md`: the main commands, really run by a shell against the demo, with what they said, and the pictures.

use std::fmt::Write as _;

use anyhow::ensure;

use super::demo::{Demo, TOKEN};
use super::pictures;
use crate::program::free_port;

/// Columns of output; what is wider is cut.
const WIDE: usize = 120;
/// The user's home as the page has it: the demo's own is a folder of its own in each run.
const HOME: &str = "/home/ann";

/// One step: a heading, a sentence, what the shell is told, and how many lines of its answer are shown.
struct Step {
    title: &'static str,
    why: &'static str,
    line: String,
    lines: usize,
}

/// Runs the commands and gives the page.
///
/// # Errors
/// When a command says nothing.
pub(super) async fn write(demo: &mut Demo) -> anyhow::Result<String> {
    let mut page = String::from(HEAD);
    // The check broke the lesson off; it goes on where it stopped.
    demo.download(0, 22, demo.url("school", "/lesson-7.mp4"));
    let banner = demo.said()?;
    let banner = banner.split("\n\n20").next().unwrap_or(&banner);
    section(
        &mut page,
        "It starts",
        "All that it does and how to use it, on one screen.",
        &[("bentpipe".to_owned(), cut(demo, banner, 40))],
    );
    for step in looking(demo).into_iter().chain(changing(demo)?) {
        let mut said = Vec::new();
        for line in step.line.lines() {
            println!("  $ {line}");
            let output = demo.shell(line).await?;
            ensure!(!output.contains("error: ") && !output.contains("not found"), "{line} failed:\n{output}");
            if line == UPGRADE {
                demo.upgraded(&output)?;
            }
            said.push((line.to_owned(), cut(demo, &output, step.lines)));
        }
        section(&mut page, step.title, step.why, &said);
    }
    page += "\n## Pictures\n\nTaken in headless Chromium, of the same proxy.\n";
    for picture in &pictures::ALL {
        let _ = write!(page, "\n{}\n\n![{}](pictures/{})\n", picture.what, picture.instead, picture.file);
    }
    Ok(page)
}

const UPGRADE: &str = "bentpipe upgrade";

const HEAD: &str = "# A tour

<!-- Made by `cargo xtask shots`; a change here would be lost. -->

What the main commands say, and what the pages look like. `cargo xtask shots` makes this page: it starts a proxy behind a link
of 2 Mbit/s with a round trip of 600 ms, invents a village (sites whose names end in `.example`, six readers, three big downloads, what is
forbidden and what fails), lets it live for a while, checks the dashboard in headless Chromium, and runs the commands below. All
output is as it came, but for lines that are cut (`…`) and the home of the user, which is written `/home/ann`.
";

fn step(title: &'static str, why: &'static str, line: &str, lines: usize) -> Step {
    Step { title, why, line: line.to_owned(), lines }
}

/// What only looks.
fn looking(demo: &Demo) -> Vec<Step> {
    let url = demo.url("school", "/");
    let forecast = demo.url("clinic", "/forecast.json");
    vec![
        step("The link", "What it is set to, what crossed it, and what waits.", "bentpipe link show", 20),
        step(
            "Who uses it now",
            "On a terminal `bentpipe top` stays and is refreshed; here it looks once.",
            "bentpipe top --once",
            24,
        ),
        step(
            "Exchanges as they end",
            "For six seconds; without `timeout` until Ctrl-C.",
            "timeout -s INT 6 bentpipe tail",
            24,
        ),
        step("What is stored", "Also by host, age, size and type.", "bentpipe cache ls --type text/html", 12),
        step("And how much of it", "The cache at a glance.", "bentpipe cache stats", 20),
        step(
            "Why",
            "What would be done for a URL now, and each question on the way with its section of the RFC.",
            &format!("bentpipe explain {url}"),
            40,
        ),
        step(
            "What happens when the origin is ill",
            "The forecast is past its time, and the site answers 503: the stored one is served.",
            &format!("curl -s -o /dev/null -D - -x {} {forecast}", demo.proxy()),
            20,
        ),
        step(
            "Figures for Prometheus",
            "A few of them; `docs/metrics.md` has all.",
            "bentpipe metrics | grep -E '^bentpipe_(link|requests|cache_)' | grep -v _bucket",
            24,
        ),
        step(
            "What is wrong?",
            "The machine and the proxy, with what to do.",
            &format!("bentpipe doctor {url}"),
            30,
        ),
    ]
}

/// What changes something, or is a process of its own. The upgrade comes last: the figures begin anew with it.
fn changing(demo: &Demo) -> anyhow::Result<Vec<Step>> {
    let (forward, origin) = (free_port()?.port(), demo.origin());
    Ok(vec![
        step(
            "Changed while it runs",
            "Checked, then in force at once.",
            "bentpipe config set link.spec=3M,rtt=600ms cache.size=20G",
            20,
        ),
        step(
            "The configuration read again",
            "A mistake changes nothing, and is told with its line.",
            "sed -i s/^price/prise/ .config/bentpipe/bentpipe.toml\nbentpipe reload\nsed -i 's,^prise.*,price = \"9 EUR/GB\",' .config/bentpipe/bentpipe.toml\nbentpipe reload",
            20,
        ),
        step(
            "Byte for byte",
            "Everything that one client says for five seconds, and the beginning of its dump.",
            "bentpipe capture --client 127.0.0.12 --for 5s -o case\nls case | head -4\nhead -12 case/0001.txt",
            40,
        ),
        step(
            "Plain TCP across a link",
            "Without HTTP, in a process of its own.",
            &format!(
                "timeout -s INT 9 bentpipe forward --listen {forward} --to {origin} --link 512k,rtt=600ms & sleep 2; \
             curl -s -o /dev/null -w '%{{size_download}} bytes in %{{time_total}} s\\n' http://127.0.0.1:{forward}/photo-1.jpg; wait"
            ),
            12,
        ),
        step(
            "A new program",
            "It takes over: listeners, link, cache; the old one finishes what it began.",
            UPGRADE,
            8,
        ),
        step(
            "And after it",
            "The new process, with the same link and the same cache.",
            "bentpipe link show\nbentpipe cache stats | head -3",
            20,
        ),
    ])
}

fn section(page: &mut String, title: &str, why: &str, said: &[(String, String)]) {
    let _ = write!(page, "\n## {title}\n\n{why}\n");
    page.push_str("\n```console\n");
    for (line, output) in said {
        let _ = write!(page, "$ {line}\n{output}");
    }
    page.push_str("```\n");
}

/// `text` without the places of this machine and of this run, each line and their number within bounds.
fn cut(demo: &Demo, text: &str, lines: usize) -> String {
    let text = text.replace(&*demo.home().to_string_lossy(), HOME).replace(TOKEN, "***");
    let all: Vec<_> = text.trim_end().lines().collect();
    let mut shown = String::new();
    for line in all.iter().take(lines) {
        let line = line.trim_end();
        match line.char_indices().nth(WIDE) {
            Some((end, _)) => {
                shown += &line[..end];
                shown.push('…');
            }
            None => shown += line,
        }
        shown.push('\n');
    }
    if all.len() > lines {
        let _ = writeln!(shown, "… and {} lines more", all.len() - lines);
    }
    shown
}
