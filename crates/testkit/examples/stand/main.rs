//! What stands around a proxy in `cargo xtask bench`, in one program that is built for release: the origin, the load, and
//! bare hyper in the proxy's own place, so that a proxy's cost can be told from hyper's.
//!
//! - `stand serve PORT [TLS-PORT ROOT-FILE]`: the origin, and the floor of hits: bare hyper that answers from memory.
//! - `stand forward PORT`: the floor of what is passed through and of tunnels: bare hyper with a small pool.
//! - `stand load PROXY ORIGIN absolute|tunnel|ROOT-FILE PATHS CONNECTIONS UNTIL`: the load; its count comes out as JSON.
//!
//! Each runs on one thread. It decides nothing: what is asked, of whom and how often is xtask's.

use std::error::Error;
use std::net::SocketAddr;

use tokio::net::TcpListener;

mod forward;
mod load;
mod serve;

/// Why it ended.
type Fault = Box<dyn Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Fault> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["serve", port] => serve::run(listen(port).await?, None).await,
        ["serve", port, secure, root] => {
            serve::run(listen(port).await?, Some((listen(secure).await?, root))).await
        }
        ["forward", port] => forward::run(listen(port).await?).await,
        ["load", plan @ ..] => load::run(plan).await,
        other => Err(format!("not understood: {other:?}").into()),
    }
}

async fn listen(port: &str) -> Result<TcpListener, Fault> {
    Ok(TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port.parse()?))).await?)
}
