//! The running configuration in an operator's hands: shown, changed and read again. How it is written in requests and
//! answers is here; what it takes to have it done is `Configured`'s.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::routes::{Asked, Later};
use super::serving::reply;
use super::who::Who;
use super::{Admin, api};
use crate::config::changes::{self, Change};
use crate::config::{ConfigErrors, Loaded};

/// The configuration of a running proxy.
pub(crate) trait Configured: Send + Sync {
    /// What holds, and where it comes from.
    fn loaded(&self) -> Arc<Loaded>;
    /// Reads it again from where it came from, and does as it says.
    fn reload(self: Arc<Self>, who: Who) -> Outcome;
    /// Sets options to values, as JSON; null takes back what was set so.
    fn change(self: Arc<Self>, values: Vec<(String, Value)>, who: Who) -> Outcome;
}

/// What comes of it.
pub(crate) type Outcome = Pin<Box<dyn Future<Output = Result<Changed, Unchanged>> + Send>>;

/// What was changed.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Changed {
    /// What holds from now on.
    pub(crate) changed: Vec<Change>,
    /// What is to hold, and does so after a restart.
    pub(crate) restart: Vec<Change>,
    /// Options that are set by hand now, until the next restart or reload.
    pub(crate) by_hand: Vec<&'static str>,
    /// Options that were set by hand and are no longer.
    pub(crate) dropped: Vec<&'static str>,
    /// The files that were read.
    pub(crate) files: Vec<PathBuf>,
}

/// Why nothing was changed: each reason is a line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unchanged(pub(crate) Vec<String>);

impl From<ConfigErrors> for Unchanged {
    fn from(ConfigErrors(errors): ConfigErrors) -> Self {
        Self(errors.iter().map(ToString::to_string).collect())
    }
}

/// `GET /v1/config`
pub(super) fn all(admin: &Admin) -> api::Reply {
    match admin.configured() {
        Some(configured) => (StatusCode::OK, changes::all(&configured.loaded())),
        None => no_proxy(),
    }
}

/// `GET /v1/config/{key}`
pub(super) fn one(admin: &Admin, asked: &Asked) -> api::Reply {
    let Some(configured) = admin.configured() else { return no_proxy() };
    let key = dotted(&asked.key);
    match changes::one(&configured.loaded(), &key) {
        Some(told) => (StatusCode::OK, told),
        None => api::failed(StatusCode::NOT_FOUND, format!("{key:?} is not an option")),
    }
}

/// `PATCH /v1/config`
pub(super) fn change(admin: &Arc<Admin>, asked: Asked) -> Later {
    let given = serde_json::from_slice::<Map<String, Value>>(&asked.content);
    let values = given.map(|values| values.into_iter().map(|(key, value)| (dotted(&key), value)).collect());
    let values =
        values.map_err(|error| format!("expected an object such as {{\"link.spec\": \"1M\"}}: {error}"));
    changed(admin, values, asked.who)
}

/// `PATCH /v1/config/{key}`
pub(super) fn change_one(admin: &Arc<Admin>, asked: Asked) -> Later {
    let value = serde_json::from_slice::<Value>(&asked.content);
    let values = value.map(|value| vec![(dotted(&asked.key), value)]);
    let values = values.map_err(|error| format!("expected a value such as \"1M\": {error}"));
    changed(admin, values, asked.who)
}

/// `PUT /v1/link`
pub(super) fn set_link(admin: &Arc<Admin>, asked: Asked) -> Later {
    let (admin, Asked { who, content, .. }) = (admin.clone(), asked);
    Box::pin(async move {
        let given = serde_json::from_slice::<Value>(&content).unwrap_or_default();
        let (Some(spec), Some(trace)) =
            (given["spec"].as_str(), given.get("trace").map_or(Some("off"), Value::as_str))
        else {
            let how = "a link is set with {\"spec\": \"512k/128k,rtt=600ms\"}";
            return reply(api::failed(StatusCode::BAD_REQUEST, how));
        };
        if trace != "off" && !who.is_on_this_machine() {
            return reply(not_from_afar("link.trace"));
        }
        let Some(configured) = admin.configured() else { return reply(no_proxy()) };
        let mut values = vec![("link.spec".to_owned(), json!(spec))];
        // What is off and stays so is not set by hand.
        if trace.trim() != "off" || !configured.loaded().config.link.trace.is_off() {
            values.push(("link.trace".to_owned(), json!(trace)));
        }
        match configured.change(values, who).await {
            Ok(_) => reply(api::link(&admin)),
            Err(why) => reply(unchanged(&why)),
        }
    })
}

/// `POST /v1/reload`
pub(super) fn reload(admin: &Arc<Admin>, asked: Asked) -> Later {
    match admin.configured() {
        Some(configured) => told(configured.reload(asked.who)),
        None => Box::pin(async { reply(no_proxy()) }),
    }
}

fn changed(admin: &Admin, values: Result<Vec<(String, Value)>, String>, who: Who) -> Later {
    let from_afar = |values: &Vec<(String, Value)>| {
        let mut local = values.iter().filter(|(key, value)| changes::is_local(key, value));
        local.next().filter(|_| !who.is_on_this_machine()).map(|(key, _)| not_from_afar(key))
    };
    if let Some(refused) = values.as_ref().ok().and_then(from_afar) {
        return Box::pin(async { reply(refused) });
    }
    match (values, admin.configured()) {
        (Ok(values), Some(configured)) => told(configured.change(values, who)),
        (Err(why), _) => Box::pin(async { reply(api::failed(StatusCode::BAD_REQUEST, why)) }),
        (_, None) => Box::pin(async { reply(no_proxy()) }),
    }
}

fn told(outcome: Outcome) -> Later {
    Box::pin(async {
        match outcome.await {
            Ok(changed) => reply((StatusCode::OK, json!(changed))),
            Err(why) => reply(unchanged(&why)),
        }
    })
}

fn unchanged(Unchanged(why): &Unchanged) -> api::Reply {
    (StatusCode::BAD_REQUEST, json!({ "error": why.join("\n"), "errors": why }))
}

/// A token opens the proxy, and not the files of its machine, nor what is run there.
fn not_from_afar(key: &str) -> api::Reply {
    api::failed(StatusCode::FORBIDDEN, format!("only a command on this machine may set {key}"))
}

fn no_proxy() -> api::Reply {
    api::failed(StatusCode::CONFLICT, "no proxy is running, so there is no configuration in force")
}

/// The key of an option, of which the parts may stand in a path as folders do.
fn dotted(key: &str) -> String {
    key.trim_end_matches('/').replace('/', ".")
}
