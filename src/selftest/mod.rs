//! `bentpipe link selftest`: how exact and how fair the link of the running build is on this machine. A proxy, an
//! origin and raw clients in one process, over loopback sockets, measured where the clients' bytes arrive.
//!
//! Which measurements there are is `rows`; what is made of the bytes is `figures`; how it is printed is `table` and
//! the command's. It changes nothing but a folder among the temporary files, which it removes.

mod figures;
mod flows;
mod machine;
mod origin;
mod rows;
mod stand;
mod table;

use std::time::Duration;

use linkio::LinkModel;
use tokio::runtime::{Builder, Runtime};

pub(crate) use machine::Lateness;
pub(crate) use table::Row;

use machine::{Folder, Watch};
use rows::{Measurement, PLAN};
use stand::Bench;

/// What to measure.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// How long one measurement is.
    pub(crate) period: Duration,
    /// Names of measurements or of kinds; none means all.
    pub(crate) rows: Vec<String>,
    /// Links to follow in place of our own, with what to call them.
    pub(crate) traces: Vec<(String, LinkModel)>,
}

/// What stands before and between rows.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// How late this machine's timers are while nothing is measured.
    Idle(Lateness),
    /// A measurement's row.
    Row(Row),
    /// How late they were during the measurements.
    During(Lateness),
}

/// Whether there is a measurement, or a kind of them, of this name.
///
/// # Errors
/// Says which there are.
pub(crate) fn check_name(name: &str) -> Result<String, String> {
    if PLAN.concat().iter().any(|measurement| measurement.is_called(name)) {
        return Ok(name.to_owned());
    }
    Err(format!("expected {}, or one of a kind such as goodput-512k", rows::kinds().join(", ")))
}

/// Makes the measurements of `options` one after the other and tells `tell` of each row as it is there.
///
/// # Errors
/// If the machine does not give what all of them need (threads, a temporary folder), and those of `tell`. A measurement
/// that fails is a row. One that misses while the machine itself stood still is made once more.
pub(crate) fn run(
    options: &Options,
    mut tell: impl FnMut(Event) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let idle = Watch::start();
    std::thread::sleep(Duration::from_millis(300));
    tell(Event::Idle(idle.seen()))?;
    drop(idle);
    let watch = Watch::start();
    let product = Builder::new_multi_thread().enable_all().thread_name("proxy").build()?;
    let hosts = Builder::new_multi_thread().enable_all().thread_name("hosts").build()?;
    let files = machine::open_files();
    let bench = Bench::new(product.handle().clone(), options, files, Folder::new()?);
    let told = measure(options, &bench, &hosts, &watch, &mut tell);
    // The proxies are gone before their folder is.
    for runtime in [hosts, product] {
        runtime.shutdown_timeout(Duration::from_secs(2));
    }
    drop(bench);
    told?;
    tell(Event::During(watch.seen()))
}

fn measure(
    options: &Options,
    bench: &Bench,
    hosts: &Runtime,
    watch: &Watch,
    tell: &mut impl FnMut(Event) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let wanted = |measurement: &Measurement| {
        options.rows.is_empty() || options.rows.iter().any(|name| measurement.is_called(name))
    };
    for together in PLAN {
        let making: Vec<_> = together.iter().copied().filter(wanted).collect();
        let before = watch.count();
        let made = hosts.block_on(join_all(making.iter().map(|measurement| measurement.make(bench))));
        let late = watch.worst_since(before);
        for (measurement, mut rows) in making.into_iter().zip(made) {
            if late > LATE && !rows.iter().all(Row::passed) {
                // The machine stood still for a moment, which is no property of the link.
                let before = watch.count();
                rows = hosts.block_on(measurement.make(bench));
                let late = [late, watch.worst_since(before)];
                rows.iter_mut().for_each(|row| row.made_again(late));
            }
            rows.into_iter().try_for_each(|row| tell(Event::Row(row)))?;
        }
    }
    Ok(())
}

/// A machine with later timers than this, in milliseconds, spoils what is measured meanwhile.
const LATE: f64 = 10.0;

/// The answers of `futures`, which run side by side, in their order.
async fn join_all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut waiting: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|cx| {
        let mut pending = false;
        for (future, answer) in &mut waiting {
            if answer.is_none() {
                match future.as_mut().poll(cx) {
                    std::task::Poll::Ready(made) => *answer = Some(made),
                    std::task::Poll::Pending => pending = true,
                }
            }
        }
        if pending { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    waiting.into_iter().filter_map(|(_, answer)| answer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_before_anything_runs() {
        assert_eq!(check_name("goodput-512k"), Ok("goodput-512k".to_owned()));
        assert_eq!(check_name("rtt"), Ok("rtt".to_owned()));
        let error = check_name("goodput-512").unwrap_err();
        assert!(error.contains("goodput, ") && error.contains("unlimited"), "{error}");
    }
}
