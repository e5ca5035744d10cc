//! A stream is the same for a request that is the first one of its connection, comes in pieces, or follows another
//! request. If a request for a stream is the first one, the server reads it without hyper. hyper reads all other
//! requests.

use crate::support::exchange::Exchange;
use crate::support::replica::Replica;
use crate::support::socket::unread;
use crate::support::{embedded, entries, soon, unbroken, until};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The way in which a request is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Sending {
    First,
    InPieces,
    AfterAnother,
}

/// A connection, and the bytes that have been received.
struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Connection {
    async fn request(replica: &Replica, sending: Sending, request: &str) -> Connection {
        let stream = TcpStream::connect(&replica.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut connection = Connection { stream, read: Vec::new() };
        match sending {
            Sending::First => connection.write(request).await,
            Sending::InPieces => {
                let (begin, rest) = request.split_at(request.len() / 2);
                connection.write(begin).await;
                until("the first half to be read", async || unread(&connection.stream) == Some(0)).await;
                connection.write(rest).await;
            }
            Sending::AfterAnother => {
                connection.write("GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n").await;
                let head = connection.head().await;
                connection.bytes(head["content-length"].parse().unwrap()).await;
                connection.write(request).await;
            }
        }
        connection
    }

    async fn write(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// Reads until `enough` returns a length, and returns that number of bytes.
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

    /// Returns the head of a response, or `None` if the server closes the connection first. It may do so when it
    /// rejects a connection.
    async fn read_head(&mut self) -> Option<BTreeMap<String, String>> {
        while position(&self.read, b"\r\n\r\n").is_none() {
            if !matches!(soon("a head", self.stream.read_buf(&mut self.read)).await, Ok(1..)) {
                return None;
            }
        }
        Some(self.head().await)
    }

    /// Returns the head of a response: the status line under an empty name, and the headers.
    async fn head(&mut self) -> BTreeMap<String, String> {
        let end = |read: &[u8]| Some(position(read, b"\r\n\r\n")? + 4);
        let head = String::from_utf8(self.until("a head", end).await).unwrap();
        let mut lines = head.lines();
        let status = (String::new(), lines.next().unwrap().to_owned());
        let headers = lines.filter_map(|line| line.split_once(": "));
        headers.map(|(name, value)| (name.to_owned(), value.to_owned())).chain([status]).collect()
    }

    /// Reads until it has entries with these ids, in this order, and the bytes `also` at any place.
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

/// Returns a request for a WebSocket.
fn handshake(query: &str) -> String {
    format!(
        "GET /v1/ws?{query} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nX-Request-Id: y\r\n\r\n"
    )
}

const ALL: [Sending; 3] = [Sending::First, Sending::InPieces, Sending::AfterAnother];

#[tokio::test]
async fn event_stream_is_the_same_for_any_request() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    let all = entries(&mut replica.connect("format=full&since=0").await, 5).await;
    let ids = unbroken(&all);
    let mut heads = Vec::new();
    for sending in ALL {
        let request = format!(
            "GET /v1/prices/stream?format=full&since=0 HTTP/1.1\r\nHost: x\r\nOrigin: https://a.example\r\n\
             Accept-Encoding: gzip\r\nX-Request-Id: y\r\nLast-Event-ID: {}\r\n\r\n",
            ids[1]
        );
        let mut connection = Connection::request(&replica, sending, &request).await;
        let mut head = connection.head().await;
        assert!(head.remove("date").is_some_and(|date| date.ends_with(" GMT")), "{sending:?}");
        assert!(head.remove("btcfeed-tick-age-ms").is_some_and(|age| age.parse::<u64>().is_ok()), "{sending:?}");
        // The body shows its own end only on a connection that may have further requests.
        let framing = (head.remove("connection"), head.remove("transfer-encoding"));
        let first = matches!(sending, Sending::First | Sending::InPieces);
        let expected = if first { (Some("close"), None) } else { (None, Some("chunked")) };
        assert_eq!((framing.0.as_deref(), framing.1.as_deref()), expected, "{sending:?}");
        heads.push(head);
        connection.read_all(&ids[2..], b"retry: ").await;
    }
    assert_eq!(heads[0].get("").unwrap(), "HTTP/1.1 200 OK");
    assert_eq!(heads[0]["access-control-allow-origin"], "*");
    assert!(heads.iter().all(|head| *head == heads[0]), "{heads:?}");
}

#[tokio::test]
async fn websocket_is_the_same_for_any_request() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    let all = entries(&mut replica.connect("format=full&since=0").await, 5).await;
    let ids = unbroken(&all);
    let mut heads = Vec::new();
    for sending in ALL {
        let request = handshake(&format!("format=full&after={}", ids[1]));
        let mut connection = Connection::request(&replica, sending, &request).await;
        // A frame that follows the request immediately must not get lost.
        connection.stream.write_all(&[0x89, 0x82, 0, 0, 0, 0, b'h', b'i']).await.unwrap();
        let mut head = connection.head().await;
        assert!(head.remove("date").is_some(), "{sending:?}");
        assert!(head.remove("btcfeed-tick-age-ms").is_some(), "{sending:?}");
        heads.push(head);
        connection.read_all(&ids[2..], &[0x8a, 2, b'h', b'i']).await;
    }
    assert_eq!(heads[0][""], "HTTP/1.1 101 Switching Protocols");
    assert_eq!(heads[0]["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert!(heads.iter().all(|head| *head == heads[0]), "{heads:?}");
}

#[tokio::test]
async fn websocket_accepts_other_paths_and_protocols() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    for (path, offered, chosen) in [
        ("/v1/ws/", "", None),
        ("/pricefeed", "Sec-WebSocket-Protocol: json, btcfeed.v1\r\n", Some("btcfeed.v1")),
        ("/pricefeed/", "Sec-WebSocket-Protocol: json\r\n", Some("json")),
    ] {
        let request = handshake("format=full&since=0").replace("/v1/ws", path);
        let request = request.replace("X-Request-Id", &format!("{offered}X-Request-Id"));
        let mut connection = Connection::request(&replica, Sending::First, &request).await;
        let head = connection.head().await;
        assert_eq!(head[""], "HTTP/1.1 101 Switching Protocols", "{path}");
        assert_eq!(head.get("sec-websocket-protocol").map(String::as_str), chosen, "{path}");
    }
}

#[tokio::test]
async fn rejection_is_the_same_for_any_request() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    for sending in ALL {
        for (path, status, detail) in [
            ("/v1/prices/stream?currency=GBP", "400 Bad Request", "GBP"),
            ("/v1/ws?since=yesterday", "400 Bad Request", "yesterday"),
            ("/v1/ws", "426 Upgrade Required", "this path is a WebSocket"),
        ] {
            let mut connection =
                Connection::request(&replica, sending, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
            let head = connection.head().await;
            assert_eq!(head[""], format!("HTTP/1.1 {status}"), "{sending:?} {path}");
            let body = connection.bytes(head["content-length"].parse().unwrap()).await;
            assert!(String::from_utf8_lossy(&body).contains(detail), "{sending:?} {path}");
        }
    }
}

#[tokio::test]
async fn half_close_does_not_end_a_response() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    let ticks = |read: &[u8]| read.windows(13).filter(|part| part == br#""type":"tick""#).count();
    for sending in ALL {
        for path in ["/v1/prices/stream?format=full&since=0", "/v1/prices?format=full"] {
            let mut connection =
                Connection::request(&replica, sending, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
            connection.stream.shutdown().await.unwrap();
            assert_eq!(connection.head().await[""], "HTTP/1.1 200 OK", "{sending:?} {path}");
            // A stream continues with live ticks.
            let wanted = if path.contains("stream") { replica.history().await.len() + 3 } else { 1 };
            connection.until("ticks", |read| (ticks(read) >= wanted).then_some(0)).await;
        }
    }
}

#[tokio::test]
async fn half_close_ends_a_websocket() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    for sending in ALL {
        let mut connection = Connection::request(&replica, sending, &handshake("format=full")).await;
        assert_eq!(connection.head().await[""], "HTTP/1.1 101 Switching Protocols", "{sending:?}");
        connection.until("a tick", |read| position(read, br#""type":"tick""#).map(|_| 0)).await;
        connection.stream.shutdown().await.unwrap();
        // The server also closes a stream on which no pong arrives, but only after much more than 10 s.
        let end = async { while connection.stream.read_buf(&mut connection.read).await.unwrap() > 0 {} };
        timeout(Duration::from_secs(10), end).await.expect("the end of the stream");
    }
}

#[tokio::test]
async fn closed_connection_frees_its_place() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[("BTCFEED_MAX_CONNECTIONS", "1")]).await;
    for sending in ALL {
        // The place of the previous client becomes free when the server detects that its connection is closed.
        until("a free place", async || {
            let mut connection =
                Connection::request(&replica, sending, "GET /v1/prices/stream HTTP/1.1\r\nHost: x\r\n\r\n").await;
            connection.read_head().await.is_some_and(|head| head[""] == "HTTP/1.1 200 OK")
        })
        .await;
    }
}
