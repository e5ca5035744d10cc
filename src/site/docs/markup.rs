//! Helpers for rendering parts of an OpenAPI or AsyncAPI document.

use maud::{Markup, PreEscaped};
use serde_json::Value;

/// Returns the HTML id of the section about an API path.
pub(super) fn anchor(path: &str) -> String {
    path.trim_matches('/').replace(['/', '.'], "-")
}

/// Returns the capitalised name of a tag.
pub(super) fn title(tag: &Value) -> String {
    let name = text(&tag["name"]);
    name[..1].to_uppercase() + &name[1..]
}

/// Returns the items of an array, or none.
pub(super) fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// Returns the members of an object, or none.
pub(super) fn members(object: &Value) -> impl Iterator<Item = (&str, &Value)> {
    object.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

/// Returns a string, or an empty one.
pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Returns a value as a user types it. A string has no quotes.
pub(super) fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Renders a description as HTML. Descriptions in OpenAPI and AsyncAPI are written in `CommonMark`. All of them come
/// from the source code of btcfeed, so the HTML is not sanitised.
pub(super) fn markdown(description: &str) -> Markup {
    let mut html = String::new();
    pulldown_cmark::html::push_html(&mut html, pulldown_cmark::Parser::new(description));
    PreEscaped(html)
}

/// Renders a description without the `<p>` element around it, for use inside a line.
pub(super) fn inline_markdown(description: &str) -> Markup {
    let PreEscaped(html) = markdown(description);
    PreEscaped(html.trim().trim_start_matches("<p>").trim_end_matches("</p>").to_owned())
}

/// Returns the operations of a tag that have a section of their own. Two kinds of operations have none: aliases, which
/// are listed in the section of their path, and files that are part of a page.
pub(super) fn operations<'a>(openapi: &'a Value, tag: &'a Value) -> impl Iterator<Item = (&'a str, &'a Value)> {
    members(&openapi["paths"]).map(|(path, item)| (path, &item["get"])).filter(move |(_, operation)| {
        let is_listed = operation["x-alias-of"].is_null() && operation["x-part-of"].is_null();
        is_listed && items(&operation["tags"]).any(|name| *name == tag["name"])
    })
}

/// Returns the other names of a path.
pub(super) fn aliases<'a>(openapi: &'a Value, path: &'a str) -> impl Iterator<Item = &'a str> {
    members(&openapi["paths"]).filter(move |(_, item)| item["get"]["x-alias-of"] == path).map(|(alias, _)| alias)
}

/// Returns the messages of the event stream, which include those of the WebSocket.
pub(super) fn event_messages(asyncapi: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let messages = members(&asyncapi["components"]["messages"]);
    messages.filter_map(|(id, message)| Some((id.strip_prefix("events.")?, message)))
}

/// Returns the schemas that are not messages.
pub(super) fn other_schemas<'a>(openapi: &'a Value, asyncapi: &Value) -> impl Iterator<Item = (&'a str, &'a Value)> {
    let messages: Vec<_> = event_messages(asyncapi).map(|(_, message)| text(&message["title"]).to_owned()).collect();
    members(&openapi["components"]["schemas"]).filter(move |(name, _)| !messages.iter().any(|title| title == name))
}
