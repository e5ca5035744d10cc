//! The operators' port: metrics, the status, and two health checks. One tells whether the process is alive, the other
//! whether it should get clients.

use crate::api::hardening::harden;
use crate::api::rest::status;
use crate::api::state::ApiState;
use crate::telemetry::scrape;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::from_fn;
use axum::response::IntoResponse;
use axum::routing::get;
use std::sync::Arc;

/// Returns the routes of the operators' port.
pub(crate) fn router(state: Arc<ApiState>) -> Router {
    Router::new()
        .route("/livez", get(async || "alive\n"))
        .route("/readyz", get(ready))
        .route("/healthz", get(status::status))
        // `btcfeed check --peer` can ask this port for the status, too.
        .route("/v1/status", get(status::status))
        .route("/metrics", get(metrics))
        .layer(from_fn(harden))
        .with_state(state)
}

/// Returns the metrics in the text format of Prometheus.
async fn metrics(State(state): State<Arc<ApiState>>) -> impl IntoResponse {
    state.memory.report();
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], scrape::render())
}

/// Returns 200 if the replica is ready. It is ready from the first read of the history until it is asked to stop.
/// Readiness does not depend on Redis. If it did, an outage of Redis would remove all replicas from the load balancer,
/// although each can still serve its window.
async fn ready(State(state): State<Arc<ApiState>>) -> (StatusCode, &'static str) {
    if state.unready.is_cancelled() {
        (StatusCode::SERVICE_UNAVAILABLE, "stopping\n")
    } else if state.hub().is_primed() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the history has not been read yet\n")
    }
}
