//! The OpenAPI and AsyncAPI documents of a server. The tests compare its responses and messages with them.

use super::events::Event;
use axum::http::HeaderMap;
use jsonschema::{Draft, Validator};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Headers that are not described: they belong to HTTP, browsers, proxies and caches, not to the feed.
const UNDESCRIBED: [&str; 14] = [
    "access-control-allow-origin",
    "access-control-expose-headers",
    "allow",
    "cache-control",
    "connection",
    "content-length",
    "content-security-policy",
    "content-type",
    "date",
    "referrer-policy",
    "transfer-encoding",
    "vary",
    "x-accel-buffering",
    "x-content-type-options",
];

/// Both documents.
pub struct Description {
    pub openapi: Value,
    pub asyncapi: Value,
}

/// Returns a validator for a schema that is part of `document`.
fn validator(document: &Value, schema: &Value) -> Validator {
    let root = json!({"allOf": [schema], "components": document["components"]});
    let options = jsonschema::options().with_draft(Draft::Draft202012).should_validate_formats(true);
    options.build(&root).unwrap_or_else(|error| panic!("{error} in {schema}"))
}

/// Returns the errors of `value` against a schema of `document`.
pub fn violations(document: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let validator = validator(document, schema);
    validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

impl Description {
    /// Returns all paths.
    pub fn paths(&self) -> BTreeSet<String> {
        self.openapi["paths"].as_object().unwrap().keys().cloned().collect()
    }

    /// Returns the parameters of a path.
    pub fn parameters(&self, path: &str) -> Vec<Value> {
        self.openapi["paths"][path]["get"]["parameters"].as_array().cloned().unwrap_or_default()
    }

    /// Asserts that the response to a request for `path` is described. `body` is `None` if it has not been read.
    pub fn check(&self, path: &str, request: &str, status: u16, headers: &HeaderMap, body: Option<&str>) {
        let described = &self.openapi["paths"][path]["get"]["responses"][status.to_string()];
        assert!(described.is_object(), "{request}: the status {status} is not described");
        let none = serde_json::Map::new();
        let known = described["headers"].as_object().unwrap_or(&none);
        // If a header is optional, its description says when the response has it.
        let is_optional = |header: &Value| {
            let description = header["description"].as_str().unwrap_or_default();
            ["If ", "Only if", "if there is"].iter().any(|word| description.contains(word))
        };
        for (name, header) in known.iter().filter(|(_, header)| !is_optional(header)) {
            assert!(headers.contains_key(name), "{request}: {status} without {name}, described as {header}");
        }
        for name in headers.keys().map(|name| name.as_str()).filter(|name| !UNDESCRIBED.contains(name)) {
            let is_known = known.keys().any(|known| known.eq_ignore_ascii_case(name));
            assert!(is_known, "{request}: the header {name} of {status} is not described");
        }
        let kind = headers.get("content-type").map(|kind| kind.to_str().unwrap().split(';').next().unwrap().trim());
        match (kind, body) {
            (None, body) => {
                let is_empty = body.is_none_or(str::is_empty) && described["content"].is_null();
                assert!(is_empty, "{request}: {status} has no content type");
            }
            (Some(kind), None) => assert!(described["content"][kind].is_object(), "{request}: {kind} is not described"),
            (Some(kind), Some(body)) => self.check_body(request, kind, &described["content"][kind], body),
        }
    }

    fn check_body(&self, request: &str, kind: &str, described: &Value, body: &str) {
        assert!(described.is_object(), "{request}: {kind} is not described");
        let parse =
            |text: &str| serde_json::from_str(text).unwrap_or_else(|error| panic!("{request}: {error}: {text}"));
        let values: Vec<Value> = match kind {
            "application/json" | "application/problem+json" => vec![parse(body)],
            "application/x-ndjson" => body.lines().map(parse).collect(),
            _ => vec![body.into()],
        };
        let validator = validator(&self.openapi, &described["schema"]);
        for value in values {
            let violations: Vec<_> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
            assert!(violations.is_empty(), "{request}: {violations:?} in {value}");
        }
    }

    /// Returns the names of a stream's messages.
    pub fn messages(&self, channel: &str) -> BTreeSet<String> {
        self.asyncapi["channels"][channel]["messages"].as_object().unwrap().keys().cloned().collect()
    }

    /// Returns the name of a message of a stream. Exactly one description must match.
    pub fn name(&self, channel: &str, payload: &Value) -> String {
        let names = self.messages(channel);
        let matches = |name: &&String| {
            let message = &self.asyncapi["components"]["messages"][format!("{channel}.{name}")];
            violations(&self.asyncapi, &message["payload"], payload).is_empty()
        };
        let matching: Vec<_> = names.iter().filter(matches).collect();
        assert_eq!(matching.len(), 1, "of the messages of {channel}, {matching:?} match {payload}");
        matching[0].clone()
    }

    /// Returns the name of an event. Its other fields must be as described, too.
    pub fn event_name(&self, event: &Event) -> String {
        let name = self.name("events", &event.json());
        let mut fields = serde_json::Map::new();
        fields.extend(event.name.clone().map(|name| ("event".to_owned(), name.into())));
        fields.extend(event.id.clone().map(|id| ("id".to_owned(), id.into())));
        let headers = &self.asyncapi["components"]["messages"][format!("events.{name}")]["headers"];
        assert_eq!(violations(&self.asyncapi, headers, &Value::Object(fields)), [""; 0], "{event:?}");
        name
    }
}
