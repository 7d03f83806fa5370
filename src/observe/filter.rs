//! What of everything bentpipe could say is said: what `log.level` names, and every step of the exchanges that are
//! watched at the moment. While none is, this costs what a level costs: tracing's own comparison of two numbers.

use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::debugging::{WATCHED, is_wanted};

/// Decides what is said.
pub(crate) struct Filter {
    always: Targets,
}

impl Filter {
    /// `always` is said in any case.
    pub(crate) fn new(always: Targets) -> Self {
        Self { always }
    }

    fn is_said_always(&self, metadata: &Metadata<'_>) -> bool {
        self.always.would_enable(metadata.target(), metadata.level())
    }
}

/// Whether it may be said of an exchange that is watched.
fn may_be_watched(metadata: &Metadata<'_>) -> bool {
    is_wanted() && *metadata.level() <= Level::DEBUG && metadata.target().starts_with(env!("CARGO_PKG_NAME"))
}

impl<S> Layer<S> for Filter
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.is_said_always(metadata) {
            Interest::always()
        } else if may_be_watched(metadata) {
            Interest::sometimes()
        } else {
            Interest::never()
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>, context: Context<'_, S>) -> bool {
        if self.is_said_always(metadata) {
            return true;
        }
        if !may_be_watched(metadata) {
            return false;
        }
        let is_watched = |name: &str| name == WATCHED;
        let inside =
            || context.lookup_current().is_some_and(|span| span.scope().any(|span| is_watched(span.name())));
        metadata.is_span() && is_watched(metadata.name()) || inside()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        let always = <Targets as Layer<S>>::max_level_hint(&self.always)?;
        Some(if is_wanted() { always.max(LevelFilter::DEBUG) } else { always })
    }
}
