//! Fields, their types and examples, from schemas. `/docs` and `/llms.txt` show the same rows.

use super::markup::{inline_markdown, items, members, plain, text};
use maud::{Markup, html};
use serde_json::Value;

/// Prefix of references to schemas.
const SCHEMAS: &str = "#/components/schemas/";

/// Part of the description of a type.
pub(super) enum KindPart {
    Text(String),
    Code(String),
    /// Link to another type on the page.
    Link {
        to: String,
        text: String,
    },
}

/// Field of an object, or parameter of a request.
pub(super) struct FieldRow {
    pub(super) name: String,
    pub(super) kind: Vec<KindPart>,
    /// Properties such as `optional`.
    pub(super) notes: Vec<String>,
    /// Description in `CommonMark`.
    pub(super) description: String,
}

/// Returns the type of a value in a few words.
pub(super) fn kind(schema: &Value) -> Vec<KindPart> {
    let words = |text: String| vec![KindPart::Text(text)];
    if let Some(name) = schema["$ref"].as_str().and_then(|to| to.strip_prefix(SCHEMAS)) {
        return vec![KindPart::Link { to: schema_anchor(name), text: name.to_owned() }];
    }
    if let Some(key) = ["oneOf", "anyOf"].into_iter().find(|key| schema[*key].is_array()) {
        return join(items(&schema[key]).map(kind), " or ");
    }
    if schema["enum"].is_array() {
        return join(items(&schema["enum"]).map(|word| vec![KindPart::Code(plain(word))]), " | ");
    }
    if schema["type"] == "array" {
        return words("array of ".to_owned()).into_iter().chain(kind(&schema["items"])).collect();
    }
    if schema["type"].is_array() {
        return join(items(&schema["type"]).map(|word| words(plain(word))), " or ");
    }
    if schema["format"] == "date-time" {
        return words("date and time".to_owned());
    }
    let range = match &schema["maximum"] {
        Value::Null => String::new(),
        max => format!(", {} to {}", plain(&schema["minimum"]), plain(max)),
    };
    words(format!("{}{range}", text(&schema["type"])))
}

fn join(kinds: impl Iterator<Item = Vec<KindPart>>, separator: &str) -> Vec<KindPart> {
    let mut joined = Vec::new();
    for kind in kinds {
        if !joined.is_empty() {
            joined.push(KindPart::Text(separator.to_owned()));
        }
        joined.extend(kind);
    }
    joined
}

/// Renders a type. A schema becomes a link.
pub(super) fn kind_html(kind: &[KindPart]) -> Markup {
    html! {
        @for part in kind {
            @match part {
                KindPart::Text(text) => (text),
                KindPart::Code(word) => code { (word) },
                KindPart::Link { to, text } => a href={ "#" (to) } { (text) },
            }
        }
    }
}

/// Returns a type as text.
pub(super) fn kind_text(kind: &[KindPart]) -> String {
    let part = |part: &KindPart| match part {
        KindPart::Text(text) | KindPart::Link { text, .. } => text.clone(),
        KindPart::Code(word) => format!("`{word}`"),
    };
    kind.iter().map(part).collect()
}

/// Returns the id of the part of `/docs` that describes a schema. Schemas of messages are in the section `Messages`.
fn schema_anchor(name: &str) -> String {
    match name {
        "TimedateUpdate" => "message-timedate".to_owned(),
        "TimestampUpdate" => "message-timestamp".to_owned(),
        "Tick" | "Status" | "Gap" | "Synced" | "Hello" | "Goodbye" => format!("message-{}", name.to_lowercase()),
        _ => format!("schema-{name}"),
    }
}

/// Returns the fields of an object.
pub(super) fn fields(document: &Value, schema: &Value) -> Vec<FieldRow> {
    let named = schema["$ref"].as_str().and_then(|to| to.strip_prefix(SCHEMAS));
    let schema = named.map_or(schema, |name| &document["components"]["schemas"][name]);
    let is_required = |name: &str| items(&schema["required"]).any(|required| required == name);
    let row = |(name, field): (&str, &Value)| FieldRow {
        name: name.to_owned(),
        kind: kind(field),
        notes: if is_required(name) { Vec::new() } else { vec!["optional".to_owned()] },
        description: description(document, field),
    };
    members(&schema["properties"]).map(row).collect()
}

/// Returns the parameters of a request.
pub(super) fn parameters(operation: &Value) -> Vec<FieldRow> {
    let row = |parameter: &Value| {
        let default = &parameter["schema"]["default"];
        let notes = [
            (parameter["in"] == "header").then(|| "header".to_owned()),
            (!default.is_null()).then(|| format!("default `{}`", plain(default))),
        ];
        FieldRow {
            name: text(&parameter["name"]).to_owned(),
            kind: kind(&parameter["schema"]),
            notes: notes.into_iter().flatten().collect(),
            description: text(&parameter["description"]).to_owned(),
        }
    };
    items(&operation["parameters"]).map(row).collect()
}

/// Renders fields.
pub(super) fn fields_html(fields: &[FieldRow]) -> Markup {
    html! {
        dl.fields {
            @for FieldRow { name, kind, notes, description } in fields {
                div {
                    dt {
                        code { (name) }
                        " " span.kind { (kind_html(kind)) }
                        @for note in notes { " " span.aside { (inline_markdown(note)) } }
                    }
                    dd { (inline_markdown(description)) }
                }
            }
        }
    }
}

/// Returns the description of a field: its own description or, if it has none, the first sentence of its schema's
/// description. The description of an enumeration is always included as a whole, because it has the meaning of each
/// value.
fn description(document: &Value, field: &Value) -> String {
    let reference = [field].into_iter().chain(items(&field["oneOf"])).find(|part| part["$ref"].is_string());
    let reference = reference.unwrap_or(field);
    let own = [field, reference].into_iter().find_map(|part| part["description"].as_str());
    let name = reference["$ref"].as_str().and_then(|to| to.strip_prefix(SCHEMAS));
    let schema = name.map_or(&Value::Null, |name| &document["components"]["schemas"][name]);
    let whole = text(&schema["description"]);
    match own {
        Some(own) if schema["enum"].is_array() => format!("{own} {whole}"),
        Some(own) => own.to_owned(),
        None if schema["enum"].is_array() => whole.to_owned(),
        None => whole.split_once(". ").map_or(whole.to_owned(), |(first, _)| format!("{first}.")),
    }
}

/// Maximum length of a string that is not wrapped.
const MAX_UNWRAPPED: usize = 32;

/// Renders a value as JSON without spaces, as it is sent, with syntax highlighting.
pub(super) fn example(value: &Value) -> Markup {
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
