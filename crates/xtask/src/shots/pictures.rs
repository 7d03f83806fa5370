//! The pictures of `docs/pictures`: which pages, on which screens, and what each shows.

use std::path::Path;
use std::process::Command;

use super::checks::{self, STATUS};
use super::demo::Demo;
use crate::chromium::devtools::Browser;
use crate::chromium::tab::{DESK, PHONE, Screen, Tab};

/// One picture, and the sentence that stands with it.
pub(super) struct Picture {
    pub(super) file: &'static str,
    pub(super) what: &'static str,
    /// What is said where it cannot be seen.
    pub(super) instead: &'static str,
    screen: Screen,
    page: Page,
    /// The last part of the page that is to be seen.
    until: &'static str,
}

/// Where it is taken.
enum Page {
    Dashboard,
    Explained,
    Fixed(&'static str),
    Refused,
    Unreachable,
}

const DARK: Screen = Screen { is_dark: true, ..DESK };
const NARROW: Screen = Screen { width: 760, height: 600, is_phone: false, is_dark: false };

/// All of them.
pub(super) const ALL: [Picture; 8] = [
    Picture {
        file: "desk.png",
        instead: "The dashboard on a desk",
        what: "The dashboard, as whoever looks after the proxy has it on the admin address: the lamp, five minutes of the \
               link, what was saved and what it would have cost, what is under way, who used the link, and what went wrong.",
        screen: DESK,
        page: Page::Dashboard,
        until: "#failures tbody tr:nth-child(5)",
    },
    Picture {
        file: "explain.png",
        instead: "The cache on the dashboard",
        what: "Below it the cache: searched, purged, and every question on the way to what would be done for a URL.",
        screen: NARROW,
        page: Page::Explained,
        until: "#cache",
    },
    Picture {
        file: "desk-dark.png",
        instead: "The dashboard in the dark",
        what: "The same in the dark, which follows the reader's system.",
        screen: DARK,
        page: Page::Dashboard,
        until: "#running",
    },
    Picture {
        file: "phone.png",
        instead: "The dashboard on a phone",
        what: "The same on a phone: tables become lists, and nothing has to be moved sideways.",
        screen: PHONE,
        page: Page::Dashboard,
        until: "#running",
    },
    Picture {
        file: "status.png",
        instead: "The page for every client",
        what: "What every client sees at `http://bentpipe.local/status/`: the link, the savings and its own, and nothing to \
               press.",
        screen: NARROW,
        page: Page::Fixed(STATUS),
        until: "#failures",
    },
    Picture {
        file: "welcome.png",
        instead: "The welcome with the certificate",
        what: "`http://bentpipe.local/`: the certificate for the hosts that are opened, what it means, and how to install it.",
        screen: NARROW,
        page: Page::Fixed("http://bentpipe.local/"),
        until: "html",
    },
    Picture {
        file: "refused.png",
        instead: "The page of a refusal",
        what: "What a client sees that asks for a host which a rule forbids (403).",
        screen: NARROW,
        page: Page::Refused,
        until: "small, p:last-of-type",
    },
    Picture {
        file: "unreachable.png",
        instead: "The page when a site cannot be reached",
        what: "What a client sees when the origin cannot be reached (502).",
        screen: NARROW,
        page: Page::Unreachable,
        until: "small, p:last-of-type",
    },
];

/// Takes them all into `folder`.
///
/// # Errors
/// Those of the browser and of the files.
pub(super) async fn take(browser: &mut Browser, demo: &Demo, folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    for picture in &ALL {
        let url = match picture.page {
            Page::Dashboard | Page::Explained => demo.dashboard(),
            Page::Fixed(url) => url.to_owned(),
            Page::Refused => demo.url("games", "/chess"),
            Page::Unreachable => demo.unreachable(),
        };
        let file = folder.join(picture.file);
        let mut tab = Tab::open(browser, picture.screen, true).await?;
        tab.visit(&url).await?;
        if matches!(picture.page, Page::Explained) {
            checks::said(&mut tab, "explain", &demo.url("school", "/style.css")).await?;
            // What stands above it has pictures of its own.
            tab.evaluate("document.querySelectorAll('header, main').forEach(part => part.remove())").await?;
        }
        tab.picture(&file, picture.until).await?;
        tab.close().await?;
        let before = std::fs::metadata(&file)?.len();
        shrink(&file);
        println!("  {}: {} of {before} bytes", file.display(), std::fs::metadata(&file)?.len());
    }
    Ok(())
}

/// Gives a picture a palette, if pngquant is installed: a page has few colours.
fn shrink(file: &Path) {
    let small = file.with_extension("small");
    let mut command = Command::new("pngquant");
    command.args(["--force", "--nofs", "--strip", "64", "--output"]).arg(&small).arg("--").arg(file);
    match command.output() {
        Ok(output) if output.status.success() => {
            // Where it cannot be put in place, the large one stays.
            let _ = std::fs::rename(&small, file);
        }
        _ => println!("  (pngquant, which makes it a third, is not installed)"),
    }
}
