//! `Subscribe`: a [`Session`](crate::session::Session) over gRPC. The body has the messages as the session returns
//! them. Only the many short messages of a replay are first copied into longer pieces, because each piece becomes a
//! frame.

use super::call::{REQUEST_BYTES, status, status_response};
use super::request::{Fields, encoding};
use crate::access::Permission;
use crate::api::query::SupportedCurrencies;
use crate::api::state::ApiState;
use crate::api::stream::driver::{Output, SessionDriver};
use crate::encode::{Format, Framing};
use crate::feed::Start;
use crate::message::pb;
use crate::net::connection_limit::{Permit, StreamGuard};
use crate::session::{BadClientId, Subscription, ThrottleOptions};
use crate::tick::TickId;
use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use http_body::{Frame, SizeHint};
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
        Err(status) => status_response(status),
    }
}

/// Reads the only message of the request.
async fn read(request: Request) -> Result<pb::SubscribeRequest, Status> {
    let decoder = ProstCodec::<pb::SubscribeResponse, pb::SubscribeRequest>::default().decoder();
    let encoding = encoding(request.headers())?;
    let mut messages = Streaming::new_request(decoder, request.into_body(), encoding, Some(REQUEST_BYTES));
    messages.message().await?.ok_or_else(|| Status::invalid_argument("missing request: expected one SubscribeRequest"))
}

async fn open(state: Arc<ApiState>, permit: &Permit, mut request: Request) -> Result<Updates, Status> {
    let access = request.extensions_mut().remove::<Arc<Permission>>().map(Extension);
    let subscription = subscription(&read(request).await?, state.currencies)?;
    let session = state.open(&subscription, Framing::Grpc, permit, access).await.map_err(|problem| status(&problem))?;
    let next = async |mut driver: SessionDriver| Some((driver.next().await, driver));
    let outputs = stream::unfold(SessionDriver::new(state, session), next).boxed();
    Ok(Updates { outputs, pending: VecDeque::new(), ended: false, _guard: permit.stream_guard() })
}

fn subscription(request: &pb::SubscribeRequest, supported: SupportedCurrencies) -> Result<Subscription, Status> {
    use pb::subscribe_request::Start as StartField;
    let mut fields = Fields::default();
    let currencies = fields.currencies(&request.currencies, supported);
    let start = match request.start {
        Some(StartField::Since(moment)) => Start::Since(fields.moment("since", moment)),
        Some(StartField::After(id)) => Start::After(TickId::from_ms(id)),
        None => Start::Latest,
    };
    let format = if request.audit { Format::Audit } else { Format::Full };
    let mut subscription = Subscription::new(currencies, format, start);
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

/// Maximum number of bytes in a copied piece.
const PIECE_BYTES: usize = 16 * 1024;

/// Body of one client's response. It has the messages, and then the status.
struct Updates {
    outputs: BoxStream<'static, Output>,
    /// Messages that have not been sent.
    pending: VecDeque<Bytes>,
    /// True if the status has been sent.
    ended: bool,
    _guard: StreamGuard,
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
            let status = match ready!(self.outputs.poll_next_unpin(context)) {
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
            // A code and an ASCII text are always a valid header.
            status.add_header(&mut trailers).ok();
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        Poll::Ready(None)
    }

    /// Returns the number of bytes that wait for the client, so that they count as its memory.
    fn size_hint(&self) -> SizeHint {
        let mut hint = SizeHint::new();
        hint.set_lower(self.pending.iter().map(|message| message.len() as u64).sum());
        hint
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}

/// Returns the next piece: a copy of as many messages as fit into [`PIECE_BYTES`], or the first message itself if no
/// other one fits with it.
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
    fn short_messages_are_joined_long_ones_shared() {
        let bytes = |len: usize| Bytes::from(vec![0; len]);
        let long = bytes(2 * PIECE_BYTES);
        let mut pending: VecDeque<_> = [vec![bytes(100); 300], vec![long.clone(), bytes(5)]].concat().into();
        let pieces: Vec<_> = std::iter::from_fn(|| next_piece(&mut pending)).collect();
        let lens: Vec<_> = pieces.iter().map(Bytes::len).collect();
        assert_eq!(lens, [16_300, 13_700, 2 * PIECE_BYTES, 5]);
        assert_eq!(pieces[2].as_ptr(), long.as_ptr());
    }
}
