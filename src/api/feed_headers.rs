//! The feed's state in the headers of a response. The bodies of the short formats have no field for it. For a stream,
//! the headers are in the response that begins it.

use super::headers::{SIMULATED, STATE, TICK_AGE};
use super::state::ApiState;
use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::middleware::Next;
use axum::response::Response;
use std::sync::Arc;

/// Adds the headers to the response. They describe the moment of the response. If a response comes from a cache, its
/// `Age` must be added to the age of the tick.
pub(crate) async fn add(State(state): State<Arc<ApiState>>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let health = state.monitor.health();
    let age_ms = u64::try_from(health.tip_age.as_millis()).unwrap_or(u64::MAX);
    let headers = response.headers_mut();
    headers.insert(STATE, HeaderValue::from_static(health.state.as_str()));
    headers.insert(TICK_AGE, HeaderValue::from(age_ms));
    if health.is_simulated {
        headers.insert(SIMULATED, HeaderValue::from_static("true"));
    }
    response
}
