//! Schemas and examples in words.

use super::markup::{inline_markdown, items, members, plain, text};
use maud::{Markup, html};
use serde_json::Value;

/// The prefix of references to schemas.
const SCHEMAS: &str = "#/components/schemas/";

/// What a value is, in a few words. A schema that has a name is a link to it.
pub(crate) fn kind(schema: &Value) -> Markup {
    let several = ["oneOf", "anyOf"].into_iter().find(|key| schema[*key].is_array());
    html! {
        @if let Some(name) = schema["$ref"].as_str().and_then(|to| to.strip_prefix(SCHEMAS)) {
            a href={ "#" (place(name)) } { (name) }
        } @else if let Some(key) = several {
            @for (place, item) in items(&schema[key]).enumerate() {
                @if place > 0 { " or " }
                (kind(item))
            }
        } @else if schema["enum"].is_array() {
            @for (place, word) in items(&schema["enum"]).enumerate() {
                @if place > 0 { " | " }
                code { (plain(word)) }
            }
        } @else if schema["type"] == "array" {
            "array of " (kind(&schema["items"]))
        } @else if schema["type"].is_array() {
            @for (place, word) in items(&schema["type"]).enumerate() {
                @if place > 0 { " or " }
                (text(word))
            }
        } @else if schema["format"] == "date-time" {
            "date and time"
        } @else {
            (text(&schema["type"]))
            @if !schema["maximum"].is_null() { ", " (plain(&schema["minimum"])) " to " (plain(&schema["maximum"])) }
        }
    }
}

/// Where the page tells of a schema: messages are told of with the streams.
fn place(name: &str) -> String {
    match name {
        "TimedateUpdate" => "message-timedate".to_owned(),
        "TimestampUpdate" => "message-timestamp".to_owned(),
        "Tick" | "Status" | "Gap" | "Synced" | "Hello" | "CloseReason" => format!("message-{}", name.to_lowercase()),
        _ => format!("shape-{name}"),
    }
}

/// The fields of an object.
pub(crate) fn fields(document: &Value, schema: &Value) -> Markup {
    let named = schema["$ref"].as_str().and_then(|to| to.strip_prefix(SCHEMAS));
    let schema = named.map_or(schema, |name| &document["components"]["schemas"][name]);
    let required = |name: &str| items(&schema["required"]).any(|required| required == name);
    html! {
        dl.fields {
            @for (name, field) in members(&schema["properties"]) {
                div {
                    dt {
                        code { (name) }
                        " " span.kind { (kind(field)) }
                        @if !required(name) { " " span.aside { "not always" } }
                    }
                    dd { (inline_markdown(&description(document, field))) }
                }
            }
        }
    }
}

/// What a field is: its own words, or the first sentence of what it is made of. Of a word that is one of several, all that it may be.
fn description(document: &Value, field: &Value) -> Value {
    let named = field["$ref"].as_str().and_then(|to| to.strip_prefix(SCHEMAS));
    match (&field["description"], named) {
        (Value::Null, Some(name)) => {
            let schema = &document["components"]["schemas"][name];
            let whole = text(&schema["description"]);
            if schema["enum"].is_array() {
                return Value::from(whole);
            }
            let first = whole.split_once(". ").map_or(whole.to_owned(), |(first, _)| format!("{first}."));
            Value::from(first)
        }
        (own, _) => own.clone(),
    }
}

/// A string that is not broken across lines.
const SHORT: usize = 32;

/// A value as JSON in one line, as it is sent, in colours.
pub(crate) fn example(value: &Value) -> Markup {
    html! {
        @match value {
            Value::Object(_) => {
                "{"
                @for (place, (name, member)) in members(value).enumerate() {
                    @if place > 0 { "," wbr; }
                    span.name { "\"" (name) "\"" } ":" (example(member))
                }
                "}"
            }
            Value::Array(_) => {
                "["
                @for (place, item) in items(value).enumerate() {
                    @if place > 0 { "," wbr; }
                    (example(item))
                }
                "]"
            }
            Value::String(text) => span.string.short[text.len() <= SHORT] { (value) },
            value => span.number { (value) },
        }
    }
}
