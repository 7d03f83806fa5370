//! Waiting for a moment of the link's time.
//!
//! Owns one timer, set again only when the moment changes.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use ::tokio::time::{Sleep, sleep_until};

use super::lane::GRAIN;
use super::shared::Shared;
use crate::moment::Moment;

#[derive(Debug, Default)]
pub(super) struct Alarm(Option<(Moment, Pin<Box<Sleep>>)>);

impl Alarm {
    /// Ready at `moment`, in the task of `cx`. What is due within the grain counts as arrived, so that a timer is as
    /// often early as late.
    pub(super) fn poll_until(&mut self, link: &Shared, moment: Moment, cx: &mut Context<'_>) -> Poll<()> {
        let wake = || link.instant(moment.before(GRAIN));
        let (until, sleep) = self.0.get_or_insert_with(|| (moment, Box::pin(sleep_until(wake()))));
        if *until != moment {
            *until = moment;
            sleep.as_mut().reset(wake());
        }
        sleep.as_mut().poll(cx)
    }
}
