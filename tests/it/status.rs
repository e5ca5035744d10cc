//! `/v1/status` and `/healthz` of running replicas, and the headers of streams.

use crate::support::exchange::Mode;
use crate::support::replica::Replica;
use crate::support::{TestCluster, entries, http, tick, until};
use btcfeed::tick::TickId;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

async fn report(address: &str, path: &str) -> (u16, Value) {
    let response = http().get(format!("http://{address}{path}")).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect()
}

/// Requests a stream on a raw socket. Returns the head of the answer.
async fn head(replica: &Replica, path: &str, extra: &str) -> String {
    let mut socket = TcpStream::connect(&replica.address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{extra}\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

#[tokio::test]
async fn status_lists_the_replicas_that_are_alive() {
    let cluster = TestCluster::new().await;
    let mut replicas = vec![cluster.replica("r1", &[]).await, cluster.replica("r2", &[]).await];
    entries(&mut replicas[1].connect("format=full").await, 2).await;
    for replica in &replicas {
        until("both replicas to be listed", async || {
            let (status, report) = report(&replica.address, "/v1/status").await;
            status == 200 && names(&report["replicas"]) == ["r1", "r2"] && report["leader"].is_string()
        })
        .await;
        let (status, report) = report(&replica.ops, "/healthz").await;
        assert_eq!(
            (status, &report["state"], &report["store"]),
            (200, &json!("live"), &json!({"kind": "redis", "up": true}))
        );
        assert!(names(&report["sources"]).contains(&"kraken"), "{report}");
    }
    drop(replicas.remove(0));
    until("the dead replica to be gone, and the other to lead", async || {
        let (_, report) = report(&replicas[0].address, "/v1/status").await;
        names(&report["replicas"]) == ["r2"] && report["leader"] == "r2"
    })
    .await;
}

#[tokio::test]
async fn dead_feed_is_503_on_every_replica() {
    let mut cluster = TestCluster::new().await;
    for replica in &cluster.replicas_of_dead_feed().await {
        for (address, path) in [(&replica.address, "/v1/status"), (&replica.ops, "/healthz")] {
            until("the feed to be down", async || {
                let (status, report) = report(address, path).await;
                status == 503 && report["state"] == "down" && report["store"]["up"] == false
            })
            .await;
        }
        // A request may accept an older tick.
        assert_eq!(report(&replica.address, "/v1/status?max_age=1h").await.0, 200);
    }
}

/// The five seconds begin when the feed becomes stale or down. `tests/browser/dead_feed.rs` tests when the page reports
/// a dead feed.
#[tokio::test]
async fn dead_feed_is_reported_within_five_seconds() {
    let cluster = TestCluster::new().await;
    let bounds = [("stale", Duration::from_secs(2)), ("down", Duration::from_secs(4))];
    let settings = [("BTCFEED_STALE_AFTER", "2s"), ("BTCFEED_DOWN_AFTER", "4s"), ("BTCFEED_LOG_FORMAT", "json")];
    let replicas = [cluster.replica("r1", &settings).await, cluster.replica("r2", &settings).await];
    entries(&mut replicas[1].connect("format=full").await, 2).await;
    cluster.exchange.set_all(&Mode::Status(500, None));
    let mut client = replicas[1].connect("format=full").await;
    let mut last = tick(&mut client).await;
    while let Ok(next) = timeout(Duration::from_secs(1), tick(&mut client)).await {
        last = next;
    }
    for (state, bound) in bounds {
        for replica in &replicas {
            let line = format!("the feed is {state}");
            let series = format!("btcfeed_feed_state{{state=\"{state}\"}}");
            until("the log, the metric and the status", async || {
                let (status, report) = report(&replica.address, "/v1/status").await;
                let is_metric = replica.metric(&series).await == 1.0;
                status == 503 && report["state"] == state && is_metric && replica.logged(&line).len() == 1
            })
            .await;
            let age = Duration::from_millis(TickId::now().ms() - last["id"].as_u64().unwrap());
            assert!(age <= bound + Duration::from_secs(5), "{}: {state} after {age:?}", replica.address);
        }
    }
}

#[tokio::test]
async fn stream_answers_have_the_state_of_the_feed() {
    let cluster = TestCluster::new().await;
    let replica = cluster.replica("r1", &[]).await;
    entries(&mut replica.connect("format=full").await, 1).await;
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (path, extra, status) in [("/v1/ws", upgrade, "101"), ("/v1/prices/stream", "", "200")] {
        let head = head(&replica, path, extra).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        assert!(head.contains("\r\nbtcfeed-state: live\r\nbtcfeed-tick-age-ms: "), "{head}");
    }
}
