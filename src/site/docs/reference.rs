//! Renders the API reference. All of its content comes from the two descriptions. The page needs no script and loads
//! nothing from other servers.

use super::markup::{anchor, inline_markdown, items, markdown, members, plain, text, title};
use super::schemas::{example, fields, kind};
use maud::{DOCTYPE, Markup, html};
use serde_json::Value;

/// Returns the page.
pub(crate) fn html(openapi: &Value, asyncapi: &Value) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="description" content="API reference of btcfeed: every path, parameter, response and message.";
                title { "btcfeed: API reference" }
                link rel="icon" href="icon.svg" type="image/svg+xml";
                link rel="stylesheet" href="docs.css";
                link rel="service-desc" href="openapi.json" type="application/json";
                link rel="service-desc" href="asyncapi.json" type="application/json";
            }
            body {
                a.skip href="#content" { "Skip to content" }
                header {
                    p.brand { a href="./" { "btcfeed" } " " span { (text(&openapi["info"]["version"])) } }
                    nav aria-label="Machine-readable" {
                        a href="openapi.json" { "openapi.json" }
                        a href="asyncapi.json" { "asyncapi.json" }
                    }
                }
                main.columns {
                    div.intro {
                        h1 { "API reference" }
                        div.lead { (markdown(&openapi["info"]["description"])) }
                    }
                    (contents(openapi, asyncapi))
                    div #content {
                        @for tag in items(&openapi["tags"]) {
                            section.tag {
                                h2 id=(text(&tag["name"])) { (title(tag)) }
                                (markdown(&tag["description"]))
                                @for (path, operation) in operations(openapi, tag) {
                                    (self::operation(openapi, asyncapi, path, operation))
                                }
                                @if tag["name"] == "streams" { (messages(asyncapi)) }
                            }
                        }
                        (schemas(openapi, asyncapi))
                    }
                }
            }
        }
    };
    page.into_string()
}

fn contents(openapi: &Value, asyncapi: &Value) -> Markup {
    html! {
        nav.contents aria-label="Contents" {
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
                }
            }
            p { a href="#schemas" { "Schemas" } }
        }
    }
}

/// Returns the operations of a tag that have a section of their own. The section of a path also lists its other names.
/// Files that are part of a page have no section.
fn operations<'a>(openapi: &'a Value, tag: &'a Value) -> impl Iterator<Item = (&'a str, &'a Value)> {
    members(&openapi["paths"]).map(|(path, item)| (path, &item["get"])).filter(move |(_, operation)| {
        let is_listed = operation["x-alias-of"].is_null() && operation["x-part-of"].is_null();
        is_listed && items(&operation["tags"]).any(|name| *name == tag["name"])
    })
}

fn operation(openapi: &Value, asyncapi: &Value, path: &str, operation: &Value) -> Markup {
    let aliases = members(&openapi["paths"]).filter(|(_, item)| item["get"]["x-alias-of"] == path);
    let channel = members(&asyncapi["channels"]).find(|(_, channel)| channel["address"] == path);
    html! {
        article id=(anchor(path)) {
            h3 { a.anchor href={ "#" (anchor(path)) } { (text(&operation["summary"])) } }
            p.path {
                span.method { "GET" } " " code { (path) }
                @for (alias, _) in aliases { " " span.aside { "also " code { (alias) } } }
            }
            (markdown(&operation["description"]))
            @for sample in items(&operation["x-codeSamples"]) { pre.shell tabindex="0" { code { (text(&sample["source"])) } } }
            @if items(&operation["parameters"]).next().is_some() {
                h4 { "Parameters" }
                (parameters(operation))
            }
            h4 { "Responses" }
            dl.responses {
                @for (status, response) in members(&operation["responses"]) { (self::response(status, response)) }
            }
            @if let Some((_, channel)) = channel {
                h4 { "On the stream" }
                (markdown(&channel["description"]))
                (close_codes(&channel["x-close-codes"]))
            }
        }
    }
}

fn parameters(operation: &Value) -> Markup {
    html! {
        dl.fields {
            @for parameter in items(&operation["parameters"]) {
                div {
                    dt {
                        code { (text(&parameter["name"])) }
                        @if parameter["in"] == "header" { " " span.aside { "header" } }
                        " " span.kind { (kind(&parameter["schema"])) }
                        @let default = &parameter["schema"]["default"];
                        @if !default.is_null() { " " span.aside { "default " code { (plain(default)) } } }
                    }
                    dd { (markdown(&parameter["description"])) }
                }
            }
        }
    }
}

fn response(status: &str, response: &Value) -> Markup {
    let tone = if status.starts_with(['1', '2']) { "good" } else { "other" };
    html! {
        dt.(tone) { (status) }
        dd {
            (markdown(&response["description"]))
            @for (name, header) in members(&response["headers"]) {
                p.header { code { (name) } " " (inline_markdown(&header["description"])) }
            }
            @for (media, content) in members(&response["content"]) {
                p.media { code { (media) } " " span.kind { (kind(&content["schema"])) } }
                @match &content["example"] {
                    Value::Null => {}
                    Value::String(text) => pre tabindex="0" { code { (text.trim_end()) } },
                    value => pre tabindex="0" { code { (example(value)) } },
                }
            }
        }
    }
}

fn close_codes(codes: &Value) -> Markup {
    html! {
        @if codes.is_array() {
            div.scroll tabindex="0" {
                table {
                    caption { "Close codes" }
                    thead { tr { th { "code" } th { "reason" } th { "reconnect?" } } }
                    tbody {
                        @for code in items(codes) {
                            tr {
                                td { code { (plain(&code["code"])) } }
                                td { (text(&code["reason"])) }
                                td { @if code["come_back"] == true { "yes, with your last id" } @else { "no, fix the client first" } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Returns the messages of the event stream, which include those of the WebSocket.
fn event_messages(asyncapi: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let messages = members(&asyncapi["components"]["messages"]);
    messages.filter_map(|(id, message)| Some((id.strip_prefix("events.")?, message)))
}

fn messages(asyncapi: &Value) -> Markup {
    let over_websocket = &asyncapi["channels"]["websocket"]["messages"];
    html! {
        h2 #messages { "Messages" }
        p { "Each message is one JSON object with exactly these fields. It is sent as a WebSocket message or as the data of an event." }
        @for (name, message) in event_messages(asyncapi) {
            article id={ "message-" (name) } {
                h3 { a.anchor href={ "#message-" (name) } { code { (name) } } }
                @let event = &message["headers"]["properties"]["event"]["const"];
                p.path {
                    @if over_websocket[name].is_null() { span.aside { "not over WebSocket" } }
                    @else if event.is_null() { span.aside { "format " code { (if name == "tick" { "full" } else { name }) } } }
                    @else { span.aside { "over WebSocket in the format " code { "full" } } }
                    span.aside {
                        @if event.is_null() { "an event without a name" } @else { "event " code { (text(event)) } ", in every format" }
                    }
                }
                (markdown(&message["summary"]))
                @for example in items(&message["examples"]) {
                    pre tabindex="0" { code { (self::example(&example["payload"])) } }
                }
                (fields(asyncapi, &message["payload"]))
            }
        }
    }
}

/// Renders all schemas that are not messages.
fn schemas(openapi: &Value, asyncapi: &Value) -> Markup {
    let messages: Vec<_> = event_messages(asyncapi).map(|(_, message)| &message["title"]).collect();
    html! {
        section.tag {
            h2 #schemas { "Schemas" }
            p { "The types of the values in messages and responses." }
            @for (name, schema) in members(&openapi["components"]["schemas"]) {
                @if !messages.iter().any(|title| **title == name) {
                    article.schema id={ "schema-" (name) } {
                        h3 { a.anchor href={ "#schema-" (name) } { (name) } " " span.kind { (kind(schema)) } }
                        (markdown(&schema["description"]))
                        @if schema["properties"].is_object() {
                            @for example in items(&schema["examples"]) {
                                pre tabindex="0" { code { (self::example(example)) } }
                            }
                            (fields(openapi, schema))
                        }
                    }
                }
            }
        }
    }
}
