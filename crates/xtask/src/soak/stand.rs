//! What the soak works with: bentpipe as a process with an authority made for it and short limits on all waiting, the
//! origins, and what clients have to trust.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use anyhow::{Context, ensure};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use testkit::{Client, Request};

use super::source::{CLOSED, OPENED, Source};
use crate::program::{Program, free_port};

/// Everything that waits waits for seconds, so that what is left over at the end shows soon; and the cache is so small
/// that it is full long before the load is judged.
const LIMITS: &[&str] = &[
    "timeouts.connect=2s",
    "timeouts.request_head=3s",
    "timeouts.client=3s",
    "timeouts.idle=4s",
    "timeouts.tunnel_idle=5s",
    "timeouts.stale=2s",
    "timeouts.resume=10s",
    "timeouts.keep_alive=5s",
    "cache.size=100M",
    "cache.min_free=0",
    "log.level=warn",
];

/// How long bentpipe waits for a client or an origin at the very longest, in whole seconds: after that nothing of a
/// load that has stopped is left.
pub(super) const LONGEST_WAIT: u64 = 12;

/// The running proxy and what goes with it.
pub(super) struct Stand {
    /// The origins.
    pub(super) source: Source,
    /// The proxy.
    pub(super) program: Program,
    /// What clients trust and offer: HTTP/2.
    pub(super) trust: Arc<ClientConfig>,
    folder: TempDir,
}

impl Stand {
    /// Starts the origins, makes an authority with `binary`, and starts it.
    ///
    /// # Errors
    /// When any of them does not come up.
    pub(super) async fn start(binary: &Path) -> anyhow::Result<Self> {
        let source = Source::start().await?;
        let folder = tempfile::tempdir()?;
        let file = |name: &str| folder.path().join(name);
        std::fs::write(file("roots.pem"), source.root_pem())?;
        run(command(binary, folder.path()).args(["ca", "init"]))?;
        let own = run(command(binary, folder.path()).args(["ca", "export"]))?;
        let trust = trusting(&[source.root_pem().as_bytes(), &own.stdout])?;
        let address = free_port()?;
        let mut serving = command(binary, folder.path());
        serving.args(["--listen", &address.to_string(), "--allow-destination", "127.0.0.1:1-65535"]);
        serving.arg("--control").arg(file("control")).arg("--cache-dir").arg(file("cache"));
        serving.arg("--tls-roots").arg(file("roots.pem"));
        serving.args(["--set", &format!("dns.hosts={OPENED}=127.0.0.1,{CLOSED}=127.0.0.1")]);
        serving.args(LIMITS.iter().flat_map(|limit| ["--set", limit]));
        let program = Program::start(serving, address).await?;
        let answered = Client::connect(address).await?.request(&Request::new("GET", "/")).await?;
        ensure!(answered.status != 0, "bentpipe does not answer");
        Ok(Self { source, program, trust, folder })
    }

    /// Where clients connect to.
    pub(super) fn proxy(&self) -> SocketAddr {
        self.program.address()
    }

    /// Where the operator asks.
    pub(super) fn control(&self) -> PathBuf {
        self.folder.path().join("control")
    }
}

/// `binary` with what all its commands have to be told: nobody's own configuration is meant.
fn command(binary: &Path, folder: &Path) -> Command {
    let mut command = Command::new(binary);
    command.env("HOME", folder).env_remove("XDG_CONFIG_HOME").env_remove("XDG_DATA_HOME");
    command.arg("--ca-dir").arg(folder.join("ca")).args(["--intercept", OPENED]);
    command
}

fn run(command: &mut Command) -> anyhow::Result<Output> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(output)
}

/// A client of HTTP/2 that trusts the authorities of these texts (PEM).
fn trusting(texts: &[&[u8]]) -> anyhow::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    for certificate in texts.iter().flat_map(|text| CertificateDer::pem_slice_iter(text)) {
        roots.add(certificate.context("a certificate")?)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}
