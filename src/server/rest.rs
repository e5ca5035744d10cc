//! `GET /v1/prices/latest` and `GET /v1/prices`: the feed to look at, in the same words as the streams.

use super::State;
use super::problem::Problem;
use super::query::{HistoryQuery, Subscription};
use crate::session::{Session, Start, Step};
use crate::tick::TickId;
use crate::view::{Format, Framing};
use axum::extract::{RawQuery, State as Shared};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

/// The newest tick: one update as an object, or, with several currencies, an array of updates.
pub(super) async fn latest(Shared(state): Shared<Arc<State>>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let asked = Subscription::read_latest(&query.unwrap_or_default(), Format::Timedate, state.currencies)?;
    let tick = state.hub.latest_tick(asked.currencies).ok_or_else(|| Problem::unavailable("there is no price yet"))?;
    let bytes = asked.view(Framing::Line).entry(&tick);
    let updates = lines(&bytes);
    Ok(match updates[..] {
        // A full tick that ends an outage is told after the gap; the tick itself is the last line.
        [.., tick] if asked.format == Format::Full => json(tick.to_owned()),
        [update] if asked.currencies.len() == 1 => json(update.to_owned()),
        _ => json(format!("[{}]", updates.join(","))),
    })
}

/// A part of the history, oldest first: what a stream would replay.
pub(super) async fn history(Shared(state): Shared<Arc<State>>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let query = HistoryQuery::read(&query.unwrap_or_default(), Format::Timedate, state.currencies)?;
    let start = match query.subscription.start {
        Start::Latest => Start::Since(TickId::ZERO),
        start => start,
    };
    let mut session = Session::new(query.subscription.view(Framing::Line), start, &state.limits, &state.hub);
    let entries = state.hub.history(session.cursor(), query.until, query.limit).await;
    let entries = entries.map_err(|_| Problem::unavailable("the history cannot be read now"))?;
    let next = entries.last().filter(|_| entries.len() == query.limit).map(|entry| entry.id);
    let Step::Send(bytes) = session.loaded(&entries) else { return Err(Problem::unavailable("not now")) };
    let updates: Vec<_> = bytes.iter().flat_map(|bytes| lines(bytes)).collect();
    let next = next.map_or_else(|| "null".to_owned(), |id| id.to_string());
    Ok(json(format!(r#"{{"prices":[{}],"next":{next}}}"#, updates.join(","))))
}

fn lines(bytes: &[u8]) -> Vec<&str> {
    std::str::from_utf8(bytes).unwrap_or_default().lines().collect()
}

fn json(body: String) -> Response {
    ([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")], body + "\n").into_response()
}
