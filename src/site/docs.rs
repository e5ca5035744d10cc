//! API reference at `/docs`, rendered once from the two descriptions.

mod markup;
mod reference;
mod schemas;

use crate::api::base_url::BaseUrl;
use crate::api::document::{Document, StaticFile};
use crate::schema::{answers, parameters};
use axum::Extension;
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::Value;
use std::sync::Arc;

/// The page and its style sheet, rendered once.
pub(crate) struct Docs {
    page: Document,
    style: StaticFile,
}

impl Docs {
    /// Renders the page.
    pub(crate) fn new(openapi: &Value, asyncapi: &Value) -> Arc<Docs> {
        let style = concat!(include_str!("theme.css"), include_str!("docs/docs.css"));
        Arc::new(Docs {
            page: Document::new("text/html; charset=utf-8", reference::html(openapi, asyncapi)),
            style: StaticFile::new("text/css; charset=utf-8", style),
        })
    }
}

/// The API reference: both descriptions as a page for people
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
