//! gRPC subscriptions with a generated client: they get the same feed as a WebSocket, on the same port.

use crate::support::exchange::{Exchange, Mode};
use crate::support::grpc::{Start, Subscriber, channel, client, pb, request};
use crate::support::{TIMEOUT, TestCluster, embedded, entries, soon, unbroken, until};
use futures_util::{StreamExt, stream};
use prost_types::Timestamp;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;
use tonic::Code;

const BOTH: [&str; 2] = ["USD", "EUR"];

fn timestamp(ms: u64) -> Timestamp {
    Timestamp { seconds: (ms / 1000) as i64, nanos: (ms % 1000) as i32 * 1_000_000 }
}

#[tokio::test]
async fn subscription_equals_a_full_websocket() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    let all = entries(&mut replica.connect("format=full&currency=USD,EUR&since=0").await, 8).await;
    let ids = unbroken(&all);
    let client = client(&replica.address).await;
    for (start, from) in [
        (Start::Since(Timestamp::default()), 0),
        (Start::Since(timestamp(ids[2])), 2),
        (Start::Since(Timestamp { nanos: timestamp(ids[2]).nanos + 1, ..timestamp(ids[2]) }), 3),
        (Start::After(0), 0),
        (Start::After(ids[2]), 3),
    ] {
        let mut subscriber = Subscriber::new(&client, request(&BOTH, Some(start))).await;
        assert_eq!(subscriber.entries(8 - from).await, all[from..], "{start:?}");
    }
    // A live subscription in one currency.
    let mut socket = replica.connect("format=full&currency=EUR").await;
    let mut subscriber = Subscriber::new(&client, request(&["eur"], None)).await;
    let mut last = subscriber.json().await;
    assert_eq!(last["prices"].as_object().unwrap().keys().collect::<Vec<_>>(), ["EUR"]);
    let synced = loop {
        match subscriber.json().await {
            synced if synced["type"] == "synced" => break synced,
            // A new tick may come before `synced`.
            tick => last = tick,
        }
    };
    assert_eq!(synced["id"], last["id"], "the latest tick comes first");
    let seen = entries(&mut socket, 5).await;
    let live = subscriber.entries(5).await;
    let begin = seen.iter().position(|entry| *entry == live[0]).unwrap();
    assert_eq!(live[..5 - begin], seen[begin..]);
    // The default currency is USD.
    let first = Subscriber::new(&client, request(&[], None)).await.json().await;
    assert_eq!(first["prices"].as_object().unwrap().keys().collect::<Vec<_>>(), ["USD"]);
}

#[tokio::test]
async fn outage_has_the_messages_of_a_websocket() {
    let exchange = Exchange::start().await;
    let settings = [("BTCFEED_STALE_AFTER", "2s"), ("BTCFEED_DOWN_AFTER", "5s"), ("BTCFEED_SOURCES", "coinbase")];
    let replica = embedded(&exchange, &settings).await;
    let mut socket = replica.connect("format=full&currency=USD,EUR").await;
    let mut subscriber = Subscriber::connect(&replica.address, request(&BOTH, None)).await;
    subscriber.entries(2).await;
    // First there is no price in euros, then none at all.
    exchange.set("coinbase BTC-EUR", Mode::Status(500, None));
    let mut seen = Vec::new();
    let mut read_until = async |wanted: &str, of: &str| {
        let started = Instant::now();
        while seen.last().is_none_or(|update: &Value| update[wanted] != of) {
            assert!(started.elapsed() < TIMEOUT, "there is no {wanted} {of:?}");
            seen.push(subscriber.json().await);
        }
    };
    read_until("state", "stale").await;
    exchange.set("coinbase", Mode::Status(500, None));
    read_until("state", "down").await;
    exchange.set("coinbase BTC-EUR", Mode::Good);
    exchange.set_all(&Mode::Good);
    read_until("state", "live").await;
    read_until("type", "tick").await;
    let gaps: Vec<_> = seen.iter().filter(|update| update["type"] == "gap").collect();
    assert!(!gaps.is_empty() && gaps.iter().all(|gap| gap["reason"] == "source_outage"), "{seen:#?}");
    // A WebSocket gets the same messages.
    let mut messages = Vec::new();
    while messages.last() != seen.last() {
        messages.push(socket.json().await);
    }
    let begin = messages.iter().position(|update| *update == seen[0]).unwrap();
    assert_eq!(messages[begin..], seen);
}

#[tokio::test]
async fn subscription_resumes_on_another_replica() {
    let cluster = TestCluster::new().await;
    let mut replicas: [_; 2] = cluster.replicas().await;
    let clients = [client(&replicas[0].address).await, client(&replicas[1].address).await];
    let mut seen = Subscriber::new(&clients[0], request(&BOTH, None)).await.entries(2).await;
    for round in 1..7 {
        let last = seen.last().unwrap()["id"].as_u64().unwrap();
        tokio::time::sleep(Duration::from_millis(150 * (round % 3))).await;
        let again = request(&BOTH, Some(Start::After(last)));
        seen.extend(Subscriber::new(&clients[round as usize % 2], again).await.entries(3).await);
    }
    let last = unbroken(&seen).pop().unwrap();
    // One replica stops and reports that, and the client continues on the other one.
    let mut subscriber = Subscriber::new(&clients[0], request(&BOTH, Some(Start::After(last)))).await;
    seen.extend(subscriber.entries(2).await);
    replicas[0].signal(Signal::TERM);
    let (code, message) = subscriber.ended().await;
    assert_eq!((code, message.as_str()), (Code::Unavailable, "this replica is stopping: reconnect with your last id"));
    assert!(replicas[0].exit().await.success());
    let last = unbroken(&seen).pop().unwrap();
    seen.extend(Subscriber::new(&clients[1], request(&BOTH, Some(Start::After(last)))).await.entries(3).await);
    unbroken(&seen);
}

#[tokio::test]
async fn stream_options_work_over_grpc() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[("BTCFEED_REPLICA", "r7"), ("BTCFEED_SOURCES", "coinbase")]).await;
    entries(&mut replica.connect("format=full&since=0").await, 6).await;
    let client = client(&replica.address).await;
    let asked = pb::SubscribeRequest { hello: true, limit: 2, ..request(&BOTH, Some(Start::After(0))) };
    let mut subscriber = Subscriber::new(&client, asked).await;
    let hello = subscriber.json().await;
    assert_eq!((&hello["replica"], &hello["interval_ms"]), (&json!("r7"), &json!(200)), "{hello}");
    assert_eq!(subscriber.json().await["reason"], "replay_limit");
    let (first, second) = (subscriber.json().await, subscriber.json().await);
    assert_eq!((&first["type"], &second["prev"]), (&json!("tick"), &first["id"]));

    let every = prost_types::Duration { seconds: 1, nanos: 0 };
    let asked = pb::SubscribeRequest { every: Some(every), ..request(&["USD"], None) };
    let mut subscriber = Subscriber::new(&client, asked).await;
    let mut ids = Vec::new();
    while ids.len() < 3 {
        let update = subscriber.json().await;
        ids.extend(update["id"].as_u64().filter(|_| update["type"] == "tick"));
    }
    // Each is the newest tick at the end of a period, so the ids of two ticks may differ by less than a period.
    assert!(ids[2] - ids[0] >= 1200, "{ids:?}");

    // A price that stays the same is not sent again.
    exchange.set_all(&Mode::Price("97000.00"));
    until("a constant price", async || replica.json("/v1/prices/latest").await["price"] == 97000.0).await;
    let asked = pb::SubscribeRequest { changes: true, ..request(&["USD"], None) };
    let mut subscriber = Subscriber::new(&client, asked).await;
    assert_eq!(subscriber.json().await["prices"]["USD"], 97000.0);
    assert_eq!(subscriber.json().await["type"], "synced");
    let waited = tokio::time::timeout(Duration::from_secs(1), subscriber.next()).await;
    assert!(waited.is_err(), "a tick with the same price was sent: {waited:?}");

    // A subscription with a client_id resumes after its last tick.
    let named = pb::SubscribeRequest { client_id: "till-7.4f9b2c71d0e85a36".to_owned(), ..request(&["USD"], None) };
    let mut first = Subscriber::new(&client, named.clone()).await;
    assert_eq!(first.json().await["reason"], "unknown_client_id");
    let last = first.entries(2).await.pop().unwrap();
    drop(first);
    until("the client to be remembered", async || {
        let again = Subscriber::new(&client, named.clone()).await.json().await;
        again["prev"].as_u64() >= last["id"].as_u64()
    })
    .await;
}

#[tokio::test]
async fn each_subscription_counts_as_a_client() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[("BTCFEED_MAX_CONNECTIONS", "21")]).await;
    let client = client(&replica.address).await;
    let mut subscribers = Vec::new();
    for _ in 0..20 {
        subscribers.push(Subscriber::new(&client, request(&BOTH, Some(Start::After(0)))).await);
    }
    let mut seen = Vec::new();
    for subscriber in &mut subscribers {
        seen.push(subscriber.entries(6).await);
    }
    unbroken(&seen[0]);
    assert!(seen.iter().all(|entries| *entries == seen[0]), "the subscriptions got different entries");
    subscribers.push(Subscriber::new(&client, request(&[], None)).await);
    let status = client.clone().subscribe(request(&[], None)).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("reached its connection limit"), "{}", status.message());
    // Another connection is rejected with the same status.
    let mut other = crate::support::grpc::client(&replica.address).await;
    assert_eq!(other.get_latest(pb::GetLatestRequest::default()).await.unwrap_err().code(), Code::ResourceExhausted);
    subscribers.clear();
    until("a free place", async || client.clone().get_latest(pb::GetLatestRequest::default()).await.is_ok()).await;
}

#[tokio::test]
async fn health_watch_and_reflection_end_at_a_stop() {
    use tonic_health::pb::health_check_response::ServingStatus;
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::{ServerReflectionRequest, server_reflection_request::MessageRequest::ListServices};
    let exchange = Exchange::start().await;
    let mut replica = embedded(&exchange, &[]).await;
    let mut health = HealthClient::new(channel(&replica.address).await);
    let asked = |service: &str| HealthCheckRequest { service: service.to_owned() };
    for service in ["", "btcfeed.v1.PriceFeed"] {
        let answer = health.check(asked(service)).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
    }
    assert_eq!(health.check(asked("btcfeed.v2")).await.unwrap_err().code(), Code::NotFound);
    let mut unknown = health.watch(asked("btcfeed.v2")).await.unwrap().into_inner();
    assert_eq!(unknown.message().await.unwrap().unwrap().status(), ServingStatus::ServiceUnknown);
    let mut watch = health.watch(asked("")).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    // The client leaves this reflection stream open.
    let asked = ServerReflectionRequest { host: String::new(), message_request: Some(ListServices(String::new())) };
    let asking = stream::iter([asked]).chain(stream::pending());
    let mut reflection = ServerReflectionClient::new(channel(&replica.address).await);
    let mut answers = reflection.server_reflection_info(asking).await.unwrap().into_inner();
    assert!(format!("{:?}", answers.message().await.unwrap()).contains("btcfeed.v1.PriceFeed"));
    replica.signal(Signal::TERM);
    let started = Instant::now();
    let end = loop {
        match soon("the end", watch.message()).await {
            Ok(Some(status)) => assert_eq!(status.status(), ServingStatus::NotServing),
            Ok(None) => panic!("the stream ended with OK"),
            Err(status) => break status,
        }
    };
    assert_eq!(end.code(), Code::Unavailable);
    assert_eq!(soon("the end", unknown.message()).await.unwrap_err().code(), Code::Unavailable);
    assert!(replica.exit().await.success());
    assert!(started.elapsed() < Duration::from_secs(5), "open streams delayed the stop by {:?}", started.elapsed());
}
