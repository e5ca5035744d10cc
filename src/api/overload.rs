//! Rejection of connections and requests that exceed a limit, in the format of each kind of client.

#[cfg(feature = "grpc")]
use super::grpc::call;
use super::negotiate::accepts_events;
use super::stream::sse;
use crate::admission::refusal::Refusal;
use crate::api::problem::Problem;
use axum::http::HeaderMap;
use axum::http::header::CONNECTION;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
#[cfg(feature = "grpc")]
use tonic::Status;

/// Returns a router that rejects every request with the [`Refusal`] in the request's extensions.
pub(crate) fn router() -> Router {
    Router::new().fallback(reject)
}

async fn reject(Extension(refusal): Extension<Refusal>, headers: HeaderMap) -> Response {
    #[cfg(feature = "grpc")]
    if call::is_grpc(&headers) {
        return call::status_response(Status::resource_exhausted(refusal.limit.message()));
    }
    if accepts_events(&headers) {
        return sse::rejected(&refusal.into());
    }
    Problem::from(refusal).with(&[(CONNECTION, "close")]).into_response()
}
