//! `bentpipe forward`: plain TCP from a port of this machine to a target, across the link, without a word of HTTP. It dials
//! as the proxy does, through the same `LinkedIo`, and may be captured like it; it keeps nothing and judges no address,
//! since whoever runs it has named the target.

mod target;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Version};
use linkio::SharedLink;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::capture::files::Recorder;
use crate::capture::frame::Kind;
use crate::capture::queue::Frames;
use crate::capture::wire::Way;
use crate::capture::{Asked, Captures, Session, Tap, Wire};
use crate::clock::Clock;
use crate::config::{self, AllowedDestination, Config};
use crate::drain::Drain;
use crate::exchange::{Exchange, Observers};
use crate::listen::{self, bind};
use crate::standing::Standings;
use crate::upgrade::sockets::{Inherited, Purpose as Listening};
use crate::upstream::connect::{Connector, Ways};
use crate::upstream::crossing::Crossing;
use crate::upstream::destination::{Purpose, Rules};
use crate::upstream::names::Names;
use crate::upstream::origin::Origin;
use crate::upstream::parent::Parents;
use crate::upstream::tunnel;
pub(crate) use target::Target;

/// A running forwarder.
pub(crate) struct Forwarder {
    shared: Arc<Shared>,
    /// Where it listens, and where each leads.
    pairs: Vec<(SocketAddr, Target)>,
    recording: Option<(Arc<Session>, std::thread::JoinHandle<anyhow::Result<String>>)>,
}

struct Shared {
    connector: Connector,
    standings: Arc<Standings>,
    observers: Arc<Observers>,
    captures: Captures,
    clock: Clock,
    drain: Drain,
    idle: Duration,
    /// Told of each connection that has ended.
    tell: Box<dyn Fn(String) + Send + Sync>,
}

impl Forwarder {
    /// Starts to forward what comes to each of `config.listen` to the target at the same place of `targets`, and to write
    /// all of it into `recorder`, if there is one. It accepts connections when this returns; `tell` gets a line for each
    /// that ends.
    ///
    /// # Errors
    /// An address that cannot be listened on.
    pub(crate) async fn start(
        config: &Config,
        targets: Vec<Target>,
        recorder: Option<Recorder>,
        tell: impl Fn(String) + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let listeners = listeners(config)?;
        let own = listeners.iter().map(TcpListener::local_addr).collect::<io::Result<Vec<_>>>()?;
        let link = SharedLink::new(config.link.trace.model(config.link.spec.clone()));
        link.set_classes(config.link.classes);
        let captures = Captures::default();
        let recording = recorder.map(|recorder| record(&captures, recorder)).transpose()?;
        let shared = Arc::new(Shared {
            connector: Connector::new(link, ways(config, own.clone())),
            standings: Standings::new(&config.link),
            observers: Observers::new(Vec::new()),
            captures,
            clock: Clock::system(),
            drain: Drain::new(),
            idle: config.timeouts.tunnel_idle,
            tell: Box::new(tell),
        });
        let limit = Arc::new(Semaphore::new(config.limits.connections));
        for (listener, target) in listeners.into_iter().zip(targets.clone()) {
            tokio::spawn(shared.clone().accept(listener, target, limit.clone()));
        }
        Ok(Self { shared, pairs: own.into_iter().zip(targets).collect(), recording })
    }

    /// Where it listens, and where each leads.
    pub(crate) fn pairs(&self) -> &[(SocketAddr, Target)] {
        &self.pairs
    }

    /// The link that everything crosses.
    pub(crate) fn link(&self) -> &SharedLink {
        self.shared.connector.link()
    }

    /// Lets go of what rests, waits a moment for the rest, and finishes the files; what they came to.
    pub(crate) async fn end(self, patience: Duration) -> anyhow::Result<Option<String>> {
        self.shared.drain.finish(patience).await;
        let Some((session, thread)) = self.recording else { return Ok(None) };
        self.shared.captures.end(&session);
        let ended = tokio::task::spawn_blocking(move || thread.join()).await?;
        ended.unwrap_or_else(|_| Err(anyhow::anyhow!("the files could not be finished"))).map(Some)
    }
}

fn listeners(config: &Config) -> anyhow::Result<Vec<TcpListener>> {
    let (named, mut nothing) = (("listen", Listening::Listen), Inherited::default());
    let each = |address: &SocketAddr| bind::listen(named, *address, &mut nothing).map(|bound| bound.listener);
    config.listen.iter().map(each).collect()
}

/// Everything is reached directly, and may be: who runs a forwarder has named its targets.
fn ways(config: &Config, own: Vec<SocketAddr>) -> Ways {
    let everywhere = ["0.0.0.0/0", "::/0"].into_iter().filter_map(|net| net.parse().ok());
    let allow = everywhere.map(|net| AllowedDestination { net, ports: Some(1..=u16::MAX) }).collect();
    let destinations = config::Destinations { allow, connect_ports: Vec::new() };
    Ways {
        rules: Rules::new(destinations, own),
        names: Names::new(&config.dns),
        linked_lookups: config.link.dns,
        parents: Parents::new(config::Parents::default()),
        timeout: config.timeouts.connect,
        pseudonym: "bentpipe".to_owned(),
    }
}

impl Shared {
    async fn accept(self: Arc<Self>, listener: TcpListener, target: Target, limit: Arc<Semaphore>) {
        loop {
            let (accepted, permit) = tokio::select! {
                biased;
                () = self.drain.leaving() => return,
                next = listen::next(&listener, &limit) => next,
            };
            match accepted {
                Ok((stream, client)) => {
                    let (shared, target, work) = (self.clone(), target.clone(), self.drain.work());
                    tokio::spawn(async move {
                        shared.carry(stream, client, &target).await;
                        drop((work, permit));
                    });
                }
                Err(error) => listen::rest(&error).await,
            }
        }
    }

    async fn carry(&self, stream: TcpStream, client: SocketAddr, target: &Target) {
        let ended = self.forward(stream, client, target).await;
        (self.tell)(format!("{client} -> {target}: {ended}"));
    }

    /// Carries one connection to its end, and says how it came to it.
    async fn forward(&self, stream: TcpStream, client: SocketAddr, target: &Target) -> String {
        let address = client.ip().to_canonical();
        let wire = Wire::new(&self.captures, address, Way::Forwarded(target.to_string()));
        let mut client = Tap::new(stream, wire);
        listen::prepare(client.io(), self.connector.link());
        // Over before the connection is: whoever sees its end finds it.
        let exchange = Exchange::begin(
            Method::CONNECT,
            target.uri(),
            Version::HTTP_11,
            address,
            self.clock.now(),
            &self.observers,
        );
        let Some(origin) = Origin::of(&target.uri()) else { return "no target".to_owned() };
        let standing = self.standings.of(&exchange);
        let connected = match self.connector.connect(&origin, Purpose::Tunnel, standing).await {
            Ok(connected) => connected,
            Err(refusal) => {
                let reason = refusal.worded();
                // A reset tells the client what a close would not: that nobody was there.
                let _ = client.io().set_zero_linger();
                return format!("not connected: {}", reason.reason());
            }
        };
        let crossing = Crossing::begin(connected.io.meter(), exchange.clone());
        let carried =
            tunnel::relay(&mut client, connected.io, &exchange, self.idle, self.drain.leaving()).await;
        drop(crossing);
        let record = exchange.record();
        let (up, down, took) = (record.received(), record.client_bytes(), record.duration().as_secs_f64());
        let how = match carried {
            Ok(()) => "ended".to_owned(),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                "given up: nothing moved for too long".to_owned()
            }
            Err(error) => format!("broken off: {error}"),
        };
        format!("{how} after {took:.3} s, {up} bytes up, {down} bytes down")
    }
}

/// Begins to write down everything that is forwarded.
fn record(
    captures: &Captures,
    mut recorder: Recorder,
) -> anyhow::Result<(Arc<Session>, std::thread::JoinHandle<anyhow::Result<String>>)> {
    let (session, frames) = captures.begin(&Asked::default()).map_err(|why| anyhow::anyhow!(why))?;
    let (captures, recorded) = (captures.clone(), session.clone());
    let writing = move || {
        let written = write(&mut recorder, &frames);
        // Whatever went wrong with files, forwarding goes on.
        captures.end(&recorded);
        if let Err(error) = &written {
            tracing::warn!(%error, "the capture has ended");
        }
        let sum = recorder.end(Some(recorded.ended()))?.to_string();
        Ok(written.map_or_else(|error| format!("The capture ended early: {error}\n{sum}"), |()| sum.clone()))
    };
    let thread = std::thread::Builder::new().name("capture".to_owned()).spawn(writing)?;
    Ok((session, thread))
}

fn write(recorder: &mut Recorder, frames: &Frames) -> anyhow::Result<()> {
    while let Some(frame) = frames.next().filter(|frame| frame.kind != Kind::End) {
        recorder.take(frame)?;
    }
    Ok(())
}
