//! `GET /v1/prices/latest`: the newest tick, in the same formats as on the streams.

use crate::api::caching::{self, CacheableResponse};
use crate::api::problem::Problem;
use crate::api::query::read_latest;
use crate::api::state::ApiState;
use crate::encode::{Format, Framing};
use crate::feed::Feed;
use crate::message;
use crate::net::connection_limit::Permit;
use crate::schema::{answers, parameters};
use axum::Extension;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use std::sync::Arc;

/// The newest price
///
/// One update as an object. If several currencies are chosen, the formats `timedate` and `timestamp` give an array of
/// updates.
#[utoipa::path(
    get, path = "/v1/prices/latest", tag = "prices",
    extensions(("x-codeSamples" = json!([{"lang": "Shell", "source": concat!(
        "curl 'http://localhost:8080/v1/prices/latest'\n",
        "curl 'http://localhost:8080/v1/prices/latest?currency=USD,EUR'"
    )}]))),
    params(parameters::CurrencyParameters, parameters::TimedateFormat, parameters::IfNoneMatch),
    responses(
        (
            status = 200, description = "The newest tick that has a chosen currency.", body = message::Latest<'static>,
            headers(("ETag" = String, description = "The entity tag of this content, for `If-None-Match`."))
        ),
        answers::NotModified, answers::BadRequest, answers::Unauthorized, answers::TooManyRequests, answers::Unavailable
    )
)]
pub(crate) async fn latest(
    State(state): State<Arc<ApiState>>,
    Extension(permit): Extension<Permit>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let subscription = read_latest(&query.unwrap_or_default(), Format::Timedate, state.currencies)?;
    let hub = state.primed_hub()?;
    let tick = hub
        .latest_tick(subscription.currencies)
        .ok_or_else(|| Problem::unavailable("this replica has no price in the chosen currencies, try again later"))?;
    let view = subscription.view(Framing::Line);
    let tick = if view.has_inputs() {
        permit.begin_read()?;
        let found = hub.page(tick.id.before(), tick.id, 1, true).await;
        let found = found.map_err(|_| Problem::unavailable("the inputs cannot be read now, try again"))?;
        found.into_iter().next().unwrap_or(tick)
    } else {
        tick
    };
    let bytes = view.entry(&tick);
    let updates: Vec<_> = std::str::from_utf8(&bytes).unwrap_or_default().lines().collect();
    let body = match updates[..] {
        // In `full` and `audit`, a tick that ends an outage is written as a gap and a tick. The tick is the last line.
        [.., tick] if subscription.format.is_full() => format!("{tick}\n"),
        [update] if subscription.currencies.len() == 1 => format!("{update}\n"),
        _ => format!("[{}]\n", updates.join(",")),
    };
    let tag = caching::tag(&(subscription.format, subscription.currencies, tick.id));
    let answer = CacheableResponse::json(Some(tag));
    Ok(answer.with(&headers, hub.head(), || Body::from(body)))
}
