//! The head of the OpenAPI description, and short forms of paths.

use super::{bodies, messages};
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
pub(crate) fn head() -> OpenApi {
    Head::openapi()
}

/// The same under a short form of its path.
pub(crate) fn short_form<S>(path: &str, (schemas, mut paths, handler): UtoipaMethodRouter<S>) -> UtoipaMethodRouter<S> {
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
