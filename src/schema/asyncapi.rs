//! The streams as an `AsyncAPI` 3.0 document. It is made from the `OpenAPI` one: schemas, their examples and the parameters are
//! the same words in both, so only what `OpenAPI` has no words for stands here.

use crate::session::{CloseReason, Limits};
use crate::wire::websocket::{NOT_UTF8, PROTOCOL_VIOLATION, TOO_BIG, Violation};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// The messages of both streams: the word that names each, and its schema.
const MESSAGES: [(&str, &str); 7] = [
    ("timedate", "TimedateUpdate"),
    ("timestamp", "TimestampUpdate"),
    ("tick", "Tick"),
    ("status", "Status"),
    ("gap", "Gap"),
    ("synced", "Synced"),
    ("hello", "Hello"),
];
/// Those that are events without a name, so that a plain `onmessage` reads them.
const UPDATES: [&str; 3] = ["timedate", "timestamp", "tick"];
/// Those that have an id to resume from.
const WITH_ID: [&str; 5] = ["timedate", "timestamp", "tick", "status", "synced"];

/// Settings of this server that its clients notice.
pub(crate) struct StreamFacts {
    pub(crate) limits: Limits,
    /// Time between two comments on an event stream.
    pub(crate) heartbeat: Duration,
}

/// The document.
pub(crate) fn document(openapi: &Value, facts: &StreamFacts) -> Value {
    let mut messages = Map::new();
    for (name, schema) in MESSAGES {
        messages.insert(format!("websocket.{name}"), message(openapi, name, schema));
    }
    for (name, schema) in MESSAGES.into_iter().chain([("goodbye", "Goodbye")]) {
        let mut event = message(openapi, name, schema);
        event["headers"] = event_fields(name);
        messages.insert(format!("events.{name}"), event);
    }
    let mut schemas = Map::new();
    collect_schemas(&Value::Object(messages.clone()), openapi, &mut schemas);
    let host = json!({"default": "localhost:8080", "description": "Where this document came from."});
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "btcfeed streams", "version": openapi["info"]["version"],
            "description": "Live prices of Bitcoin, with a replay before them, as WebSocket messages or server-sent events. Every entry \
                has an `id`, which strictly increases; each one names the entry before it in `prev` (format `full`). Whoever comes back with \
                `after` the last id that it has, to any replica, gets every later entry once, in order, or is told with a `gap` what is \
                missing and why. What is asked once is described in `/openapi.json`.",
        },
        "defaultContentType": "application/json",
        "servers": {
            "websocket": {
                "host": "{host}", "protocol": "ws", "description": "This server; `wss` behind TLS.", "variables": {"host": host},
            },
            "events": {
                "host": "{host}", "protocol": "http", "description": "The same; `https` behind TLS.", "variables": {"host": host},
            },
        },
        "channels": {
            "websocket": {
                "address": "/v1/ws", "title": "WebSocket", "servers": [{"$ref": "#/servers/websocket"}],
                "description": websocket(facts), "messages": channel_messages(&messages, "websocket."),
                "x-short-address": "/ws", "x-close-codes": close_codes(),
                "bindings": {"ws": {"method": "GET", "query": query(openapi, "/v1/ws"), "bindingVersion": "0.1.0"}},
            },
            "events": {
                "address": "/v1/prices/stream", "title": "Server-sent events", "servers": [{"$ref": "#/servers/events"}],
                "description": events(facts), "messages": channel_messages(&messages, "events."),
                "x-short-address": "/prices/stream",
            },
        },
        "operations": {
            "sendMessages": {
                "action": "send", "channel": {"$ref": "#/channels/websocket"},
                "summary": "The replay, then live messages. What a client sends is read and thrown away, up to 4096 bytes a message.",
            },
            "sendEvents": {
                "action": "send", "channel": {"$ref": "#/channels/events"}, "summary": "The replay, then live events.",
                "bindings": {
                    "http": {"method": "GET", "query": query(openapi, "/v1/prices/stream"), "bindingVersion": "0.3.0"},
                },
            },
        },
        "components": {"messages": messages, "schemas": schemas},
    })
}

fn websocket(facts: &StreamFacts) -> String {
    format!(
        "One JSON object a message. `timedate` and `timestamp` send updates and nothing else; `full` sends ticks, and statuses, gaps \
         and `synced` beside them.\n\nTo resume, connect with `after` the last id that you have; in the short formats the `timedate` \
         is it, as Unix milliseconds.\n\nThe server pings every {} and lets go who does not answer by the next one, who takes nothing \
         for {}, and who has been behind for {}. Close codes from 4000 to 4499 mean: come back with your cursor; from 4500 to 4999: \
         do not. A replica that can serve nobody answers the handshake with 503 and `Retry-After`.",
        seconds(facts.limits.ping_every),
        seconds(facts.limits.write_stall),
        seconds(facts.limits.max_lag)
    )
}

fn events(facts: &StreamFacts) -> String {
    format!(
        "Updates are events without a name, everything else is a named event in every format, which plain `onmessage` handlers never \
         see. `id:` is what an `EventSource` sends back as `Last-Event-ID`, which resumes exactly and wins over the query; with several \
         currencies the last of a tick's updates carries it. `retry:` comes first, and differs from client to client.\n\nA comment \
         comes every {}. Before the server ends a stream it says `goodbye`. A client that sends `Accept: text/event-stream` and cannot \
         be served now is answered with a stream that says goodbye at once, since an `EventSource` gives up for good on any status but \
         200; others are answered with 503.",
        seconds(facts.heartbeat)
    )
}

fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs_f64())
}

fn message(openapi: &Value, name: &str, schema: &str) -> Value {
    let shape = &openapi["components"]["schemas"][schema];
    let examples: Vec<_> =
        shape["examples"].as_array().into_iter().flatten().map(|it| json!({"payload": it})).collect();
    json!({
        "name": name, "title": schema, "summary": shape["description"], "examples": examples,
        "payload": {"$ref": format!("#/components/schemas/{schema}")},
    })
}

/// The fields of an event beside its data.
fn event_fields(name: &str) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    if !UPDATES.contains(&name) {
        properties.insert("event".to_owned(), json!({"type": "string", "const": name}));
        required.push("event");
    }
    if WITH_ID.contains(&name) {
        let id = json!({"type": "string", "pattern": "^\\d+$", "description": "The id to resume from."});
        properties.insert("id".to_owned(), id);
    }
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

fn channel_messages(messages: &Map<String, Value>, prefix: &str) -> Value {
    let of_channel = messages.keys().filter_map(|id| Some((id.strip_prefix(prefix)?, id)));
    let references =
        of_channel.map(|(name, id)| (name.to_owned(), json!({"$ref": format!("#/components/messages/{id}")})));
    Value::Object(references.collect())
}

/// The parameters of a path as one object.
fn query(openapi: &Value, path: &str) -> Value {
    let parameters = openapi["paths"][path]["get"]["parameters"].as_array().into_iter().flatten();
    let properties: Map<_, _> = parameters
        .filter(|parameter| parameter["in"] == "query")
        .filter_map(|parameter| {
            let mut schema = parameter["schema"].clone();
            schema["description"] = parameter["description"].clone();
            Some((parameter["name"].as_str()?.to_owned(), schema))
        })
        .collect();
    json!({"type": "object", "properties": properties, "additionalProperties": false})
}

fn close_codes() -> Value {
    let mut codes: Vec<_> = [CloseReason::Draining, CloseReason::TooSlow, CloseReason::NoPong]
        .map(|reason| json!({"code": reason.websocket_code(), "reason": reason.message(), "come_back": true}))
        .into();
    for Violation { code, reason } in [PROTOCOL_VIOLATION, NOT_UTF8, TOO_BIG] {
        codes.push(json!({"code": code, "reason": reason, "come_back": false}));
    }
    Value::Array(codes)
}

/// Takes every schema that `part` refers to, and those that these refer to.
fn collect_schemas(part: &Value, openapi: &Value, found: &mut Map<String, Value>) {
    match part {
        Value::Object(members) => {
            let name = members.get("$ref").and_then(|to| to.as_str()?.strip_prefix("#/components/schemas/"));
            if let Some(name) = name.filter(|name| !found.contains_key(*name)) {
                let schema = openapi["components"]["schemas"][name].clone();
                found.insert(name.to_owned(), schema.clone());
                collect_schemas(&schema, openapi, found);
            }
            members.values().for_each(|member| collect_schemas(member, openapi, found));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_schemas(item, openapi, found)),
        _ => {}
    }
}
