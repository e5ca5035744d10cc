//! Streams that are answered without the HTTP server, so that nothing of it is left with the connection.
//!
//! A connection's first request is looked at where it lies. If it is one for a stream it goes through the same router as
//! every other request, with a [`Slot`] beside it. A handler that fills the slot has its answer's head written here, and
//! its client goes to the reactor. Whatever else it answers is dropped, and the HTTP server finds the request where it was:
//! so all rules stand in the handler, and this only saves work.

use super::Peer;
use crate::server::reactor::{Reactor, Wire};
use crate::session::Session;
use axum::Router;
use axum::body::Body;
use axum::http::header::{CONNECTION, CONTENT_LENGTH, DATE, EXPECT, TRANSFER_ENCODING};
use axum::http::{Method, Request, Response, StatusCode};
use bytes::Bytes;
use rustix::net::{RecvFlags, recv};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tracing::debug;

/// Request heads that are longer, or do not come in one piece, are for the HTTP server.
const HEAD_BYTES: usize = 4096;
const MOST_HEADERS: usize = 64;

/// Where a handler leaves a session for a client that can be taken over as it is.
#[derive(Clone, Default)]
pub(in crate::server) struct Slot(Arc<Mutex<Option<Stream>>>);

struct Stream {
    wire: Wire,
    greeting: Bytes,
    session: Session,
}

impl Slot {
    /// Has the client spoken to by `wire`: first the `greeting`, then what the session says.
    pub(in crate::server) fn fill(&self, wire: Wire, greeting: Bytes, session: Session) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Stream { wire, greeting, session });
    }

    fn take(&self) -> Option<Stream> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The paths of streams, and who takes them over.
#[derive(Clone)]
pub(in crate::server) struct Front {
    pub(in crate::server) paths: Arc<[String]>,
    pub(in crate::server) reactor: Arc<Reactor>,
}

impl Front {
    /// Answers a connection whose first request has begun to come, if it is one for a stream; gives it back if not.
    pub(super) async fn answer(
        &self,
        stream: TcpStream,
        peer: &Peer,
        router: &Router,
        stop: &CancellationToken,
    ) -> Option<TcpStream> {
        let Some((mut request, head_bytes)) = self.peek(&stream) else { return Some(stream) };
        let slot = Slot::default();
        request.extensions_mut().insert(peer.clone());
        request.extensions_mut().insert(slot.clone());
        // A router always answers, and what it asks of the store has a bound of its own.
        let Ok(response) = stop.run_until_cancelled(router.clone().oneshot(request)).await?;
        let Some(Stream { wire, greeting, session }) = slot.take() else { return Some(stream) };
        let taken_over = read_exactly(&stream, head_bytes).and_then(|()| stream.into_std());
        match taken_over {
            Ok(stream) => {
                let head = [head_of(&response), greeting.to_vec()].concat();
                self.reactor.adopt(stream, wire, session, peer.clone(), head, Box::default());
            }
            Err(error) => debug!(%error, "a connection is gone before it is answered"),
        }
        None
    }

    /// The request that has come, if all of its head is here and it is one for a stream, and how long its head is.
    fn peek(&self, stream: &TcpStream) -> Option<(Request<Body>, usize)> {
        let mut buffer = [0; HEAD_BYTES];
        let (bytes, _) = recv(stream, &mut buffer[..], RecvFlags::PEEK | RecvFlags::DONTWAIT).ok()?;
        let (request, head_bytes) = request_of(&buffer[..bytes])?;
        self.paths.iter().any(|path| path == request.uri().path()).then_some((request, head_bytes))
    }
}

/// The request whose head `bytes` begin with, and how long that is. None that the HTTP server would have to say something
/// about: what is not GET, has a body, or breaks a rule.
fn request_of(bytes: &[u8]) -> Option<(Request<Body>, usize)> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    let Ok(httparse::Status::Complete(head_bytes)) = parsed.parse(bytes) else { return None };
    let is_http_11 = parsed.version == Some(1);
    let mut request = Request::builder().method(parsed.method?).uri(parsed.path?);
    for header in parsed.headers.iter() {
        request = request.header(header.name, header.value);
    }
    let request = request.body(Body::empty()).ok()?;
    let has = |name| request.headers().contains_key(name);
    let plain = is_http_11
        && request.method() == Method::GET
        && !has(CONTENT_LENGTH)
        && !has(TRANSFER_ENCODING)
        && !has(EXPECT);
    plain.then_some((request, head_bytes))
}

fn read_exactly(stream: &TcpStream, mut bytes: usize) -> io::Result<()> {
    let mut buffer = [0; HEAD_BYTES];
    while bytes > 0 {
        // They were there a moment ago, and nobody else reads.
        match stream.try_read(&mut buffer[..bytes])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => bytes -= read,
        }
    }
    Ok(())
}

/// An answer's head as it goes out. A body without a length ends with the connection (RFC 9112 §6.3).
fn head_of(response: &Response<Body>) -> Vec<u8> {
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
    fn only_a_whole_head_that_needs_no_more_than_an_answer_is_taken() {
        let taken = |text: &str| request_of(text.as_bytes()).map(|(request, bytes)| (request.uri().to_string(), bytes));
        let get = "GET /v1/ws?a=b HTTP/1.1\r\nHost: x\r\nX-Y: z\r\n\r\n";
        assert_eq!(taken(get), Some(("/v1/ws?a=b".to_owned(), get.len())));
        assert_eq!(taken(&format!("{get}early")), Some(("/v1/ws?a=b".to_owned(), get.len())));
        for text in [
            "",
            "GET /v1/ws HTTP/1.1\r\nHost: x\r\n",
            "HEAD /v1/ws HTTP/1.1\r\n\r\n",
            "POST /v1/ws HTTP/1.1\r\n\r\n",
            "GET /v1/ws HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
            "GET /v1/ws HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET /v1/ws HTTP/1.1\r\nExpect: 100-continue\r\n\r\n",
            "GET /v1/ws HTTP/1.0\r\n\r\n",
            "GET /v1/ws HTTP/2.0\r\n\r\n",
            "GET /v1/ws HTTP/1.1\r\nno header\r\n\r\n",
            "GET  HTTP/1.1\r\n\r\n",
            "\x16\x03\x01",
        ] {
            assert_eq!(taken(text), None, "{text:?}");
        }
    }

    #[test]
    fn an_answer_s_head_says_that_its_body_ends_with_the_connection() {
        let response = Response::builder().header("content-type", "text/event-stream").header(CONTENT_LENGTH, 0);
        let head = String::from_utf8(head_of(&response.body(Body::empty()).unwrap())).unwrap();
        let (lines, date) = head.split_once("date: ").unwrap();
        assert_eq!(lines, "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n");
        assert!(date.ends_with(" GMT\r\n\r\n"), "{date}");
        let response = Response::builder().status(101).header("connection", "upgrade").body(Body::empty()).unwrap();
        let head = head_of(&response);
        assert!(head.starts_with(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\ndate: "));
    }
}
