//! The OpenAPI document: its head, other names of paths, and the changes to the complete document.

use crate::message;
use serde_json::{Value, json};
use utoipa::OpenApi as _;
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::schema::AdditionalProperties;
use utoipa::openapi::{OpenApi, RefOr, Schema};
use utoipa_axum::router::UtoipaMethodRouter;

/// The end of the API's description if the server supports gRPC.
const GRPC: &str = "\n\nThe service `btcfeed.v1.PriceFeed` on the same port serves the same feed over gRPC. Reflection \
                    describes it (`grpcurl -plaintext localhost:8080 describe btcfeed.v1.PriceFeed`).";

/// The head of the document.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "btcfeed",
        description = "A Bitcoin price feed whose clients miss no update when they reconnect. Every few seconds, \
                       btcfeed asks several exchanges for their prices, and streams the median in each currency of the \
                       feed. A client that has lost its connection sends its last id to any replica, and gets every \
                       update that it missed.\n\nEvery entry of the feed has an `id`, which is the moment of the entry \
                       in Unix milliseconds. Ids strictly increase. The streams, the history and the candles can be \
                       resumed: send the last id that you have as `after`.\n\nEvery path accepts GET and HEAD. The \
                       answer to another method is 405, and to an unknown path 404, both as problem details (RFC 9457)."
    ),
    servers((url = "http://localhost:8080", description = "This server")),
    security(()),
    tags(
        (name = "streams", description = "Live updates, after a replay if you ask for one. `/asyncapi.json` describes the messages."),
        (name = "prices", description = "The latest price, the history, the price at a moment, candles and sources."),
        (name = "TradingView", description = "Candles in the shapes of TradingView's UDF, so that its chart draws them."),
        (name = "status", description = "The health of the feed and of its replicas."),
        (name = "descriptions", description = "Descriptions of this API for programs and for people. Programs can generate clients and validate messages with `/openapi.json` and `/asyncapi.json`.")
    ),
    components(schemas(
        message::TimedateUpdate<'static>, message::TimestampUpdate, message::TickMessage<'static>,
        message::StatusMessage<'static>, message::GapMessage, message::SyncedMessage, message::HelloMessage<'static>,
        message::GoodbyeMessage<'static>, message::Latest<'static>, message::HistoryPage<'static>,
        message::HistoryLine<'static>, message::CandleMessage<'static>, message::CandlesPage<'static>,
        message::ProblemDetails<'static>, message::udf::UdfErrorMessage
    ))
)]
struct Head;

/// Returns a description without paths.
pub(crate) fn head() -> OpenApi {
    let mut openapi = Head::openapi();
    if cfg!(feature = "grpc") {
        openapi.info.description.get_or_insert_default().push_str(GRPC);
    }
    openapi
}

/// Returns a copy of a route under another name.
pub(crate) fn alias<S>(path: &str, (schemas, mut paths, handler): UtoipaMethodRouter<S>) -> UtoipaMethodRouter<S> {
    if let Some((whole, mut item)) = paths.paths.pop() {
        if let Some(operation) = &mut item.get {
            operation.summary = Some(format!("Another name of {whole}"));
            operation.description = None;
            let extension = Extensions::builder().add("x-alias-of", whole.as_str()).build();
            operation.extensions = Some(extension);
            operation.operation_id = operation.operation_id.take().map(|id| format!("{id}{}", path.replace('/', "_")));
        }
        paths.paths.insert(path.to_owned(), item);
    }
    (schemas, paths, handler)
}

/// Returns the document of all paths. Its objects allow only fields that are described, so that the tests find any
/// others.
pub(crate) fn document(mut openapi: OpenApi) -> Value {
    let schemas = openapi.components.iter_mut().flat_map(|components| components.schemas.values_mut());
    for schema in schemas {
        if let RefOr::T(Schema::Object(object)) = schema
            && !object.properties.is_empty()
        {
            object.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
            object.properties.values_mut().for_each(merge_description);
        }
    }
    let mut document = serde_json::to_value(openapi).expect("the keys of a description are strings");
    add_headers(&mut document);
    document
}

/// Paths whose responses, also those of their aliases, have headers with the state of the feed.
const WITH_FEED_HEADERS: [&str; 4] = ["/v1/ws", "/v1/prices/stream", "/v1/prices/latest", "/v1/prices"];

/// Describes the headers that every response has, or every response of some paths.
fn add_headers(document: &mut Value) {
    let state = json!({
        "description": "The state of the feed as this replica sees it.",
        "schema": {"type": "string", "enum": ["live", "degraded", "stale", "down"]}
    });
    let age = json!({
        "description": "The age of the newest tick in milliseconds, at the moment of the response.",
        "schema": {"type": "integer", "minimum": 0}
    });
    let simulated = json!({
        "description": "Only if the newest prices are simulated. The value is always `true`.",
        "schema": {"type": "string", "enum": ["true"]}
    });
    let id = json!({
        "description": "The id of the request: the one that you sent in this header, if it consists of at most 128 \
                        letters, digits and `-_.:=+/@`, otherwise a new one. It helps to find the request in the log.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 128}
    });
    for (path, item) in document["paths"].as_object_mut().into_iter().flatten() {
        let path = item["get"]["x-alias-of"].as_str().unwrap_or(path);
        let has_state = WITH_FEED_HEADERS.contains(&path);
        for response in item["get"]["responses"].as_object_mut().into_iter().flat_map(|all| all.values_mut()) {
            response["headers"]["X-Request-Id"] = id.clone();
            if !has_state {
                continue;
            }
            response["headers"]["Btcfeed-State"] = state.clone();
            response["headers"]["Btcfeed-Tick-Age-Ms"] = age.clone();
            response["headers"]["Btcfeed-Simulated"] = simulated.clone();
        }
    }
}

/// Moves the description of an inlined property into its schema. utoipa puts the description into a second schema, of
/// the type object, which a value of another type would violate.
fn merge_description(property: &mut RefOr<Schema>) {
    if let RefOr::T(Schema::AllOf(all)) = property
        && let [RefOr::T(Schema::Object(inlined)), RefOr::T(Schema::Object(comment))] = &mut all.items[..]
        && comment.properties.is_empty()
    {
        inlined.description = comment.description.take();
        *property = RefOr::T(Schema::Object(std::mem::take(inlined)));
    }
}
