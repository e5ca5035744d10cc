//! `GET /v1/ws`: the WebSocket handshake (RFC 6455 §4.2). Behind it the raw socket goes to the [reactor](super::reactor): from
//! the front, if the request came there, or else out of the HTTP server's hands.

pub(in crate::server) mod frame;

#[cfg(any(test, fuzzing))]
pub(super) use frame::oracle::fuzz;

use super::State;
use super::docs::{answers, parameters};
use super::listener::{Peer, Slot};
use super::problem::Problem;
use super::query::read_subscription;
use super::reactor::Wire;
use crate::session::Session;
use crate::view::{Format, Framing};
use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State as Shared};
use axum::http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header::HeaderName};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use frame::Decoder;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use sha1::{Digest, Sha1};
use std::sync::Arc;
use tokio::net::TcpStream;
use tracing::debug;

/// What is appended to the client's key (§1.3).
const KEY_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The feed over WebSocket
///
/// The replay, if `since` or `after` says where to begin, then live: one JSON object a message. `/asyncapi.json` describes each,
/// and the close codes.
#[utoipa::path(
    get, path = "/v1/ws", tag = "streams", operation_id = "websocket",
    extensions(("x-codeSamples" = json!([{"lang": "Shell", "source": concat!(
        "websocat 'ws://localhost:8080/v1/ws'\n",
        "websocat 'ws://localhost:8080/v1/ws?currency=USD,EUR&since=2026-11-20T09:00:00Z'\n",
        "websocat 'ws://localhost:8080/v1/ws?format=full&after=1795166431075'"
    )}]))),
    params(parameters::Currency, parameters::Start, parameters::TimedateFormat, parameters::Less),
    responses(
        (status = 101, description = "The handshake is done, messages follow."),
        answers::BadRequest, answers::Forbidden, answers::UpgradeRequired, answers::Unavailable
    )
)]
pub(super) async fn connect(
    Shared(state): Shared<Arc<State>>,
    Extension(peer): Extension<Peer>,
    slot: Option<Extension<Slot>>,
    mut request: Request<Body>,
) -> Result<Response, Problem> {
    // The query first, so that a mistake in it can be seen with any HTTP client.
    let query = request.uri().query().unwrap_or_default();
    let subscription = read_subscription(query, Format::Timedate, state.offer)?;
    if !state.cors.admits(request.headers()) {
        let detail = "pages of this origin may not read the feed (BTCFEED_CORS_ORIGINS)";
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    let accept = accept_key(request.method(), request.headers())?;
    let session = state.open(&subscription, Framing::WebSocket).await?;
    let wire = Wire::WebSocket(Decoder::default());
    if let Some(Extension(slot)) = slot {
        slot.fill(wire, Bytes::new(), session);
    } else {
        let upgrade = hyper::upgrade::on(&mut request);
        let tasks = state.tasks.clone();
        tasks.spawn(serve(state, upgrade, wire, session, peer));
    }
    let headers = [
        (CONNECTION, HeaderValue::from_static("upgrade")),
        (UPGRADE, HeaderValue::from_static("websocket")),
        (SEC_WEBSOCKET_ACCEPT, accept),
    ];
    Ok((StatusCode::SWITCHING_PROTOCOLS, headers).into_response())
}

async fn serve(state: Arc<State>, upgrade: OnUpgrade, wire: Wire, session: Session, peer: Peer) {
    match upgrade.await.map_err(anyhow::Error::from).and_then(raw_socket) {
        Ok((stream, early)) => state.reactor.adopt(stream, wire, session, peer, Vec::new(), early),
        Err(error) => debug!(%error, "a WebSocket handshake was not finished"),
    }
}

/// The socket under an upgraded connection, and what the client sent early.
fn raw_socket(upgraded: Upgraded) -> anyhow::Result<(std::net::TcpStream, Box<[u8]>)> {
    let parts = upgraded.downcast::<TokioIo<TcpStream>>().map_err(|_| anyhow::anyhow!("not a plain TCP connection"))?;
    // Copied, since it is the HTTP server's buffer: kept, it would be most of what a connection costs.
    Ok((parts.io.into_inner().into_std()?, parts.read_buf[..].into()))
}

/// The answer to the client's key, if the request is a handshake as §4.2.1 demands it.
fn accept_key(method: &Method, headers: &HeaderMap) -> Result<HeaderValue, Problem> {
    let has = |name: HeaderName, token: &str| {
        let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|word| word.trim().eq_ignore_ascii_case(token))
    };
    let upgrade = |detail: &str| {
        let expected = [(UPGRADE, "websocket"), (CONNECTION, "upgrade"), (SEC_WEBSOCKET_VERSION, "13")];
        Problem::new(StatusCode::UPGRADE_REQUIRED, detail).with(&expected)
    };
    if method != Method::GET || !has(CONNECTION, "upgrade") || !has(UPGRADE, "websocket") {
        return Err(upgrade("this is a WebSocket: connect with ws:// or wss://"));
    }
    if !has(SEC_WEBSOCKET_VERSION, "13") {
        return Err(upgrade("Sec-WebSocket-Version reads 13"));
    }
    let key = headers.get(SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes).unwrap_or_default();
    if STANDARD.decode(key).map(|key| key.len()) != Ok(16) {
        return Err(Problem::bad_request("Sec-WebSocket-Key reads 16 bytes in base64"));
    }
    let digest = Sha1::new().chain_update(key).chain_update(KEY_SUFFIX).finalize();
    HeaderValue::from_str(&STANDARD.encode(digest))
        .map_err(|_| Problem::bad_request("Sec-WebSocket-Key cannot be answered"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

    fn answer(key: &str) -> Result<HeaderValue, StatusCode> {
        let mut headers = HeaderMap::new();
        headers.insert(CONNECTION, HeaderValue::from_static("keep-alive, Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("WebSocket"));
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        headers.insert(SEC_WEBSOCKET_KEY, HeaderValue::from_str(key).unwrap());
        accept_key(&Method::GET, &headers).map_err(|problem| problem.into_response().status())
    }

    #[test]
    fn the_key_of_the_rfc_gets_the_answer_of_the_rfc() {
        assert_eq!(answer("dGhlIHNhbXBsZSBub25jZQ==").unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    proptest! {
        /// tungstenite's client takes the answer to its key for right if it is this one.
        #[test]
        fn every_key_gets_the_answer_that_tungstenite_expects(key in any::<[u8; 16]>()) {
            let key = STANDARD.encode(key);
            prop_assert_eq!(answer(&key).unwrap(), derive_accept_key(key.as_bytes()));
        }

        #[test]
        fn what_is_no_key_of_16_bytes_is_refused(
            key in prop_oneof!["[ -~]{0,40}", prop::collection::vec(any::<u8>(), 0..40).prop_map(|key| STANDARD.encode(key))],
        ) {
            prop_assume!(STANDARD.decode(&key).map(|key| key.len()) != Ok(16));
            prop_assert_eq!(answer(&key), Err(StatusCode::BAD_REQUEST));
        }
    }
}
