//! Streams over TLS whose records the reactor encrypts and decrypts. The clients use tokio-rustls.

use crate::support::client::Client;
use crate::support::events::Events;
use crate::support::exchange::Exchange;
use crate::support::replica::Replica;
use crate::support::tls::Authority;
use crate::support::{INTERVAL, embedded, entries, soon, tick, unbroken, until};
use bytes::Bytes;
use futures_util::stream;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::{AlertDescription, Error, HandshakeKind};
use tokio_tungstenite::tungstenite::Message;

type Stream = TlsStream<TcpStream>;

async fn secured(exchange: &Exchange, authority: &Authority, settings: &[(&str, &str)]) -> Replica {
    let files = authority.settings();
    let files: Vec<_> = files.iter().map(|(name, path)| (*name, path.as_str())).collect();
    embedded(exchange, &[&files, settings].concat()).await
}

/// Requests an event stream. Returns its events, and the half of the connection that writes to the server.
async fn events(mut stream: Stream, query: &str) -> (Events, WriteHalf<Stream>) {
    let request = format!("GET /v1/prices/stream?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let (mut from, to) = tokio::io::split(stream);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(soon("a response", from.read_u8()).await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&head));
    let chunks = stream::unfold(from, async |mut from: ReadHalf<Stream>| {
        let mut buffer = vec![0; 4096];
        match from.read(&mut buffer).await {
            Ok(0) => None,
            Ok(len) => Some((Ok(Bytes::copy_from_slice(&buffer[..len])), from)),
            Err(_) => Some((Err(()), from)),
        }
    });
    (Events::read(chunks), to)
}

/// Returns the next entry of an event stream.
async fn entry(events: &mut Events) -> serde_json::Value {
    loop {
        let event = events.block().await.expect("the stream goes on");
        if event.data.is_some() && event.name.as_deref().is_none_or(|name| name == "status") {
            return event.json();
        }
    }
}

#[tokio::test]
async fn streams_work_over_both_versions_of_tls() {
    let (exchange, authority) = (Exchange::start().await, Authority::new());
    let replica = secured(&exchange, &authority, &[]).await;
    let mut first = authority.websocket(&replica.address, "format=full").await;
    tick(&mut first).await;
    for version in ["1.2", "1.3"] {
        let stream = authority.connect_with(&replica.address, version).await;
        let mut client = authority.websocket_over(stream, "format=full&since=0").await;
        unbroken(&entries(&mut client, 8).await);
        client.send(Message::Ping("still there".into())).await;
        until("the pong", async || client.next().await == Some(Message::Pong("still there".into()))).await;
        let stream = authority.connect_with(&replica.address, version).await;
        let (mut events, _to) = events(stream, "format=full&since=0").await;
        let mut seen = Vec::new();
        while seen.len() < 8 {
            seen.push(entry(&mut events).await);
        }
        unbroken(&seen);
    }
    assert!(replica.metric("btcfeed_tls_handshakes_total").await >= 5.0);
}

#[tokio::test]
async fn keys_are_updated_in_the_middle_of_a_stream() {
    let (exchange, authority) = (Exchange::start().await, Authority::new());
    let replica = secured(&exchange, &authority, &[]).await;
    let mut client = authority.websocket(&replica.address, "format=full").await;
    let mut seen = vec![tick(&mut client).await];
    for round in 0..5 {
        // rustls sends a `key_update` with the next message. It asks the server to change its keys, too.
        client.stream().get_mut().1.refresh_traffic_keys().unwrap();
        client.send(Message::Ping(vec![round].into())).await;
        until("the pong", async || match client.next().await {
            Some(Message::Text(text)) => {
                seen.push(serde_json::from_str(&text).unwrap());
                false
            }
            message => message == Some(Message::Pong(vec![round].into())),
        })
        .await;
        seen.push(tick(&mut client).await);
    }
    seen.retain(|message: &serde_json::Value| message["type"] == "tick");
    unbroken(&seen);
}

#[tokio::test]
async fn broken_record_ends_only_its_stream() {
    let (exchange, authority) = (Exchange::start().await, Authority::new());
    let replica = secured(&exchange, &authority, &[]).await;
    let mut honest = authority.websocket(&replica.address, "format=full").await;
    let mut seen = vec![tick(&mut honest).await];
    let violations = r#"btcfeed_closes_total{reason="violation"}"#;
    let before = replica.metric(violations).await;
    for (record, alert) in [
        (&b"\x17\x03\x03\x00\x1eabcdefghijklmnopqrstuvwxyz1234"[..], AlertDescription::BadRecordMac),
        (b"\x17\x03\x03\xff\xff", AlertDescription::RecordOverflow),
        (b"GET / HTTP/1.1\r\n\r\n", AlertDescription::UnexpectedMessage),
        (b"\x15\x03\x03\x00\x02\x01\x00", AlertDescription::UnexpectedMessage),
    ] {
        let mut client = authority.websocket(&replica.address, "").await;
        client.text().await;
        client.stream().get_mut().0.write_all(record).await.unwrap();
        let (mut rest, mut error) = ([0; 4096], None);
        until("the alert", async || {
            error = soon("an end", client.stream().read(&mut rest)).await.err();
            error.is_some()
        })
        .await;
        let error = error.unwrap().into_inner().expect("an error of TLS");
        assert_eq!(error.downcast_ref::<Error>(), Some(&Error::AlertReceived(alert)), "{record:?}");
    }
    assert_eq!(replica.metric(violations).await, before + 4.0);
    seen.push(tick(&mut honest).await);
    seen.push(tick(&mut honest).await);
    unbroken(&seen);
}

#[tokio::test]
async fn event_stream_survives_a_half_close() {
    let (exchange, authority) = (Exchange::start().await, Authority::new());
    let replica = secured(&exchange, &authority, &[]).await;
    let (mut events, mut to) = events(authority.connect(&replica.address).await, "format=full").await;
    let mut seen = vec![entry(&mut events).await];
    // This sends `close_notify`, and then ends the output of the socket.
    to.shutdown().await.unwrap();
    while seen.len() < 5 {
        seen.push(entry(&mut events).await);
    }
    unbroken(&seen);
    drop((events, to));
    // A WebSocket ends: its client cannot answer pings any more.
    let mut client = authority.websocket(&replica.address, "").await;
    client.text().await;
    client.stream().shutdown().await.unwrap();
    until("the end", async || client.next().await.is_none()).await;
    until("no clients", async || replica.metric(r#"btcfeed_clients{transport="websocket"}"#).await == 0.0).await;
}

#[tokio::test]
async fn reconnect_resumes_with_a_ticket() {
    let (exchange, authority) = (Exchange::start().await, Authority::new());
    let replica = secured(&exchange, &authority, &[]).await;
    for version in ["1.2", "1.3"] {
        let connector = authority.connector_with(&["http/1.1"], version);
        for expected in [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed] {
            let stream = authority.connect_by(&connector, &replica.address).await;
            assert_eq!(stream.get_ref().1.handshake_kind(), Some(expected), "{version}");
            let mut client = authority.websocket_over(stream, "format=full").await;
            unbroken(&entries(&mut client, 3).await);
        }
    }
}

#[tokio::test]
async fn idle_stream_over_tls_needs_little_memory() {
    const CLIENTS: u64 = 200;
    let (exchange, authority) = (Exchange::start().await, Authority::new());
    let replica = secured(&exchange, &authority, &[]).await;
    let connector = authority.connector(&["http/1.1"]);
    let connect = async || {
        let stream = authority.connect_by(&connector, &replica.address).await;
        let mut client = authority.websocket_over(stream, "").await;
        client.text().await;
        client
    };
    // The first clients fill the caches of the allocator.
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(connect().await);
    }
    let before = replica.memory_kib();
    for _ in 0..CLIENTS {
        clients.push(connect().await);
    }
    let each = replica.memory_kib().saturating_sub(before) / CLIENTS;
    assert!(each < 8, "{each} KiB for each client");
}

#[tokio::test]
async fn later_request_of_a_connection_gets_a_stream() {
    let (exchange, authority) = (Exchange::start().await, Authority::new());
    let replica = secured(&exchange, &authority, &[]).await;
    let mut stream = authority.connect(&replica.address).await;
    stream.write_all(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(soon("a response", stream.read_u8()).await.unwrap());
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let len = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next()).unwrap();
    let mut body = vec![0; len.parse().unwrap()];
    soon("the body", stream.read_exact(&mut body)).await.unwrap();
    let mut client = authority.websocket_over(stream, "format=full&since=0").await;
    unbroken(&entries(&mut client, 4).await);
}

/// Sends records without a pause. An event stream needs no input from its client, so the server ends the connection.
#[tokio::test]
async fn flood_of_records_is_closed() {
    let (exchange, authority) = (Exchange::start().await, Authority::new());
    let replica = secured(&exchange, &authority, &[]).await;
    let (_events, mut to) = events(authority.connect(&replica.address).await, "").await;
    let started = Instant::now();
    soon("the end of the flood", async { while to.write_all(&[b'x'; 400]).await.is_ok() {} }).await;
    assert!(started.elapsed() < Duration::from_secs(30));
    let mut client: Client<Stream> = authority.websocket(&replica.address, "format=full").await;
    let started = Instant::now();
    unbroken(&entries(&mut client, 3).await);
    assert!(started.elapsed() < INTERVAL * 30, "{:?}", started.elapsed());
}
