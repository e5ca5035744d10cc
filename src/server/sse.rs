//! `GET /v1/prices/stream`: server-sent events (HTML Living Standard §9.2).
//!
//! A native `EventSource` comes back by itself after a stream that ended, with the last id that it saw, and gives up for
//! good on any answer but 200. So whatever is over in a while is told to it as a stream that says goodbye; only what will
//! never be right, a wrong parameter, is an error.

use super::State;
use super::docs::{answers, parameters};
use super::follow::{Follower, Turn};
use super::listener::{OpenStream, Peer, Slot};
use super::problem::Problem;
use super::query::{read_last_event_id, read_subscription};
use super::reactor::Wire;
use crate::session::{Goodbye, Start};
use crate::view::{Format, Framing, View};
use axum::Extension;
use axum::body::Body;
use axum::extract::{RawQuery, State as Shared};
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, Method};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use std::convert::Infallible;
use std::sync::Arc;

/// After how many milliseconds a client comes back. It differs from client to client, so that those of a replica that is
/// gone do not all come at the same moment.
const RETRY_MS: std::ops::Range<u32> = 500..2000;
/// The same for one that cannot be served now.
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
        parameters::Currency, parameters::Start, parameters::TimestampFormat, parameters::Less, parameters::LastEventId
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
pub(super) async fn connect(
    Shared(state): Shared<Arc<State>>,
    Extension(peer): Extension<Peer>,
    method: Method,
    RawQuery(query): RawQuery,
    slot: Option<Extension<Slot>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let mut subscription = read_subscription(&query.unwrap_or_default(), Format::Timestamp, state.offer)?;
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
    if let Some(Extension(slot)) = slot {
        slot.fill(Wire::Events, retry(RETRY_MS), session);
        return Ok(EVENTS.into_response());
    }
    Ok((EVENTS, Body::from_stream(events(Follower::new(state, session), peer.open_stream()))).into_response())
}

/// What a client that reads events is told when it cannot be served now: to come back.
pub(super) fn unavailable(detail: &str) -> Response {
    let goodbye = View::goodbye("unavailable", detail);
    (EVENTS, Body::from([retry(RETRY_LATER_MS), goodbye].concat())).into_response()
}

/// Whether the client is one that reads events and nothing else.
pub(super) fn wants_events(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).into_iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|kind| kind.trim().starts_with("text/event-stream"))
}

fn retry(range_ms: std::ops::Range<u32>) -> Bytes {
    Bytes::from(format!("retry: {}\n\n", fastrand::u32(range_ms)))
}

/// What shows that the stream is still there: a comment.
pub(super) fn heartbeat() -> Bytes {
    Bytes::from_static(b": still here\n\n")
}

/// The last that a client is told.
pub(super) fn farewell(goodbye: Goodbye) -> Bytes {
    [retry(RETRY_MS), View::goodbye(goodbye.name(), goodbye.reason())].concat().into()
}

/// Where the event ends of which `sent` bytes of `events` are a part. They are whole events.
pub(super) fn end_of(events: &[u8], sent: usize) -> usize {
    let ended = |at: usize| events[..at].ends_with(b"\n\n");
    (sent..events.len()).find(|at| *at == 0 || ended(*at)).unwrap_or(events.len())
}

/// The stream, in pieces that all clients share.
fn events(follower: Follower, open: OpenStream) -> impl futures_util::Stream<Item = Result<Bytes, Infallible>> {
    let live = stream::unfold(Some((follower, open)), async |following| {
        let (mut follower, open) = following?;
        Some(match follower.next().await {
            Turn::Send(bytes) => (bytes, Some((follower, open))),
            Turn::Heartbeat => (vec![heartbeat()], Some((follower, open))),
            Turn::Leave(goodbye) => (vec![farewell(goodbye)], None),
        })
    });
    let pieces = stream::once(async { vec![retry(RETRY_MS)] }).chain(live);
    pieces.flat_map(|bytes| stream::iter(bytes.into_iter().map(Ok)))
}
