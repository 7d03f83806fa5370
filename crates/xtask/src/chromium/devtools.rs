//! The DevTools protocol over a pair of pipes: a command and its answer at a time, and what the browser tells by itself
//! remembered until somebody asks.
//!
//! Messages are JSON with a zero byte behind each. The browser reads them at descriptor 3 and writes at 4; a shell puts our
//! pipes there, since a program cannot without `unsafe`.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use base64::Engine as _;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// How long the browser may take for an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running browser. It is killed when this is dropped.
pub(crate) struct Browser {
    /// Kept for its end.
    _child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    next: u64,
    /// What is typed where a page asks with `prompt()`.
    pub(crate) typed: String,
    /// The texts of the dialogs that pages opened, each of which was answered with yes.
    pub(crate) dialogs: Vec<String>,
    /// The URLs that pages asked for.
    pub(crate) requests: Vec<String>,
    /// What pages said of errors: exceptions, `console.error`, and what the browser itself wrote on the console.
    pub(crate) faults: Vec<String>,
}

impl Browser {
    /// Starts `command` with a profile of its own in `profile`. Names below `.example` and the proxy's own are asked of
    /// `proxy`. All others lead nowhere, whatever the browser itself would ask its maker: they are not looked up, neither
    /// here nor by the proxy.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn start(command: &str, profile: &Path, proxy: &str) -> anyhow::Result<Self> {
        let mut shell = Command::new("sh");
        shell.args(["-c", r#"exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1"#, command]);
        shell.args(super::arguments(profile)).arg("--remote-debugging-pipe");
        let script = format!(
            "function FindProxyForURL(url, host) {{ \
             return host == 'bentpipe.local' || dnsDomainIs(host, '.example') ? 'PROXY {proxy}' : 'DIRECT'; }}"
        );
        let script = base64::engine::general_purpose::STANDARD.encode(script);
        shell.arg(format!("--proxy-pac-url=data:application/x-ns-proxy-autoconfig;base64,{script}"));
        shell.arg("--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1");
        shell.arg("--disable-lcd-text").arg("about:blank");
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = shell.spawn().with_context(|| format!("{command} could not be started"))?;
        let (input, output) = child.stdin.take().zip(child.stdout.take()).context("no pipes")?;
        Ok(Self {
            _child: child,
            input,
            output: BufReader::new(output),
            next: 0,
            typed: String::new(),
            dialogs: Vec::new(),
            requests: Vec::new(),
            faults: Vec::new(),
        })
    }

    /// Has it do `method` in the tab of `session`, or, with none, in the browser as a whole, and gives its answer.
    ///
    /// # Errors
    /// When it refuses, ends, or does not answer in time.
    pub(crate) async fn call(
        &mut self,
        session: Option<&str>,
        method: &str,
        parameters: Value,
    ) -> anyhow::Result<Value> {
        let number = self.say(session, method, parameters).await?;
        loop {
            let waiting = tokio::time::timeout(PATIENCE, self.hear());
            let mut message = waiting.await.with_context(|| format!("{method}: no answer"))??;
            if message["id"] == number {
                if let Some(error) = message.get("error") {
                    bail!("{method}: {error}");
                }
                return Ok(message["result"].take());
            }
            self.note(&message).await?;
        }
    }

    /// Sends a command and gives its number.
    async fn say(&mut self, session: Option<&str>, method: &str, parameters: Value) -> anyhow::Result<u64> {
        self.next += 1;
        let mut message = json!({"id": self.next, "method": method, "params": parameters});
        if let Some(session) = session {
            message["sessionId"] = session.into();
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.input.write_all(&bytes).await.context("the browser has ended")?;
        Ok(self.next)
    }

    async fn hear(&mut self) -> anyhow::Result<Value> {
        let mut bytes = Vec::new();
        self.output.read_until(0, &mut bytes).await?;
        anyhow::ensure!(bytes.pop() == Some(0), "the browser has ended");
        Ok(serde_json::from_slice(&bytes)?)
    }

    /// Remembers what the browser tells by itself, and answers the dialogs that would hold the page up.
    async fn note(&mut self, message: &Value) -> anyhow::Result<()> {
        let about = &message["params"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        match message["method"].as_str().unwrap_or_default() {
            "Page.javascriptDialogOpening" => {
                self.dialogs.push(text(&about["message"]));
                let answer = json!({"accept": true, "promptText": self.typed});
                self.say(message["sessionId"].as_str(), "Page.handleJavaScriptDialog", answer).await?;
            }
            "Network.requestWillBeSent" => self.requests.push(text(&about["request"]["url"])),
            "Runtime.exceptionThrown" => self.faults.push(about["exceptionDetails"].to_string()),
            "Runtime.consoleAPICalled" if about["type"] == "error" => {
                self.faults.push(about["args"].to_string());
            }
            "Log.entryAdded" if about["entry"]["level"] == "error" => {
                self.faults.push(format!(
                    "{} {}",
                    text(&about["entry"]["text"]),
                    text(&about["entry"]["url"])
                ));
            }
            _ => {}
        }
        Ok(())
    }
}
