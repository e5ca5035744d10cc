//! WebSockets over HTTP/2, where a library speaks: the same feed, the same rules, and no client that stays for nothing.

use super::hostile::{answers_pings, says_and_hears_everything};
use crate::support::exchange::Exchange;
use crate::support::http2::{Http2, Socket, text};
use crate::support::{FAST, TestCluster, embedded, entries, soon, unbroken, until};
use rustix::process::Signal;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{Frame, FrameHeader};

/// A feed that fills a stream, and little patience with those that take nothing.
const FULL: [(&str, &str); 3] = [FAST[0], FAST[1], ("BTCFEED_WRITE_STALL", "1s")];

/// The ticks that are left in a stream, and the close frame at its end, if there is one.
async fn rest(socket: &mut Socket) -> (Vec<Value>, Option<u16>) {
    let (mut ticks, mut code) = (Vec::new(), None);
    while let Some(message) = socket.next().await {
        match message {
            Message::Close(frame) => code = frame.map(|frame| frame.code.into()),
            Message::Text(text) => ticks.push(serde_json::from_str::<Value>(&text).unwrap()),
            _ => {}
        }
    }
    ticks.retain(|update| update["type"] == "tick");
    (ticks, code)
}

#[tokio::test]
async fn many_websockets_on_one_connection_read_what_a_raw_one_reads() {
    let cluster = TestCluster::new().await;
    let kept = cluster.redis.fill(700).await;
    let replica = cluster.replica("r1", &[("BTCFEED_WINDOW", "400")]).await;
    // From the store, from the window, and live.
    let query = format!("format=full&hello=true&after={}", kept[99]);
    let (mut raw, mut http2) = (replica.connect(&query).await, Http2::connect(&replica.address).await);
    let mut sockets =
        [http2.websocket(&format!("/v1/ws?{query}")).await, http2.websocket(&format!("/ws?{query}")).await];
    // Where synced stands among the first live ones is for each to see.
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
async fn what_is_no_handshake_is_refused_in_the_words_of_the_other_doors() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[("BTCFEED_CORS_ORIGINS", "none")]).await;
    let mut http2 = Http2::connect(&replica.address).await;
    let version = ("sec-websocket-version", "13");
    let own = format!("http://{}", replica.address);
    for (protocol, path, headers, expected, said) in [
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
        assert!(status == expected && problem.contains(said), "{path} {headers:?}: {status} {problem}");
    }
    // Over HTTP/1 it is no CONNECT.
    let mut http1 = TcpStream::connect(&replica.address).await.unwrap();
    let request = "CONNECT /v1/ws HTTP/1.1\r\nHost: x\r\nSec-WebSocket-Version: 13\r\nConnection: close\r\n\r\n";
    http1.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon("an answer", http1.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
}

#[tokio::test]
async fn text_is_ignored_pings_are_answered_and_a_close_is_returned() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    let mut client = Http2::connect(&replica.address).await.websocket("/v1/ws").await;
    says_and_hears_everything(&mut client).await;
}

#[tokio::test]
async fn each_violation_is_answered_with_its_close_code() {
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
        assert_eq!(rest(&mut client).await.1, Some(code), "{what}");
    }
}

#[tokio::test]
async fn a_client_that_does_not_answer_a_ping_is_let_go() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[("BTCFEED_PING_EVERY", "2s")]).await;
    let mut http2 = Http2::connect(&replica.address).await;
    // It has room for everything, and its library answers the pings of HTTP/2 by itself.
    let mut silent = http2.websocket("/v1/ws?format=full").await;
    assert_eq!(replica.logged("closing a stream").await["reason"], "NoPong");
    let (ticks, code) = rest(&mut silent).await;
    unbroken(&ticks);
    assert!(code == Some(4408) && !ticks.is_empty());
    // One that answers stays.
    let mut client = http2.websocket("/v1/ws").await;
    answers_pings(&mut client).await;
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_let_go_and_told_why_if_it_wakes_soon() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &FULL).await;
    let mut stuck = Http2::with_window(&replica.address, 1000).await.websocket("/v1/ws?format=full").await;
    assert_eq!(replica.logged("closing a stream").await["reason"], "TooSlow");
    let (ticks, code) = rest(&mut stuck).await;
    unbroken(&ticks);
    assert!(code == Some(4408) && ticks.len() > 3, "{code:?} after {} ticks", ticks.len());
}

#[tokio::test]
async fn a_client_that_never_takes_anything_leaves_its_place_and_its_neighbours_go_on() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[&FULL[..], &[("BTCFEED_MAX_CONNECTIONS", "2")]].concat()).await;
    let mut http2 = Http2::with_window(&replica.address, 1000).await;
    let mut stuck = http2.websocket("/v1/ws?format=full").await;
    let mut neighbour = http2.websocket("/v1/ws?format=full").await;
    assert_eq!(http2.try_websocket("/v1/ws").await.err().map(|(status, _)| status), Some(503));
    let mut seen = Vec::new();
    until("the stream to be reset", async || {
        seen.extend(entries(&mut neighbour, 1).await);
        replica.find_logged("stream reset: its client reads nothing").is_some()
    })
    .await;
    let mut third = http2.websocket("/v1/ws").await;
    third.text().await;
    seen.extend(entries(&mut neighbour, 20).await);
    unbroken(&seen);
    // When it wakes it finds what was on the way, and then no more.
    let (ticks, code) = rest(&mut stuck).await;
    unbroken(&ticks);
    assert_eq!(code, None);
}

#[tokio::test]
async fn a_websocket_is_a_client_for_as_long_as_it_lives_however_it_ends() {
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
    let refused = async |http2: &mut Http2| http2.try_websocket("/v1/ws").await.err();
    let (status, problem) = refused(&mut http2).await.expect("there is no place");
    assert!(status == 503 && problem.contains("reached its connection limit"), "{status} {problem}");
    assert_eq!(replica.get("/v1/prices/latest").await.0, 503, "nor is there one for others");
    // One says goodbye, one is dropped.
    let mut polite = clients.pop().unwrap();
    polite.send(Message::Close(None)).await;
    assert_eq!(rest(&mut polite).await.1, None);
    drop(clients.pop());
    let mut again = Vec::new();
    until("two places to be free", async || {
        again.extend(http2.try_websocket("/v1/ws").await);
        again.len() == 2
    })
    .await;
    assert!(refused(&mut http2).await.is_some());
    // The connection goes, and with it all that was on it.
    drop((http2, clients, again));
    until("the places to be free", async || replica.get("/v1/prices/latest").await.0 == 200).await;
    let mut other = Http2::connect(&replica.address).await;
    let _both = [other.websocket("/v1/ws").await, other.websocket("/v1/ws").await];
}

#[tokio::test]
async fn a_replica_that_stops_says_so_and_another_one_goes_on_where_it_was() {
    let cluster = TestCluster::new().await;
    let [mut first, second] = cluster.replicas().await;
    let mut http2 = Http2::connect(&first.address).await;
    let mut client = http2.websocket("/v1/ws?format=full&client_id=shop-7").await;
    let mut seen = entries(&mut client, 3).await;
    // One that reads nothing does not hold up the end.
    let _silent = http2.websocket("/v1/ws?since=0").await;
    first.signal(Signal::TERM);
    let (ticks, code) = rest(&mut client).await;
    assert_eq!(code, Some(1001));
    assert!(first.exit().await.success());
    seen.extend(ticks);
    // The goodbye was said when that was written down.
    let mut resumed = Http2::connect(&second.address).await.websocket("/v1/ws?format=full&client_id=shop-7").await;
    seen.extend(entries(&mut resumed, 2).await);
    unbroken(&seen);
}
