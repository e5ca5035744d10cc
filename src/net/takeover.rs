//! Handoff of streams from HTTP to the reactor. After the handoff, the connection has no HTTP server any more.
//!
//! If the first request of a connection has the path of a stream, it is routed with a [`Handoff`] in its extensions. If
//! the handler fills the handoff, the head of its response is encoded here, and the socket moves to the reactor. If the
//! handler does not fill the handoff, the caller gets the response and sends it through hyper. So no handler runs
//! twice, and only handlers decide which requests get a stream.

use super::client_stream::{ClientStream, into_raw};
use super::connection_limit::Permit;
use super::reactor::Reactor;
use super::reactor::stream_protocol::StreamProtocol;
use crate::session::Session;
use axum::Router;
use axum::body::Body;
use axum::http::header::{CONNECTION, CONTENT_LENGTH, DATE};
use axum::http::{Request, Response, StatusCode};
use bytes::Bytes;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;
use tower::ServiceExt;
use tracing::{Span, debug};

/// Slot in which a handler puts a session for the raw socket.
#[derive(Clone, Default)]
pub(crate) struct Handoff(Arc<Mutex<Option<Stream>>>);

struct Stream {
    protocol: StreamProtocol,
    /// Bytes between the head of the response and the output of the session.
    prelude: Bytes,
    session: Session,
    /// Span of the request, for the log lines of the stream.
    span: Span,
}

impl Handoff {
    /// Requests the handoff. The client is sent `prelude` and then the output of the session, in `protocol`.
    pub(crate) fn fill(&self, protocol: StreamProtocol, prelude: Bytes, session: Session) {
        let stream = Stream { protocol, prelude, session, span: Span::current() };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(stream);
    }

    fn take(&self) -> Option<Stream> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Paths of the streams, and the reactor for their sockets.
#[derive(Clone)]
pub(crate) struct Takeover {
    /// Paths whose handlers may fill a [`Handoff`].
    pub(crate) paths: Arc<[String]>,
    /// Reactor that gets the sockets.
    pub(crate) reactor: Arc<Reactor>,
}

/// Result of a routed request.
pub(crate) enum Routed {
    /// A stream whose socket moves to the reactor.
    Stream(Box<RoutedStream>),
    /// A response to send.
    Response(Response<Body>),
}

/// Stream that is ready for the reactor, with the head of its response.
pub(crate) struct RoutedStream {
    stream: Stream,
    head: Vec<u8>,
}

impl Takeover {
    /// Returns whether the request is for a stream. Like the router, ignores slashes at the end of the path.
    pub(crate) fn applies_to(&self, request: &Request<Body>) -> bool {
        let asked = request.uri().path().trim_end_matches('/');
        self.paths.iter().any(|path| path == asked)
    }

    /// Passes the request through the router, once.
    pub(crate) async fn route(&self, mut request: Request<Body>, permit: &Permit, router: &Router) -> Routed {
        let handoff = Handoff::default();
        request.extensions_mut().insert(permit.clone());
        request.extensions_mut().insert(handoff.clone());
        let Ok(response) = router.clone().oneshot(request).await;
        match handoff.take() {
            Some(stream) => {
                let head = [response_head(&response), stream.prelude.to_vec()].concat();
                Routed::Stream(Box::new(RoutedStream { stream, head }))
            }
            None => Routed::Response(response),
        }
    }

    /// Moves the socket to the reactor. `early` are the bytes that the client has sent after its request.
    pub(crate) fn adopt(&self, socket: ClientStream, routed: RoutedStream, permit: Permit, early: &[u8]) {
        let RoutedStream { stream: Stream { protocol, session, span, .. }, head } = routed;
        let _entered = span.enter();
        match into_raw(socket) {
            Ok((socket, unread)) => {
                let early = [early, &unread].concat().into();
                self.reactor.adopt(socket, protocol, session, permit, head, early);
            }
            Err(error) => debug!(peer = %permit.peer(), %error, "connection lost before it was answered"),
        }
    }
}

/// Returns the encoded head of a response. The body has no length, so it ends with the connection (RFC 9112 §6.3).
fn response_head(response: &Response<Body>) -> Vec<u8> {
    let status = response.status();
    let mut head =
        format!("HTTP/1.1 {} {}\r\n", status.as_str(), status.canonical_reason().unwrap_or_default()).into_bytes();
    let mut line =
        |name: &str, value: &[u8]| head.extend_from_slice(&[name.as_bytes(), b": ", value, b"\r\n"].concat());
    for (name, value) in response.headers().iter().filter(|(name, _)| **name != CONTENT_LENGTH) {
        line(name.as_str(), value.as_bytes());
    }
    if status != StatusCode::SWITCHING_PROTOCOLS {
        line(CONNECTION.as_str(), b"close");
    }
    line(DATE.as_str(), httpdate::fmt_http_date(SystemTime::now()).as_bytes());
    head.extend_from_slice(b"\r\n");
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_announces_a_body_until_the_close() {
        let response = Response::builder().header("content-type", "text/event-stream").header(CONTENT_LENGTH, 0);
        let head = String::from_utf8(response_head(&response.body(Body::empty()).unwrap())).unwrap();
        let (lines, date) = head.split_once("date: ").unwrap();
        assert_eq!(lines, "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n");
        assert!(date.ends_with(" GMT\r\n\r\n"), "{date}");
        let response = Response::builder().status(101).header("connection", "upgrade").body(Body::empty()).unwrap();
        let head = response_head(&response);
        assert!(head.starts_with(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\ndate: "));
    }
}
