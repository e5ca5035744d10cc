//! What operators and container engines ask: alive, ready, and how it ends.

use crate::support::exchange::Exchange;
use crate::support::{TestCluster, embedded, entries, http, signal, soon, until};
use rustix::process::Signal;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

async fn status(address: &str, path: &str) -> Option<u16> {
    http().get(format!("http://{address}{path}")).send().await.ok().map(|response| response.status().as_u16())
}

async fn healthcheck(ops: &str) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_btcfeed"));
    command.arg("healthcheck").env_clear().env("BTCFEED_OPS_LISTEN", ops);
    let output = soon("a health check", command.output()).await.unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[tokio::test]
async fn a_replica_is_ready_once_it_has_read_the_history() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    assert_eq!(status(&replica.ops, "/livez").await, Some(200));
    assert_eq!(status(&replica.ops, "/readyz").await, Some(200));
    assert_eq!(healthcheck(&replica.ops).await, (Some(0), String::new()));
}

#[tokio::test]
async fn a_replica_that_has_never_reached_redis_lives_and_is_not_ready() {
    let exchange = Exchange::start().await;
    let port = crate::support::redis::free_port();
    let mut command = Command::new(env!("CARGO_BIN_EXE_btcfeed"));
    let ops = format!("127.0.0.1:{}", crate::support::redis::free_port());
    let public = format!("127.0.0.1:{}", crate::support::redis::free_port());
    command.env_clear().env("BTCFEED_LISTEN", &public).env("BTCFEED_OPS_LISTEN", &ops).kill_on_drop(true);
    command.envs(exchange.settings()).env("REDIS_URL", format!("redis://127.0.0.1:{port}"));
    command.stderr(std::process::Stdio::null());
    let mut child = command.spawn().unwrap();
    until("it to live", async || status(&ops, "/livez").await == Some(200)).await;
    assert_eq!(status(&ops, "/readyz").await, Some(503));
    let (code, error) = healthcheck(&ops).await;
    assert_eq!((code, error.as_str()), (Some(1), "btcfeed: not ready: the history has not been read yet\n"));
    // A client would be told that there is no history; it is told to come back.
    for path in ["/v1/prices", "/v1/prices/latest"] {
        assert_eq!(status(&public, path).await, Some(503), "{path}");
    }
    let (refused, _) = crate::support::client::Client::refused(&format!("ws://{public}/v1/ws")).await;
    assert_eq!(refused, 503);
    // And it can be stopped.
    signal(&child, Signal::TERM);
    assert!(soon("it to stop", child.wait()).await.unwrap().success());
}

#[tokio::test]
async fn a_health_check_of_nothing_fails_and_says_so() {
    let address = format!("127.0.0.1:{}", crate::support::redis::free_port());
    let (code, error) = healthcheck(&address).await;
    assert!(code == Some(1) && error.contains(&format!("nothing listens on {address}")), "{code:?} {error}");
}

#[tokio::test]
async fn a_stop_releases_the_lease_says_goodbye_to_clients_and_ends_well() {
    let cluster = TestCluster::new().await;
    let mut replica = cluster.replica("r1", &[]).await;
    let mut client = replica.connect("format=full").await;
    entries(&mut client, 1).await;
    replica.signal(Signal::TERM);
    let goodbye = client.closed().await;
    assert_eq!(goodbye.code, CloseCode::Away);
    assert!(goodbye.reason.contains("reconnect with your last id"), "{}", goodbye.reason);
    assert_eq!(replica.exit().await.code(), Some(0));
    assert_eq!(cluster.redis.leader().await, None);
}

#[tokio::test]
async fn five_thousand_clients_are_told_and_the_process_ends_within_ten_seconds() {
    let exchange = Exchange::start().await;
    // They answer no pings, and to connect them all takes a busy machine long.
    let mut replica = embedded(&exchange, &[("BTCFEED_PING_EVERY", "1h")]).await;
    let mut clients = Vec::new();
    for _ in 0..5000 {
        clients.push(raw_client(&replica.address).await);
    }
    replica.signal(Signal::TERM);
    let begun = Instant::now();
    let read = async {
        let mut told = 0;
        for client in &mut clients {
            let mut bytes = Vec::new();
            soon("the end of a connection", client.read_to_end(&mut bytes)).await.unwrap();
            // The last frame: a close with code 1001.
            let close = bytes.windows(4).rposition(|frame| frame[0] == 0x88 && frame[2..4] == 1001_u16.to_be_bytes());
            told += usize::from(close.is_some_and(|at| at + 2 + usize::from(bytes[at + 1]) == bytes.len()));
            // Its own close, as a client should.
            client.write_all(&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe9]).await.ok();
            client.shutdown().await.ok();
        }
        told
    };
    let exit = async { (replica.exit().await.code(), begun.elapsed()) };
    let (told, (code, took)) = tokio::join!(read, exit);
    assert_eq!((told, code), (5000, Some(0)));
    assert!(took < Duration::from_secs(10), "{took:?}");
}

/// A WebSocket without a library around it, which would keep 128 KiB a connection.
async fn raw_client(address: &str) -> TcpStream {
    let mut stream = soon("a connection", TcpStream::connect(address)).await.unwrap();
    let request = "GET /v1/ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(soon("the answer", stream.read_u8()).await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
    stream
}

#[tokio::test]
async fn a_log_that_nobody_reads_any_more_holds_up_nothing() {
    let exchange = Exchange::start().await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_btcfeed"));
    command.env_clear().env("BTCFEED_LISTEN", "127.0.0.1:0").env("BTCFEED_OPS_LISTEN", "127.0.0.1:0");
    command.env("RUST_LOG", "debug").env("BTCFEED_LOG_FORMAT", "json").env("BTCFEED_INTERVAL", "100ms");
    command.envs(exchange.settings()).stderr(std::process::Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    let address = loop {
        let line = soon("the address", log.next_line()).await.unwrap().unwrap();
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        if line["message"] == "listening" {
            break line["address"].as_str().unwrap().to_owned();
        }
    };
    drop(log);
    // Whoever has something to say goes on working.
    let price = async || http().get(format!("http://{address}/v1/prices/latest")).send().await.ok()?.text().await.ok();
    until("a first price", async || price().await.is_some_and(|price| price.contains("price"))).await;
    let first = price().await;
    until("another price", async || price().await != first).await;
    signal(&child, Signal::TERM);
    assert!(soon("it to stop", child.wait()).await.unwrap().success());
}
