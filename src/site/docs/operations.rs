//! Renders the operations of the API over HTTP.

use super::markup::{aliases, anchor, inline_markdown, markdown, members, plain, text};
use super::samples;
use super::schemas::{example, fields_html, kind, kind_html, parameters};
use maud::{Markup, html};
use serde_json::Value;

/// Beginning of the paths of this API. The details of other paths (`/udf/…`, `/openapi.json`) are closed at first.
const OWN: &str = "/v1/";

/// Renders an operation. `channel` is its stream, or null.
pub(super) fn html(openapi: &Value, channel: &Value, path: &str, operation: &Value) -> Markup {
    let body = body(channel, path, operation);
    html! {
        article.entry id=(anchor(path)) {
            h3 { a.anchor href={ "#" (anchor(path)) } { (text(&operation["summary"])) } }
            p.path {
                span.method { "GET" } " " code { (path) }
                @for alias in aliases(openapi, path) { " " span.aside { "also " code { (alias) } } }
            }
            @if path.starts_with(OWN) { (body) } @else { details { summary { "Details" } (body) } }
        }
    }
}

fn body(channel: &Value, path: &str, operation: &Value) -> Markup {
    let parameters = parameters(operation);
    html! {
        (markdown(text(&operation["description"])))
        (samples::html(&samples::of_operation(operation)))
        (try_it(path, operation))
        @if !parameters.is_empty() {
            details {
                summary { "Parameters" span.count { (parameters.len()) } }
                (fields_html(&parameters))
            }
        }
        details {
            summary { "Responses" span.count { (members(&operation["responses"]).count()) } }
            dl.responses {
                @for (status, response) in members(&operation["responses"]) { (self::response(status, response)) }
            }
        }
        @if !channel.is_null() {
            details {
                summary { "On the stream" }
                (markdown(text(&channel["description"])))
            }
        }
    }
}

/// Renders a form that sends a request to this server. The form is hidden until the page's script (`docs.js`) shows it.
fn try_it(path: &str, operation: &Value) -> Markup {
    let commands = text(&operation["x-codeSamples"][0]["source"]);
    let query = commands.lines().next().and_then(|line| line.split('\'').nth(1)?.split_once('?'));
    html! {
        @if !commands.is_empty() {
            form.try hidden data-path=(path.trim_start_matches('/')) {
                label {
                    span { (path) "?" }
                    input name="query" autocomplete="off" spellcheck="false" aria-label="Query"
                        value=(query.map_or("", |(_, query)| query));
                }
                button { "Try it" }
                output tabindex="0" hidden {}
            }
        }
    }
}

fn response(status: &str, response: &Value) -> Markup {
    let tone = if status.starts_with(['1', '2']) { "good" } else { "other" };
    html! {
        dt.(tone) { (status) }
        dd {
            (markdown(text(&response["description"])))
            @for (name, header) in members(&response["headers"]) {
                p.header { code { (name) } " " (inline_markdown(text(&header["description"]))) }
            }
            @for (media, content) in members(&response["content"]) {
                p.media { code { (media) } " " span.kind { (kind_html(&kind(&content["schema"]))) } }
                @match &content["example"] {
                    Value::Null => {}
                    Value::String(text) => pre tabindex="0" { code { (text.trim_end()) } },
                    value => pre tabindex="0" { code { (example(value)) } },
                }
            }
        }
    }
}

/// Renders a table of close codes.
pub(super) fn close_codes(codes: &[CloseCode]) -> Markup {
    html! {
        div.scroll tabindex="0" {
            table {
                thead { tr { th { "code" } th { "reason" } th { "reconnect?" } } }
                tbody {
                    @for CloseCode { code, reason, advice } in codes {
                        tr { td { code { (code) } } td { (reason) } td { (advice) } }
                    }
                }
            }
        }
    }
}

/// Close code of a WebSocket.
pub(super) struct CloseCode {
    pub(super) code: String,
    pub(super) reason: String,
    pub(super) advice: &'static str,
}

/// Returns the close codes of the WebSocket.
pub(super) fn codes(asyncapi: &Value) -> Vec<CloseCode> {
    let codes = asyncapi["channels"]["websocket"]["x-close-codes"].as_array();
    let code = |code: &Value| CloseCode {
        code: plain(&code["code"]),
        reason: text(&code["reason"]).to_owned(),
        advice: if code["come_back"] == true { "yes, with your last id" } else { "no, fix the client first" },
    };
    codes.into_iter().flatten().map(code).collect()
}
