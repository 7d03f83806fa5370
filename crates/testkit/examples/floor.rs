//! The floor of `cargo xtask bench`: a bare hyper handler on tokio that answers requests for `/body` with the same
//! body from memory, so that bentpipe's cost can be told from hyper's. Any other path has a body of its own, which begins
//! with the path.
//!
//! It does nothing else. Arguments: the port on 127.0.0.1, the body's length in bytes.

use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let port: u16 = arguments.next().ok_or("the first argument is the port")?.parse()?;
    let length: usize = arguments.next().ok_or("the second argument is the body's length")?.parse()?;
    let body = Bytes::from(vec![b'x'; length]);
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port))).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let body = body.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let path = request.uri().path();
            let body = if path == "/body" { body.clone() } else { own(&body, path) };
            let answer = Response::builder()
                .header("cache-control", "max-age=3600")
                .header("content-type", "application/octet-stream")
                .body(Full::new(body));
            async move { Ok::<_, Infallible>(answer.unwrap_or_default()) }
        });
        let mut server = http1::Builder::new();
        server.timer(TokioTimer::new());
        // A client that leaves ends only its own connection.
        tokio::spawn(server.serve_connection(TokioIo::new(stream), service));
    }
}

fn own(body: &Bytes, path: &str) -> Bytes {
    let mut own = body.to_vec();
    own.iter_mut().zip(path.bytes()).for_each(|(byte, of_path)| *byte = of_path);
    own.into()
}
