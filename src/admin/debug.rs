//! Debugging on demand, in an operator's hands: whom to watch and for how long, as it is asked for over the control
//! interface.

use std::time::Duration;

use http::StatusCode;
use serde_json::json;
use tokio::time::Instant;

use super::api::{Reply, failed};
use crate::observe::debugging::{Debugging, LONGEST, Subject};

/// `{"client": "192.0.2.7", "seconds": 600}`, `{"host": "example.org"}` or `{"off": true}`
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    client: Option<String>,
    host: Option<String>,
    #[serde(default = "usual")]
    seconds: u64,
    #[serde(default)]
    off: bool,
}

fn usual() -> u64 {
    600
}

/// Does what was asked, and tells who is watched now.
pub(super) fn ask(debugging: &Debugging, asked: &Asked) -> Reply {
    let done = match asked {
        Asked { off: true, client: None, host: None, .. } => {
            tracing::info!("nobody is watched any more");
            debugging.end();
            Ok(())
        }
        Asked { off: false, client: Some(client), host: None, seconds } => {
            Subject::client(client).and_then(|subject| watch(debugging, subject, *seconds))
        }
        Asked { off: false, client: None, host: Some(host), seconds } => {
            Subject::host(host).and_then(|subject| watch(debugging, subject, *seconds))
        }
        _ => Err("whom to watch is said with one of client, host and off".to_owned()),
    };
    match done {
        Ok(()) => shown(debugging),
        Err(why) => failed(StatusCode::BAD_REQUEST, why),
    }
}

/// Who is watched.
pub(super) fn shown(debugging: &Debugging) -> Reply {
    (StatusCode::OK, json!({ "watched": debugging.shown(Instant::now()) }))
}

fn watch(debugging: &Debugging, subject: Subject, seconds: u64) -> Result<(), String> {
    let period = Duration::from_secs(seconds);
    if period.is_zero() || period > LONGEST {
        return Err("expected a time from 1 s to a day".to_owned());
    }
    let (now, what) = (Instant::now(), subject.to_string());
    debugging.begin(subject, period, now)?;
    tracing::info!(what, seconds, "every step of these exchanges is shown");
    // Commands are carried out by the runtime that serves.
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        let debugging = debugging.clone();
        runtime.spawn(async move {
            tokio::time::sleep_until(now + period).await;
            debugging.expire(Instant::now());
        });
    }
    Ok(())
}
