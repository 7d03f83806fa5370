//! A proxy of this build with a link, and an origin behind it: what one measurement runs on. The proxy runs on the
//! runtime of its own, so that a busy test host holds none of its tasks up.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use linkio::{LinkModel, LinkSpec};
use tokio::runtime::Handle;
use tokio::time::sleep;

use super::Options;
use super::figures::Arrivals;
use super::flows::{Flow, Place, Wire, address};
use super::machine::Folder;
use super::origin::Origin;
use crate::clock::Clock;
use crate::config::{AllowedDestination, Config, Control};
use crate::serve::Proxy;

/// What all measurements share.
pub(super) struct Bench {
    /// Where proxies run.
    pub(super) product: Handle,
    /// How long one measurement is.
    pub(super) period: Duration,
    /// Links to follow, with what to call them.
    pub(super) traces: Vec<(String, LinkModel)>,
    /// How many files may be open.
    pub(super) files: u64,
    pub(super) folder: Folder,
    stands: AtomicU32,
}

impl Bench {
    pub(super) fn new(product: Handle, options: &Options, files: u64, folder: Folder) -> Self {
        let (period, traces) = (options.period, options.traces.clone());
        Self { product, period, traces, files, folder, stands: AtomicU32::new(0) }
    }

    /// Starts a proxy with `link`, and an origin that only it may reach.
    ///
    /// # Errors
    /// If `link` is none, or the proxy does not start.
    pub(super) async fn stand(&self, link: &str) -> anyhow::Result<Stand> {
        let epoch = Instant::now();
        let origin = Origin::start(epoch).await?;
        let mut config = Config {
            listen: vec![(Ipv4Addr::LOCALHOST, 0).into()],
            control: Control::Off,
            ..Config::default()
        };
        config.link.spec = link.parse().with_context(|| format!("link {link}"))?;
        let number = self.stands.fetch_add(1, Ordering::Relaxed);
        config.cache.dir = self.folder.path().join(number.to_string());
        let port = origin.address().port();
        let net = IpAddr::from(Ipv4Addr::LOCALHOST).into();
        config.destinations.allow = vec![AllowedDestination { net, ports: Some(port..=port) }];
        config.timeouts.drain = Duration::ZERO;
        let starting = self.product.spawn(async move { Proxy::start(config, Clock::system()).await });
        let proxy = starting.await??;
        let place = Place { proxy: proxy.local_address(), origin: origin.address(), epoch };
        Ok(Stand { proxy: Some(proxy), product: self.product.clone(), origin, place })
    }
}

/// A proxy and its origin, until this is dropped.
pub(super) struct Stand {
    proxy: Option<Proxy>,
    product: Handle,
    pub(super) origin: Origin,
    pub(super) place: Place,
}

impl Stand {
    /// Time since the stand began, as all its arrivals count it.
    pub(super) fn now(&self) -> Duration {
        self.place.epoch.elapsed()
    }

    /// A client's connection from this machine's usual address.
    pub(super) async fn client(&self) -> anyhow::Result<Wire> {
        Wire::open(self.place, address(0)).await
    }

    /// A download by the usual client, under way.
    pub(super) async fn bulk(&self) -> anyhow::Result<Flow> {
        let flow = self.client().await?.download().await?;
        begun(&[&flow]).await?;
        Ok(flow)
    }

    /// Sets the link anew, as `bentpipe link set` does.
    pub(super) fn set(&self, link: &str) -> anyhow::Result<()> {
        let spec: LinkSpec = link.parse().with_context(|| format!("link {link}"))?;
        self.set_model(spec.into())
    }

    /// Sets the link anew, with the files of its capacity.
    pub(super) fn set_model(&self, model: LinkModel) -> anyhow::Result<()> {
        self.proxy.as_ref().context("the proxy has ended")?.set_link(model);
        Ok(())
    }

    /// Ends the proxy and waits for it, so that the next measurement has the machine to itself.
    pub(super) async fn end(mut self) {
        if let Some(proxy) = self.proxy.take() {
            let _ = self.product.spawn(proxy.shutdown()).await;
        }
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        if let Some(proxy) = self.proxy.take() {
            self.product.spawn(proxy.shutdown());
        }
    }
}

/// Waits until content has arrived on each of `flows`.
pub(super) async fn begun(flows: &[&Flow]) -> anyhow::Result<()> {
    let started = Instant::now();
    while !flows.iter().all(|flow| flow.has_begun()) {
        ensure!(started.elapsed() < Duration::from_secs(60), "a flow has not begun within a minute");
        sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// What arrives during `period` from now: on each of `flows`, and on all together.
pub(super) async fn during(
    stand: &Stand,
    flows: &[&Flow],
    period: Duration,
) -> anyhow::Result<(Vec<Arrivals>, Arrivals)> {
    let from = stand.now();
    sleep(period).await;
    let to = from + period;
    let whole = flows.iter().map(|flow| flow.arrivals()).collect::<Result<Vec<_>, _>>()?;
    let all = Arrivals::together(&whole).between(from, to);
    Ok((whole.iter().map(|arrivals| arrivals.between(from, to)).collect(), all))
}
