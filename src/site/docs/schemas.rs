//! Renders schemas and examples.

use super::markup::{inline_markdown, items, members, plain, text};
use maud::{Markup, html};
use serde_json::Value;

/// Prefix of references to schemas.
const SCHEMAS: &str = "#/components/schemas/";

/// Renders the type of a value in a few words. A named schema becomes a link.
pub(crate) fn kind(schema: &Value) -> Markup {
    let several = ["oneOf", "anyOf"].into_iter().find(|key| schema[*key].is_array());
    html! {
        @if let Some(name) = schema["$ref"].as_str().and_then(|to| to.strip_prefix(SCHEMAS)) {
            a href={ "#" (schema_anchor(name)) } { (name) }
        } @else if let Some(key) = several {
            @for (index, item) in items(&schema[key]).enumerate() {
                @if index > 0 { " or " }
                (kind(item))
            }
        } @else if schema["enum"].is_array() {
            @for (index, word) in items(&schema["enum"]).enumerate() {
                @if index > 0 { " | " }
                code { (plain(word)) }
            }
        } @else if schema["type"] == "array" {
            "array of " (kind(&schema["items"]))
        } @else if schema["type"].is_array() {
            @for (index, word) in items(&schema["type"]).enumerate() {
                @if index > 0 { " or " }
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

/// Returns the id of a schema on the page. Messages are described with the streams.
fn schema_anchor(name: &str) -> String {
    match name {
        "TimedateUpdate" => "message-timedate".to_owned(),
        "TimestampUpdate" => "message-timestamp".to_owned(),
        "Tick" | "Status" | "Gap" | "Synced" | "Hello" | "Goodbye" => format!("message-{}", name.to_lowercase()),
        _ => format!("schema-{name}"),
    }
}

/// Renders the fields of an object.
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
                        @if !required(name) { " " span.aside { "optional" } }
                    }
                    dd { (inline_markdown(&description(document, field))) }
                }
            }
        }
    }
}

/// Returns the description of a field: its own description, or the first sentence of its schema's description. If the
/// schema is an enumeration, the whole description of the schema is added, because it has the meaning of each value.
fn description(document: &Value, field: &Value) -> Value {
    let reference = [field].into_iter().chain(items(&field["oneOf"])).find(|part| part["$ref"].is_string());
    let reference = reference.unwrap_or(field);
    let own = [field, reference].into_iter().find_map(|part| part["description"].as_str());
    let name = reference["$ref"].as_str().and_then(|to| to.strip_prefix(SCHEMAS));
    let schema = name.map_or(&Value::Null, |name| &document["components"]["schemas"][name]);
    let whole = text(&schema["description"]);
    Value::from(match own {
        Some(own) if schema["enum"].is_array() => format!("{own} {whole}"),
        Some(own) => own.to_owned(),
        None if schema["enum"].is_array() => whole.to_owned(),
        None => whole.split_once(". ").map_or(whole.to_owned(), |(first, _)| format!("{first}.")),
    })
}

/// Maximum length of a string that is not wrapped.
const MAX_UNWRAPPED: usize = 32;

/// Renders a value as JSON without spaces, as it is sent, with syntax highlighting.
pub(crate) fn example(value: &Value) -> Markup {
    html! {
        @match value {
            Value::Object(_) => {
                "{"
                @for (index, (name, member)) in members(value).enumerate() {
                    @if index > 0 { "," wbr; }
                    span.name { "\"" (name) "\"" } ":" (example(member))
                }
                "}"
            }
            Value::Array(_) => {
                "["
                @for (index, item) in items(value).enumerate() {
                    @if index > 0 { "," wbr; }
                    (example(item))
                }
                "]"
            }
            Value::String(text) => span.string.short[text.len() <= MAX_UNWRAPPED] { (value) },
            value => span.number { (value) },
        }
    }
}
