//! What can be read here, described: `/openapi.json` for what is asked and answered, `/asyncapi.json` for the streams, and both
//! as a page at `/docs`.
//!
//! A route cannot be had without its description: [`utoipa_axum`] makes both from the annotation of a handler. What the
//! descriptions say of messages and parameters is held against the running server by `tests/it/descriptions.rs`.

pub(super) mod answers;
mod asyncapi;
pub(super) mod bodies;
mod document;
pub(super) mod messages;
mod page;
pub(super) mod parameters;

use super::State;
use crate::session::Limits;
use axum::Extension;
use axum::http::HeaderMap;
use axum::response::Response;
use document::Document;
use std::sync::Arc;
use std::time::Duration;
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;
use utoipa::openapi::extensions::Extensions;
use utoipa_axum::router::UtoipaMethodRouter;

/// What stands above the paths.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "btcfeed",
        description = "A Bitcoin price feed that never loses an update. Every few seconds several exchanges are asked, one price in USD \
                       and one in EUR is agreed on, and streamed. A client that lost its connection says where it was and gets every \
                       update that it missed, on any replica.\n\nEvery entry of the feed has an `id`, which strictly increases and is \
                       its moment in Unix milliseconds. It is the cursor for every door: pass the last one that you have as `after`.\
                       \n\nPaths read GET and HEAD; another method is answered with 405, an unknown path with 404, both as problem \
                       details (RFC 9457).\n\nThe same feed over gRPC is the service `btcfeed.v1.PriceFeed` on the same port. It describes \
                       itself by reflection (`grpcurl -plaintext localhost:8080 describe btcfeed.v1.PriceFeed`)."
    ),
    servers((url = "/", description = "This server")),
    security(()),
    tags(
        (name = "streams", description = "Live updates, with a replay before them. The messages are described in `/asyncapi.json`."),
        (name = "prices", description = "The newest price and the history."),
        (name = "descriptions", description = "What stands here, for programs: to make a client or to check messages.")
    ),
    components(schemas(
        messages::Id, messages::TimedateUpdate, messages::TimestampUpdate, messages::Tick, messages::Status, messages::Gap,
        messages::Synced, messages::Hello, messages::Goodbye, bodies::Latest, bodies::History, bodies::HistoryLine,
        bodies::Candle, bodies::Candles, bodies::Problem
    ))
)]
struct Head;

/// A description without paths.
pub(super) fn head() -> OpenApi {
    Head::openapi()
}

/// The same under a short form of its path.
pub(super) fn short_form(
    path: &str,
    (schemas, mut paths, handler): UtoipaMethodRouter<Arc<State>>,
) -> UtoipaMethodRouter<Arc<State>> {
    if let Some((whole, mut item)) = paths.paths.pop() {
        if let Some(operation) = &mut item.get {
            operation.summary = Some(format!("The short form of {whole}"));
            operation.description = None;
            let extension = Extensions::builder().add("x-short-form-of", whole.as_str()).build();
            operation.extensions = Some(extension);
            operation.operation_id = operation.operation_id.take().map(|id| format!("{id}_short"));
        }
        paths.paths.insert(path.to_owned(), item);
    }
    (schemas, paths, handler)
}

/// What is true of this server and not of every one.
pub(super) struct Facts {
    pub(super) limits: Limits,
    /// How often an event stream says that it is still there.
    pub(super) heartbeat: Duration,
}

/// The descriptions as they are served, made once.
pub(super) struct Documents {
    openapi: Document,
    asyncapi: Document,
    page: Document,
    style: Document,
}

impl Documents {
    pub(super) fn new(openapi: &OpenApi, facts: &Facts) -> Arc<Documents> {
        let openapi = serde_json::to_value(openapi).expect("a description has text for keys");
        let asyncapi = asyncapi::document(&openapi, facts);
        Arc::new(Documents {
            page: Document::new("text/html; charset=utf-8", page::html(&openapi, &asyncapi)),
            style: Document::new(
                "text/css; charset=utf-8",
                concat!(include_str!("palette.css"), include_str!("docs/docs.css")).to_owned(),
            ),
            openapi: Document::new("application/json", format!("{openapi:#}\n")),
            asyncapi: Document::new("application/json", format!("{asyncapi:#}\n")),
        })
    }
}

/// What is asked and answered, as `OpenAPI` 3.1
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "descriptions",
    operation_id = "openapi",
    params(parameters::IfNoneMatch),
    responses(answers::Description, answers::NotModified)
)]
pub(super) async fn openapi(Extension(documents): Extension<Arc<Documents>>, headers: HeaderMap) -> Response {
    documents.openapi.answer(&headers)
}

/// The streams, as `AsyncAPI` 3.0
#[utoipa::path(
    get,
    path = "/asyncapi.json",
    tag = "descriptions",
    operation_id = "asyncapi",
    params(parameters::IfNoneMatch),
    responses(answers::Description, answers::NotModified)
)]
pub(super) async fn asyncapi(Extension(documents): Extension<Arc<Documents>>, headers: HeaderMap) -> Response {
    documents.asyncapi.answer(&headers)
}

/// Both as a page for people, which is this one
#[utoipa::path(
    get,
    path = "/docs",
    tag = "descriptions",
    operation_id = "docs",
    params(parameters::IfNoneMatch),
    responses(answers::Page, answers::NotModified)
)]
pub(super) async fn page(Extension(documents): Extension<Arc<Documents>>, headers: HeaderMap) -> Response {
    documents.page.answer(&headers)
}

/// The look of that page
#[utoipa::path(
    get,
    path = "/docs.css",
    tag = "descriptions",
    extensions(("x-part-of" = json!("/docs"))),
    operation_id = "docs_style",
    params(parameters::IfNoneMatch),
    responses(answers::Style, answers::NotModified)
)]
pub(super) async fn style(Extension(documents): Extension<Arc<Documents>>, headers: HeaderMap) -> Response {
    documents.style.answer(&headers)
}
