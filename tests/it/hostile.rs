//! Clients that break the protocol, read slowly or not at all, flood, or never finish what they began.

use crate::support::client::Client;
use crate::support::exchange::Exchange;
use crate::support::replica::Replica;
use crate::support::{FAST, TIMEOUT, embedded, is_established, soon, unbroken, until};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

const HANDSHAKE: &str = "Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A WebSocket on a raw socket that takes little at a time, so that the server soon has to wait for it.
async fn raw(replica: &Replica, query: &str, early: &[u8]) -> TcpStream {
    raw_at(replica, "/v1/ws", query, early).await
}

async fn raw_at(replica: &Replica, path: &str, query: &str, early: &[u8]) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(replica.address.parse().unwrap()).await.unwrap();
    let request = format!("GET {path}?{query} HTTP/1.1\r\n{HANDSHAKE}");
    stream.write_all(&[request.as_bytes(), early].concat()).await.unwrap();
    stream
}

/// Everything that the server sends. A connection that is reset has said all that it had to say.
async fn everything(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    soon("the end", stream.read_to_end(&mut bytes)).await.ok();
    bytes
}

/// The close code at the end of what the server sent.
fn close_code(bytes: &[u8]) -> Option<u16> {
    let at = bytes.windows(2).rposition(|pair| pair[0] == 0x88 && (2..=125).contains(&pair[1]))?;
    Some(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]))
}

#[tokio::test]
async fn each_violation_is_answered_with_its_close_code() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    let giant = [&[0x82, 0xfe, 0x10, 0x01, 0, 0, 0, 0][..], &[0; 4097]].concat();
    let violations: [(&str, &[u8], u16); 5] = [
        ("a frame without a mask", &[0x81, 0x01, b'a'], 1002),
        ("reserved bits", &[0xf1, 0x80, 0, 0, 0, 0], 1002),
        ("text that is not UTF-8", &[0x81, 0x81, 0, 0, 0, 0, 0xff], 1007),
        ("a giant frame", &giant, 1009),
        ("the promise of a giant frame", &[0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0], 1009),
    ];
    for (what, bytes, code) in violations {
        // Sent right behind the handshake: it must not get lost between the HTTP server and the socket loop.
        let answer = everything(&mut raw(&replica, "", bytes).await).await;
        assert!(answer.starts_with(b"HTTP/1.1 101 "), "{what}: {}", String::from_utf8_lossy(&answer));
        assert_eq!(close_code(&answer), Some(code), "{what}");
    }
    // The same for one that says goodbye at once, also where the server first writes down where it was.
    for query in ["", "client_id=shop-7"] {
        let mut hasty = raw(&replica, query, &[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8]).await;
        hasty.shutdown().await.unwrap();
        let answer = everything(&mut hasty).await;
        assert!(answer.starts_with(b"HTTP/1.1 101 "), "{query}: {}", String::from_utf8_lossy(&answer));
        assert_eq!(close_code(&answer), Some(1000), "{query}");
    }
}

/// What a client may do at any time, and what it gets for it, whatever carries the WebSocket.
pub async fn says_and_hears_everything<S: AsyncRead + AsyncWrite + Unpin>(client: &mut Client<S>) {
    client.send(Message::text("hello")).await;
    client.send(Message::binary(vec![0; 4096])).await;
    client.send(Message::Ping("are you there".into())).await;
    until("the pong", async || client.next().await == Some(Message::Pong("are you there".into()))).await;
    client.text().await;
    client.send(Message::Close(Some(CloseFrame { code: CloseCode::Library(4000), reason: "bye".into() }))).await;
    assert_eq!(client.closed().await.code, CloseCode::Library(4000));
    assert_eq!(client.next().await, None);
}

/// Stays for three pings, which its library answers.
pub async fn answers_pings<S: AsyncRead + AsyncWrite + Unpin>(client: &mut Client<S>) {
    let mut pings = 0;
    until("three pings", async || {
        pings += usize::from(matches!(client.next().await, Some(Message::Ping(_))));
        pings == 3
    })
    .await;
}

#[tokio::test]
async fn text_is_ignored_pings_are_answered_and_a_close_is_returned() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    let mut client = replica.connect("").await;
    says_and_hears_everything(&mut client).await;
}

#[tokio::test]
async fn a_client_that_does_not_answer_a_ping_is_let_go() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[("BTCFEED_PING_EVERY", "2s")]).await;
    let begun = Instant::now();
    let mut silent = raw(&replica, "", b"").await;
    assert_eq!(close_code(&everything(&mut silent).await), Some(4408));
    assert!((4.0..20.0).contains(&begun.elapsed().as_secs_f64()), "{:?}", begun.elapsed());
    // One that answers stays.
    let mut client = replica.connect("").await;
    answers_pings(&mut client).await;
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_let_go_and_told_why() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[&FAST[..], &[("BTCFEED_WRITE_STALL", "1s")]].concat()).await;
    let mut stuck = raw(&replica, "format=full&currency=USD,EUR", b"").await;
    assert_eq!(replica.logged("closing a stream").await["reason"], "TooSlow");
    // What it finds when it wakes is whole frames, the last of them the reason, though one was half sent when it was let go.
    let mut bytes = Vec::new();
    soon("the end", stuck.read_to_end(&mut bytes)).await.unwrap();
    let (close, updates) = frames(&bytes).pop_close();
    assert_eq!(close, 4408);
    assert!(updates.len() > 10);
    unbroken(&updates);
}

#[tokio::test]
async fn a_client_that_takes_nothing_any_more_is_dropped_and_costs_no_time() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[&FAST[..], &[("BTCFEED_WRITE_STALL", "1s")]].concat()).await;
    let before = replica.descriptors();
    let mut stuck = Vec::new();
    for path in ["/v1/ws", "/v1/prices/stream"] {
        for remembered in ["", &format!("&client_id=shop-{}", stuck.len())] {
            let query = format!("format=full&currency=USD,EUR{remembered}");
            stuck.push((format!("{path}?{query}"), raw_at(&replica, path, &query, b"").await));
        }
    }
    for (asked, socket) in &stuck {
        until(&format!("{asked} to be let go"), async || !is_established(socket)).await;
    }
    until("every place to be given back", async || replica.descriptors() <= before).await;
    let (before, begun) = (replica.processor_time(), Instant::now());
    until("some time to pass", async || begun.elapsed() > Duration::from_secs(1)).await;
    let used = replica.processor_time().saturating_sub(before);
    let passed = begun.elapsed();
    assert!(used < passed.mul_f64(0.8), "{used:?} of {passed:?}, with nobody to serve");
}

/// Frames of a server, as they came.
struct Frames(Vec<(u8, Vec<u8>)>);

/// Cuts what a server sent, from its answer to the handshake on, into frames; nothing may be left over.
fn frames(bytes: &[u8]) -> Frames {
    let head = bytes.windows(4).position(|end| end == b"\r\n\r\n").expect("an answer") + 4;
    let (mut rest, mut frames) = (&bytes[head..], Vec::new());
    while let [first, short, after @ ..] = rest {
        let (len, after) = match short {
            126 => (usize::from(u16::from_be_bytes([after[0], after[1]])), &after[2..]),
            short => (usize::from(*short), after),
        };
        assert!(after.len() >= len, "the last frame is cut short");
        frames.push((*first, after[..len].to_vec()));
        rest = &after[len..];
    }
    Frames(frames)
}

impl Frames {
    /// The code of the close frame at the end, and the ticks before it.
    fn pop_close(mut self) -> (u16, Vec<serde_json::Value>) {
        let (first, close) = self.0.pop().expect("frames");
        assert_eq!(first, 0x88, "the last frame is a close frame");
        let texts = self.0.iter().filter(|(first, _)| *first == 0x81);
        let updates = texts.map(|(_, text)| serde_json::from_slice::<serde_json::Value>(text).expect("JSON"));
        let ticks = updates.filter(|update| update["type"] == "tick").collect();
        (u16::from_be_bytes([close[0], close[1]]), ticks)
    }
}

#[tokio::test]
async fn a_client_that_reads_too_slowly_is_told_so_when_it_is_too_far_behind() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[&FAST[..], &[("BTCFEED_MAX_LAG", "1s")]].concat()).await;
    let mut slow = raw(&replica, "format=full&currency=USD,EUR", b"").await;
    let (mut bytes, mut piece, begun) = (Vec::new(), [0; 256], Instant::now());
    // It takes a small part of what the feed sends, which on a busy machine is less too, until the server has had enough. First
    // the buffers between them must be full.
    while replica.find_logged("closing a stream").is_none() {
        assert!(begun.elapsed() < TIMEOUT * 4, "it was never let go");
        let len = soon("a piece", slow.read(&mut piece)).await.unwrap();
        bytes.extend_from_slice(&piece[..len]);
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    soon("the end", slow.read_to_end(&mut bytes)).await.unwrap();
    let (close, updates) = frames(&bytes).pop_close();
    assert_eq!(close, 4408);
    unbroken(&updates);
}

#[tokio::test]
async fn clients_that_come_and_go_in_the_middle_of_everything_leave_nothing_behind() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &FAST).await;
    let before = replica.descriptors();
    for round in 0..100 {
        let mut stream = raw(&replica, "since=0", &[0x89, 0xfd, 1, 2, 3, 4, 5][..round % 7]).await;
        if round % 2 == 0 {
            soon("something", stream.read_u8()).await.ok();
        }
        if round % 3 == 0 {
            stream.shutdown().await.ok();
        }
    }
    until("every connection to be closed", async || replica.descriptors() <= before).await;
}

#[tokio::test]
async fn a_flood_of_pings_from_a_client_that_does_not_read_costs_nothing() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[("BTCFEED_WRITE_STALL", "1s")]).await;
    let before = replica.memory_kib();
    let mut flood = raw(&replica, "", b"").await;
    let pings = [0x89, 0xfd, 0, 0, 0, 0].into_iter().chain([7; 125]).collect::<Vec<u8>>().repeat(100);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        let write = tokio::time::timeout(Duration::from_millis(100), flood.write_all(&pings)).await;
        if matches!(write, Ok(Err(_))) {
            break;
        }
    }
    let grown = replica.memory_kib().saturating_sub(before);
    assert!(grown < 4096, "a flood of pings cost {grown} KiB");
    replica.connect("").await.text().await;
}

#[tokio::test]
async fn a_request_that_never_ends_is_dropped() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    let mut open = Vec::new();
    for begin in [&b""[..], b"GET /v1/ws HTTP/1.1\r\nHost: x\r\nX-Slow: ", b"PRI", b"PRI * HTTP/2.0\r\n\r\n"] {
        open.push(TcpStream::connect(&replica.address).await.unwrap());
        open.last_mut().unwrap().write_all(begin).await.unwrap();
    }
    for stream in &mut open {
        let mut answer = Vec::new();
        soon("the connection to be dropped", stream.read_to_end(&mut answer)).await.ok();
    }
    let mut giant = TcpStream::connect(&replica.address).await.unwrap();
    giant.write_all(format!("GET /v1/ws?{} HTTP/1.1\r\n", "a".repeat(64 * 1024)).as_bytes()).await.ok();
    let mut answer = Vec::new();
    soon("the request to be refused", giant.read_to_end(&mut answer)).await.ok();
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{}", String::from_utf8_lossy(&answer));
}

#[tokio::test]
async fn who_leaves_before_it_is_known_what_it_speaks_leaves_its_place_at_once() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[("BTCFEED_MAX_CONNECTIONS", "3")]).await;
    let begun = Instant::now();
    for _ in 0..3 {
        // As HTTP/2 begins, and many other words.
        TcpStream::connect(&replica.address).await.unwrap().write_all(b"P").await.unwrap();
    }
    until("a place to be free", async || replica.get("/openapi.json").await.0 == 200).await;
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn beyond_the_limit_of_connections_a_client_is_told_to_come_back() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[("BTCFEED_MAX_CONNECTIONS", "3")]).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(replica.connect("").await);
    }
    let (status, body) = Client::refused(&format!("ws://{}/v1/ws", replica.address)).await;
    assert!(status == 503 && body.contains("reached its connection limit"), "{status} {body}");
    clients.pop();
    until("a place to be free", async || replica.get("/v1/prices/latest").await.0 == 200).await;
}
