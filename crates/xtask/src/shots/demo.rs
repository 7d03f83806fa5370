//! The demo: sites with names of their own, a real bentpipe behind a thin link, and a village of clients that visits them:
//! pages that are stored and pages that must not be, big downloads, an answer past its time, and what goes wrong.
//!
//! The names are told to bentpipe by its configuration; none is looked up.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use tempfile::TempDir;
use testkit::{Origin, Received, Reply};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;

use crate::program::{Program, free_port};

/// The operator's token.
pub(super) const TOKEN: &str = "a-token-of-the-demo";
/// Bytes of a big download, which take minutes over the link.
const BIG: usize = 24_000_000;
/// The clients that look at pages, 127.0.0.11 and on.
const READERS: u8 = 6;

/// All of it, running. It ends when this is dropped.
pub(super) struct Demo {
    home: TempDir,
    binary: PathBuf,
    program: Program,
    origin: Origin,
    admin: SocketAddr,
    /// A port where nothing listens.
    closed: SocketAddr,
    visitors: JoinSet<()>,
    /// The process that took over, after an upgrade.
    successor: Option<i32>,
}

impl Demo {
    /// Starts everything but the visitors.
    ///
    /// # Errors
    /// When something does not come up.
    pub(super) async fn start(binary: &Path, link: &str) -> anyhow::Result<Self> {
        let home = tempfile::tempdir()?;
        let origin = Origin::with_handler(|request| Some(answer(request))).await?;
        let (address, admin, closed) = (free_port()?, free_port()?, free_port()?);
        let folder = home.path().join(".config/bentpipe");
        std::fs::create_dir_all(&folder)?;
        std::fs::create_dir_all(home.path().join("run"))?;
        std::fs::write(folder.join("bentpipe.toml"), configuration(address, admin, link))?;
        let init = dressed(Command::new(binary), home.path(), binary).args(["ca", "init"]).output()?;
        ensure!(init.status.success(), "ca init: {}", String::from_utf8_lossy(&init.stderr));
        let program = Program::start(dressed(Command::new(binary), home.path(), binary), address).await?;
        // Fresh for three seconds; from the second time on the site is ill.
        let forecast = page("application/json", 900, "max-age=3, stale-if-error=86400");
        origin.on("GET", "/forecast.json", forecast);
        origin.always("GET", "/forecast.json", Reply::new(503));
        let binary = binary.to_owned();
        Ok(Self { home, binary, program, origin, admin, closed, visitors: JoinSet::new(), successor: None })
    }

    /// Lets the clients come. They do not stop.
    pub(super) fn populate(&mut self) {
        let proxy = self.program.address();
        for number in 0..READERS {
            self.visitors.spawn(read(proxy, number, self.rest(), self.closed.port()));
        }
        self.download(8, 21, self.url("maps", "/atlas.zip"));
        self.download(14, 22, self.url("school", "/lesson-7.mp4"));
        // What the browser's own client has under way, and what it was refused.
        self.download(12, 1, self.url("library", "/handbook.pdf"));
        self.download(13, 1, self.url("games", "/chess"));
    }

    /// Has a client ask for something big after a while, in seconds.
    pub(super) fn download(&mut self, delay: u64, client: u8, url: String) {
        let proxy = self.program.address();
        self.visitors.spawn(async move {
            tokio::time::sleep(Duration::from_secs(delay)).await;
            // If it is broken off, that is the operator's doing.
            let _ = visit(proxy, client, "GET", &url, 0).await;
        });
    }

    /// The URL of `path` at the site of that name.
    pub(super) fn url(&self, site: &str, path: &str) -> String {
        format!("http://{site}{}{path}", self.rest())
    }

    /// What stands between the name of a site and the path.
    fn rest(&self) -> String {
        format!(".example:{}", self.origin.address().port())
    }

    /// Where clients find the proxy.
    pub(super) fn proxy(&self) -> SocketAddr {
        self.program.address()
    }

    /// Where the origin listens.
    pub(super) fn origin(&self) -> SocketAddr {
        self.origin.address()
    }

    /// The operator's page.
    pub(super) fn dashboard(&self) -> String {
        format!("http://{}/", self.admin)
    }

    /// The URL of a site whose server does not listen.
    pub(super) fn unreachable(&self) -> String {
        format!("http://archive.example:{}/1998/", self.closed.port())
    }

    /// The user's home.
    pub(super) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Remembers the process that took over, as `bentpipe upgrade` tells it.
    ///
    /// # Errors
    /// When it tells of none.
    pub(super) fn upgraded(&mut self, said: &str) -> anyhow::Result<()> {
        let process = said.split(' ').nth(1).and_then(|number| number.parse().ok());
        self.successor = Some(process.with_context(|| format!("no process took over: {said}"))?);
        Ok(())
    }

    /// What bentpipe wrote when it started.
    ///
    /// # Errors
    /// Those of reading.
    pub(super) fn said(&self) -> anyhow::Result<String> {
        Ok(self.program.said()?)
    }

    /// What a shell of the user who runs the proxy says to `line`, where `bentpipe` is found.
    ///
    /// # Errors
    /// When there is no shell.
    pub(super) async fn shell(&self, line: &str) -> anyhow::Result<String> {
        let mut command = dressed(Command::new("sh"), self.home.path(), &self.binary);
        command.args(["-c", &format!("exec 2>&1; {line}")]);
        let output = tokio::process::Command::from(command).output().await.context("no shell")?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        if let Some(process) = self.successor.and_then(rustix::process::Pid::from_raw) {
            // If it has ended already, that is what is wanted.
            let _ = rustix::process::kill_process(process, rustix::process::Signal::KILL);
        }
    }
}

/// `command` in the home and with the environment of the demo's user.
fn dressed(mut command: Command, home: &Path, binary: &Path) -> Command {
    let tools = binary.parent().unwrap_or(Path::new("/")).display();
    command.env_clear().current_dir(home).env("HOME", home).env("XDG_RUNTIME_DIR", home.join("run"));
    command
        .env("PATH", format!("{tools}:/usr/local/bin:/usr/bin:/bin"))
        .env("TZ", "UTC")
        .env("COLUMNS", "100");
    command
}

fn configuration(address: SocketAddr, admin: SocketAddr, link: &str) -> String {
    format!(
        r#"listen = ["{address}"]

[link]
spec = "{link}"
price = "12 EUR/GB"
rules = ["bulk: size=1M"]

[dns]
hosts = ["*.example=127.0.0.1"]

[destinations]
allow = ["127.0.0.1"]

[admission]
default = "nobody"

[[admission.allow]]
name = "village"
host = ["*.example"]

[[admission.deny]]
name = "games"
host = ["games.example"]

[tls.intercept]
hosts = ["*.wiki.example", "school.example"]

[admin]
listen = ["{admin}"]
token = ["ann={TOKEN}"]
"#
    )
}

/// What the sites say.
fn answer(request: &Received) -> Reply {
    let target = request.target.as_str();
    match target {
        "/atlas.zip" => page("application/zip", BIG, "max-age=86400").field("etag", "\"atlas-3\""),
        "/lesson-7.mp4" => page("video/mp4", BIG, "max-age=86400").field("etag", "\"lesson-7\""),
        "/handbook.pdf" => page("application/pdf", BIG, "max-age=86400").field("etag", "\"handbook-1\""),
        "/broken" => Reply::close(),
        "/missing.html" => Reply::new(404).field("content-type", "text/html").body("no such page"),
        "/mail" => page("text/html", 2_400, "no-store"),
        _ if request.method == "POST" => Reply::new(204),
        _ if target.starts_with("/photo") => page("image/jpeg", 38_000 + target.len() * 700, "max-age=86400"),
        _ if target.ends_with(".css") => page("text/css", 9_100, "max-age=86400"),
        _ => page("text/html", 6_000 + target.len() * 310, "max-age=600").field("etag", "\"1\""),
    }
}

fn page(media_type: &str, length: usize, cache_control: &str) -> Reply {
    Reply::new(200)
        .field("content-type", media_type)
        .field("cache-control", cache_control)
        .body(vec![b'.'; length])
}

/// One of those who look at pages: the same ones as everybody, something of their own, and what goes wrong now and then.
async fn read(proxy: SocketAddr, number: u8, rest: String, closed: u16) {
    let client = 11 + number;
    tokio::time::sleep(Duration::from_millis(u64::from(number) * 350)).await;
    for step in 0_u32.. {
        let site = ["school", "clinic", "news", "library"][usize::try_from(step).unwrap_or(0) / 3 % 4];
        let mut asked = vec![
            ("GET", format!("http://{site}{rest}/"), 0),
            ("GET", format!("http://{site}{rest}/style.css"), 0),
            ("GET", format!("http://{site}{rest}/photo-{}.jpg", step % 9), 0),
        ];
        match (step + u32::from(number) * 3) % 17 {
            2 => asked.push(("GET", format!("http://news{rest}/article-{number}-{step}.html"), 0)),
            4 => asked.push(("GET", format!("http://clinic{rest}/forecast.json"), 0)),
            6 => asked.push(("POST", format!("http://clinic{rest}/report"), 30_000)),
            8 => asked.push(("GET", format!("http://clinic{rest}/mail"), 0)),
            10 => asked.push(("GET", format!("http://library{rest}/missing.html"), 0)),
            12 => asked.push(("GET", format!("http://games{rest}/chess"), 0)),
            14 => asked.push(("GET", format!("http://news{rest}/broken"), 0)),
            16 => asked.push(("GET", format!("http://archive.example:{closed}/1998/"), 0)),
            _ => {}
        }
        for (method, url, length) in asked {
            // What fails is part of the demo.
            let _ = visit(proxy, client, method, &url, length).await;
        }
        tokio::time::sleep(Duration::from_millis(700 + u64::from(number) * 130)).await;
    }
}

/// One request of the client with this last part of its address, `127.0.0.CLIENT`, and its answer, which is thrown away.
pub(super) async fn visit(
    proxy: SocketAddr,
    client: u8,
    method: &str,
    url: &str,
    length: usize,
) -> anyhow::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::new(127, 0, 0, client), 0).into())?;
    let mut stream = socket.connect(proxy).await?;
    let host = url.split('/').nth(2).unwrap_or_default();
    let head = format!(
        "{method} {url} HTTP/1.1\r\nhost: {host}\r\nuser-agent: Demo/1.0\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&vec![b'.'; length]).await?;
    let mut thrown_away = vec![0; 1 << 16];
    while stream.read(&mut thrown_away).await? > 0 {}
    Ok(())
}
