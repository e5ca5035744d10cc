//! The operator's port: is the process alive, and should it get clients.

use crate::api::state::ApiState;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use std::sync::Arc;

/// The routes of the operator's port.
pub(crate) fn router(state: Arc<ApiState>) -> Router {
    Router::new().route("/livez", get(async || "alive\n")).route("/readyz", get(ready)).with_state(state)
}

/// Ready when the history has been read once, until this replica drains. It does not depend on Redis being there now: all
/// replicas would leave the balancer at once, though each can still serve what it has.
async fn ready(State(state): State<Arc<ApiState>>) -> (StatusCode, &'static str) {
    if state.unready.is_cancelled() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining\n")
    } else if state.hub().is_primed() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the history has not been read yet\n")
    }
}
