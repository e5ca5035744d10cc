//! `GET /v1/prices/stream`: server-sent events (HTML Living Standard §9.2).
//!
//! After a stream has ended, a browser's `EventSource` reconnects by itself with the last id that it received. If the
//! status is not 200, it never reconnects. Therefore a temporary failure has the status 200 if the client accepts
//! `text/event-stream`: the stream has only a `goodbye` event. A permanent failure, for example an invalid parameter,
//! is always an error. For all other clients, a temporary failure is an error, too.

use super::driver::{Output, SessionDriver};
use crate::access::Permission;
use crate::api::negotiate::accepts_events;
use crate::api::problem::Problem;
use crate::api::query::{read_last_event_id, read_subscription};
use crate::api::state::ApiState;
use crate::encode::{Format, Framing, View};
use crate::feed::Start;
use crate::message::GoodbyeReason;
use crate::net::connection_limit::{Permit, StreamGuard};
use crate::net::reactor::stream_protocol::StreamProtocol;
use crate::net::takeover::Handoff;
use crate::schema::{answers, parameters};
use crate::session::RETRY_MS;
use crate::wire::sse;
use axum::Extension;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, UPGRADE};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use http_body::{Frame, SizeHint};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// Minimum reconnection time of a client that cannot be served now.
const MIN_RETRY_LATER: Duration = Duration::from_secs(3);
/// Maximum random addition to the reconnection time, in milliseconds, so that clients do not return all at once.
const RETRY_LATER_SPREAD_MS: u32 = 5000;

/// Header in which an `EventSource` sends the last id that it received.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Headers of an event stream. `X-Accel-Buffering` keeps nginx from buffering it, and `no-transform` keeps other
/// proxies from compressing it: a proxy that compresses a stream holds its events back.
const EVENTS: [(HeaderName, &str); 3] = [
    (CONTENT_TYPE, "text/event-stream"),
    (CACHE_CONTROL, "no-store, no-transform"),
    (HeaderName::from_static("x-accel-buffering"), "no"),
];

/// The feed as server-sent events
///
/// If `since`, `after`, `Last-Event-ID` or `client_id` gives a start, the stream begins with a replay. Live updates
/// follow. Updates are events without a name. `status`, `gap`, `synced`, `hello` and `goodbye` are named events in
/// every format. `/asyncapi.json` describes each of them.
#[utoipa::path(
    get, path = "/v1/prices/stream", tag = "streams", operation_id = "events",
    extensions(("x-codeSamples" = json!([{"lang": "Shell", "source": concat!(
        "curl -N 'http://localhost:8080/v1/prices/stream'\n",
        "curl -N 'http://localhost:8080/v1/prices/stream?format=full&every=30s'\n",
        "curl -N -H 'Last-Event-ID: 1795166431075' 'http://localhost:8080/v1/prices/stream'"
    )}]))),
    params(
        parameters::CurrencyParameters, parameters::StartParameters, parameters::TimestampFormat, parameters::StreamParameters, parameters::LastEventId
    ),
    responses(
        (
            status = 200, content_type = "text/event-stream", body = String,
            description = "A stream without an end. If the server cannot serve a client that accepts `text/event-stream`, the stream \
                           has only a `goodbye`. Other clients get 503 or 429.",
            example = "retry: 1312\n\nid: 1795166431075\ndata: {\"timestamp\":1795166431,\"price\":97116.17}\n\n",
        ),
        answers::BadRequest, answers::Unauthorized, answers::TooManyRequests, answers::Unavailable
    )
)]
pub(crate) async fn connect(
    State(state): State<Arc<ApiState>>,
    Extension(permit): Extension<Permit>,
    method: Method,
    RawQuery(query): RawQuery,
    handoff: Option<Extension<Handoff>>,
    access: Option<Extension<Arc<Permission>>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let mut subscription = read_subscription(&query.unwrap_or_default(), Format::Timestamp, state.currencies)?;
    if headers.get(UPGRADE).is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket")) {
        // Without this check, a WebSocket client would wait for the end of a response that has no end.
        let detail = "unsupported upgrade: this path is an event stream, connect to /v1/ws for a WebSocket";
        return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
    }
    // The header takes precedence, because an EventSource repeats its first query on each reconnect.
    if let Some(id) = read_last_event_id(headers.get(LAST_EVENT_ID))? {
        subscription.start = Start::After(id);
    }
    if method == Method::HEAD {
        // Nothing is sent, so no bookmark may move.
        subscription.client = None;
    }
    let session = match state.open(&subscription, Framing::Event, &permit, access).await {
        Ok(session) => session,
        Err(problem) if accepts_events(&headers) => return Ok(rejected(&problem)),
        Err(problem) => return Err(problem),
    };
    if let Some(Extension(handoff)) = handoff {
        handoff.fill(StreamProtocol::Events, retry(RETRY_MS), session);
        return Ok(EVENTS.into_response());
    }
    let events = Events::new(SessionDriver::new(state, session), permit.stream_guard());
    Ok((EVENTS, Body::new(events)).into_response())
}

/// Returns the response to a client that cannot be served now: a stream that ends with a `goodbye`.
pub(crate) fn rejected(problem: &Problem) -> Response {
    let wait = problem.retry_after().unwrap_or_default().max(MIN_RETRY_LATER);
    let wait_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
    let goodbye = View::goodbye(GoodbyeReason::Unavailable, problem.detail());
    let body = [retry(wait_ms..wait_ms.saturating_add(RETRY_LATER_SPREAD_MS)), goodbye].concat();
    (EVENTS, Body::from(body)).into_response()
}

fn retry(range_ms: std::ops::Range<u32>) -> Bytes {
    sse::retry(fastrand::u32(range_ms))
}

/// Body of a stream. Its pieces are slices of buffers that all clients share.
struct Events {
    /// The output of the session. Each item is sent before the next one is made.
    outputs: BoxStream<'static, Vec<Bytes>>,
    /// Pieces that have not been sent.
    pending: VecDeque<Bytes>,
}

impl Events {
    fn new(driver: SessionDriver, guard: StreamGuard) -> Events {
        let outputs = stream::unfold(Some((driver, guard)), async |state| {
            let (mut driver, guard) = state?;
            Some(match driver.next().await {
                Output::Send(bytes) => (bytes, Some((driver, guard))),
                Output::Heartbeat => (vec![sse::heartbeat()], Some((driver, guard))),
                Output::Close(reason) => (vec![reason.last_event()], None),
            })
        });
        Events { outputs: outputs.boxed(), pending: [retry(RETRY_MS)].into() }
    }
}

impl http_body::Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        loop {
            if let Some(piece) = self.pending.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            match ready!(self.outputs.poll_next_unpin(context)) {
                Some(pieces) => self.pending = pieces.into(),
                None => return Poll::Ready(None),
            }
        }
    }

    /// Returns the number of bytes that wait for the client, so that they count as its memory.
    fn size_hint(&self) -> SizeHint {
        let mut hint = SizeHint::new();
        hint.set_lower(self.pending.iter().map(|piece| piece.len() as u64).sum());
        hint
    }
}
