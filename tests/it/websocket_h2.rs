//! WebSockets over HTTP/2. A library does the framing. The feed and the limits are the same as over HTTP/1.

use super::hostile::{answer_pings, exchange_messages, flood};
use crate::support::exchange::Exchange;
use crate::support::http2::{Http2, Socket, text};
use crate::support::{FAST, TestCluster, embedded, entries, soon, unbroken, until};
use btcfeed::session::CloseReason;
use rustix::process::Signal;
use serde_json::Value;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{Frame, FrameHeader};

/// Settings of a feed that soon fills the window of a stream, and a short timeout for writes that stall.
const STALL_SOON: [(&str, &str); 3] = [FAST[0], FAST[1], ("BTCFEED_WRITE_STALL", "1s")];

/// Reads a stream to its end. Returns the ticks, and the code and the reason of the close frame if there is one.
async fn rest(socket: &mut Socket) -> (Vec<Value>, Option<(u16, String)>) {
    let (mut ticks, mut close) = (Vec::new(), None);
    let reading = async {
        while let Some(message) = socket.next().await {
            match message {
                Message::Close(frame) => close = frame.map(|frame| (frame.code.into(), frame.reason.to_string())),
                Message::Text(text) => ticks.push(serde_json::from_str::<Value>(&text).unwrap()),
                _ => {}
            }
        }
    };
    soon("the end of a stream", reading).await;
    ticks.retain(|update| update["type"] == "tick");
    (ticks, close)
}

/// Reads a stream to its end. Returns the code of the close frame, if there is one.
async fn close_code(socket: &mut Socket) -> Option<u16> {
    rest(socket).await.1.map(|(code, _)| code)
}

#[tokio::test]
async fn streams_of_a_connection_get_the_same_feed() {
    let cluster = TestCluster::new().await;
    let kept = cluster.redis.fill(700).await;
    let replica = cluster.replica("r1", &[("BTCFEED_WINDOW", "400")]).await;
    // The entries come from the store, from the window, and live.
    let query = format!("format=full&hello=true&after={}", kept[99]);
    let (mut raw, mut http2) = (replica.connect(&query).await, Http2::connect(&replica.address).await);
    let mut sockets =
        [http2.websocket(&format!("/v1/ws?{query}")).await, http2.websocket(&format!("/ws?{query}")).await];
    // The place of `synced` among the first live entries may differ.
    let is_synced = |text: &String| text.contains(r#""type":"synced""#);
    for count in 0..606 {
        let mut expected = raw.text().await;
        if is_synced(&expected) {
            expected = raw.text().await;
        }
        for socket in &mut sockets {
            let mut text = socket.text().await;
            if is_synced(&text) {
                text = socket.text().await;
            }
            assert_eq!(text, expected, "message {count}");
        }
    }
    let mut both = http2.websocket("/ws?currency=USD,EUR&format=timestamp").await;
    assert_eq!([both.json().await["currency"].clone(), both.json().await["currency"].clone()], ["USD", "EUR"]);
}

#[tokio::test]
async fn invalid_handshake_gets_a_problem() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[("BTCFEED_CORS_ORIGINS", "none")]).await;
    let mut http2 = Http2::connect(&replica.address).await;
    let version = ("sec-websocket-version", "13");
    let own = format!("http://{}", replica.address);
    for (protocol, path, headers, expected, detail) in [
        ("websocket", "/v1/ws?sinse=0", &[version][..], 400, "sinse"),
        ("websocket", "/v1/ws", &[], 426, "missing Sec-WebSocket-Version: expected 13"),
        (
            "websocket",
            "/ws",
            &[("sec-websocket-version", "8")],
            426,
            r#"invalid Sec-WebSocket-Version \"8\": expected 13"#,
        ),
        ("connect-udp", "/v1/ws", &[version], 501, "expected websocket"),
        ("websocket", "/v1/ws", &[version, ("origin", "http://elsewhere.example")], 403, "BTCFEED_CORS_ORIGINS"),
        ("websocket", "/v1/prices", &[version], 405, "GET"),
        ("websocket", "/v2/ws", &[version], 404, "/v2/ws"),
        ("websocket", "/v1/ws", &[version, ("origin", &own)], 200, ""),
    ] {
        let answer = http2.ask(protocol, path, headers).await;
        let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let (kind, known) = (header("content-type"), header("sec-websocket-version"));
        assert_eq!(known.as_deref(), (expected == 426).then_some("13"), "{path} {headers:?}");
        if expected == 200 {
            assert_eq!(answer.status(), 200);
            continue;
        }
        assert_eq!(kind.as_deref(), Some("application/problem+json"), "{path} {headers:?}");
        let (status, problem) = text(answer).await;
        assert!(status == expected && problem.contains(detail), "{path} {headers:?}: {status} {problem}");
    }
    // HTTP/1 has no extended CONNECT.
    let mut http1 = TcpStream::connect(&replica.address).await.unwrap();
    let request = "CONNECT /v1/ws HTTP/1.1\r\nHost: x\r\nSec-WebSocket-Version: 13\r\nConnection: close\r\n\r\n";
    http1.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon("an answer", http1.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
}

#[tokio::test]
async fn server_ignores_text_and_echoes_ping_and_close() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    let mut client = Http2::connect(&replica.address).await.websocket("/v1/ws").await;
    exchange_messages(&mut client).await;
}

#[tokio::test]
async fn violation_gets_its_close_code() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    let mut http2 = Http2::connect(&replica.address).await;
    let text = FrameHeader { opcode: OpCode::Data(Data::Text), ..FrameHeader::default() };
    let reserved = FrameHeader { rsv1: true, ..text.clone() };
    for (what, header, payload, code) in [
        ("reserved bits", reserved, vec![], 1002),
        ("text that is not UTF-8", text.clone(), vec![0xff], 1007),
        ("a giant frame", text, vec![b'a'; 4097], 1009),
    ] {
        let mut client = http2.websocket("/v1/ws").await;
        client.send(Message::Frame(Frame::from_payload(header, payload.into()))).await;
        assert_eq!(close_code(&mut client).await, Some(code), "{what}");
    }
}

#[tokio::test]
async fn client_without_pongs_is_closed() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[("BTCFEED_PING_EVERY", "2s")]).await;
    let mut http2 = Http2::connect(&replica.address).await;
    // The client does not read, so it answers no WebSocket ping. Its library answers the pings of HTTP/2, and its
    // window is large enough for all entries.
    let mut silent = http2.websocket("/v1/ws?format=full").await;
    let mut client = http2.websocket("/v1/ws").await;
    // A client that answers pings stays connected.
    tokio::join!(sleep(Duration::from_secs(5)), answer_pings(&mut client));
    let (ticks, close) = rest(&mut silent).await;
    unbroken(&ticks);
    assert_eq!(close, Some((4408, CloseReason::NoPong.message().to_owned())));
    assert!(!ticks.is_empty());
}

#[tokio::test]
async fn stalled_client_learns_why_it_is_closed() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &STALL_SOON).await;
    let mut stuck = Http2::with_window(&replica.address, 1000).await.websocket("/v1/ws?format=full").await;
    // The buffers are full after about one second. One second later, the server gives up the stalled write. It then
    // waits at most three seconds until the client has read the close frame. This sleep ends in the middle of this
    // wait.
    sleep(Duration::from_millis(3500)).await;
    let (ticks, close) = rest(&mut stuck).await;
    unbroken(&ticks);
    assert_eq!(close, Some((4408, CloseReason::TooSlow.message().to_owned())));
    assert!(ticks.len() > 3, "{} ticks", ticks.len());
}

#[tokio::test]
async fn stalled_client_is_reset_alone() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[&STALL_SOON[..], &[("BTCFEED_MAX_CONNECTIONS", "2")]].concat()).await;
    let mut http2 = Http2::with_window(&replica.address, 1000).await;
    let mut stuck = http2.websocket("/v1/ws?format=full").await;
    let mut neighbour = http2.websocket("/v1/ws?format=full").await;
    let mut third = http2.try_websocket("/v1/ws").await;
    assert_eq!(third.as_ref().err().map(|(status, _)| *status), Some(503), "both places are taken");
    let mut seen = Vec::new();
    until("the place of the stalled client", async || {
        seen.extend(entries(&mut neighbour, 1).await);
        third = http2.try_websocket("/v1/ws").await;
        third.is_ok()
    })
    .await;
    third.unwrap().text().await;
    seen.extend(entries(&mut neighbour, 20).await);
    unbroken(&seen);
    // The stalled client gets the ticks that fitted into its window, and no close frame.
    let (ticks, close) = rest(&mut stuck).await;
    unbroken(&ticks);
    assert_eq!(close, None);
}

#[tokio::test]
async fn flood_of_messages_is_closed() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    flood(&mut Http2::connect(&replica.address).await.websocket("/v1/ws").await).await;
}

#[tokio::test]
async fn closed_or_dropped_stream_frees_its_place() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[("BTCFEED_MAX_CONNECTIONS", "3")]).await;
    let mut http2 = Http2::connect(&replica.address).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(http2.websocket("/v1/ws").await);
    }
    for client in &mut clients {
        client.text().await;
    }
    let rejected = async |http2: &mut Http2| http2.try_websocket("/v1/ws").await.err();
    let (status, problem) = rejected(&mut http2).await.expect("all places are taken");
    assert!(status == 503 && problem.contains("reached its connection limit"), "{status} {problem}");
    assert_eq!(replica.get("/v1/prices/latest").await.0, 503, "the limit is for all requests");
    // One client sends a close frame, and one is dropped.
    let mut closing = clients.pop().unwrap();
    closing.send(Message::Close(None)).await;
    assert_eq!(close_code(&mut closing).await, None);
    drop(clients.pop());
    let mut again = Vec::new();
    until("two free places", async || {
        again.extend(http2.try_websocket("/v1/ws").await);
        again.len() == 2
    })
    .await;
    assert!(rejected(&mut http2).await.is_some());
    // The connection is dropped with all its streams.
    drop((http2, clients, again));
    until("a free place", async || replica.get("/v1/prices/latest").await.0 == 200).await;
    let mut other = Http2::connect(&replica.address).await;
    let _both = [other.websocket("/v1/ws").await, other.websocket("/v1/ws").await];
}

#[tokio::test]
async fn client_id_resumes_after_a_stop() {
    let cluster = TestCluster::new().await;
    let [mut first, second] = cluster.replicas().await;
    let mut http2 = Http2::connect(&first.address).await;
    let mut client = http2.websocket("/v1/ws?format=full&client_id=shop-7.4f9b2c71d0e85a36").await;
    let mut seen = entries(&mut client, 3).await;
    // A client that does not read does not delay the stop.
    let _silent = http2.websocket("/v1/ws?since=0").await;
    first.signal(Signal::TERM);
    let (ticks, close) = rest(&mut client).await;
    assert_eq!(close.map(|(code, _)| code), Some(1001));
    assert!(first.exit().await.success());
    seen.extend(ticks);
    // The bookmark was saved before the close frame was sent.
    let mut resumed =
        Http2::connect(&second.address).await.websocket("/v1/ws?format=full&client_id=shop-7.4f9b2c71d0e85a36").await;
    seen.extend(entries(&mut resumed, 2).await);
    unbroken(&seen);
}
