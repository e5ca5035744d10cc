//! The feed's state in the headers of a response, because the short formats have exact fields. Streams have them in the answer
//! to the handshake.

use super::headers::{SIMULATED, STATE, TICK_AGE};
use super::state::ApiState;
use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::middleware::Next;
use axum::response::Response;
use std::sync::Arc;

/// Adds the headers to the response. They are true at the moment of the response: for one from a cache, add its `Age`.
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
