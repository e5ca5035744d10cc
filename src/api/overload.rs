//! Rejection of connections and requests over the limit, in the format of each kind of client.

#[cfg(feature = "grpc")]
use super::grpc::call;
use super::stream::sse;
use crate::api::problem::Problem;
use axum::Router;
use axum::http::HeaderMap;
use axum::http::header::CONNECTION;
use axum::response::{IntoResponse, Response};
#[cfg(feature = "grpc")]
use tonic::Status;

const REASON: &str = "this replica has reached its connection limit, try again later";

/// Returns a router that rejects every request.
pub(crate) fn router() -> Router {
    Router::new().fallback(reject)
}

async fn reject(headers: HeaderMap) -> Response {
    #[cfg(feature = "grpc")]
    if call::is_grpc(&headers) {
        return call::status_response(Status::resource_exhausted(REASON));
    }
    if sse::wants_events(&headers) {
        return sse::unavailable(REASON);
    }
    Problem::unavailable(REASON).with(&[(CONNECTION, "close")]).into_response()
}
