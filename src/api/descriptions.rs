//! `GET /openapi.json` and `GET /asyncapi.json`.

use super::base_url::BaseUrl;
use super::document::Document;
use crate::schema::{answers, parameters};
use axum::Extension;
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::Value;
use std::sync::Arc;

/// The two descriptions as documents.
pub(crate) struct Descriptions {
    openapi: Document,
    asyncapi: Document,
}

impl Descriptions {
    /// Renders both descriptions.
    pub(crate) fn new(openapi: &Value, asyncapi: &Value) -> Arc<Descriptions> {
        let json = |value: &Value| Document::new("application/json", format!("{value:#}\n"));
        Arc::new(Descriptions { openapi: json(openapi), asyncapi: json(asyncapi) })
    }
}

/// The API over HTTP, as OpenAPI 3.1
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "descriptions",
    operation_id = "openapi",
    params(parameters::IfNoneMatch),
    responses(answers::Description, answers::NotModified)
)]
pub(crate) async fn openapi(
    Extension(descriptions): Extension<Arc<Descriptions>>,
    base: Option<BaseUrl>,
    headers: HeaderMap,
) -> Response {
    descriptions.openapi.answer(base, &headers)
}

/// The streams, as AsyncAPI 3.0
#[utoipa::path(
    get,
    path = "/asyncapi.json",
    tag = "descriptions",
    operation_id = "asyncapi",
    params(parameters::IfNoneMatch),
    responses(answers::Description, answers::NotModified)
)]
pub(crate) async fn asyncapi(
    Extension(descriptions): Extension<Arc<Descriptions>>,
    base: Option<BaseUrl>,
    headers: HeaderMap,
) -> Response {
    descriptions.asyncapi.answer(base, &headers)
}
