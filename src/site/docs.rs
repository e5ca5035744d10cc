//! API reference at `/docs`, and as text at `/llms.txt`, rendered from the descriptions and the examples.
//!
//! | module | what it is |
//! |---|---|
//! | `markup` | helpers for parts of the descriptions |
//! | `schemas` | fields and types |
//! | `samples` | code in every language |
//! | `operations` | paths |
//! | `grpc` | the gRPC service |
//! | `reference` | the page |
//! | `llms` | the text |

mod grpc;
mod llms;
mod markup;
mod operations;
mod reference;
mod samples;
mod schemas;

use crate::api::base_url::BaseUrl;
use crate::api::descriptions::Described;
use crate::api::document::{Document, Lazy, StaticFile};
use crate::schema::{answers, parameters, protobuf};
use axum::Extension;
use axum::http::HeaderMap;
use axum::response::Response;
use reference::Reference;
use std::sync::Arc;

/// The page with its files, and the text.
pub(crate) struct Docs {
    page: Document,
    text: Document,
    style: StaticFile,
    script: StaticFile,
}

impl Docs {
    /// Creates the page, its files and the text.
    pub(crate) fn new(described: &Arc<Lazy<Described>>) -> Arc<Docs> {
        let render = |how: fn(&Reference<'_>) -> String| {
            let described = described.clone();
            move || {
                let Described { openapi, asyncapi } = &**described;
                how(&Reference { openapi, asyncapi, grpc: &protobuf::document() })
            }
        };
        let style = concat!(include_str!("theme.css"), include_str!("docs/docs.css"));
        Arc::new(Docs {
            page: Document::html(render(reference::html)),
            text: Document::new("text/plain; charset=utf-8", render(llms::markdown)),
            style: StaticFile::new("text/css; charset=utf-8", move || style),
            script: StaticFile::new("text/javascript; charset=utf-8", || include_str!("docs/docs.js")),
        })
    }
}

/// The API reference: all descriptions as a page for people
#[utoipa::path(
    get,
    path = "/docs",
    tag = "descriptions",
    operation_id = "docs",
    params(parameters::IfNoneMatch),
    responses(answers::Page, answers::NotModified)
)]
pub(crate) async fn page(Extension(docs): Extension<Arc<Docs>>, base: Option<BaseUrl>, headers: HeaderMap) -> Response {
    docs.page.answer(base, &headers)
}

/// The API reference as Markdown, for language models
#[utoipa::path(
    get,
    path = "/llms.txt",
    tag = "descriptions",
    operation_id = "llms",
    params(parameters::IfNoneMatch),
    responses(answers::Text, answers::NotModified)
)]
pub(crate) async fn text(Extension(docs): Extension<Arc<Docs>>, base: Option<BaseUrl>, headers: HeaderMap) -> Response {
    docs.text.answer(base, &headers)
}

/// The style sheet of the API reference
#[utoipa::path(
    get,
    path = "/docs.css",
    tag = "descriptions",
    extensions(("x-part-of" = json!("/docs"))),
    operation_id = "docs_style",
    params(parameters::IfNoneMatch),
    responses(answers::Style, answers::NotModified)
)]
pub(crate) async fn style(Extension(docs): Extension<Arc<Docs>>, headers: HeaderMap) -> Response {
    docs.style.answer(&headers)
}

/// The script of the API reference
#[utoipa::path(
    get,
    path = "/docs.js",
    tag = "descriptions",
    extensions(("x-part-of" = json!("/docs"))),
    operation_id = "docs_script",
    params(parameters::IfNoneMatch),
    responses(answers::Script, answers::NotModified)
)]
pub(crate) async fn script(Extension(docs): Extension<Arc<Docs>>, headers: HeaderMap) -> Response {
    docs.script.answer(&headers)
}
