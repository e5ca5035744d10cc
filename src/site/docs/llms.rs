//! Writes the API reference as Markdown for language models (`/llms.txt`). The page `/docs` is made from the same
//! descriptions and samples.

use super::grpc;
use super::markup::{aliases, event_messages, items, members, operations, other_schemas, text, title};
use super::operations::{CloseCode, codes};
use super::reference::{Reference, channel, delivery};
use super::samples::{self, Sample};
use super::schemas::{FieldRow, fields, kind, kind_text, parameters};
use serde_json::Value;

/// Returns the text.
pub(super) fn markdown(reference: &Reference<'_>) -> String {
    let Reference { openapi, asyncapi, grpc } = *reference;
    let (summary, rest) = text(&openapi["info"]["description"]).split_once("\n\n").unwrap_or_default();
    let mut parts = vec![
        format!("# btcfeed {}", text(&openapi["info"]["version"])),
        format!("> {summary}"),
        rest.to_owned(),
        "The address of this server: http://localhost:8080".to_owned(),
        "## Quickstart".to_owned(),
    ];
    parts.extend(samples::follow().iter().map(code));
    for tag in items(&openapi["tags"]) {
        parts.push(format!("## {}\n\n{}", title(tag), text(&tag["description"])));
        for (path, it) in operations(openapi, tag) {
            parts.extend(operation(openapi, channel(asyncapi, path), path, it));
        }
        if tag["name"] == "streams" {
            parts.extend(messages(asyncapi));
        }
    }
    parts.extend(service(grpc));
    parts.push("## Schemas".to_owned());
    for (name, schema) in other_schemas(openapi, asyncapi) {
        parts.push(format!("### {name}\n\n{} {}", kind_text(&kind(schema)), text(&schema["description"])));
        parts.push(rows(&fields(openapi, schema)));
    }
    parts.retain(|part| !part.trim().is_empty());
    parts.join("\n\n") + "\n"
}

fn operation(openapi: &Value, channel: &Value, path: &str, operation: &Value) -> Vec<String> {
    let paths: Vec<_> =
        std::iter::once(path.to_owned()).chain(aliases(openapi, path).map(|alias| format!("also {alias}"))).collect();
    let heading = format!("### GET {}", paths.join(", "));
    let mut parts = vec![heading, text(&operation["summary"]).to_owned(), text(&operation["description"]).to_owned()];
    // The programs in other languages are the same for every operation except for the URL, so they are left out.
    parts.extend(samples::of_operation(operation).first().map(code));
    let parameters = parameters(operation);
    if !parameters.is_empty() {
        parts.push(format!("Parameters:\n\n{}", rows(&parameters)));
    }
    let responses = members(&operation["responses"]).map(|(status, response)| {
        let content = members(&response["content"]);
        let kinds = content.map(|(media, content)| format!(" `{media}`: {}.", kind_text(&kind(&content["schema"]))));
        format!("- {status}: {}{}", text(&response["description"]), kinds.collect::<String>())
    });
    parts.push(format!("Responses:\n\n{}", responses.collect::<Vec<_>>().join("\n")));
    parts.push(text(&channel["description"]).to_owned());
    parts
}

fn messages(asyncapi: &Value) -> Vec<String> {
    let mut parts = vec!["## Messages".to_owned()];
    for (name, message) in event_messages(asyncapi) {
        parts.push(format!("### {name}\n\n{}", delivery(asyncapi, name, message).join(", ")));
        parts.extend([&message["summary"], &message["description"]].map(|part| text(part).to_owned()));
        parts.extend(items(&message["examples"]).map(|example| format!("```json\n{}\n```", example["payload"])));
        parts.push(rows(&fields(asyncapi, &message["payload"])));
    }
    let codes = codes(asyncapi);
    let codes =
        codes.iter().map(|CloseCode { code, reason, advice }| format!("- {code}: {reason}. Reconnect: {advice}"));
    parts.push(format!("## Close codes\n\n{}", codes.collect::<Vec<_>>().join("\n")));
    parts
}

fn service(service: &Value) -> Vec<String> {
    if service.is_null() {
        return Vec::new();
    }
    let mut parts = vec![format!("## gRPC\n\nThe service `{}`, on the same port.", grpc::full_name(service))];
    for method in items(&service["methods"]) {
        parts.push(format!("### {}\n\n{}", grpc::signature(method), text(&method["description"])));
    }
    for message in items(&service["messages"]) {
        parts.push(format!("### {}\n\n{}", text(&message["name"]), text(&message["description"])));
        parts.push(rows(&grpc::fields(service, message)));
    }
    for kind in items(&service["enums"]) {
        parts.push(format!("### {}\n\n{}", text(&kind["name"]), text(&kind["description"])));
        parts.push(rows(&grpc::values(kind)));
    }
    parts
}

fn code(Sample { id, source, .. }: &Sample) -> String {
    format!("```{id}\n{}\n```", source.trim_end())
}

fn rows(rows: &[FieldRow]) -> String {
    let row = |FieldRow { name, kind, notes, description }: &FieldRow| {
        let kind = [vec![kind_text(kind)], notes.clone()].concat().join(", ");
        format!("- `{name}` ({kind}): {}", description.replace("\n\n", " "))
    };
    rows.iter().map(row).collect::<Vec<_>>().join("\n")
}
