//! `GET /v1/prices/stream`: server-sent events (HTML Living Standard §9.2).
//!
//! A native `EventSource` comes back by itself after a stream that ended, with the last id that it saw, and gives up for
//! good on any answer but 200. So whatever is over in a while is told to it as a stream that says goodbye; only what will
//! never be right, a wrong parameter, is an error.

use super::driver::{Output, SessionDriver};
use crate::api::problem::Problem;
use crate::api::query::{read_last_event_id, read_subscription};
use crate::api::state::ApiState;
use crate::encode::{Format, Framing, View};
use crate::net::connection_limit::{Permit, StreamGuard};
use crate::net::reactor::stream_protocol::{RETRY_MS, StreamProtocol, goodbye_event};
use crate::net::takeover::Handoff;
use crate::schema::{answers, parameters};
use crate::session::Start;
use crate::wire::sse;
use axum::Extension;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, Method};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use std::convert::Infallible;
use std::sync::Arc;

/// Reconnection time of a client that cannot be served now, in milliseconds.
const RETRY_LATER_MS: std::ops::Range<u32> = 3000..8000;

/// The header with which an `EventSource` says what it saw last.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The headers of an event stream; nginx buffers it unless it is told not to.
const EVENTS: [(HeaderName, &str); 3] = [
    (CONTENT_TYPE, "text/event-stream"),
    (CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("x-accel-buffering"), "no"),
];

/// The feed as server-sent events
///
/// The replay, if `since`, `after` or `Last-Event-ID` says where to begin, then live. Updates are events without a name; `status`,
/// `gap`, `synced`, `hello` and `goodbye` are named events in every format. `/asyncapi.json` describes each.
#[utoipa::path(
    get, path = "/v1/prices/stream", tag = "streams", operation_id = "events",
    extensions(("x-codeSamples" = json!([{"lang": "Shell", "source": concat!(
        "curl -N 'http://localhost:8080/v1/prices/stream'\n",
        "curl -N 'http://localhost:8080/v1/prices/stream?format=full&every=30s'\n",
        "curl -N -H 'Last-Event-ID: 1795166431075' 'http://localhost:8080/v1/prices/stream'"
    )}]))),
    params(
        parameters::Currency, parameters::Start, parameters::TimestampFormat, parameters::StreamFilter, parameters::LastEventId
    ),
    responses(
        (
            status = 200, content_type = "text/event-stream", body = String,
            description = "A stream without an end. A client that accepts `text/event-stream` and cannot be served now gets one that says \
                           `goodbye`; others get 503.",
            example = "retry: 1312\n\nid: 1795166431075\ndata: {\"timestamp\":1795166431,\"price\":97116.17}\n\n",
        ),
        answers::BadRequest, answers::Unavailable
    )
)]
pub(crate) async fn connect(
    State(state): State<Arc<ApiState>>,
    Extension(permit): Extension<Permit>,
    method: Method,
    RawQuery(query): RawQuery,
    handoff: Option<Extension<Handoff>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let mut subscription = read_subscription(&query.unwrap_or_default(), Format::Timestamp, state.currencies)?;
    // It wins: an EventSource repeats the query that it began with.
    if let Some(id) = read_last_event_id(headers.get(LAST_EVENT_ID))? {
        subscription.start = Start::After(id);
    }
    if method == Method::HEAD {
        // Nothing will be sent, so nothing is to be remembered.
        subscription.client = None;
    }
    let session = match state.open(&subscription, Framing::Event).await {
        Ok(session) => session,
        Err(problem) if wants_events(&headers) => return Ok(unavailable(problem.detail())),
        Err(problem) => return Err(problem),
    };
    if let Some(Extension(handoff)) = handoff {
        handoff.fill(StreamProtocol::Events, retry(RETRY_MS), session);
        return Ok(EVENTS.into_response());
    }
    Ok((EVENTS, Body::from_stream(events(SessionDriver::new(state, session), permit.stream_guard()))).into_response())
}

/// What a client that reads events is told when it cannot be served now: to come back.
pub(crate) fn unavailable(detail: &str) -> Response {
    let goodbye = View::goodbye("unavailable", detail);
    (EVENTS, Body::from([retry(RETRY_LATER_MS), goodbye].concat())).into_response()
}

/// Whether the client is one that reads events and nothing else.
pub(crate) fn wants_events(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).into_iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|kind| kind.trim().starts_with("text/event-stream"))
}

fn retry(range_ms: std::ops::Range<u32>) -> Bytes {
    sse::retry(fastrand::u32(range_ms))
}

/// The stream, in pieces that all clients share.
fn events(follower: SessionDriver, open: StreamGuard) -> impl futures_util::Stream<Item = Result<Bytes, Infallible>> {
    let live = stream::unfold(Some((follower, open)), async |following| {
        let (mut follower, open) = following?;
        Some(match follower.next().await {
            Output::Send(bytes) => (bytes, Some((follower, open))),
            Output::Heartbeat => (vec![sse::heartbeat()], Some((follower, open))),
            Output::Close(reason) => (vec![goodbye_event(reason)], None),
        })
    });
    let pieces = stream::once(async { vec![retry(RETRY_MS)] }).chain(live);
    pieces.flat_map(|bytes| stream::iter(bytes.into_iter().map(Ok)))
}
