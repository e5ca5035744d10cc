//! Health checks for operators and container engines, and the stop of a replica.

use crate::support::client::Client;
use crate::support::exchange::Exchange;
use crate::support::ports::free_address;
use crate::support::program::program;
use crate::support::replica::{Replica, serve_command};
use crate::support::{TestCluster, embedded, entries, http, replica_settings, signal, soon, until, without_redis};
use futures_util::{StreamExt, stream};
use rustix::process::Signal;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

async fn status(address: &str, path: &str) -> Option<u16> {
    http().get(format!("http://{address}{path}")).send().await.ok().map(|response| response.status().as_u16())
}

/// Runs `btcfeed healthcheck`. Returns its exit code and its error.
async fn healthcheck(ops: &str) -> (Option<i32>, String) {
    let check = program().arg("healthcheck").env("BTCFEED_OPS_LISTEN", ops).output();
    let output = soon("a health check", check).await.unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[tokio::test]
async fn replica_with_a_history_is_ready() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    assert_eq!(status(&replica.ops, "/livez").await, Some(200));
    assert_eq!(status(&replica.ops, "/readyz").await, Some(200));
    assert_eq!(healthcheck(&replica.ops).await, (Some(0), String::new()));
}

#[tokio::test]
async fn replica_without_redis_is_alive_but_not_ready() {
    let exchange = Exchange::start().await;
    let mut replica = without_redis(&exchange).await;
    assert_eq!(status(&replica.ops, "/livez").await, Some(200));
    assert_eq!(status(&replica.ops, "/readyz").await, Some(503));
    let (code, error) = healthcheck(&replica.ops).await;
    assert_eq!((code, error.as_str()), (Some(1), "btcfeed: not ready: the history has not been read yet\n"));
    // A client is asked to retry. An answer without prices would mean that the history is empty.
    for path in ["/v1/prices", "/v1/prices/latest"] {
        assert_eq!(status(&replica.address, path).await, Some(503), "{path}");
    }
    let (status, _) = Client::rejected(&format!("ws://{}/v1/ws", replica.address)).await;
    assert_eq!(status, 503);
    // The replica can be stopped.
    replica.signal(Signal::TERM);
    assert!(replica.exit().await.success());
}

#[tokio::test]
async fn healthcheck_fails_if_nothing_listens() {
    let address = free_address();
    let (code, error) = healthcheck(&address).await;
    assert!(code == Some(1) && error.contains(&format!("cannot connect to {address}")), "{code:?} {error}");
}

#[tokio::test]
async fn stop_releases_the_lease_and_closes_clients() {
    let cluster = TestCluster::new().await;
    let mut replica = cluster.replica("r1", &[]).await;
    let mut client = replica.connect("format=full").await;
    entries(&mut client, 1).await;
    replica.signal(Signal::TERM);
    let close = client.closed().await;
    assert_eq!(close.code, CloseCode::Away);
    assert!(close.reason.contains("reconnect with your last id"), "{}", close.reason);
    assert_eq!(replica.exit().await.code(), Some(0));
    assert_eq!(cluster.redis.leader().await, None);
}

#[tokio::test]
async fn stop_closes_five_thousand_clients_in_time() {
    let exchange = Exchange::start().await;
    // The clients do not answer pings. A busy machine needs much time to connect all of them.
    let mut replica = embedded(&exchange, &[("BTCFEED_PING_EVERY", "1h")]).await;
    let connecting = stream::iter(0..5000).map(|_| raw_client(&replica)).buffer_unordered(100);
    let mut clients: Vec<_> = connecting.collect().await;
    replica.signal(Signal::TERM);
    let started = Instant::now();
    let read = async {
        let mut closed = 0;
        for client in &mut clients {
            let mut bytes = Vec::new();
            soon("the end of a connection", client.read_to_end(&mut bytes)).await.unwrap();
            // The last frame is a close frame with code 1001.
            let close = bytes.windows(4).rposition(|frame| frame[0] == 0x88 && frame[2..4] == 1001_u16.to_be_bytes());
            closed += usize::from(close.is_some_and(|at| at + 2 + usize::from(bytes[at + 1]) == bytes.len()));
            // This is the client's close frame.
            client.write_all(&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe9]).await.ok();
            client.shutdown().await.ok();
        }
        closed
    };
    let exit = async { (replica.exit().await.code(), started.elapsed()) };
    let (closed, (code, took)) = tokio::join!(read, exit);
    assert_eq!((closed, code), (5000, Some(0)));
    assert!(took < Duration::from_secs(10), "{took:?}");
}

/// Opens a WebSocket on a raw socket, because a library would use 128 KiB for each connection.
async fn raw_client(replica: &Replica) -> TcpStream {
    let mut stream = soon("a connection", TcpStream::connect(&replica.address)).await.unwrap();
    let request = "GET /v1/ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(soon("a response", stream.read_u8()).await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
    stream
}

#[tokio::test]
async fn log_whose_reader_has_gone_stops_nothing() {
    let exchange = Exchange::start().await;
    let (address, ops) = (free_address(), free_address());
    let settings = [("BTCFEED_LISTEN", &*address), ("BTCFEED_OPS_LISTEN", &ops), ("BTCFEED_INTERVAL", "100ms")];
    let mut command = serve_command(&replica_settings(&exchange, "r1", &settings));
    let mut child = command.env("RUST_LOG", "debug").stderr(Stdio::piped()).spawn().unwrap();
    // The reader of the log closes it after the first line.
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    soon("a line of the log", log.next_line()).await.unwrap();
    drop(log);
    let price = async || http().get(format!("http://{address}/v1/prices/latest")).send().await.ok()?.text().await.ok();
    until("a first price", async || price().await.is_some_and(|price| price.contains("price"))).await;
    let first = price().await;
    until("another price", async || price().await != first).await;
    signal(&child, Signal::TERM);
    assert!(soon("the replica to stop", child.wait()).await.unwrap().success());
}
