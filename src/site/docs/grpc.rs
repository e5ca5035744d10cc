//! Renders the gRPC service.

use super::markup::{items, markdown, plain, text};
use super::samples;
use super::schemas::{FieldRow, KindPart, fields_html};
use maud::{Markup, html};
use serde_json::Value;

/// Renders the links to the section, or nothing if there is no service.
pub(super) fn contents(service: &Value) -> Markup {
    html! {
        @if !service.is_null() {
            p { a href="#grpc" { "gRPC" } }
            ul {
                @for method in items(&service["methods"]) {
                    li { a href={ "#grpc-" (text(&method["name"])) } { code { (text(&method["name"])) } } }
                }
                li { a href="#grpc-types" { "Messages of gRPC" } }
            }
        }
    }
}

/// Renders the section, or nothing if there is no service.
pub(super) fn html(service: &Value) -> Markup {
    html! {
        @if !service.is_null() {
            section.tag {
                h2 #grpc { "gRPC" }
                p { "The service " code { (full_name(service)) } ", on the same port. Reflection describes it, too." }
                (samples::html(&samples::follow_over_grpc()))
                @for method in items(&service["methods"]) {
                    article.entry id={ "grpc-" (text(&method["name"])) } {
                        h3 { a.anchor href={ "#grpc-" (text(&method["name"])) } { (text(&method["name"])) } }
                        p.path { code { (signature(method)) } }
                        (markdown(text(&method["description"])))
                    }
                }
                h3.part #grpc-types { "Messages of gRPC" }
                div.rows {
                    @for message in items(&service["messages"]) {
                        details.entry id={ "grpc-" (text(&message["name"])) } {
                            summary { code { (text(&message["name"])) } }
                            (markdown(text(&message["description"])))
                            (fields_html(&fields(service, message)))
                        }
                    }
                    @for kind in items(&service["enums"]) {
                        details.entry id={ "grpc-" (text(&kind["name"])) } {
                            summary { code { (text(&kind["name"])) } }
                            (markdown(text(&kind["description"])))
                            (fields_html(&values(kind)))
                        }
                    }
                }
            }
        }
    }
}

/// Returns the name of the service with its package.
pub(super) fn full_name(service: &Value) -> String {
    format!("{}.{}", text(&service["package"]), text(&service["name"]))
}

/// Returns the request and the response of a method.
pub(super) fn signature(method: &Value) -> String {
    let stream = if method["streams"] == true { "stream " } else { "" };
    format!("{}({}) returns ({stream}{})", text(&method["name"]), text(&method["request"]), text(&method["response"]))
}

/// Returns the fields of a message.
pub(super) fn fields(service: &Value, message: &Value) -> Vec<FieldRow> {
    let types = || items(&service["messages"]).chain(items(&service["enums"]));
    let row = |field: &Value| {
        let kind = text(&field["type"]);
        let is_ours = types().any(|known| known["name"] == kind);
        let repeated = (field["repeated"] == true).then(|| KindPart::Text("repeated ".to_owned()));
        let kind = if is_ours {
            KindPart::Link { to: format!("grpc-{kind}"), text: kind.to_owned() }
        } else {
            KindPart::Text(kind.to_owned())
        };
        let notes = [
            field["oneof"].as_str().map(|oneof| format!("one of `{oneof}`")),
            (field["optional"] == true).then(|| "optional".to_owned()),
            Some(format!("= {}", plain(&field["number"]))),
        ];
        FieldRow {
            name: text(&field["name"]).to_owned(),
            kind: repeated.into_iter().chain([kind]).collect(),
            notes: notes.into_iter().flatten().collect(),
            description: text(&field["description"]).to_owned(),
        }
    };
    items(&message["fields"]).map(row).collect()
}

/// Returns the values of an enumeration.
pub(super) fn values(kind: &Value) -> Vec<FieldRow> {
    let row = |value: &Value| FieldRow {
        name: text(&value["name"]).to_owned(),
        kind: vec![KindPart::Text(format!("= {}", plain(&value["number"])))],
        notes: Vec::new(),
        description: text(&value["description"]).to_owned(),
    };
    items(&kind["values"]).map(row).collect()
}
