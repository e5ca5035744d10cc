//! `GET /v1/ws`: the WebSocket handshake (RFC 6455 §4.2), and its form over HTTP/2, a CONNECT (RFC 8441 §5).
//!
//! After a handshake over HTTP/1, the raw socket moves to the [reactor](crate::net::reactor). If the request is the
//! first of its connection, this is a handoff, otherwise an upgrade by hyper. A stream of HTTP/2 has no socket of its
//! own, so a library does the framing ([`websocket_h2`]).

use super::websocket_h2;
use crate::access::Permission;
use crate::api::base_url::BaseUrl;
use crate::api::problem::Problem;
use crate::api::query::read_subscription;
use crate::api::state::ApiState;
use crate::encode::{Format, Framing};
use crate::net::buffered_stream::BufferedStream;
use crate::net::client_stream::RawSocket;
use crate::net::connection_limit::{Permit, StreamGuard};
use crate::net::reactor::stream_protocol::StreamProtocol;
use crate::net::takeover::Handoff;
use crate::schema::{answers, parameters};
use crate::session::Session;
use crate::telemetry::metrics::REFUSALS;
use crate::text::quotable;
use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header::HeaderName};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::ext::Protocol;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use std::io;
use std::sync::Arc;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tracing::{Instrument, debug};
use utoipa_axum::router::UtoipaMethodRouter;
use utoipa_axum::routes;

/// Name of the WebSocket subprotocol that consists of the messages of this feed.
const SUBPROTOCOL: &str = "btcfeed.v1";

/// Returns the route. Its description is that of the handshake over HTTP/1.
pub(crate) fn route() -> UtoipaMethodRouter<Arc<ApiState>> {
    let (schemas, paths, handler) = routes!(connect);
    (schemas, paths, handler.connect(connect))
}

/// The feed over WebSocket
///
/// If `since`, `after` or `client_id` gives a start, the stream begins with a replay. Live updates follow. Each message
/// is one JSON object. `/asyncapi.json` describes the messages and the close codes. Over HTTP/2 the handshake is an
/// extended CONNECT (RFC 8441), and the answer to it is 200.
#[utoipa::path(
    get, path = "/v1/ws", tag = "streams", operation_id = "websocket",
    extensions(("x-codeSamples" = json!([{"lang": "Shell", "source": concat!(
        "websocat 'ws://localhost:8080/v1/ws'\n",
        "websocat 'ws://localhost:8080/v1/ws?currency=USD,EUR&since=2026-11-20T09:00:00Z'\n",
        "websocat 'ws://localhost:8080/v1/ws?format=full&after=1795166431075'"
    )}]))),
    params(parameters::CurrencyParameters, parameters::StartParameters, parameters::TimedateFormat, parameters::StreamParameters),
    responses(
        (status = 101, description = "The handshake is complete, and messages follow."),
        answers::BadRequest, answers::Unauthorized, answers::Forbidden, answers::UpgradeRequired, answers::TooManyRequests, answers::Unavailable
    )
)]
pub(crate) async fn connect(
    State(state): State<Arc<ApiState>>,
    Extension(permit): Extension<Permit>,
    handoff: Option<Extension<Handoff>>,
    access: Option<Extension<Arc<Permission>>>,
    base: Option<BaseUrl>,
    mut request: Request<Body>,
) -> Result<Response, Problem> {
    // The query is checked first, so that its errors can be seen with any HTTP client.
    let query = request.uri().query().unwrap_or_default();
    let subscription = read_subscription(query, Format::Timedate, state.currencies)?;
    if !state.cors.admits(base.as_ref(), request.uri(), request.headers()) {
        REFUSALS.counter("origin").increment(1);
        let detail = "origin not allowed: pages of this origin may not read the feed (BTCFEED_CORS_ORIGINS)";
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    if request.version() < Version::HTTP_11 {
        // HTTP/1.0 has no upgrade (RFC 9110 §7.8).
        return Err(upgrade_required("unsupported HTTP/1.0: expected HTTP/1.1 or HTTP/2"));
    }
    let answer = match request.extensions().get::<Protocol>() {
        Some(protocol) => {
            check_connect(protocol.as_str(), request.headers())?;
            StatusCode::OK.into_response()
        }
        None => switching(accept_key(request.method(), request.headers())?),
    };
    let answer = match chosen_subprotocol(request.headers()) {
        Some(name) => ([(SEC_WEBSOCKET_PROTOCOL, name)], answer).into_response(),
        None => answer,
    };
    let session = state.open(&subscription, Framing::WebSocket, &permit, access).await?;
    if let Some(Extension(handoff)) = handoff {
        handoff.fill(StreamProtocol::websocket(), Bytes::new(), session);
    } else {
        let (upgrade, guard) = (hyper::upgrade::on(&mut request), permit.stream_guard());
        let tasks = state.tasks.clone();
        tasks.spawn(serve(state, upgrade, session, permit, guard).in_current_span());
    }
    Ok(answer)
}

/// Returns the subprotocol of the answer, if the client offers any: ours, or else the first one that it offers.
/// Browsers, `ws` of Node.js and `websocket-client` of Python end a connection whose server chooses none of them.
fn chosen_subprotocol(headers: &HeaderMap) -> Option<HeaderValue> {
    let offered = headers.get_all(SEC_WEBSOCKET_PROTOCOL).into_iter().filter_map(|value| value.to_str().ok());
    let mut offered = offered.flat_map(|value| value.split(',')).map(str::trim).filter(|name| !name.is_empty());
    let first = offered.next()?;
    let chosen = if offered.any(|name| name == SUBPROTOCOL) { SUBPROTOCOL } else { first };
    HeaderValue::from_str(chosen).ok()
}

/// Returns the response to a handshake over HTTP/1.
fn switching(accept: HeaderValue) -> Response {
    let headers = [
        (CONNECTION, HeaderValue::from_static("upgrade")),
        (UPGRADE, HeaderValue::from_static("websocket")),
        (SEC_WEBSOCKET_ACCEPT, accept),
    ];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

async fn serve(state: Arc<ApiState>, upgrade: OnUpgrade, session: Session, permit: Permit, guard: StreamGuard) {
    let unfinished = |error: &dyn std::error::Error| debug!(%error, "WebSocket handshake not finished");
    match upgrade.await.map(raw_socket) {
        Ok(Ok(Ok((stream, early)))) => {
            state.reactor.adopt(stream, StreamProtocol::websocket(), session, permit, Vec::new(), early);
        }
        Ok(Err(upgraded)) => Box::pin(websocket_h2::serve(state, upgraded, session, permit, guard)).await,
        Ok(Ok(Err(error))) => unfinished(&error),
        Err(error) => unfinished(&error),
    }
}

/// A socket, and the bytes that the client has sent after its request.
type Raw = (RawSocket, Box<[u8]>);

/// Returns the socket of an upgraded connection, or the connection itself if it is a stream of HTTP/2.
fn raw_socket(upgraded: Upgraded) -> Result<io::Result<Raw>, Upgraded> {
    let parts = upgraded.downcast::<TokioIo<BufferedStream>>()?;
    let raw = parts.io.into_inner().into_raw();
    // The bytes are copied, because hyper's buffer is large and would be most of the memory of a connection.
    Ok(raw.map(|(socket, unread)| (socket, [&parts.read_buf[..], &unread].concat().into())))
}

/// Returns whether a header contains a token.
fn has(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|word| word.trim().eq_ignore_ascii_case(token))
}

/// Returns the beginning of an error message about a header: whether it is missing or invalid.
fn header_error(headers: &HeaderMap, name: &HeaderName) -> String {
    let values: Vec<_> = headers.get_all(name).into_iter().map(HeaderValue::as_bytes).collect();
    let name = match name.as_str() {
        "sec-websocket-version" => "Sec-WebSocket-Version",
        "sec-websocket-key" => "Sec-WebSocket-Key",
        other => other,
    };
    if values.is_empty() {
        format!("missing {name}")
    } else {
        let value = values.join(&b", "[..]);
        format!("invalid {name} {:?}", quotable(&String::from_utf8_lossy(&value), 200))
    }
}

fn upgrade_required(detail: impl Into<String>) -> Problem {
    let expected = [(UPGRADE, "websocket"), (CONNECTION, "upgrade"), (SEC_WEBSOCKET_VERSION, "13")];
    Problem::new(StatusCode::UPGRADE_REQUIRED, detail).with(&expected)
}

fn check_version(headers: &HeaderMap) -> Result<(), Problem> {
    let known = has(headers, SEC_WEBSOCKET_VERSION, "13");
    known
        .then_some(())
        .ok_or_else(|| upgrade_required(format!("{}: expected 13", header_error(headers, &SEC_WEBSOCKET_VERSION))))
}

/// Checks that an extended CONNECT is a WebSocket handshake (RFC 8441 §5). Such a handshake has no `Sec-WebSocket-Key`.
fn check_connect(protocol: &str, headers: &HeaderMap) -> Result<(), Problem> {
    if protocol != "websocket" {
        let detail = format!("unsupported :protocol {:?}: expected websocket", quotable(protocol, 200));
        return Err(Problem::new(StatusCode::NOT_IMPLEMENTED, detail));
    }
    check_version(headers)
}

/// Returns the answer to the client's key if the request is a handshake (RFC 6455 §4.2.1).
fn accept_key(method: &Method, headers: &HeaderMap) -> Result<HeaderValue, Problem> {
    if method != Method::GET || !has(headers, CONNECTION, "upgrade") || !has(headers, UPGRADE, "websocket") {
        return Err(upgrade_required("missing upgrade: this path is a WebSocket, connect with ws:// or wss://"));
    }
    check_version(headers)?;
    let key = headers.get(SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes).unwrap_or_default();
    if STANDARD.decode(key).map(|key| key.len()) != Ok(16) {
        let key = header_error(headers, &SEC_WEBSOCKET_KEY);
        return Err(Problem::bad_request(format!("{key}: expected 16 bytes in base64")));
    }
    HeaderValue::from_str(&derive_accept_key(key))
        .map_err(|_| Problem::bad_request("invalid Sec-WebSocket-Key: expected 16 bytes in base64"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn handshake(version: &[&'static str], key: &str) -> Result<HeaderValue, Problem> {
        let mut headers = HeaderMap::new();
        headers.insert(CONNECTION, HeaderValue::from_static("keep-alive, Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("WebSocket"));
        for version in version {
            headers.append(SEC_WEBSOCKET_VERSION, HeaderValue::from_static(version));
        }
        headers.insert(SEC_WEBSOCKET_KEY, HeaderValue::from_str(key).unwrap());
        accept_key(&Method::GET, &headers)
    }

    fn answer(key: &str) -> Result<HeaderValue, StatusCode> {
        handshake(&["13"], key).map_err(|problem| problem.into_response().status())
    }

    #[test]
    fn handshake_errors_name_the_header() {
        for (version, key, detail) in [
            (&[][..], "", "missing Sec-WebSocket-Version: expected 13"),
            (&["8", "7"], "", r#"invalid Sec-WebSocket-Version "8, 7": expected 13"#),
            (&["13"], "c2hvcnQ=", r#"invalid Sec-WebSocket-Key "c2hvcnQ=": expected 16 bytes in base64"#),
        ] {
            assert_eq!(handshake(version, key).unwrap_err().detail(), detail);
        }
    }

    #[test]
    fn subprotocol_is_ours_or_the_first_offered() {
        let cases: [(&[&str], _); 7] = [
            (&[], None),
            (&[""], None),
            (&["btcfeed.v1"], Some("btcfeed.v1")),
            (&["graphql-ws, btcfeed.v1"], Some("btcfeed.v1")),
            (&["graphql-ws", "btcfeed.v1"], Some("btcfeed.v1")),
            (&["graphql-ws, json"], Some("graphql-ws")),
            (&[" , json"], Some("json")),
        ];
        for (offered, chosen) in cases {
            let headers = offered.iter().map(|value| (SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_str(value).unwrap()));
            let name = chosen_subprotocol(&headers.collect());
            assert_eq!(name.as_ref().map(|name| name.to_str().unwrap()), chosen, "{offered:?}");
        }
    }

    #[test]
    fn accept_key_matches_the_example_of_the_rfc() {
        assert_eq!(answer("dGhlIHNhbXBsZSBub25jZQ==").unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    proptest! {
        #[test]
        fn keys_of_other_lengths_are_rejected(
            key in prop_oneof!["[ -~]{0,40}", prop::collection::vec(any::<u8>(), 0..40).prop_map(|key| STANDARD.encode(key))],
        ) {
            prop_assume!(STANDARD.decode(&key).map(|key| key.len()) != Ok(16));
            prop_assert_eq!(answer(&key), Err(StatusCode::BAD_REQUEST));
        }
    }
}
