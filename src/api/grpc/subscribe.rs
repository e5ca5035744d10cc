//! `Subscribe`: the rules of every stream ([`Session`](crate::session::Session)) in gRPC messages. What the hub has encoded goes into the
//! body unchanged. Only a replay, which is many messages at once, is copied together first, since each piece becomes a frame.

use super::call::{REQUEST_BYTES, refused};
use super::request::Fields;
use crate::api::query::SupportedCurrencies;
use crate::api::state::ApiState;
use crate::api::stream::driver::{Output, SessionDriver};
use crate::encode::{Format, Framing};
use crate::message::pb;
use crate::net::connection_limit::{Permit, StreamGuard};
use crate::session::{BadClientId, Start, Subscription, ThrottleOptions};
use crate::tick::TickId;
use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use http_body::Frame;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tonic::codec::{Codec, Streaming};
use tonic::{Code, Status};
use tonic_prost::ProstCodec;

pub(crate) async fn subscribe(
    State(state): State<Arc<ApiState>>,
    Extension(permit): Extension<Permit>,
    request: Request,
) -> Response {
    match open(state, &permit, request).await {
        Ok(updates) => {
            let mut response = Response::new(Body::new(updates));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            response
        }
        Err(status) => refused(status),
    }
}

/// Reads the only message of the request.
async fn read(request: Request) -> Result<pb::SubscribeRequest, Status> {
    let decoder = ProstCodec::<pb::SubscribeResponse, pb::SubscribeRequest>::default().decoder();
    let mut messages = Streaming::new_request(decoder, request.into_body(), None, Some(REQUEST_BYTES));
    messages.message().await?.ok_or_else(|| Status::invalid_argument("missing request: expected one SubscribeRequest"))
}

async fn open(state: Arc<ApiState>, permit: &Permit, request: Request) -> Result<Updates, Status> {
    let asked = subscription(&read(request).await?, state.currencies)?;
    let session = state.open(&asked, Framing::Grpc).await;
    let session = session.map_err(|problem| Status::unavailable(problem.detail()))?;
    let follow = async |mut follower: SessionDriver| Some((follower.next().await, follower));
    let turns = stream::unfold(SessionDriver::new(state, session), follow).boxed();
    Ok(Updates { turns, pending: VecDeque::new(), ended: false, _open: permit.stream_guard() })
}

fn subscription(request: &pb::SubscribeRequest, offer: SupportedCurrencies) -> Result<Subscription, Status> {
    use pb::subscribe_request::Start as Asked;
    let mut fields = Fields::default();
    let currencies = fields.currencies(&request.currencies, offer);
    let start = match request.start {
        Some(Asked::Since(moment)) => Start::Since(fields.moment("since", moment)),
        Some(Asked::After(id)) => Start::After(TickId::from_ms(id)),
        None => Start::Latest,
    };
    let mut subscription = Subscription::new(currencies, Format::Full, start);
    subscription.throttle =
        ThrottleOptions { changes: request.changes, every: request.every.and_then(|every| fields.every(every)) };
    subscription.limit = Some(request.limit).filter(|limit| *limit > 0).and_then(|limit| fields.limit(limit));
    subscription.client = Some(&*request.client_id).filter(|name| !name.is_empty()).and_then(|name| {
        name.parse().inspect_err(|error: &BadClientId| fields.mistake("client_id", error.to_string())).ok()
    });
    subscription.hello = request.hello;
    fields.finish()?;
    Ok(subscription)
}

/// Most bytes that are copied together for one client, and that wait if it reads nothing.
const PIECE_BYTES: usize = 16 * 1024;

/// Body of one client's response: its messages, and at the end the status.
struct Updates {
    turns: BoxStream<'static, Output>,
    /// Messages to be sent first.
    pending: VecDeque<Bytes>,
    /// Whether the status has been sent.
    ended: bool,
    _open: StreamGuard,
}

impl http_body::Body for Updates {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        while !self.ended {
            if let Some(piece) = next_piece(&mut self.pending) {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            let status = match ready!(self.turns.poll_next_unpin(context)) {
                Some(Output::Send(updates)) => {
                    self.pending = updates.into();
                    continue;
                }
                // HTTP/2 has pings of its own.
                Some(Output::Heartbeat) => continue,
                Some(Output::Close(reason)) => Status::new(Code::from_i32(reason.grpc_code()), reason.message()),
                None => Status::internal("the stream ended"),
            };
            self.ended = true;
            let mut trailers = HeaderMap::new();
            // A code and an ASCII text can always be written.
            status.add_header(&mut trailers).ok();
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}

/// Returns the next piece: a message that is long or alone unchanged, otherwise several messages in one piece.
fn next_piece(pending: &mut VecDeque<Bytes>) -> Option<Bytes> {
    let first = pending.pop_front()?;
    let fits = |len: usize, next: &Bytes| len + next.len() <= PIECE_BYTES;
    if pending.front().is_none_or(|next| !fits(first.len(), next)) {
        return Some(first);
    }
    let mut piece = first.to_vec();
    while let Some(next) = pending.front().filter(|next| fits(piece.len(), next)) {
        piece.extend_from_slice(next);
        pending.pop_front();
    }
    Some(piece.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_messages_are_joined_and_long_ones_shared() {
        let bytes = |len: usize| Bytes::from(vec![0; len]);
        let long = bytes(2 * PIECE_BYTES);
        let mut pending: VecDeque<_> = [vec![bytes(100); 300], vec![long.clone(), bytes(5)]].concat().into();
        let pieces: Vec<_> = std::iter::from_fn(|| next_piece(&mut pending)).collect();
        let lens: Vec<_> = pieces.iter().map(Bytes::len).collect();
        assert_eq!(lens, [16_300, 13_700, 2 * PIECE_BYTES, 5]);
        assert_eq!(pieces[2].as_ptr(), long.as_ptr());
    }
}
