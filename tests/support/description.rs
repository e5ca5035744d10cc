//! The OpenAPI and AsyncAPI documents of a server, with which its responses and messages are compared.

use super::events::Event;
use super::replica::Replica;
use super::{http, soon};
use jsonschema::{Draft, Validator};
use reqwest::Response;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Headers that any HTTP server sends, or that are about browsers, proxies and caches and not about the feed.
const USUAL: [&str; 14] = [
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

pub struct Description {
    pub openapi: Value,
    pub asyncapi: Value,
}

/// A schema that stands in `document`, ready to be compared with.
fn validator(document: &Value, schema: &Value) -> Validator {
    let root = json!({"allOf": [schema], "components": document["components"]});
    let options = jsonschema::options().with_draft(Draft::Draft202012).should_validate_formats(true);
    options.build(&root).unwrap_or_else(|error| panic!("{error} in {schema}"))
}

/// What is wrong with `value`, if anything is.
pub fn mistakes(document: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let validator = validator(document, schema);
    validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

impl Description {
    pub async fn of(replica: &Replica) -> Description {
        Description { openapi: replica.json("/openapi.json").await, asyncapi: replica.json("/asyncapi.json").await }
    }

    /// Every path.
    pub fn paths(&self) -> BTreeSet<String> {
        self.openapi["paths"].as_object().unwrap().keys().cloned().collect()
    }

    /// The parameters of a path: name, where it stands, schema, example.
    pub fn parameters(&self, path: &str) -> Vec<Value> {
        self.openapi["paths"][path]["get"]["parameters"].as_array().cloned().unwrap_or_default()
    }

    /// Asks `replica` for a path with a query, and panics if the answer is not as it is described. Returns status and body.
    pub async fn ask(&self, replica: &Replica, path: &str, query: &str, headers: &[(&str, &str)]) -> (u16, String) {
        let url = format!("http://{}{path}?{query}", replica.address);
        let mut request = http().get(&url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = soon(&url, request.send()).await.unwrap();
        self.check(path, &url, response).await
    }

    async fn check(&self, path: &str, url: &str, response: Response) -> (u16, String) {
        let status = response.status().as_u16();
        let described = &self.openapi["paths"][path]["get"]["responses"][status.to_string()];
        assert!(described.is_object(), "{url}: the status {status} is not described");
        let empty = serde_json::Map::new();
        let headers = described["headers"].as_object().unwrap_or(&empty);
        let sometimes = |header: &Value| header["description"].as_str().unwrap_or_default().starts_with("If ");
        for (name, header) in headers.iter().filter(|(_, header)| !sometimes(header)) {
            assert!(response.headers().contains_key(name), "{url}: {status} without {name}, described as {header}");
        }
        for name in response.headers().keys().map(|name| name.as_str()).filter(|name| !USUAL.contains(name)) {
            let known = headers.keys().any(|known| known.eq_ignore_ascii_case(name));
            assert!(known, "{url}: the header {name} of {status} is not described");
        }
        let kind = response.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
        let kind = kind.as_deref().map(|kind| kind.split(';').next().unwrap().trim().to_owned());
        if kind.as_deref() == Some("text/event-stream") {
            assert!(described["content"]["text/event-stream"].is_object(), "{url}");
            return (status, String::new());
        }
        let body = soon(url, response.text()).await.unwrap();
        match kind {
            None => assert!(body.is_empty() && described["content"].is_null(), "{url}: {status} has no type"),
            Some(kind) => self.check_body(url, &kind, &described["content"][&kind], &body),
        }
        (status, body)
    }

    fn check_body(&self, url: &str, kind: &str, described: &Value, body: &str) {
        assert!(described.is_object(), "{url}: {kind} is not described");
        let parse = |text: &str| serde_json::from_str(text).unwrap_or_else(|error| panic!("{url}: {error}: {text}"));
        let values: Vec<Value> = match kind {
            "application/json" | "application/problem+json" => vec![parse(body)],
            "application/x-ndjson" => body.lines().map(parse).collect(),
            _ => vec![body.into()],
        };
        let validator = validator(&self.openapi, &described["schema"]);
        for value in values {
            let mistakes: Vec<_> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
            assert!(mistakes.is_empty(), "{url}: {mistakes:?} in {value}");
        }
    }

    /// The names of a stream's messages.
    pub fn messages(&self, channel: &str) -> BTreeSet<String> {
        self.asyncapi["channels"][channel]["messages"].as_object().unwrap().keys().cloned().collect()
    }

    /// The name of the one message of a stream that `payload` is.
    pub fn name(&self, channel: &str, payload: &Value) -> String {
        let names = self.messages(channel);
        let fits = |name: &&String| {
            let message = &self.asyncapi["components"]["messages"][format!("{channel}.{name}")];
            mistakes(&self.asyncapi, &message["payload"], payload).is_empty()
        };
        let fitting: Vec<_> = names.iter().filter(fits).collect();
        assert_eq!(fitting.len(), 1, "of the messages of {channel}, {fitting:?} are {payload}");
        fitting[0].clone()
    }

    /// The name of the one event that this is, whose other fields are as described too.
    pub fn event_name(&self, event: &Event) -> String {
        let name = self.name("events", &event.json());
        let mut fields = serde_json::Map::new();
        fields.extend(event.name.clone().map(|name| ("event".to_owned(), name.into())));
        fields.extend(event.id.clone().map(|id| ("id".to_owned(), id.into())));
        let headers = &self.asyncapi["components"]["messages"][format!("events.{name}")]["headers"];
        assert_eq!(mistakes(&self.asyncapi, headers, &Value::Object(fields)), [""; 0], "{event:?}");
        name
    }
}
