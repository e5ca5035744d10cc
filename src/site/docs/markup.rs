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

/// Renders a field `description`, which is `CommonMark` in OpenAPI and in AsyncAPI. We write all of them, so they are
/// not sanitised.
pub(super) fn markdown(description: &Value) -> Markup {
    let mut html = String::new();
    pulldown_cmark::html::push_html(&mut html, pulldown_cmark::Parser::new(text(description)));
    PreEscaped(html)
}

/// Renders a description without the `<p>` element around it, for use inside a line.
pub(super) fn inline_markdown(description: &Value) -> Markup {
    let PreEscaped(html) = markdown(description);
    PreEscaped(html.trim().trim_start_matches("<p>").trim_end_matches("</p>").to_owned())
}
