//! The description of the admin interface (OpenAPI 3.1), made from the table of routes.

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::api::Reply;
use super::routes::{OPEN, ROUTES, Route, Run, Shape, VALUE};
use crate::config::changes;

/// `GET /v1/openapi.json`
pub(super) fn reply() -> Reply {
    (StatusCode::OK, description())
}

fn description() -> Value {
    let mut paths = Map::new();
    for route in ROUTES {
        let item = paths.entry(route.path).or_insert_with(|| json!({}));
        item[route.method.name().to_ascii_lowercase()] = operation(route);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "bentpipe",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "What an operator can see and change of a running bentpipe.",
            "description": "On the control socket everything is open to its owner. Over TCP (admin.listen) what changes \
                            something wants a token of admin.token.",
            "license": { "name": "MIT OR Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "schemas": { "Error": schema(&[("error", "string")]) },
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
    })
}

fn operation(route: &Route) -> Value {
    let mut responses = json!({ "200": response("It is done, or this is it.", &schema(route.gives)) });
    let error = json!({ "$ref": "#/components/schemas/Error" });
    let mut may_fail = vec![
        ("401", "A token is wanted, or the one presented is not known."),
        ("403", "The page of another site asks."),
        ("421", "The name that was asked for is not one of this interface."),
        ("429", "Too many wrong tokens; Retry-After says when to try again."),
    ];
    if route.writes || !route.takes.is_empty() {
        may_fail.push(("400", "What was given makes no sense, or cannot be; nothing was changed."));
        may_fail.push(("413", "The content is larger than 1 MiB."));
        may_fail.push(("415", "The content is not announced as JSON."));
    }
    if route.path.ends_with(OPEN) {
        may_fail.push(("404", "There is no such option."));
    }
    for (status, why) in may_fail {
        responses[status] = response(why, &error);
    }
    let mut operation = json!({
        "operationId": name(route),
        "summary": route.summary,
        "responses": responses,
        // An empty requirement: without is fine, too, from this machine.
        "security": if route.writes { json!([{ "token": [] }]) } else { json!([{ "token": [] }, {}]) },
    });
    if !route.takes.is_empty() {
        let content = json!({ "application/json": { "schema": schema(route.takes) } });
        operation["requestBody"] = json!({ "required": true, "content": content });
    }
    if route.path.ends_with(OPEN) {
        let keys: Vec<_> = changes::keys().collect();
        operation["parameters"] = json!([{
            "name": "key",
            "in": "path",
            "required": true,
            "description": "The key of an option; slashes may stand for its dots.",
            "schema": { "type": "string", "enum": keys },
        }]);
    }
    if matches!(route.run, Run::Later(_)) {
        operation["description"] = "Of a running proxy only.".into();
    }
    operation
}

fn response(description: &str, schema: &Value) -> Value {
    json!({ "description": description, "content": { "application/json": { "schema": schema } } })
}

fn schema(shape: Shape) -> Value {
    if shape == VALUE {
        return json!({ "type": ["string", "number", "boolean", "array", "null"] });
    }
    let mut properties = Map::new();
    let mut required = Vec::new();
    for (name, kind) in shape {
        let (name, is_optional) = name.strip_suffix('?').map_or((*name, false), |name| (name, true));
        let property = match (*kind, is_optional) {
            ("any", _) => json!({}),
            (kind, true) => json!({ "type": [kind, "null"] }),
            (kind, false) => json!({ "type": kind }),
        };
        properties.insert(name.to_owned(), property);
        if !is_optional {
            required.push(name);
        }
    }
    json!({ "type": "object", "properties": properties, "required": required })
}

/// `get_v1_cache_survey`
fn name(route: &Route) -> String {
    let path = route.path.trim_start_matches('/').replace(OPEN, "key").replace(['/', '.'], "_");
    format!("{}_{path}", route.method.name().to_ascii_lowercase())
}
