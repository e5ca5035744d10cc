//! Clients that break the protocol, read slowly or not at all, flood the server, or never finish a request.

mod target;

use crate::support::client::Client;
use crate::support::socket::{is_established, unsent};
use crate::support::stream::{self, Connection};
use crate::support::{FAST, INTERVAL, soon, unbroken, until};
use btcfeed::session::CloseReason;
use socket2::SockRef;
use std::time::{Duration, Instant};
use target::attack;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{client_async, tungstenite};

/// Reads everything that the server sends until it closes or resets the connection.
async fn read_all(stream: &mut Connection) -> Vec<u8> {
    let mut bytes = Vec::new();
    soon("the end", stream.read_to_end(&mut bytes)).await.ok();
    bytes
}

/// Returns the close code at the end of what the server sent.
fn close_code(bytes: &[u8]) -> Option<u16> {
    let at = bytes.windows(2).rposition(|pair| pair[0] == 0x88 && (2..=125).contains(&pair[1]))?;
    Some(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]))
}

#[tokio::test]
async fn violation_gets_its_close_code() {
    attack(&[], async |target| {
        let giant = [&[0x82, 0xfe, 0x10, 0x01, 0, 0, 0, 0][..], &[0; 4097]].concat();
        let violations: [(&str, &[u8], u16); 5] = [
            ("a frame without a mask", &[0x81, 0x01, b'a'], 1002),
            ("reserved bits", &[0xf1, 0x80, 0, 0, 0, 0], 1002),
            ("text that is not UTF-8", &[0x81, 0x81, 0, 0, 0, 0, 0xff], 1007),
            ("a giant frame", &giant, 1009),
            ("the head of a giant frame", &[0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0], 1009),
        ];
        for (what, bytes, code) in violations {
            // The bytes are sent together with the handshake. They must not get lost when the reactor takes over the
            // socket.
            let answer = read_all(&mut target.raw("", bytes).await).await;
            assert!(answer.starts_with(b"HTTP/1.1 101 "), "{what}: {}", String::from_utf8_lossy(&answer));
            assert_eq!(close_code(&answer), Some(code), "{what}");
        }
        // A client that closes immediately gets a close frame, even if the server saves the client's bookmark first.
        for query in ["", "client_id=shop-7.4f9b2c71d0e85a36"] {
            let mut early = target.raw(query, &[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8]).await;
            early.shutdown().await.unwrap();
            let answer = read_all(&mut early).await;
            assert!(answer.starts_with(b"HTTP/1.1 101 "), "{query}: {}", String::from_utf8_lossy(&answer));
            assert_eq!(close_code(&answer), Some(1000), "{query}");
        }
    })
    .await;
}

/// Sends each kind of message that a client may send, and checks the answers. They are the same over HTTP/1 and HTTP/2.
pub async fn exchange_messages<S: AsyncRead + AsyncWrite + Unpin>(client: &mut Client<S>) {
    client.send(Message::text("hello")).await;
    client.send(Message::binary(vec![0; 4096])).await;
    client.send(Message::Ping("are you there".into())).await;
    until("the pong", async || client.next().await == Some(Message::Pong("are you there".into()))).await;
    client.text().await;
    client.send(Message::Close(Some(CloseFrame { code: CloseCode::Library(4000), reason: "bye".into() }))).await;
    assert_eq!(client.closed().await.code, CloseCode::Library(4000));
    assert_eq!(client.next().await, None);
}

/// Waits for three pings, which the client's library answers.
pub async fn answer_pings<S: AsyncRead + AsyncWrite + Unpin>(client: &mut Client<S>) {
    let mut pings = 0;
    until("three pings", async || {
        pings += usize::from(matches!(client.next().await, Some(Message::Ping(_))));
        pings == 3
    })
    .await;
}

/// Sends more than a client may send, and asserts that the server closes the stream.
pub async fn flood<S: AsyncRead + AsyncWrite + Unpin>(client: &mut Client<S>) {
    for _ in 0..17 {
        client.send(Message::binary(vec![0; 4090])).await;
    }
    let close = soon("the close", client.closed()).await;
    assert!(close.code == CloseCode::Policy && close.reason.contains("too much input"), "{close:?}");
}

#[tokio::test]
async fn flood_of_messages_is_closed() {
    attack(&[], async |target| {
        flood(&mut target.websocket().await).await;
    })
    .await;
}

#[tokio::test]
async fn server_ignores_text_and_echoes_ping_and_close() {
    attack(&[], async |target| {
        let mut client = target.websocket().await;
        exchange_messages(&mut client).await;
    })
    .await;
}

#[tokio::test]
async fn client_without_pongs_is_closed() {
    attack(&[("BTCFEED_PING_EVERY", "2s")], async |target| {
        let silent = async {
            let started = Instant::now();
            let mut silent = target.raw("", b"").await;
            assert_eq!(close_code(&read_all(&mut silent).await), Some(4408));
            assert!((4.0..20.0).contains(&started.elapsed().as_secs_f64()), "{:?}", started.elapsed());
        };
        // A client that answers pings stays connected.
        let answering = async { answer_pings(&mut target.websocket().await).await };
        tokio::join!(silent, answering);
    })
    .await;
}

/// Waits until the server has sent all that the kernel accepts while the client does not read.
async fn until_stalled(socket: &TcpStream) {
    let (mut before, mut unchanged) = (None, 0);
    until("the server to wait for its client", async || {
        sleep(INTERVAL).await;
        let now = unsent(socket).filter(|bytes| *bytes > 0);
        unchanged = if now.is_some() && now == before { unchanged + 1 } else { 0 };
        before = now;
        // One unchanged value is not enough: on a busy machine, the feed itself may pause.
        unchanged == 3
    })
    .await;
}

#[tokio::test]
async fn stalled_client_learns_why_it_is_closed() {
    attack(&[&FAST[..], &[("BTCFEED_WRITE_STALL", "1s")]].concat(), async |target| {
        let bytes = soon("a close with its reason", async {
            loop {
                let mut stuck = target.raw("format=full&currency=USD,EUR", b"").await;
                until_stalled(stream::socket(&stuck)).await;
                // After this second, the write has stalled for too long. For 3 s more, the server tries to send the
                // close frame.
                sleep(Duration::from_secs(1)).await;
                // With a small buffer, the client's kernel does not announce free space when the client reads. The
                // server's kernel then learns of the space only when it sends its next probe, perhaps after the 3 s.
                SockRef::from(stream::socket(&stuck)).set_recv_buffer_size(1 << 20).unwrap();
                // When the write stalls, the server may have sent only a part of a frame. It first sends the rest of
                // that frame, and then the close frame with the reason.
                let mut bytes = Vec::new();
                // On a busy machine, this test may read too late to get the close frame, or so early that the server
                // detects no stall and the stream goes on. In both cases, the test tries again.
                let read = timeout(Duration::from_secs(5), stuck.read_to_end(&mut bytes)).await;
                if matches!(read, Ok(Ok(_))) && close_code(&bytes).is_some() {
                    break bytes;
                }
            }
        })
        .await;
        let (close, updates) = frames(&bytes).pop_close();
        assert_eq!(close, (4408, CloseReason::TooSlow.message().to_owned()));
        assert!(updates.len() > 10);
        unbroken(&updates);
    })
    .await;
}

#[tokio::test]
async fn stalled_client_is_dropped_and_costs_nothing() {
    attack(&[&FAST[..], &[("BTCFEED_WRITE_STALL", "1s")]].concat(), async |target| {
        let before = target.replica.descriptors();
        let mut stuck = Vec::new();
        for path in ["/v1/ws", "/v1/prices/stream"] {
            for client_id in ["", &format!("&client_id=shop-{}.4f9b2c71d0e85a36", stuck.len())] {
                let query = format!("format=full&currency=USD,EUR{client_id}");
                stuck.push((format!("{path}?{query}"), target.raw_at(path, &query, b"").await));
            }
        }
        for (path, socket) in &stuck {
            until(&format!("{path} to be closed"), async || !is_established(stream::socket(socket))).await;
        }
        until("all connections to be closed", async || target.replica.descriptors() <= before).await;
        let (before, started) = (target.replica.processor_time(), Instant::now());
        until("some time to pass", async || started.elapsed() > Duration::from_secs(1)).await;
        let used = target.replica.processor_time().saturating_sub(before);
        let passed = started.elapsed();
        assert!(used < passed.mul_f64(0.8), "{used:?} of {passed:?} without clients");
    })
    .await;
}

/// Frames of a server: first byte and payload.
struct Frames(Vec<(u8, Vec<u8>)>);

/// Splits what a server sent after its response to the handshake into frames. Nothing may be left over.
fn frames(bytes: &[u8]) -> Frames {
    let head = bytes.windows(4).position(|end| end == b"\r\n\r\n").expect("an answer") + 4;
    let (mut rest, mut frames) = (&bytes[head..], Vec::new());
    while let [first, short, after @ ..] = rest {
        let (len, after) = match short {
            126 => (usize::from(u16::from_be_bytes([after[0], after[1]])), &after[2..]),
            short => (usize::from(*short), after),
        };
        assert!(after.len() >= len, "the last frame is incomplete");
        frames.push((*first, after[..len].to_vec()));
        rest = &after[len..];
    }
    assert!(rest.is_empty(), "a part of a frame is left over");
    Frames(frames)
}

impl Frames {
    /// Returns the code and the reason of the close frame at the end, and the ticks before it.
    fn pop_close(mut self) -> ((u16, String), Vec<serde_json::Value>) {
        let (first, close) = self.0.pop().expect("frames");
        assert_eq!(first, 0x88, "the last frame is a close frame");
        let texts = self.0.iter().filter(|(first, _)| *first == 0x81);
        let updates = texts.map(|(_, text)| serde_json::from_slice::<serde_json::Value>(text).expect("JSON"));
        let ticks = updates.filter(|update| update["type"] == "tick").collect();
        let reason = String::from_utf8(close[2..].to_vec()).unwrap();
        ((u16::from_be_bytes([close[0], close[1]]), reason), ticks)
    }
}

#[tokio::test]
async fn lagging_client_learns_why_it_is_closed() {
    // `BTCFEED_WRITE_STALL` is long, so no write stalls for too long, and the server has enough time to send the close
    // frame.
    let settings = [&FAST[..], &[("BTCFEED_MAX_LAG", "1s"), ("BTCFEED_WRITE_STALL", "30s")]].concat();
    attack(&settings, async |target| {
        let mut slow = target.raw("format=full&currency=USD,EUR", b"").await;
        let (mut bytes, mut piece, started) = (Vec::new(), [0; 256], Instant::now());
        // The client reads only a small part of what the feed sends. After a few seconds the buffers are full, and the
        // client lags more and more.
        while started.elapsed() < Duration::from_secs(10) {
            let len = soon("a piece", slow.read(&mut piece)).await.unwrap();
            bytes.extend_from_slice(&piece[..len]);
            sleep(Duration::from_millis(150)).await;
        }
        soon("the end", slow.read_to_end(&mut bytes)).await.unwrap();
        let (close, updates) = frames(&bytes).pop_close();
        assert_eq!(close, (4408, CloseReason::TooSlow.message().to_owned()));
        unbroken(&updates);
    })
    .await;
}

#[tokio::test]
async fn abandoned_connections_are_closed() {
    attack(&FAST, async |target| {
        let before = target.replica.descriptors();
        for round in 0..100 {
            let mut stream = target.raw("since=0", &[0x89, 0xfd, 1, 2, 3, 4, 5][..round % 7]).await;
            if round % 2 == 0 {
                soon("something", stream.read_u8()).await.ok();
            }
            if round % 3 == 0 {
                stream.shutdown().await.ok();
            }
        }
        until("every connection to be closed", async || target.replica.descriptors() <= before).await;
    })
    .await;
}

#[tokio::test]
async fn flood_of_pings_costs_no_memory() {
    attack(&[("BTCFEED_WRITE_STALL", "1s")], async |target| {
        let before = target.replica.memory_kib();
        let mut flood = target.raw("", b"").await;
        let pings = [0x89, 0xfd, 0, 0, 0, 0].into_iter().chain([7; 125]).collect::<Vec<u8>>().repeat(100);
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(3) {
            let write = timeout(Duration::from_millis(100), flood.write_all(&pings)).await;
            if matches!(write, Ok(Err(_))) {
                break;
            }
        }
        let grown = target.replica.memory_kib().saturating_sub(before);
        assert!(grown < 4096, "a flood of pings cost {grown} KiB");
        target.websocket().await.text().await;
    })
    .await;
}

#[tokio::test]
async fn unfinished_request_is_dropped() {
    attack(&[], async |target| {
        let mut open = Vec::new();
        for begin in [&b""[..], b"GET /v1/ws HTTP/1.1\r\nHost: x\r\nX-Slow: ", b"PRI", b"PRI * HTTP/2.0\r\n\r\n"] {
            open.push(target.connect().await);
            open.last_mut().unwrap().write_all(begin).await.unwrap();
        }
        for stream in &mut open {
            let mut answer = Vec::new();
            soon("the connection to be dropped", stream.read_to_end(&mut answer)).await.ok();
        }
        let mut giant = target.connect().await;
        giant.write_all(format!("GET /v1/ws?{} HTTP/1.1\r\n", "a".repeat(64 * 1024)).as_bytes()).await.ok();
        let mut answer = Vec::new();
        soon("the request to be rejected", giant.read_to_end(&mut answer)).await.ok();
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{}", String::from_utf8_lossy(&answer));
    })
    .await;
}

#[tokio::test]
async fn connection_without_a_request_frees_its_place() {
    attack(&[("BTCFEED_MAX_CONNECTIONS", "3")], async |target| {
        let (mut open, started) = (Vec::new(), Instant::now());
        for _ in 0..3 {
            let mut stream = target.connect().await;
            // P is the first byte of HTTP/2, and of a POST request.
            stream.write_all(b"P").await.unwrap();
            open.push(stream);
        }
        until("a free place", async || target.get("/openapi.json").await.0 == 200).await;
        // A head may take 10 s.
        assert!(started.elapsed() < Duration::from_secs(13), "{:?}", started.elapsed());
    })
    .await;
}

#[tokio::test]
async fn client_over_the_limit_is_rejected() {
    attack(&[("BTCFEED_MAX_CONNECTIONS", "3")], async |target| {
        let mut clients = Vec::new();
        for _ in 0..3 {
            clients.push(target.websocket().await);
        }
        let rejected = client_async("ws://localhost/v1/ws", target.connect().await).await;
        let Err(tungstenite::Error::Http(answer)) = rejected else { panic!("accepted") };
        assert_eq!(answer.status(), 503);
        let (status, problem) = target.get("/v1/prices/stream").await;
        assert!(status == 503 && problem.contains("reached its connection limit"), "{status} {problem}");
        clients.pop();
        until("a free place", async || target.get("/v1/prices/latest").await.0 == 200).await;
    })
    .await;
}
