//! Renders the API reference from the descriptions and the examples. Without the script, the page still has all of its
//! content.

use super::markup::{anchor, members};
use super::markup::{event_messages, inline_markdown, items, markdown, operations, other_schemas, text, title};
use super::schemas::{example, fields, fields_html, kind, kind_html};
use super::{grpc, operations, samples};
use crate::site::head::head;
use maud::{DOCTYPE, Markup, html};
use serde_json::Value;

const DESCRIPTION: &str = "API reference of btcfeed: every path, parameter, response and message.";

/// Sources of the reference.
pub(crate) struct Reference<'a> {
    pub(crate) openapi: &'a Value,
    pub(crate) asyncapi: &'a Value,
    /// Service of gRPC, or null.
    pub(crate) grpc: &'a Value,
}

/// Returns the page.
pub(super) fn html(reference: &Reference<'_>) -> String {
    let Reference { openapi, asyncapi, grpc } = *reference;
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                (head("btcfeed: API reference", DESCRIPTION))
                link rel="service-desc" href="openapi.json" type="application/json";
                link rel="service-desc" href="asyncapi.json" type="application/json";
                link rel="alternate" href="llms.txt" type="text/plain";
                script src="docs.js" type="module" {}
            }
            body {
                a.skip href="#content" { "Skip to content" }
                header {
                    p.brand { a href="./" { "btcfeed" } " " span { (text(&openapi["info"]["version"])) } }
                    form.key hidden { label { span { "API key" } input #key type="password" autocomplete="off" size="12"; } }
                    nav aria-label="Other forms" {
                        a href="method" { "Method" }
                        a href="openapi.json" { "openapi.json" }
                        a href="asyncapi.json" { "asyncapi.json" }
                        a href="llms.txt" { "llms.txt" }
                    }
                }
                main.columns {
                    div.intro {
                        h1 { "API reference" }
                        div.lead { (markdown(text(&openapi["info"]["description"]))) }
                    }
                    (contents(reference))
                    div #content {
                        section.tag {
                            h2 #quickstart { "Quickstart" }
                            p { "These samples follow the feed. The SDKs connect again by themselves, and continue after the last update." }
                            (samples::html(&samples::follow()))
                        }
                        @for tag in items(&openapi["tags"]) {
                            section.tag {
                                h2 id=(text(&tag["name"])) { (title(tag)) }
                                (markdown(text(&tag["description"])))
                                @for (path, operation) in operations(openapi, tag) {
                                    (operations::html(openapi, channel(asyncapi, path), path, operation))
                                }
                            }
                            @if tag["name"] == "streams" { (messages(asyncapi)) }
                        }
                        (grpc::html(grpc))
                        (schemas(openapi, asyncapi))
                    }
                }
            }
        }
    };
    page.into_string()
}

/// Returns the stream at a path, or null.
pub(super) fn channel<'a>(asyncapi: &'a Value, path: &str) -> &'a Value {
    let mut channels = members(&asyncapi["channels"]).map(|(_, channel)| channel);
    channels.find(|channel| channel["address"] == path).unwrap_or(&Value::Null)
}

fn contents(Reference { openapi, asyncapi, grpc }: &Reference<'_>) -> Markup {
    html! {
        nav.contents aria-label="Contents" {
            label.search hidden { input #search type="search" placeholder="Search  /" autocomplete="off" aria-label="Search"; }
            p #found role="status" {}
            p { a href="#quickstart" { "Quickstart" } }
            @for tag in items(&openapi["tags"]) {
                p { a href={ "#" (text(&tag["name"])) } { (title(tag)) } }
                ul {
                    @for (path, _) in operations(openapi, tag) {
                        li { a href={ "#" (anchor(path)) } { code { (path) } } }
                    }
                }
                @if tag["name"] == "streams" {
                    p { a href="#messages" { "Messages" } }
                    ul {
                        @for (name, _) in event_messages(asyncapi) { li { a href={ "#message-" (name) } { code { (name) } } } }
                    }
                    p { a href="#close-codes" { "Close codes" } }
                }
            }
            (grpc::contents(grpc))
            p { a href="#schemas" { "Schemas" } }
        }
    }
}

/// Returns where a message is sent: the formats over WebSocket, and the kind of event.
pub(super) fn delivery(asyncapi: &Value, name: &str, message: &Value) -> [String; 2] {
    let event = &message["headers"]["properties"]["event"]["const"];
    let over_websocket = &asyncapi["channels"]["websocket"]["messages"];
    let websocket = if over_websocket[name].is_null() {
        "not over WebSocket".to_owned()
    } else if event.is_null() {
        format!("format `{}`", if name == "tick" { "full" } else { name })
    } else {
        "over WebSocket in the formats `full` and `audit` or with `notices=true`".to_owned()
    };
    let event = match event.as_str() {
        None => "an event without a name".to_owned(),
        Some(event) => format!("event `{event}`, in every format"),
    };
    [websocket, event]
}

fn messages(asyncapi: &Value) -> Markup {
    html! {
        section.tag {
            h2 #messages { "Messages" }
            p {
                "Each message is one JSON object that has only the listed fields. It is sent as a WebSocket message \
                 or as the data of an event. The first three messages are ticks, and all others are notices."
            }
            @for (name, message) in event_messages(asyncapi) {
                details.entry id={ "message-" (name) } {
                    summary {
                        code { (name) }
                        " " span.aside { (inline_markdown(&delivery(asyncapi, name, message).join(", "))) }
                    }
                    (markdown(text(&message["summary"])))
                    (markdown(text(&message["description"])))
                    @for example in items(&message["examples"]) {
                        pre tabindex="0" { code { (self::example(&example["payload"])) } }
                    }
                    (fields_html(&fields(asyncapi, &message["payload"])))
                }
            }
        }
        section.tag {
            h2 #close-codes { "Close codes" }
            p { "The codes with which the server closes a WebSocket." }
            div.entry { (operations::close_codes(&operations::codes(asyncapi))) }
        }
    }
}

/// Renders all schemas that are not messages.
fn schemas(openapi: &Value, asyncapi: &Value) -> Markup {
    html! {
        section.tag {
            h2 #schemas { "Schemas" }
            p { "The types of the values in messages and responses." }
            div.rows {
                @for (name, schema) in other_schemas(openapi, asyncapi) {
                    details.entry id={ "schema-" (name) } {
                        summary { code { (name) } }
                        p.kind { (kind_html(&kind(schema))) }
                        (markdown(text(&schema["description"])))
                        @if schema["properties"].is_object() {
                            @for example in items(&schema["examples"]) {
                                pre tabindex="0" { code { (self::example(example)) } }
                            }
                            (fields_html(&fields(openapi, schema)))
                        }
                    }
                }
            }
        }
    }
}
