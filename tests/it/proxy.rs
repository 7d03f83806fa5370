//! A proxy of a test's own: in this process, on a free port, with a cache folder that goes with it.

use std::net::SocketAddr;

use bentpipe::Clock;
use bentpipe::config::Given;
use bentpipe::serve::Proxy;
use tempfile::TempDir;
use testkit::client::{self, Client, Request, Response};

/// A running proxy and what it stands on.
pub(crate) struct Running {
    proxy: Proxy,
    pub(crate) clock: Clock,
    pub(crate) folder: TempDir,
}

/// Starts a proxy that reaches this machine, with `flags` besides.
pub(crate) async fn start(flags: &[&str]) -> Running {
    start_in(tempfile::tempdir().expect("a folder"), flags).await
}

/// Starts a proxy on a cache folder that is there already.
pub(crate) async fn start_in(folder: TempDir, flags: &[&str]) -> Running {
    let path = folder.path().to_string_lossy().into_owned();
    let control = folder.path().join("control.sock").to_string_lossy().into_owned();
    let fixed = ["--listen", "127.0.0.1:0", "--cache-dir", &path, "--control", &control];
    let open = ["--allow-destination", "127.0.0.1:1-65535"];
    let given = Given::by_flags(fixed.iter().chain(&open).chain(flags)).expect("flags");
    let clock = Clock::manual();
    let proxy = Proxy::start_given(given, clock.clone()).await.expect("a proxy");
    Running { proxy, clock, folder }
}

impl Running {
    pub(crate) fn address(&self) -> SocketAddr {
        self.proxy.local_address()
    }

    /// Where it is reached over TLS.
    pub(crate) fn https_address(&self) -> SocketAddr {
        self.proxy.local_https_address().expect("an address")
    }

    pub(crate) async fn connect(&self) -> Client {
        Client::connect(self.address()).await.expect("a connection to the proxy")
    }

    pub(crate) async fn get(&self, url: &str) -> Response {
        client::get(self.address(), url).await.expect("a response")
    }

    pub(crate) async fn request(&self, request: &Request) -> Response {
        self.connect().await.request(request).await.expect("a response")
    }

    /// Where the admin interface is reached over TCP.
    pub(crate) fn admin_address(&self) -> SocketAddr {
        self.proxy.local_admin_address().expect("an address")
    }

    /// Does what SIGHUP does to the log.
    pub(crate) fn reopen_log(&self) {
        self.proxy.reopen_log();
    }

    /// Does what SIGHUP does.
    pub(crate) async fn reload(&self) -> Result<(), String> {
        self.proxy.reload().await
    }

    /// Ends the proxy as SIGTERM would, and returns its cache folder.
    pub(crate) async fn stop(self) -> TempDir {
        self.proxy.shutdown().await;
        self.folder
    }
}
