//! The AsyncAPI 3.0 document of the streams. It copies schemas, examples and parameters from the OpenAPI document, and
//! adds the messages of the streams, which OpenAPI cannot describe.

use super::address::{AUTHORITY, HTTP, PREFIX, WS};
use crate::session::{CloseReason, Limits};
use crate::wire::websocket::{FLOOD, NOT_UTF8, PROTOCOL_VIOLATION, TOO_BIG, Violation};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// The messages of both streams: the name of each, and its schema.
const MESSAGES: [(&str, &str); 7] = [
    ("timedate", "TimedateUpdate"),
    ("timestamp", "TimestampUpdate"),
    ("tick", "Tick"),
    ("status", "Status"),
    ("gap", "Gap"),
    ("synced", "Synced"),
    ("hello", "Hello"),
];
/// The messages that are events without a name, which plain `onmessage` handlers receive.
const UPDATES: [&str; 3] = ["timedate", "timestamp", "tick"];
/// The messages that have an id to resume after.
const WITH_ID: [&str; 5] = ["timedate", "timestamp", "tick", "status", "synced"];

/// The settings of this server that the document mentions.
pub(crate) struct StreamFacts {
    pub(crate) limits: Limits,
    /// The time between two comments on an event stream.
    pub(crate) heartbeat: Duration,
}

/// Returns the document.
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
    let pathname = format!("{PREFIX}/");
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "btcfeed streams", "version": openapi["info"]["version"],
            "description": "Live prices of Bitcoin, after a replay if you ask for one, as WebSocket messages or \
                            server-sent events. Every entry has an `id`. Ids strictly increase, and in the format \
                            `full` each entry names the one before it in `prev`. A client that reconnects with `after` \
                            and the last id that it has, to any replica, gets every later entry once and in order. If \
                            entries are missing, a `gap` says where and why. `/openapi.json` describes the other \
                            requests.",
        },
        "defaultContentType": "application/json",
        "servers": {
            "websocket": {
                "host": AUTHORITY, "pathname": pathname, "protocol": WS, "description": "This server.",
            },
            "events": {
                "host": AUTHORITY, "pathname": pathname, "protocol": HTTP, "description": "This server.",
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
                "summary": "The replay, then live messages.",
                "description": "Messages of the client are ignored. They may have up to 4096 bytes.",
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
        "Each message is one JSON object. The formats `timedate` and `timestamp` have only updates, unless \
         `notices=true` asks for statuses, gaps and `synced`, which `full` and `audit` always have.\n\nTo resume, \
         connect with `after` and the last id that you have. In the format `timedate`, the id is the `timedate` in \
         Unix milliseconds.\n\nThe server sends a ping every {}. It disconnects a client that does not answer before \
         the next ping, that reads nothing for {}, or that stays behind the feed for {}. The close code 1001 and those \
         from 4000 to 4499 mean \"reconnect with your last id\", and those from 4500 to 4999 mean \"do not \
         reconnect\". A replica that cannot serve the client answers the handshake with 503 or 429, and with \
         `Retry-After`.",
        seconds(facts.limits.ping_every),
        seconds(facts.limits.write_stall),
        seconds(facts.limits.max_lag)
    )
}

fn events(facts: &StreamFacts) -> String {
    format!(
        "Updates are events without a name. The other messages are sent in every format, as events with a name. Plain \
         `onmessage` handlers do not receive events with a name. When an `EventSource` reconnects, it sends the last \
         `id:` as `Last-Event-ID`. The stream then continues after this id, which takes precedence over the query. If \
         several currencies were chosen, only the last update of a tick has the `id:`. The stream begins with \
         `retry:`, whose time differs between clients.\n\nOver HTTP/1.1, a browser opens at most six connections to \
         a host, so six event streams in all of its tabs block all other requests. Share one stream between tabs, or \
         use HTTP/2 or the WebSocket, which is not one of the six.\n\nThe server sends a comment every {}, and \
         `goodbye` before it ends a stream. If the server cannot serve a client that sends `Accept: \
         text/event-stream`, the response is a stream that has only `retry:` and `goodbye`, because an `EventSource` \
         never reconnects after a status other than 200. Other clients get 503 or 429.",
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
    let description = shape["description"].as_str().unwrap_or_default();
    let (summary, more) = description.split_once(". ").unwrap_or((description.trim_end_matches('.'), ""));
    let mut message = json!({
        "name": name, "title": schema, "summary": format!("{summary}."), "examples": examples,
        "payload": {"$ref": format!("#/components/schemas/{schema}")},
    });
    if !more.is_empty() {
        message["description"] = more.into();
    }
    message
}

/// Returns the schema of the fields of an event other than its data.
fn event_fields(name: &str) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    if !UPDATES.contains(&name) {
        properties.insert("event".to_owned(), json!({"type": "string", "const": name}));
        required.push("event");
    }
    if WITH_ID.contains(&name) {
        let id = json!({"type": "string", "pattern": "^\\d+$", "description": "The id to resume after."});
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

/// Returns the query parameters of a path as one object.
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
    let mut codes: Vec<_> = CloseReason::ALL
        .map(|reason| {
            let code = reason.websocket_code();
            json!({"code": code, "reason": reason.message(), "come_back": code < 4500})
        })
        .into();
    for Violation { code, reason } in [PROTOCOL_VIOLATION, NOT_UTF8, TOO_BIG, FLOOD] {
        codes.push(json!({"code": code, "reason": reason, "come_back": false}));
    }
    Value::Array(codes)
}

/// Collects every schema that `part` refers to, directly or through another schema.
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
