//! gRPC: `btcfeed.v1.PriceFeed` (`proto/btcfeed/v1/price_feed.proto`), `grpc.health.v1` and reflection, on the port
//! of the HTTP API.
//!
//! tonic serves all calls except [`subscribe`], whose messages are encoded once for all clients. These messages are not
//! compressed, because they are small. Long answers of `GetLatest` and `ListPrices` are compressed with gzip for
//! clients that accept it. Requests may be compressed with gzip too. The size limit of a request message applies after
//! decompression.

pub(crate) mod call;
mod health;
mod prices;
mod request;
mod subscribe;

use crate::api::problem::Problem;
use crate::api::state::ApiState;
use crate::schema::protobuf::DESCRIPTORS;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{StatusCode, Version};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use call::{REQUEST_BYTES, SERVICE, is_grpc, status_response};
use futures_util::StreamExt;
use health::HealthService;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};
use tonic::Status;
use tonic::codec::CompressionEncoding;
use tonic_health::pb::health_server::HealthServer;
use tonic_reflection::server::Builder as Reflection;

/// Timeout for the response to a request, or for the beginning of a stream. The client may set a shorter one.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);
/// Maximum time for which a reflection stream may stay open.
const REFLECTION_TIME: Duration = Duration::from_secs(60);

/// Returns the routes of all services.
pub(crate) fn router(state: &Arc<ApiState>) -> Router<Arc<ApiState>> {
    let health = HealthServer::new(HealthService(state.clone()))
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(REQUEST_BYTES);
    Router::new()
        .route(&format!("/{SERVICE}/Subscribe"), post(subscribe::subscribe))
        .route(&format!("/{SERVICE}/GetLatest"), post(prices::get_latest))
        .route(&format!("/{SERVICE}/ListPrices"), post(prices::list_prices))
        .route_service("/grpc.health.v1.Health/{method}", health)
        .merge(reflection(state))
        .layer(from_fn(check_request))
}

/// Returns the routes of reflection, in the current version and in the one that most tools still use.
fn reflection(state: &Arc<ApiState>) -> Router<Arc<ApiState>> {
    let describe = || {
        Reflection::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let (v1, v1alpha) = (
        describe().build_v1().expect("the build wrote the descriptors"),
        describe().build_v1alpha().expect("the build wrote the descriptors"),
    );
    Router::new()
        .route_service(
            "/grpc.reflection.v1.ServerReflection/{method}",
            v1.accept_compressed(CompressionEncoding::Gzip).max_decoding_message_size(REQUEST_BYTES),
        )
        .route_service(
            "/grpc.reflection.v1alpha.ServerReflection/{method}",
            v1alpha.accept_compressed(CompressionEncoding::Gzip).max_decoding_message_size(REQUEST_BYTES),
        )
        .layer(from_fn_with_state(state.clone(), end_requests))
}

/// Ends the requests of a reflection stream after [`REFLECTION_TIME`], or when this replica stops. The response ends
/// with them.
async fn end_requests(State(state): State<Arc<ApiState>>, request: Request, next: Next) -> Response {
    let drain = state.drain.started().clone();
    let end = async move {
        tokio::select! { () = drain.cancelled() => {}, () = sleep(REFLECTION_TIME) => {} }
    };
    next.run(request.map(|body| Body::from_stream(body.into_data_stream().take_until(Box::pin(end))))).await
}

/// Checks that a request is gRPC, and applies its deadline.
async fn check_request(request: Request, next: Next) -> Response {
    if request.version() < Version::HTTP_2 {
        return Problem::new(StatusCode::HTTP_VERSION_NOT_SUPPORTED, "unsupported HTTP version: gRPC needs HTTP/2")
            .into_response();
    }
    if !is_grpc(request.headers()) {
        let detail = "unsupported media type: expected a gRPC request, POST with Content-Type application/grpc";
        return Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail).into_response();
    }
    let deadline = request::encoding(request.headers()).and_then(|_| request::deadline(request.headers()));
    let deadline = match deadline {
        Ok(deadline) => deadline.unwrap_or(ANSWER_DEADLINE).min(ANSWER_DEADLINE),
        Err(status) => return status_response(status),
    };
    match timeout(deadline, next.run(request)).await {
        Ok(response) => response,
        Err(_) => status_response(Status::deadline_exceeded(format!("no answer within {deadline:?}"))),
    }
}
