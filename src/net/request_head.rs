//! First bytes of a connection. They show which protocol the client uses, and contain the head of the first request.
//!
//! They are read once, into a buffer that belongs to the connection. Later readers get them from this buffer.

use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING};
use axum::http::{Method, Request};
use bytes::{Bytes, BytesMut};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Maximum length of the head of a request. hyper answers a longer one with 431.
pub(crate) const MAX_HEAD_BYTES: u16 = 16 * 1024;
/// Maximum number of header fields of a request that the reactor may serve. hyper serves requests with more fields, up
/// to its own limit.
const MAX_HEADERS: usize = 64;
/// Initial capacity of the buffer. Most heads are shorter.
const BUFFER_BYTES: usize = 1024;
/// Beginning of an HTTP/2 connection by prior knowledge (RFC 9113 §3.4). No HTTP/1 request begins like this.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// First bytes of a connection.
#[derive(Debug)]
pub(crate) struct Opening {
    /// All bytes that have been read.
    pub(crate) buffer: Bytes,
    /// Protocol of the connection.
    pub(crate) kind: OpeningKind,
}

/// Protocol of a connection, with the first request if the reactor may serve it.
#[derive(Debug)]
pub(crate) enum OpeningKind {
    /// HTTP/2 by prior knowledge.
    Http2,
    /// HTTP/1, beginning with a GET request that has no body. Its head is the first `head_bytes` bytes of the buffer.
    Get {
        /// The request.
        request: Box<Request<Body>>,
        /// Length of its head.
        head_bytes: usize,
    },
    /// HTTP/1, beginning with anything else, valid or not. hyper answers it.
    Http1,
}

/// Reads the first bytes of a connection, up to the end of the first request's head. `buffer` contains those that have
/// been read. Returns `None` if the client closes without sending anything.
///
/// # Errors
/// If the connection fails.
pub(crate) async fn read(socket: &mut (impl AsyncRead + Unpin), mut buffer: BytesMut) -> io::Result<Option<Opening>> {
    if buffer.capacity() == 0 {
        buffer.reserve(BUFFER_BYTES);
    }
    let (mut examined, mut known) = (0, 0);
    let mut is_end = buffer.is_empty() && socket.read_buf(&mut buffer).await? == 0;
    if is_end {
        return Ok(None);
    }
    loop {
        // The head is not parsed after each byte of a slow client, because that would take quadratic time.
        let is_due = is_end || ends_head(&buffer, known) || buffer.len() >= 2 * examined;
        let kind = match is_due.then(|| classify(&buffer)).flatten() {
            Some(kind) => kind,
            // hyper answers a head that is incomplete or too long.
            None if is_end || buffer.len() >= usize::from(MAX_HEAD_BYTES) => OpeningKind::Http1,
            None => {
                examined = if is_due { buffer.len() } else { examined };
                known = buffer.len();
                is_end = socket.read_buf(&mut buffer).await? == 0;
                continue;
            }
        };
        return Ok(Some(Opening { buffer: buffer.freeze(), kind }));
    }
}

/// Returns whether the bytes after the first `known` ones may end a head: with an empty line, or with the end of the
/// preface.
fn ends_head(bytes: &[u8], known: usize) -> bool {
    let tail = &bytes[known.saturating_sub(3)..];
    tail.windows(2).any(|two| two == b"\n\n")
        || tail.windows(3).any(|three| three == b"\n\r\n")
        || bytes.len() == PREFACE.len()
}

/// Returns the kind of a connection that begins with `bytes`, or `None` if more bytes are needed to decide.
fn classify(bytes: &[u8]) -> Option<OpeningKind> {
    let shared = bytes.len().min(PREFACE.len());
    if bytes[..shared] == PREFACE[..shared] {
        return (shared == PREFACE.len()).then_some(OpeningKind::Http2);
    }
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    match parsed.parse(bytes) {
        Ok(httparse::Status::Partial) => None,
        Ok(httparse::Status::Complete(head_bytes)) => Some(match plain_get(&parsed) {
            Some(request) => OpeningKind::Get { request: Box::new(request), head_bytes },
            None => OpeningKind::Http1,
        }),
        Err(_) => Some(OpeningKind::Http1),
    }
}

/// Returns the request if it is an HTTP/1.1 GET without a body. hyper serves everything else: other methods, bodies,
/// `Expect`, and invalid requests.
fn plain_get(parsed: &httparse::Request<'_, '_>) -> Option<Request<Body>> {
    let mut request = Request::builder().method(parsed.method?).uri(parsed.path?);
    for header in parsed.headers.iter() {
        request = request.header(header.name, header.value);
    }
    let request = request.body(Body::empty()).ok()?;
    let has = |name| request.headers().contains_key(name);
    let is_plain = parsed.version == Some(1)
        && request.method() == Method::GET
        && !has(CONTENT_LENGTH)
        && !has(TRANSFER_ENCODING)
        && !has(EXPECT);
    is_plain.then_some(request)
}

/// Checks that the decision about a connection does not depend on the pieces in which its first bytes arrive.
///
/// # Panics
/// If it does, or if a request that the reactor may serve has a body.
#[cfg(any(test, fuzzing))]
pub(crate) fn check(bytes: &[u8]) {
    let whole = classify(bytes);
    if let Some(OpeningKind::Get { request, head_bytes }) = &whole {
        assert!(*head_bytes <= bytes.len() && request.method() == Method::GET);
        let has_body = [CONTENT_LENGTH, TRANSFER_ENCODING].iter().any(|name| request.headers().contains_key(name));
        assert!(!has_body, "{request:?}");
    }
    for end in 0..bytes.len() {
        let Some(decided) = classify(&bytes[..end]) else { continue };
        let is_same = match (&decided, whole.as_ref().expect("more bytes cannot undo a decision")) {
            (OpeningKind::Get { head_bytes, .. }, OpeningKind::Get { head_bytes: whole, .. }) => head_bytes == whole,
            (decided, whole) => std::mem::discriminant(decided) == std::mem::discriminant(whole),
        };
        assert!(is_same, "{decided:?} after {end} bytes, then {whole:?}");
        return;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpStream;

    fn get(text: &str) -> Option<(String, usize)> {
        match classify(text.as_bytes())? {
            OpeningKind::Get { request, head_bytes } => Some((request.uri().to_string(), head_bytes)),
            OpeningKind::Http1 | OpeningKind::Http2 => None,
        }
    }

    #[test]
    fn only_a_plain_get_can_be_taken_over() {
        let text = "GET /v1/ws?a=b HTTP/1.1\r\nHost: x\r\nX-Y: z\r\n\r\n";
        assert_eq!(get(text), Some(("/v1/ws?a=b".to_owned(), text.len())));
        assert_eq!(get(&format!("{text}early")), Some(("/v1/ws?a=b".to_owned(), text.len())));
        for text in [
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
            assert!(matches!(classify(text.as_bytes()), Some(OpeningKind::Http1)), "{text:?}");
        }
    }

    #[tokio::test]
    async fn head_is_read_from_pieces_of_any_size() {
        let head = b"GET /v1/ws HTTP/1.1\r\nHost: x\r\n\r\n";
        for (text, early) in [(&head[..], 0), (&[head, &b"early"[..]].concat()[..], 5), (&PREFACE[..], 0)] {
            for size in [1, 2, 7, 1000] {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
                client.set_nodelay(true).unwrap();
                let (mut server, _) = listener.accept().await.unwrap();
                let send = async {
                    for piece in text.chunks(size) {
                        client.write_all(piece).await.unwrap();
                        tokio::task::yield_now().await;
                    }
                };
                let (opening, ()) = tokio::join!(read(&mut server, BytesMut::new()), send);
                let Opening { buffer, kind } = opening.unwrap().unwrap();
                assert!(text.starts_with(&buffer), "{size}: {buffer:?}");
                match kind {
                    OpeningKind::Get { head_bytes, .. } => assert_eq!(head_bytes, head.len()),
                    OpeningKind::Http2 => assert_eq!((text, early), (&PREFACE[..], 0)),
                    OpeningKind::Http1 => panic!("{size}: {buffer:?}"),
                }
            }
        }
    }

    #[tokio::test]
    async fn incomplete_and_long_heads_go_to_hyper() {
        let endless = format!("GET /{} HTTP/1.1\r\n", "x".repeat(usize::from(MAX_HEAD_BYTES)));
        for (text, expected) in [("", false), ("P", true), ("GET / HTTP/1.1\r\nHost:", true), (endless.as_str(), true)]
        {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (mut server, _) = listener.accept().await.unwrap();
            client.write_all(text.as_bytes()).await.unwrap();
            client.shutdown().await.unwrap();
            let opening = read(&mut server, BytesMut::new()).await.unwrap();
            assert_eq!(opening.is_some(), expected, "{text:?}");
            assert!(opening.is_none_or(|opening| matches!(opening.kind, OpeningKind::Http1)));
        }
    }

    #[test]
    fn protocol_is_undecided_until_the_head_ends() {
        for text in ["", "P", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r", "PO", "GET /v1/ws HTTP/1.1\r\nHost: x\r\n"] {
            assert!(classify(text.as_bytes()).is_none(), "{text:?}");
        }
        assert!(matches!(classify(&[PREFACE, &b"more"[..]].concat()), Some(OpeningKind::Http2)));
        assert!(matches!(classify(b"PRIME / HTTP/1.1\r\n\r\n"), Some(OpeningKind::Http1)));
    }
}
