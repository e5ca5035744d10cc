//! `GET /openapi.json` and `GET /asyncapi.json`.

use super::base_url::BaseUrl;
use super::document::{Document, Lazy};
use crate::schema::asyncapi::{self, StreamFacts};
use crate::schema::{answers, openapi, parameters};
use axum::Extension;
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::Value;
use std::sync::Arc;
use utoipa::openapi::OpenApi;

/// The content of the two descriptions.
pub(crate) struct Described {
    pub(crate) openapi: Value,
    pub(crate) asyncapi: Value,
}

impl Described {
    /// Describes `paths`, and the streams of a server with the settings in `facts`.
    pub(crate) fn new(paths: OpenApi, facts: StreamFacts) -> Arc<Lazy<Described>> {
        Arc::new(Lazy::new(Box::new(move || {
            let openapi = openapi::document(paths);
            let asyncapi = asyncapi::document(&openapi, &facts);
            Described { openapi, asyncapi }
        })))
    }
}

/// The two descriptions as documents.
pub(crate) struct Descriptions {
    openapi: Document,
    asyncapi: Document,
}

impl Descriptions {
    /// Creates the documents.
    pub(crate) fn new(described: &Arc<Lazy<Described>>) -> Arc<Descriptions> {
        let json = |value: fn(&Described) -> &Value| {
            let described = described.clone();
            Document::new("application/json", move || format!("{:#}\n", value(&described)))
        };
        Arc::new(Descriptions { openapi: json(|all| &all.openapi), asyncapi: json(|all| &all.asyncapi) })
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
