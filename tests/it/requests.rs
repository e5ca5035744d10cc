//! A stream is the same however the request for it comes: first on its connection, in pieces, or after another one. Within
//! the server the first is answered by another hand than the others.

use crate::support::exchange::Exchange;
use crate::support::replica::Replica;
use crate::support::socket::unread;
use crate::support::{embedded, entries, soon, unbroken, until};
use std::collections::BTreeMap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How a request comes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    First,
    InPieces,
    AfterAnother,
}

/// A connection, and what has come on it.
struct Line {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Line {
    async fn request(replica: &Replica, way: Way, request: &str) -> Line {
        let stream = TcpStream::connect(&replica.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut line = Line { stream, read: Vec::new() };
        match way {
            Way::First => line.write(request).await,
            Way::InPieces => {
                let (begin, rest) = request.split_at(request.len() / 2);
                line.write(begin).await;
                until("the beginning to be read", async || unread(&line.stream) == Some(0)).await;
                line.write(rest).await;
            }
            Way::AfterAnother => {
                line.write("GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n").await;
                let head = line.head().await;
                line.bytes(head["content-length"].parse().unwrap()).await;
                line.write(request).await;
            }
        }
        line
    }

    async fn write(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// Reads until what has come is `enough`, and takes that many bytes.
    async fn until(&mut self, what: &str, enough: impl Fn(&[u8]) -> Option<usize>) -> Vec<u8> {
        let reading = async {
            loop {
                if let Some(len) = enough(&self.read) {
                    return self.read.drain(..len).collect();
                }
                let read = self.stream.read_buf(&mut self.read).await.unwrap();
                assert!(read > 0, "the end, before {what}: {}", String::from_utf8_lossy(&self.read));
            }
        };
        soon(what, reading).await
    }

    async fn bytes(&mut self, len: usize) -> Vec<u8> {
        self.until("a body", |read| (read.len() >= len).then_some(len)).await
    }

    /// Returns the head of a response, or `None` if the connection is closed before: a refused one that is slow may be.
    async fn read_head(&mut self) -> Option<BTreeMap<String, String>> {
        while position(&self.read, b"\r\n\r\n").is_none() {
            if !matches!(soon("a head", self.stream.read_buf(&mut self.read)).await, Ok(1..)) {
                return None;
            }
        }
        Some(self.head().await)
    }

    /// The head of an answer: the status line under an empty name, then the headers.
    async fn head(&mut self) -> BTreeMap<String, String> {
        let end = |read: &[u8]| Some(position(read, b"\r\n\r\n")? + 4);
        let head = String::from_utf8(self.until("a head", end).await).unwrap();
        let mut lines = head.lines();
        let status = (String::new(), lines.next().unwrap().to_owned());
        let headers = lines.filter_map(|line| line.split_once(": "));
        headers.map(|(name, value)| (name.to_owned(), value.to_owned())).chain([status]).collect()
    }

    /// Reads until entries with all these ids have come, in this order, and `also` somewhere among them.
    async fn read_all(&mut self, ids: &[u64], also: &[u8]) {
        let all = |read: &[u8]| {
            position(read, also)?;
            ids.iter().try_fold(0, |end, id| {
                let text = format!("\"id\":{id},");
                Some(end + position(&read[end..], text.as_bytes())? + text.len())
            })
        };
        self.until("the replay", all).await;
    }
}

fn position(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|part| part == wanted)
}

const WAYS: [Way; 3] = [Way::First, Way::InPieces, Way::AfterAnother];

#[tokio::test]
async fn events_are_the_same_however_their_request_comes() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    let all = entries(&mut replica.connect("format=full&since=0").await, 5).await;
    let ids = unbroken(&all);
    let mut heads = Vec::new();
    for way in WAYS {
        let request = format!(
            "GET /v1/prices/stream?format=full&since=0 HTTP/1.1\r\nHost: x\r\nOrigin: https://a.example\r\n\
             Accept-Encoding: gzip\r\nLast-Event-ID: {}\r\n\r\n",
            ids[1]
        );
        let mut line = Line::request(&replica, way, &request).await;
        let mut head = line.head().await;
        assert!(head.remove("date").is_some_and(|date| date.ends_with(" GMT")), "{way:?}");
        // Where there is another request, or might have been one, the end of the answer is told in another way.
        let framing = (head.remove("connection"), head.remove("transfer-encoding"));
        let first = matches!(way, Way::First | Way::InPieces);
        let expected = if first { (Some("close"), None) } else { (None, Some("chunked")) };
        assert_eq!((framing.0.as_deref(), framing.1.as_deref()), expected, "{way:?}");
        heads.push(head);
        line.read_all(&ids[2..], b"retry: ").await;
    }
    assert_eq!(heads[0].get("").unwrap(), "HTTP/1.1 200 OK");
    assert_eq!(heads[0]["access-control-allow-origin"], "*");
    assert!(heads.iter().all(|head| *head == heads[0]), "{heads:?}");
}

#[tokio::test]
async fn a_websocket_is_the_same_however_its_request_comes() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    let all = entries(&mut replica.connect("format=full&since=0").await, 5).await;
    let ids = unbroken(&all);
    let mut heads = Vec::new();
    for way in WAYS {
        let request = format!(
            "GET /v1/ws?format=full&after={} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            ids[1]
        );
        let mut line = Line::request(&replica, way, &request).await;
        // Right behind the request: nothing that comes early may get lost.
        line.stream.write_all(&[0x89, 0x82, 0, 0, 0, 0, b'h', b'i']).await.unwrap();
        let mut head = line.head().await;
        assert!(head.remove("date").is_some(), "{way:?}");
        heads.push(head);
        line.read_all(&ids[2..], &[0x8a, 2, b'h', b'i']).await;
    }
    assert_eq!(heads[0][""], "HTTP/1.1 101 Switching Protocols");
    assert_eq!(heads[0]["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert!(heads.iter().all(|head| *head == heads[0]), "{heads:?}");
}

#[tokio::test]
async fn what_is_refused_is_refused_the_same_however_it_comes() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    for way in WAYS {
        for (path, status, says) in [
            ("/v1/prices/stream?currency=GBP", "400 Bad Request", "GBP"),
            ("/v1/ws?since=yesterday", "400 Bad Request", "yesterday"),
            ("/v1/ws", "426 Upgrade Required", "this path is a WebSocket"),
        ] {
            let mut line = Line::request(&replica, way, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
            let head = line.head().await;
            assert_eq!(head[""], format!("HTTP/1.1 {status}"), "{way:?} {path}");
            let body = line.bytes(head["content-length"].parse().unwrap()).await;
            assert!(String::from_utf8_lossy(&body).contains(says), "{way:?} {path}");
        }
    }
}

#[tokio::test]
async fn half_close_does_not_end_a_response() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    let ticks = |read: &[u8]| read.windows(13).filter(|part| part == br#""type":"tick""#).count();
    for way in WAYS {
        for path in ["/v1/prices/stream?format=full&since=0", "/v1/prices?format=full"] {
            let mut line = Line::request(&replica, way, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
            line.stream.shutdown().await.unwrap();
            assert_eq!(line.head().await[""], "HTTP/1.1 200 OK", "{way:?} {path}");
            // Of a stream, ticks that are live by now too.
            let wanted = if path.contains("stream") { replica.history().await.len() + 3 } else { 1 };
            line.until("ticks", |read| (ticks(read) >= wanted).then_some(0)).await;
        }
    }
}

#[tokio::test]
async fn client_that_closes_gives_its_place_back() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[("BTCFEED_MAX_CONNECTIONS", "1")]).await;
    for way in WAYS {
        // The client before, and each that was refused, gives its place back when the server notices its end.
        until("a free place", async || {
            let mut line = Line::request(&replica, way, "GET /v1/prices/stream HTTP/1.1\r\nHost: x\r\n\r\n").await;
            line.read_head().await.is_some_and(|head| head[""] == "HTTP/1.1 200 OK")
        })
        .await;
    }
}
