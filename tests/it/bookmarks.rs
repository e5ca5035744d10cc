//! Clients with a `client_id` of which the store has no bookmark: new clients, and clients whose bookmark was lost.

use crate::support::client::Client;
use crate::support::events::Events;
use crate::support::exchange::Exchange;
use crate::support::grpc::{Subscriber, client, pb, request};
use crate::support::replica::Replica;
use crate::support::{TestCluster, data_directory, embedded, entries, replica_settings, tick, unbroken, until};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::fs;

const CLIENT: &str = "3b1f0c52-7d4e-4c8a-9f6b-2e5a8d7c1904";
const OTHER: &str = "9c27d5e1-0a3b-4f68-b1d4-7e6f5a8c2b90";

/// Asserts that the reason of `gap` is `unknown_client_id`, and that `before` is the id of the client's next tick.
async fn assert_unknown(gap: &Value, client: &mut Client) {
    let first = tick(client).await;
    let expected = json!({"type": "gap", "after": 0, "before": first["id"], "reason": "unknown_client_id"});
    assert_eq!(*gap, expected);
}

/// Connects a client in full format, and returns its first message that is not `synced`. A replica without a tick in
/// its window sends `synced` at once, and the gap later.
async fn first(replica: &Replica, client: &str) -> (Value, Client) {
    let mut client = replica.connect(&format!("format=full&client_id={client}")).await;
    let message = client.json().await;
    let message = if message["type"] == "synced" { client.json().await } else { message };
    (message, client)
}

/// Returns the first entry that a client gets, and asserts that no gap comes before the entry.
async fn next(replica: &Replica, client: &str) -> Value {
    entries(&mut replica.connect(&format!("format=full&client_id={client}")).await, 1).await.remove(0)
}

async fn redis(cluster: &TestCluster, words: &[&str]) -> redis::Value {
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    command.query_async(&mut cluster.redis.connection().await).await.unwrap()
}

/// Returns the bookmark of a client in Redis.
async fn bookmark(cluster: &TestCluster, client: &str) -> Option<u64> {
    let found = redis(cluster, &["GET", &format!("{{btcfeed}}:client:{client}")]).await;
    redis::from_redis_value(found).unwrap()
}

async fn lose(cluster: &TestCluster, client: &str) {
    let deleted = redis(cluster, &["DEL", &format!("{{btcfeed}}:client:{client}")]).await;
    assert_eq!(deleted, redis::Value::Int(1));
}

#[tokio::test]
async fn unknown_client_gets_a_gap_in_each_format() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    entries(&mut replica.connect("format=full&since=0").await, 3).await;
    let names = |number: u32| format!("{number:02}.4f9b2c71d0e85a36-7c1e");
    let (gap, mut client_of_full) = first(&replica, &names(0)).await;
    assert_unknown(&gap, &mut client_of_full).await;
    let reason = json!("unknown_client_id");
    for (number, query) in
        (1..).zip(["format=audit", "format=timedate&notices=true", "format=full&every=1h&changes=true"])
    {
        let mut client = replica.connect(&format!("{query}&client_id={}", names(number))).await;
        assert_eq!(client.json().await["reason"], reason, "{query}");
    }
    let url = format!("http://{}/v1/prices/stream?client_id={}", replica.address, names(7));
    assert_eq!(Events::connect(&url, &[]).await.event().await.json()["reason"], reason);
    let asked = pb::SubscribeRequest { client_id: names(8), ..request(&["USD"], None) };
    let gap = Subscriber::new(&client(&replica.address).await, asked).await.json().await;
    assert_eq!(gap["reason"], reason, "{gap}");
    let metric = "btcfeed_gaps_total{reason=\"unknown_client_id\"}";
    assert!((replica.metric(metric).await - 6.0).abs() < 0.1);
    // A client that sends a cursor needs no bookmark.
    let mut client = replica.connect(&format!("format=full&since=0&client_id={}", names(9))).await;
    entries(&mut client, 3).await;
    assert!((replica.metric(metric).await - 6.0).abs() < 0.1);
}

#[tokio::test]
async fn client_whose_bookmark_was_lost_gets_a_gap() {
    let cluster = TestCluster::new().await;
    let [first_replica, second] = cluster.replicas().await;
    let mut last = Vec::new();
    for name in [CLIENT, OTHER] {
        let mut client = first_replica.connect(&format!("format=full&since=0&client_id={name}")).await;
        last.push(unbroken(&entries(&mut client, 3).await)[2]);
        drop(client);
    }
    for (name, last) in [CLIENT, OTHER].into_iter().zip(&last) {
        until("the bookmark", async || bookmark(&cluster, name).await >= Some(*last)).await;
    }
    // When all sessions have ended, no replica has the bookmarks in memory.
    until("the streams to end", async || first_replica.metric("btcfeed_clients{transport=\"websocket\"}").await < 0.5)
        .await;
    lose(&cluster, CLIENT).await;
    let (gap, mut client) = first(&second, CLIENT).await;
    assert_unknown(&gap, &mut client).await;
    let next = next(&second, OTHER).await;
    assert!(next["prev"].as_u64() >= Some(last[1]), "{next}");
    until("the stream to end", async || second.metric("btcfeed_clients{transport=\"websocket\"}").await < 1.5).await;
    // The bookmark is saved once more at the end of the stream.
    until("the last bookmark", async || bookmark(&cluster, OTHER).await >= next["id"].as_u64()).await;
    // Redis comes back empty. The replicas put the history back, but nobody has the bookmark.
    redis(&cluster, &["FLUSHALL"]).await;
    let (gap, mut client) = first(&first_replica, OTHER).await;
    assert_unknown(&gap, &mut client).await;
}

#[tokio::test]
async fn bookmark_missing_in_an_old_file_is_a_gap() {
    let (exchange, directory, old) = (Exchange::start().await, data_directory(), data_directory());
    let settings = replica_settings(&exchange, "r1", &[("BTCFEED_DATA", directory.path().to_str().unwrap())]);
    let mut replica = Replica::start(&settings).await;
    entries(&mut replica.connect("format=full&since=0").await, 3).await;
    let stop = async |replica: &mut Replica| {
        replica.signal(Signal::TERM);
        assert!(replica.exit().await.success());
    };
    stop(&mut replica).await;
    let copy = |from: &std::path::Path, to: &std::path::Path| {
        for file in fs::read_dir(from).unwrap().map(Result::unwrap).filter(|file| file.path().is_file()) {
            fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    };
    copy(directory.path(), old.path());
    let mut replica = Replica::start(&settings).await;
    let (_, mut client) = first(&replica, CLIENT).await;
    let last = tick(&mut client).await;
    drop(client);
    stop(&mut replica).await;
    let mut replica = Replica::start(&settings).await;
    let next = next(&replica, CLIENT).await;
    assert!(next["prev"].as_u64() >= last["id"].as_u64(), "{next} after {last}");
    stop(&mut replica).await;
    // The operator puts an older copy of the file back.
    copy(old.path(), directory.path());
    let replica = Replica::start(&settings).await;
    let (gap, mut client) = first(&replica, CLIENT).await;
    assert_unknown(&gap, &mut client).await;
}

#[tokio::test]
async fn bookmark_of_a_connected_client_is_put_back() {
    let cluster = TestCluster::new().await;
    let [first_replica, second] = cluster.replicas().await;
    // The client's place stays the same for an hour.
    let connect = format!("format=full&every=1h&since=0&client_id={CLIENT}");
    let mut client = first_replica.connect(&connect).await;
    let place = tick(&mut client).await["id"].as_u64();
    until("the bookmark", async || bookmark(&cluster, CLIENT).await == place).await;
    // The first replica still has the place in memory.
    lose(&cluster, CLIENT).await;
    assert_eq!(next(&first_replica, CLIENT).await["prev"].as_u64(), place);
    drop(client);
    // The new session is at a later tick. This place is put back when the session ends, and every five seconds.
    let mut client = first_replica.connect(&format!("{connect}&limit=1")).await;
    let place = tick(&mut client).await["id"].as_u64();
    until("the bookmark", async || bookmark(&cluster, CLIENT).await == place).await;
    lose(&cluster, CLIENT).await;
    drop(client);
    until("the bookmark", async || bookmark(&cluster, CLIENT).await == place).await;
    let mut client = second.connect(&format!("{connect}&after={}", place.unwrap()).replace("since=0&", "")).await;
    until("the bookmark", async || bookmark(&cluster, CLIENT).await == place).await;
    redis(&cluster, &["FLUSHALL"]).await;
    until("the bookmark", async || bookmark(&cluster, CLIENT).await == place).await;
    // The bookmark is counted after Redis has answered.
    until("the count", async || second.metric("btcfeed_put_back_bookmarks_total").await > 0.5).await;
    assert_eq!(next(&first_replica, CLIENT).await["prev"].as_u64(), place);
    assert_eq!(client.json().await["type"], "synced", "the client got nothing else meanwhile");
}
