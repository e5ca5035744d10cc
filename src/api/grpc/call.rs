//! Parts of every gRPC call: recognition of a request, rejection and response.

use crate::api::problem::Problem;
use crate::api::state::ApiState;
use crate::hub::Hub;
use crate::text::excerpt;
use axum::body::Body;
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use prost::Message;
use tonic::Status;
use tonic::codec::CompressionEncoding;
use tonic::server::Grpc;
use tonic_prost::ProstCodec;

/// Full name of the service.
pub(crate) const SERVICE: &str = "btcfeed.v1.PriceFeed";
/// Minimum length of a response message that is compressed, if the client accepts that.
const MIN_COMPRESSED_BYTES: usize = 1024;
/// Maximum length of a request message, also after decompression.
pub(super) const REQUEST_BYTES: usize = 4096;

/// Returns whether a request is gRPC with protobuf messages (not gRPC-Web).
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    matches!(kind.as_str(), "application/grpc" | "application/grpc+proto")
}

/// Returns a response that is only a status. gRPC clients expect it in the head of a response with HTTP 200.
pub(crate) fn status_response(status: Status) -> Response {
    status.into_http::<Body>()
}

/// Returns the response to a request for an unknown method.
pub(crate) fn unknown_method(path: &str) -> Response {
    let methods = format!("Subscribe, GetLatest or ListPrices of {SERVICE}, or a method of health or reflection");
    status_response(Status::unimplemented(format!("unknown method {}: expected {methods}", excerpt(path, 200))))
}

/// Returns the gRPC status for a temporary problem.
pub(super) fn status(problem: &Problem) -> Status {
    let detail = problem.detail();
    if problem.is_limit() { Status::resource_exhausted(detail) } else { Status::unavailable(detail) }
}

/// Returns the hub if it has read the history.
pub(super) fn primed_hub(state: &ApiState) -> Result<&Hub, Status> {
    state.primed_hub().map_err(|problem| status(&problem))
}

/// Answers one message with one message.
pub(super) async fn unary<Q, A, F>(request: Request, mut answer: impl FnMut(Q) -> F + Send) -> Response
where
    Q: Message + Default + 'static,
    A: Message + 'static,
    F: Future<Output = Result<A, Status>> + Send,
{
    let service = tower::service_fn(move |request: tonic::Request<Q>| {
        let answering = answer(request.into_inner());
        async {
            let mut response = tonic::Response::new(answering.await?);
            if response.get_ref().encoded_len() < MIN_COMPRESSED_BYTES {
                response.disable_compression();
            }
            Ok(response)
        }
    });
    let mut grpc = Grpc::new(ProstCodec::<A, Q>::default())
        .accept_compressed(CompressionEncoding::Gzip)
        .send_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(REQUEST_BYTES);
    grpc.unary(service, request).await.map(Body::new)
}
