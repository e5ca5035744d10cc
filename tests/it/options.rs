//! Options of a stream: `changes`, `every`, `limit`, `hello` and `client_id`.

use crate::support::client::Client;
use crate::support::events::Events;
use crate::support::exchange::{Exchange, Mode};
use crate::support::proxy::Proxy;
use crate::support::replica::Replica;
use crate::support::{SERVE, TestCluster, embedded, entries, soon, tick, unbroken, until};
use rustix::process::Signal;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Returns the price of a tick in full format.
fn price(tick: &Value) -> f64 {
    tick["prices"]["USD"].as_f64().unwrap()
}

async fn events(replica: &Replica, query: &str) -> Events {
    Events::connect(&format!("http://{}/v1/prices/stream?{query}", replica.address), &[]).await
}

#[tokio::test]
async fn changes_skips_ticks_with_the_same_price() {
    let exchange = Exchange::start().await;
    exchange.set_all(&Mode::Price("97000.10"));
    let replica = embedded(&exchange, &[]).await;
    let mut client = replica.connect("format=full&changes=true").await;
    let mut stream = events(&replica, "format=full&changes=true").await;
    let first = tick(&mut client).await;
    assert_eq!(price(&first), 97000.1);
    assert_eq!(price(&stream.update().await.json()), 97000.1);
    // These clients do not get the next ticks, which have the same price.
    entries(&mut replica.connect("format=full").await, 4).await;
    exchange.set_all(&Mode::Price("97000.20"));
    let second = tick(&mut client).await;
    assert_eq!(price(&second), 97000.2);
    assert_eq!(stream.update().await.json(), second);
    assert!(second["prev"] != first["id"], "the ticks between them are skipped");
    let resume = format!("format=full&changes=true&after={}", first["id"]);
    assert_eq!(tick(&mut replica.connect(&resume).await).await, second);
}

#[tokio::test]
async fn every_sends_the_newest_tick_of_a_period() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    let mut client = replica.connect("format=full&every=1s").await;
    let mut stream = events(&replica, "format=full&every=1s").await;
    let mut ids = vec![tick(&mut client).await["id"].as_u64().unwrap()];
    for _ in 0..3 {
        ids.push(tick(&mut client).await["id"].as_u64().unwrap());
        stream.update().await;
    }
    // Each is the newest tick at the end of a period, so the ids of two ticks may differ by less than a period.
    assert!(ids.windows(3).all(|some| some[2] - some[0] > 1200), "a period is a second: {ids:?}");
    let since = format!("/v1/prices?format=full&after={}&until={}", ids[0], ids[3]);
    let all = replica.json(&since).await["prices"].as_array().unwrap().len();
    assert!(all > 3, "some of the {all} ticks must be skipped");
    // A tick that was held back is sent even if no other tick follows.
    exchange.set_all(&Mode::Silent);
    let last = replica.json("/v1/prices/latest?format=full").await["id"].as_u64().unwrap();
    let mut newest = *ids.last().unwrap();
    while newest < last {
        newest = tick(&mut client).await["id"].as_u64().unwrap();
    }
}

#[tokio::test]
async fn limit_keeps_the_newest_ticks_of_a_replay() {
    let cluster = TestCluster::new().await;
    let kept = cluster.redis.fill(300).await;
    let small = cluster.replica("r1", &[("BTCFEED_WINDOW", "100"), SERVE]).await;
    for limit in [7, 99, 150, 299] {
        let first = kept[300 - limit];
        let mut client = small.connect(&format!("format=full&since=0&limit={limit}")).await;
        let gap = client.json().await;
        assert_eq!((&gap["type"], &gap["reason"]), (&"gap".into(), &"replay_limit".into()), "{gap}");
        assert_eq!((gap["after"].as_u64(), gap["before"].as_u64()), (Some(0), Some(first)));
        assert_eq!(unbroken(&entries(&mut client, limit).await), kept[300 - limit..]);
        assert_eq!(client.json().await["type"], "synced");
    }
    // A replay within the limit has no gap.
    for query in ["since=0&limit=300", "since=0&limit=10000"] {
        let mut client = small.connect(&format!("format=full&{query}")).await;
        assert_eq!(unbroken(&entries(&mut client, 300).await), kept);
    }
    let mut client = small.connect(&format!("format=full&after={}&limit=7", kept[292])).await;
    assert_eq!(unbroken(&entries(&mut client, 7).await), kept[293..]);
    let mut client = small.connect(&format!("format=full&after={}&limit=6", kept[292])).await;
    assert_eq!(client.json().await["after"], kept[292]);
    // Without a replay the limit has no effect.
    let mut client = small.connect("format=full&limit=1").await;
    assert_eq!(unbroken(&entries(&mut client, 1).await), kept[299..]);
    // Ticks that `every` or `changes` skips count towards the limit.
    let mut client = small.connect("format=full&since=0&limit=7&every=3s").await;
    assert_eq!(client.json().await["before"], kept[293]);
    for id in [kept[293], kept[296], kept[299]] {
        assert_eq!(client.json().await["id"], id);
    }
    let mut client = small.connect("format=full&since=0&limit=7&changes=true").await;
    assert_eq!(client.json().await["before"], kept[293]);
    assert_eq!((client.json().await["id"].as_u64(), &client.json().await["type"]), (Some(kept[293]), &"synced".into()));
    let mut stream = events(&small, "since=0&limit=2").await;
    assert_eq!(stream.event().await.json()["reason"], "replay_limit");
    assert_eq!(stream.event().await.id.unwrap(), kept[298].to_string());
}

#[tokio::test]
async fn hello_comes_first_and_names_the_replica() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[("BTCFEED_REPLICA", "r1")]).await;
    replica.priced().await;
    let hello = replica.connect("format=full&hello=true").await.json().await;
    let expected = serde_json::json!({
        "type": "hello", "replica": "r1", "version": env!("CARGO_PKG_VERSION"), "currencies": ["USD", "EUR"],
        "interval_ms": 200, "state": "live", "reason": "no outage is known",
    });
    assert_eq!(hello, expected);
    let event = events(&replica, "hello=true").await.event().await;
    assert_eq!((event.name.as_deref(), event.json()), (Some("hello"), expected.clone()));
    let first = replica.connect("hello=true").await.text().await;
    assert!(first.starts_with(r#"{"timedate""#), "formats without statuses have no hello: {first}");
    let mut client = replica.connect("hello=true&notices=true").await;
    assert_eq!(client.json().await, expected, "notices are in every format");
    let first = client.text().await;
    assert!(first.starts_with(r#"{"timedate""#) && first.ends_with('}'), "{first}");
}

/// Returns the bookmark of the client `shop-7.4f9b2c71d0e85a36` in Redis.
async fn bookmark(cluster: &TestCluster) -> Option<u64> {
    let mut get = redis::cmd("GET");
    get.arg("{btcfeed}:client:shop-7.4f9b2c71d0e85a36")
        .query_async(&mut cluster.redis.connection().await)
        .await
        .unwrap()
}

#[tokio::test]
async fn client_id_resumes_on_any_transport() {
    let cluster = TestCluster::new().await;
    let [mut first, second] = cluster.replicas().await;
    let mut client = first.connect("format=full&since=0&client_id=shop-7.4f9b2c71d0e85a36").await;
    let seen = unbroken(&entries(&mut client, 3).await);
    // The bookmark is saved before the close frame is sent.
    first.signal(Signal::TERM);
    let mut last = *seen.last().unwrap();
    while let Some(message) = client.next().await.filter(|message| message.is_text()) {
        let message: Value = serde_json::from_str(message.to_text().unwrap()).unwrap();
        last = message["id"].as_u64().unwrap_or(last);
    }
    assert!(first.exit().await.success());
    let mut stream = events(&second, "format=full&client_id=shop-7.4f9b2c71d0e85a36").await;
    let next = stream.update().await.json();
    assert_eq!(next["prev"].as_u64(), Some(last), "{next}");
    drop(stream);
    // When a client disconnects, its bookmark is saved with a short delay.
    let mut gone = second.connect("format=full&client_id=shop-7.4f9b2c71d0e85a36&since=0").await;
    let all = unbroken(&entries(&mut gone, 4).await);
    drop(gone);
    until("its bookmark", async || bookmark(&cluster).await.is_some_and(|id| id >= all[3])).await;
    let mut again = second.connect("format=full&client_id=shop-7.4f9b2c71d0e85a36").await;
    let resumed = tick(&mut again).await;
    assert!(resumed["prev"].as_u64().unwrap() >= all[3], "{resumed}");
    // The `after` of a query has precedence over the bookmark.
    let own = entries(
        &mut second.connect(&format!("format=full&client_id=shop-7.4f9b2c71d0e85a36&after={}", all[0])).await,
        3,
    )
    .await;
    assert_eq!(unbroken(&own), all[1..4]);
}

#[tokio::test]
async fn closed_event_stream_skips_nothing() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    let mut last = None;
    for _ in 0..3 {
        // This is a plain socket, because an HTTP client may close its connection only when the next bytes arrive.
        let mut socket = TcpStream::connect(&replica.address).await.unwrap();
        let request = "GET /v1/prices/stream?format=full&client_id=shop-7.4f9b2c71d0e85a36 HTTP/1.1\r\nHost: x\r\n\r\n";
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        let ticks = |bytes: &[u8]| -> Vec<Value> {
            let text = String::from_utf8_lossy(bytes);
            let data = text.split("\n\n").filter_map(|block| block.split_once("data: ")).map(|(_, data)| data);
            data.filter_map(|data| serde_json::from_str::<Value>(data).ok())
                .filter(|data| data["type"] == "tick")
                .collect()
        };
        while ticks(&bytes).len() < 2 || !bytes.ends_with(b"\n\n") {
            assert!(soon("a tick", socket.read_buf(&mut bytes)).await.unwrap() > 0, "the end");
        }
        drop(socket);
        let read = ticks(&bytes);
        if let Some(last) = last {
            assert_eq!(read[0]["prev"].as_u64(), Some(last), "{read:?}");
        }
        last = read.last().unwrap()["id"].as_u64();
        // The server still writes some ticks to the closed connection, before it detects that the client is gone.
        let known = replica.history().await.len();
        until("ticks without a reader", async || replica.history().await.len() > known + 2).await;
    }
}

#[tokio::test]
async fn client_id_loses_nothing_after_a_crash() {
    let cluster = TestCluster::new().await;
    let [first, second] = cluster.replicas().await;
    let mut client = first.connect("format=full&since=0&client_id=shop-7.4f9b2c71d0e85a36").await;
    let mut last = *unbroken(&entries(&mut client, 2).await).last().unwrap();
    until("a bookmark", async || bookmark(&cluster).await.is_some()).await;
    first.signal(Signal::KILL);
    while let Some(message) = client.next().await.filter(|message| message.is_text()) {
        let message: Value = serde_json::from_str(message.to_text().unwrap()).unwrap();
        last = message["id"].as_u64().unwrap_or(last);
    }
    let mut again = second.connect("format=full&client_id=shop-7.4f9b2c71d0e85a36").await;
    let next = tick(&mut again).await;
    assert!(next["prev"].as_u64().unwrap() <= last, "{next} after {last}");
}

#[tokio::test]
async fn bookmark_that_cannot_be_read_is_an_error() {
    let cluster = TestCluster::new().await;
    let replica = cluster.replica("r1", &[]).await;
    entries(&mut replica.connect("format=full").await, 2).await;
    cluster.redis.pause();
    let url = format!("ws://{}/v1/ws?client_id=shop-7.4f9b2c71d0e85a36", replica.address);
    let (status, body) = Client::rejected(&url).await;
    assert!(status == 503 && body.contains("the start cannot be looked up"), "{body}");
    cluster.redis.resume();
}

#[tokio::test]
async fn hello_has_the_state_of_the_feed() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[("BTCFEED_STALE_AFTER", "500ms"), ("BTCFEED_DOWN_AFTER", "1h")]).await;
    replica.priced().await;
    exchange.set_all(&Mode::Status(500, None));
    let mut watching = replica.connect("format=full").await;
    let status = loop {
        let message = watching.json().await;
        if message["type"] == "status" {
            break message;
        }
    };
    let hello = replica.connect("format=full&hello=true").await.json().await;
    assert_eq!((&hello["state"], &hello["reason"]), (&"stale".into(), &status["reason"]));
}

#[tokio::test]
async fn hello_has_no_outage_of_a_replica() {
    let cluster = TestCluster::new().await;
    let leader = cluster.replica("r1", &[]).await;
    leader.priced().await;
    let proxy = Proxy::start(cluster.redis.port).await;
    let settings = [("REDIS_URL", &*proxy.url()), ("BTCFEED_ROLE", "serve"), ("BTCFEED_STALE_AFTER", "1s")];
    let cut_off = cluster.replica("r2", &settings).await;
    cut_off.priced().await;
    proxy.cut();
    until("an outage of the replica", async || cut_off.get("/v1/status").await.1.contains(r#""state":"stale""#)).await;
    // `hello` omits an outage that only this replica sees, because no status on the stream would end that outage.
    let hello = cut_off.connect("format=full&hello=true").await.json().await;
    assert_eq!(hello["state"], "live", "{hello}");
}
