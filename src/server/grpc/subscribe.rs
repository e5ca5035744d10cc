//! `Subscribe`: the rules of every stream ([`Session`](crate::session::Session)), as gRPC messages. What the hub has encoded goes into the answer's
//! body as it is; only a replay, which is many messages at once, is put together first, since each piece is a frame.

use super::request::Fields;
use super::{REQUEST_BYTES, refused};
use crate::server::State;
use crate::server::follow::{Follower, Turn};
use crate::server::listener::{OpenStream, Peer};
use crate::server::query::Offer;
use crate::session::{BadClientId, Pace, Start, Subscription};
use crate::tick::TickId;
use crate::view::proto::pb;
use crate::view::{Format, Framing};
use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State as Shared};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use http_body::Frame;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tonic::codec::{Codec, Streaming};
use tonic::{Code, Status};
use tonic_prost::ProstCodec;

pub(super) async fn subscribe(
    Shared(state): Shared<Arc<State>>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Response {
    match open(state, &peer, request).await {
        Ok(updates) => {
            let mut response = Response::new(Body::new(updates));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            response
        }
        Err(status) => refused(status),
    }
}

/// The one message of the request.
async fn read(request: Request) -> Result<pb::SubscribeRequest, Status> {
    let decoder = ProstCodec::<pb::SubscribeResponse, pb::SubscribeRequest>::default().decoder();
    let mut messages = Streaming::new_request(decoder, request.into_body(), None, Some(REQUEST_BYTES));
    messages.message().await?.ok_or_else(|| Status::invalid_argument("Subscribe reads a SubscribeRequest, got none"))
}

async fn open(state: Arc<State>, peer: &Peer, request: Request) -> Result<Updates, Status> {
    let asked = subscription(&read(request).await?, state.offer)?;
    let session = state.open(&asked, Framing::Grpc).await;
    let session = session.map_err(|problem| Status::unavailable(problem.detail()))?;
    let follow = async |mut follower: Follower| Some((follower.next().await, follower));
    let turns = stream::unfold(Follower::new(state, session), follow).boxed();
    Ok(Updates { turns, ended: false, _open: peer.open_stream() })
}

fn subscription(request: &pb::SubscribeRequest, offer: Offer) -> Result<Subscription, Status> {
    use pb::subscribe_request::Start as Asked;
    let mut fields = Fields::default();
    let currencies = fields.currencies(&request.currencies, offer);
    let start = match request.start {
        Some(Asked::Since(moment)) => Start::Since(fields.moment("since", moment)),
        Some(Asked::After(id)) => Start::After(TickId::from_ms(id)),
        None => Start::Latest,
    };
    let mut subscription = Subscription::new(currencies, Format::Full, start);
    subscription.pace = Pace { changes: request.changes, every: request.every.and_then(|every| fields.every(every)) };
    subscription.limit = Some(request.limit).filter(|limit| *limit > 0).and_then(|limit| fields.limit(limit));
    subscription.client = Some(&*request.client_id).filter(|name| !name.is_empty()).and_then(|name| {
        name.parse().inspect_err(|error: &BadClientId| fields.mistake("client_id", error.to_string())).ok()
    });
    subscription.hello = request.hello;
    fields.finish()?;
    Ok(subscription)
}

/// The messages of one client, and at the end its status.
struct Updates {
    turns: BoxStream<'static, Turn>,
    /// Whether the status was told.
    ended: bool,
    _open: OpenStream,
}

impl http_body::Body for Updates {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        while !self.ended {
            let status = match ready!(self.turns.poll_next_unpin(context)) {
                Some(Turn::Send(updates)) if updates.is_empty() => continue,
                Some(Turn::Send(updates)) => return Poll::Ready(Some(Ok(Frame::data(gathered(updates))))),
                // Its client's library answers pings.
                Some(Turn::Heartbeat) => continue,
                Some(Turn::Leave(goodbye)) => Status::new(Code::from_i32(goodbye.grpc_code()), goodbye.reason()),
                None => Status::internal("the stream is over"),
            };
            self.ended = true;
            let mut trailers = HeaderMap::new();
            // A code and an ASCII text always can be written.
            status.add_header(&mut trailers).ok();
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}

/// One piece of many; one alone stays what it is, shared with everybody else.
fn gathered(mut updates: Vec<Bytes>) -> Bytes {
    if updates.len() == 1 { updates.remove(0) } else { updates.concat().into() }
}
