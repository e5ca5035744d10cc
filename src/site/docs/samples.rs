//! Code samples in several languages. The programs are those in `examples/docs*`, which the tests run. The shell
//! commands of an operation come from its description.

use super::markup::{items, text};
use maud::{Markup, html};
use serde_json::Value;

/// Sample in a language.
pub(super) struct Sample {
    /// Name of the language for people.
    pub(super) language: &'static str,
    /// Name of the language for syntax highlighting.
    pub(super) id: &'static str,
    pub(super) source: String,
}

/// Address in the samples that ask for one answer. It is replaced by the address of each operation.
const LATEST: &str = "http://localhost:8080/v1/prices/latest";

/// Programs that ask for one answer.
const GET: [(&str, &str, &str); 3] = [
    ("JavaScript", "js", include_str!("../../../examples/docs/get.js")),
    ("Python", "python", include_str!("../../../examples/docs/get.py")),
    ("Rust", "rust", include_str!("../../../examples/docs_get.rs")),
];

/// Samples that follow the feed.
const FOLLOW: [(&str, &str, &str); 5] = [
    ("curl", "sh", include_str!("../../../examples/docs/follow.sh")),
    ("JavaScript", "js", include_str!("../../../examples/docs/follow.js")),
    ("Python", "python", include_str!("../../../examples/docs/follow.py")),
    ("Rust", "rust", include_str!("../../../examples/docs_follow.rs")),
    ("Go", "go", include_str!("../../../examples/docs/follow.go")),
];

/// Returns the samples that follow the feed.
pub(super) fn follow() -> Vec<Sample> {
    FOLLOW.map(|(language, id, source)| sample(language, id, source.to_owned())).into()
}

/// Returns the sample that follows the feed over gRPC.
pub(super) fn follow_over_grpc() -> Vec<Sample> {
    follow().into_iter().filter(|sample| sample.id == "go").collect()
}

/// Returns the samples of an operation: first its shell commands. If the operation returns one answer and not a stream,
/// a program in each language of [`GET`] follows.
pub(super) fn of_operation(operation: &Value) -> Vec<Sample> {
    let Some(commands) = items(&operation["x-codeSamples"]).map(|sample| text(&sample["source"])).next() else {
        return Vec::new();
    };
    let program = commands.split(' ').next().unwrap_or_default();
    let mut samples = vec![sample(if program == "websocat" { "websocat" } else { "curl" }, "sh", commands.to_owned())];
    if let Some(url) = commands.strip_prefix("curl '").and_then(|rest| rest.split('\'').next()) {
        samples.extend(GET.map(|(language, id, source)| sample(language, id, source.replace(LATEST, url))));
    }
    samples
}

fn sample(language: &'static str, id: &'static str, source: String) -> Sample {
    Sample { language, id, source }
}

/// Renders samples. All of them are visible until the page's script (`docs.js`) hides all but one language.
pub(super) fn html(samples: &[Sample]) -> Markup {
    html! {
        @if !samples.is_empty() {
            div.samples {
                @for Sample { language, source, .. } in samples {
                    figure data-language=(language) {
                        figcaption { (language) }
                        pre tabindex="0" { code { (source.trim_end()) } }
                    }
                }
            }
        }
    }
}
