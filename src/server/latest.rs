//! `GET /v1/prices/latest`: the newest tick, in the same words as the streams.

use super::State;
use super::answer::{self, Answer};
use super::docs::{answers, bodies, parameters};
use super::media::Media;
use super::problem::Problem;
use super::query::read_latest;
use crate::feed::Feed;
use crate::view::{Format, Framing};
use axum::body::Body;
use axum::extract::{RawQuery, State as Shared};
use axum::http::HeaderMap;
use axum::response::Response;
use std::sync::Arc;

/// The newest price
///
/// One update as an object, or, with several currencies, an array of updates.
#[utoipa::path(
    get, path = "/v1/prices/latest", tag = "prices",
    extensions(("x-codeSamples" = json!([{"lang": "Shell", "source": concat!(
        "curl 'http://localhost:8080/v1/prices/latest'\n",
        "curl 'http://localhost:8080/v1/prices/latest?currency=USD,EUR'"
    )}]))),
    params(parameters::Currency, parameters::TimedateFormat, parameters::IfNoneMatch),
    responses(
        (
            status = 200, description = "The newest tick that has a chosen currency.", body = bodies::Latest,
            headers(("ETag" = String, description = "Names this content, for `If-None-Match`."))
        ),
        answers::NotModified, answers::BadRequest, answers::Unavailable
    )
)]
pub(super) async fn latest(
    Shared(state): Shared<Arc<State>>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let asked = read_latest(&query.unwrap_or_default(), Format::Timedate, state.offer)?;
    let hub = state.primed_hub()?;
    let tick = hub.latest_tick(asked.currencies).ok_or_else(|| Problem::unavailable("there is no price yet"))?;
    let bytes = asked.view(Framing::Line).entry(&tick);
    let updates: Vec<_> = std::str::from_utf8(&bytes).unwrap_or_default().lines().collect();
    let body = match updates[..] {
        // A full tick that ends an outage is told after the gap; the tick itself is the last line.
        [.., tick] if asked.format == Format::Full => format!("{tick}\n"),
        [update] if asked.currencies.len() == 1 => format!("{update}\n"),
        _ => format!("[{}]\n", updates.join(",")),
    };
    let tag = answer::tag(&(asked.format, asked.currencies, tick.id));
    let answer = Answer { media: Media::Json, by_accept: false, tag: Some(tag), settled_until: None, next: None };
    Ok(answer.with(&headers, hub.head(), || Body::from(body)))
}
