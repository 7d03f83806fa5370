//! The table of what the admin interface answers: one row a route. To add one, add a row, and the function that it names.
//! The description at `/v1/openapi.json` is made from the same rows, and `tests/it/admin_tcp.rs` walks them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Response};
use hyper::upgrade::OnUpgrade;

use super::serving::Content;
use super::who::Who;
use super::{Admin, api, capture, configuring, openapi, plain};

/// One route.
pub(crate) struct Route {
    pub(crate) method: Verb,
    /// The path; `{key}` at its end stands for all that is left, which may have slashes in it.
    pub(crate) path: &'static str,
    /// Whether it changes anything: it is audited, and wants a token over TCP.
    pub(crate) writes: bool,
    /// What it does, in a sentence.
    pub(crate) summary: &'static str,
    /// The members of the object that it takes; empty for none.
    pub(crate) takes: Shape,
    /// The members of the object that it gives.
    pub(crate) gives: Shape,
    pub(crate) run: Run,
}

/// The method of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Patch,
    Post,
    Put,
}

impl Verb {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Patch => "PATCH",
            Self::Post => "POST",
            Self::Put => "PUT",
        }
    }
}

/// Members of an object with their types, as JSON schema names them; `any` for whatever it is. A name with `?` behind it
/// may be missing or null.
pub(crate) type Shape = &'static [(&'static str, &'static str)];

/// How a route is answered.
pub(crate) enum Run {
    /// With a value, found where waiting for the disk is allowed.
    Now(fn(&Admin, &Asked) -> api::Reply),
    /// With a response in its own time, of which the content may go on and on (`text/event-stream`). Only a running proxy
    /// has such.
    Later(fn(&Arc<Admin>, Asked) -> Later),
}

/// A response to come.
pub(crate) type Later = Pin<Box<dyn Future<Output = Response<Content>> + Send>>;

/// What was asked.
pub(crate) struct Asked {
    pub(crate) who: Who,
    /// What `{key}` stands for.
    pub(crate) key: String,
    /// What stands behind the question mark.
    pub(crate) query: String,
    /// For routes to come, such as one that serves pages or goes on where a reader left off.
    pub(crate) headers: HeaderMap,
    pub(crate) content: Bytes,
    /// The connection, for a route that goes on in another protocol.
    pub(crate) upgrade: Option<OnUpgrade>,
}

const READ: Route = Route {
    method: Verb::Get,
    path: "",
    writes: false,
    summary: "",
    takes: &[],
    gives: &[],
    run: Run::Now(|_, _| api::nothing()),
};

const WRITE: Route = Route { method: Verb::Post, writes: true, ..READ };

/// What a change of the configuration came to.
const CHANGED: Shape = &[
    ("changed", "array"),
    ("restart", "array"),
    ("by_hand", "array"),
    ("dropped", "array"),
    ("files", "array"),
];

/// Every route, in the order of the description.
pub(crate) static ROUTES: &[Route] = &[
    Route {
        path: "/v1/openapi.json",
        summary: "This description (OpenAPI 3.1).",
        gives: &[("openapi", "string"), ("info", "object"), ("paths", "object"), ("components", "object")],
        run: Run::Now(|_, _| openapi::reply()),
        ..READ
    },
    Route {
        path: "/v1/proxy",
        summary: "Which program this is, and where clients connect to it.",
        gives: &[
            ("version", "string"),
            ("process", "integer"),
            ("listen", "array"),
            ("https_listen", "array"),
            ("under_way", "object"),
        ],
        run: Run::Now(|admin, _| api::proxy(admin)),
        ..READ
    },
    Route {
        path: "/v1/config",
        summary: "Every option: its value, where that comes from, and whether another waits for a restart.",
        gives: &[("link.spec", "object"), ("cache.size", "object")],
        run: Run::Now(|admin, _| configuring::all(admin)),
        ..READ
    },
    Route {
        method: Verb::Patch,
        path: "/v1/config",
        summary: "Sets options of the running proxy, all or none: {\"link.spec\": \"1M\"}; null takes back what was set.",
        takes: &[("link.spec?", "any")],
        gives: CHANGED,
        run: Run::Later(configuring::change),
        ..WRITE
    },
    Route {
        path: "/v1/config/{key}",
        summary: "One option, by its key with dots or slashes.",
        gives: &[("key", "string"), ("value", "any"), ("source", "string"), ("restart", "boolean")],
        run: Run::Now(configuring::one),
        ..READ
    },
    Route {
        method: Verb::Patch,
        path: "/v1/config/{key}",
        summary: "Sets one option of the running proxy to the value that is the content.",
        takes: VALUE,
        gives: CHANGED,
        run: Run::Later(configuring::change_one),
        ..WRITE
    },
    Route {
        path: "/v1/reload",
        summary: "Reads files, environment and flags again and does as they say, all or nothing.",
        gives: CHANGED,
        run: Run::Later(configuring::reload),
        ..WRITE
    },
    Route {
        path: "/v1/upgrade",
        summary: "Has a new process take over, of the program at a path or of the present one as it is on the disk now.",
        takes: &[("binary?", "string")],
        gives: &[("process", "integer"), ("version", "string"), ("before", "integer")],
        run: Run::Now(api::upgrade),
        ..WRITE
    },
    Route {
        path: "/v1/link",
        summary: "The link, what waits for it, and who uses it. Bytes are payload.",
        gives: LINK,
        run: Run::Now(|admin, _| api::link(admin)),
        ..READ
    },
    Route {
        method: Verb::Put,
        path: "/v1/link",
        summary: "Changes the link at once; nothing that is under way is lost.",
        takes: &[("spec", "string"), ("trace?", "string")],
        gives: LINK,
        run: Run::Later(configuring::set_link),
        ..WRITE
    },
    Route {
        path: "/v1/dns",
        summary: "How names were looked up.",
        gives: &[("lookups", "integer"), ("hits", "integer"), ("queries", "integer"), ("names", "integer")],
        run: Run::Now(|admin, _| api::dns(admin)),
        ..READ
    },
    Route {
        path: "/v1/overview",
        summary: "The state of the proxy in a few figures, as the dashboard shows it.",
        gives: &[
            ("version", "string"),
            ("time", "number"),
            ("uptime", "integer"),
            ("link", "object"),
            ("answers", "object"),
            ("saved", "integer"),
            ("saved_money?", "string"),
            ("cache", "object"),
            ("exchanges", "integer"),
            ("running", "array"),
            ("clients", "array"),
            ("sites", "array"),
            ("failures", "array"),
            ("series", "array"),
        ],
        run: Run::Now(|admin, _| api::overview(admin)),
        ..READ
    },
    Route {
        path: "/v1/exchanges",
        summary: "The exchanges under way, with what is known of each.",
        gives: &[("begun", "integer"), ("exchanges", "array")],
        run: Run::Now(|admin, _| api::exchanges(admin)),
        ..READ
    },
    Route {
        path: "/v1/events",
        summary: "Exchanges as they end: Server-Sent Events, each an object as in /v1/exchanges.",
        run: Run::Later(plain::events),
        ..READ
    },
    Route {
        path: "/metrics",
        summary: "Figures for Prometheus, as text.",
        run: Run::Later(plain::metrics),
        ..READ
    },
    Route {
        path: "/v1/exchanges/class",
        summary: "Puts exchanges into a class of the link, by their numbers; the class rules gives them back to the rules.",
        takes: &[("numbers", "array"), ("class", "string")],
        gives: &[("changed", "integer"), ("crossing", "integer")],
        run: Run::Now(api::classify),
        ..WRITE
    },
    Route {
        path: "/v1/exchanges/stop",
        summary: "Breaks exchanges off, by their numbers.",
        takes: &[("numbers", "array")],
        gives: &[("stopped", "integer")],
        run: Run::Now(api::stop),
        ..WRITE
    },
    Route {
        path: "/v1/debug",
        summary: "Whose exchanges are shown step by step in the log.",
        run: Run::Now(|admin, _| api::debug_shown(admin)),
        ..READ
    },
    Route {
        path: "/v1/debug",
        summary: "Has the exchanges of one client or host shown step by step for a while, or none any more.",
        takes: &[("client?", "string"), ("host?", "string"), ("seconds?", "integer")],
        run: Run::Now(api::debug_asked),
        ..WRITE
    },
    Route {
        path: "/v1/capture",
        summary: "Switches the connection to a stream of what clients say and are told; for `bentpipe capture` alone.",
        takes: &[("clients?", "array"), ("hosts?", "array"), ("bodies?", "integer"), ("queue?", "integer")],
        run: Run::Later(capture::begin),
        ..WRITE
    },
    Route {
        path: "/v1/ca",
        summary: "What came of the tunnels that were to be looked into.",
        gives: &[("folder", "string"), ("leaves", "integer"), ("spliced", "array")],
        run: Run::Now(|admin, _| api::authority(admin)),
        ..READ
    },
    Route {
        path: "/v1/ca/forget",
        summary: "Lets every client be tried again whose tunnels are passed on.",
        gives: &[("forgotten", "integer")],
        run: Run::Now(|admin, _| api::forget(admin)),
        ..WRITE
    },
    Route {
        path: "/v1/cache",
        summary: "What the cache holds and how often it could answer.",
        gives: &[("folder", "string"), ("stats", "object"), ("answers?", "object")],
        run: Run::Now(|admin, _| api::cache(admin)),
        ..READ
    },
    Route {
        path: "/v1/cache/survey",
        summary: "What the cache holds by host and by media type.",
        gives: &[("partial", "integer"), ("hosts", "array"), ("types", "array")],
        run: Run::Now(|admin, _| api::survey(admin)),
        ..READ
    },
    Route {
        path: "/v1/cache/responses",
        summary: "Everything that is stored.",
        gives: &[("responses", "array")],
        run: Run::Now(|admin, _| api::responses(admin)),
        ..READ
    },
    Route {
        method: Verb::Post,
        path: "/v1/cache/list",
        summary: "What is stored and passes filters.",
        takes: &[("selection?", "object"), ("sort?", "string"), ("limit?", "integer")],
        gives: &[("responses", "array"), ("totals", "object")],
        run: Run::Now(api::list),
        ..READ
    },
    Route {
        method: Verb::Post,
        path: "/v1/cache/show",
        summary: "All that is known of what is stored for a URL.",
        takes: &[("url", "string")],
        gives: &[("responses", "array"), ("explanation?", "object")],
        run: Run::Now(api::show),
        ..READ
    },
    Route {
        path: "/v1/cache/purge",
        summary: "Drops what is stored and passes filters, or is stored for a URL.",
        takes: &[
            ("selection?", "object"),
            ("dry_run?", "boolean"),
            ("pinned_too?", "boolean"),
            ("url?", "string"),
        ],
        gives: &[
            ("purged?", "integer"),
            ("would_purge?", "integer"),
            ("spared", "integer"),
            ("bytes", "integer"),
        ],
        run: Run::Now(api::purge),
        ..WRITE
    },
    Route {
        path: "/v1/cache/pin",
        summary: "Keeps what is stored and passes filters from being evicted, or no longer.",
        takes: &[("selection", "object"), ("pinned", "boolean")],
        gives: &[("found", "integer"), ("changed", "integer")],
        run: Run::Now(api::pin),
        ..WRITE
    },
    Route {
        path: "/v1/cache/verification",
        summary: "How far the verification of what is stored is.",
        gives: &[("begun", "boolean"), ("running", "boolean"), ("checked", "integer"), ("damaged", "array")],
        run: Run::Now(|admin, _| api::verification(admin)),
        ..READ
    },
    Route {
        path: "/v1/cache/verification",
        summary: "Begins to verify what is stored.",
        takes: &[("repair?", "boolean"), ("bytes_per_second?", "integer")],
        gives: &[("begun", "boolean"), ("running", "boolean"), ("checked", "integer"), ("damaged", "array")],
        run: Run::Now(api::verify),
        ..WRITE
    },
    Route {
        method: Verb::Post,
        path: "/v1/explain",
        summary: "What would be done now with a request for a URL, and why.",
        takes: &[("url", "string"), ("headers?", "array"), ("client?", "string"), ("user?", "string")],
        gives: &[("url", "string"), ("decision", "string"), ("because", "string"), ("steps", "array")],
        run: Run::Now(api::explain),
        ..READ
    },
];

/// The content is no object, but one value.
pub(crate) const VALUE: Shape = &[("", "any")];

const LINK: Shape = &[
    ("spec", "string"),
    ("trace", "string"),
    ("down", "integer"),
    ("up", "integer"),
    ("flows", "integer"),
    ("queue_down", "object"),
    ("queue_up", "object"),
    ("classes", "object"),
    ("clients", "array"),
    ("rate_down_bits_per_second?", "integer"),
    ("rate_up_bits_per_second?", "integer"),
    ("passive?", "object"),
];

/// What a request is for.
pub(crate) enum Found {
    /// A route, and what `{key}` stands for.
    Route(&'static Route, String),
    /// There is the path, with these methods.
    OtherMethods(Vec<&'static str>),
    Nothing,
}

/// The route for `method` and `path`.
pub(crate) fn find(method: &Method, path: &str) -> Found {
    let matching = || ROUTES.iter().filter_map(|route| Some((route, key(route.path, path)?)));
    // A path in full goes before one with a part left open.
    let most = matching().map(|(route, _)| is_open(route)).min();
    let mut there = matching().filter(|(route, _)| Some(is_open(route)) == most).peekable();
    if there.peek().is_none() {
        return Found::Nothing;
    }
    let mut methods = Vec::new();
    for (route, key) in there {
        if route.method.name() == method.as_str() {
            return Found::Route(route, key);
        }
        methods.push(route.method.name());
    }
    Found::OtherMethods(methods)
}

fn is_open(route: &Route) -> bool {
    route.path.ends_with(OPEN)
}

/// What stands for the rest of a path.
pub(crate) const OPEN: &str = "{key}";

/// What `{key}` stands for in `path`, empty where there is none; none if it is another path.
fn key(pattern: &str, path: &str) -> Option<String> {
    match pattern.strip_suffix(OPEN) {
        Some(start) => path.strip_prefix(start).filter(|key| !key.is_empty()).map(str::to_owned),
        None => (pattern == path).then(String::new),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(method: &Method, path: &str, expected: &str) {
        let found = match find(method, path) {
            Found::Route(route, key) => format!("{} {key}", route.path),
            Found::OtherMethods(methods) => format!("405 {}", methods.join(", ")),
            Found::Nothing => "404".to_owned(),
        };
        assert_eq!(found, expected, "{method} {path}");
    }

    #[test]
    fn routes_are_found_by_method_and_path() {
        check(&Method::GET, "/v1/config", "/v1/config ");
        check(&Method::GET, "/v1/config/link/spec", "/v1/config/{key} link/spec");
        check(&Method::PATCH, "/v1/config/link.spec", "/v1/config/{key} link.spec");
        check(&Method::DELETE, "/v1/config", "405 GET, PATCH");
        check(&Method::GET, "/v1/reload", "405 POST");
        check(&Method::GET, "/v1/config/", "404");
        check(&Method::GET, "/", "404");
    }

    #[test]
    fn no_row_is_there_twice_and_every_row_says_what_it_does() {
        for (number, route) in ROUTES.iter().enumerate() {
            let same = |other: &&Route| (other.method, other.path) == (route.method, route.path);
            assert_eq!(ROUTES.iter().position(|other| same(&other)), Some(number), "{}", route.path);
            assert!(route.summary.ends_with('.'), "{}", route.path);
            assert!(!(route.writes && route.method == Verb::Get), "{}", route.path);
        }
    }
}
