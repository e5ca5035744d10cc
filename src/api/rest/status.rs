//! `GET /v1/status` on both ports, and `/healthz` on the operators' port: the health of the feed and of its replicas.

use crate::api::problem::Problem;
use crate::api::query::read_max_age;
use crate::api::state::ApiState;
use crate::message;
use crate::schema::{answers, parameters};
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

/// The state of the feed
///
/// The health of the feed and of its replicas, as this replica sees it. If the newest tick is older than `max_age`, the
/// HTTP status is 503, so a monitor needs to check only this number.
#[utoipa::path(
    get, path = "/v1/status", tag = "status",
    extensions(("x-codeSamples" = json!([{"lang": "Shell", "source": concat!(
        "curl 'http://localhost:8080/v1/status'\n",
        "curl --fail 'http://localhost:8080/v1/status?max_age=30s'"
    )}]))),
    params(parameters::MaxAge),
    responses(
        (status = 200, description = "The newest tick is younger than `max_age`, or the replica has just started and has seen no tick yet.", body = message::StatusReport<'static>),
        (status = 503, description = "The newest tick is older than `max_age`, or the replica has run for longer than `max_age` and has \
                                      seen no tick yet. The report has the reason.", body = message::StatusReport<'static>),
        answers::BadRequest, answers::Unauthorized, answers::TooManyRequests
    )
)]
pub(crate) async fn status(State(state): State<Arc<ApiState>>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let max_age = read_max_age(&query.unwrap_or_default())?.unwrap_or(state.monitor.stale_after());
    let (report, tip_age) = state.monitor.report();
    let status = if tip_age > max_age { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    let mut body = serde_json::to_vec(&report).unwrap_or_default();
    body.push(b'\n');
    let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")];
    Ok((status, headers, Body::from(body)).into_response())
}
