//! The operators' port: is the process alive, and should it get clients?

use crate::api::state::ApiState;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use std::sync::Arc;

/// Returns the routes of the operators' port.
pub(crate) fn router(state: Arc<ApiState>) -> Router {
    Router::new().route("/livez", get(async || "alive\n")).route("/readyz", get(ready)).with_state(state)
}

/// Answers whether the replica is ready: from the first read of the history until it drains. Readiness does not depend on
/// Redis being reachable now, or all replicas would leave the load balancer at once although each can still serve its window.
async fn ready(State(state): State<Arc<ApiState>>) -> (StatusCode, &'static str) {
    if state.unready.is_cancelled() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining\n")
    } else if state.hub().is_primed() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the history has not been read yet\n")
    }
}
