//! Replicas behind nginx with the configuration of `deploy/nginx`.

mod edge;
mod path;
mod tcp;

use crate::support::client::Client;
use crate::support::events::Events;
use crate::support::nginx::Nginx;
use crate::support::{SERVE, TestCluster, entries, http, soon, unbroken};
use rustix::process::Signal;
use serde_json::Value;

#[tokio::test]
async fn clients_of_a_killed_replica_reconnect() {
    let cluster = TestCluster::new().await;
    let replicas: [_; 3] = cluster.replicas().await;
    let addresses = [0, 1, 2].map(|number: usize| replicas[number].address.as_str());
    let nginx = Nginx::start(&addresses).await;
    let connect =
        async |resume: &str| Client::connect(&format!("ws://{}/v1/ws?format=full{resume}", nginx.address)).await;

    let mut seen = entries(&mut connect("&since=0").await, 3).await;
    // All replicas except one are killed in turn, one of them perhaps the leader.
    for replica in &replicas[..2] {
        let mut client = connect(&format!("&after={}", seen.last().unwrap()["id"])).await;
        seen.extend(entries(&mut client, 2).await);
        replica.signal(Signal::KILL);
    }
    let mut client = connect(&format!("&after={}", seen.last().unwrap()["id"])).await;
    seen.extend(entries(&mut client, 5).await);
    unbroken(&seen);
    assert_eq!(replicas[2].history_with(seen.last().unwrap()).await[..seen.len()], seen);
}

#[tokio::test]
async fn updates_and_rejections_are_not_delayed() {
    let cluster = TestCluster::new().await;
    let mut last = cluster.redis.fill(2).await[1];
    let replica = cluster.replica("r1", &[SERVE]).await;
    let nginx = Nginx::start(&[&replica.address]).await;
    let url = |query: &str| format!("ws://{}/v1/ws?{query}", nginx.address);
    let mut through = Client::connect(&url("format=full")).await;
    assert_eq!(entries(&mut through, 1).await[0]["id"], last);
    for _ in 0..3 {
        // No further data follows that could flush the entry.
        last = cluster.redis.append_tick(last).await;
        assert_eq!(entries(&mut through, 1).await[0]["id"], last);
    }
    let (status, body) = Client::rejected(&url("currency=GBP")).await;
    assert!(status == 400 && body.contains("invalid currency \\\"GBP\\\": expected USD or EUR"), "{status} {body}");
    let answer =
        soon("the history", http().get(format!("http://{}/v1/prices?limit=2", nginx.address)).send()).await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/json");
}

#[tokio::test]
async fn events_are_not_delayed_and_resume() {
    let cluster = TestCluster::new().await;
    let mut last = cluster.redis.fill(2).await[1];
    let first = cluster.replica("r1", &[SERVE]).await;
    let second = cluster.replica("r2", &[SERVE]).await;
    let nginx = Nginx::start(&[&first.address, &second.address]).await;
    let url = format!("http://{}/v1/prices/stream?format=full&hello=true", nginx.address);
    let mut events = Events::connect(&url, &[]).await;
    let replica = events.named("hello").await.json()["replica"].as_str().unwrap().to_owned();
    assert_eq!(events.update().await.json()["id"], last);
    for _ in 0..3 {
        // No further data follows that could flush the entry.
        last = cluster.redis.append_tick(last).await;
        assert_eq!(events.update().await.json()["id"], last);
    }
    let serving = if replica == "r1" { &first } else { &second };
    serving.signal(Signal::KILL);
    while events.block().await.is_some() {}
    let next = cluster.redis.append_tick(last).await;
    let mut events = Events::connect(&url, &[("Last-Event-ID", &last.to_string())]).await;
    assert_ne!(events.named("hello").await.json()["replica"], replica);
    let resumed = events.update().await.json();
    assert_eq!((&resumed["id"], &resumed["prev"]), (&next.into(), &last.into()));
}

#[tokio::test]
async fn nginx_answers_for_unreachable_replicas() {
    let cluster = TestCluster::new().await;
    cluster.redis.fill(2).await;
    let mut replica = cluster.replica("r1", &[SERVE]).await;
    let nginx = Nginx::start(&[&replica.address]).await;
    replica.signal(Signal::KILL);
    replica.exit().await;
    let ask = async |accept: &str| {
        let request = http().get(format!("http://{}/v1/prices/stream", nginx.address)).header("Accept", accept);
        let answer = soon("an answer", request.send()).await.unwrap();
        let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(header("access-control-allow-origin").as_deref(), Some("*"));
        assert_eq!(header("cache-control").as_deref(), Some("no-store"));
        (answer.status().as_u16(), header("content-type").unwrap(), answer.text().await.unwrap())
    };
    let (status, kind, stream) = ask("text/event-stream").await;
    assert_eq!((status, kind.as_str()), (200, "text/event-stream"));
    let (retry, goodbye) = stream.split_once("\n\nevent: goodbye\ndata: ").expect("a goodbye");
    assert!(retry.strip_prefix("retry: ").unwrap().parse::<u64>().unwrap() >= 1000, "{retry}");
    let goodbye: Value = serde_json::from_str(goodbye.trim_end()).unwrap();
    assert_eq!((&goodbye["type"], &goodbye["reason"]), (&"goodbye".into(), &"unavailable".into()));
    let (status, kind, problem) = ask("*/*").await;
    assert_eq!((status, kind.as_str()), (503, "application/problem+json"));
    assert_eq!(serde_json::from_str::<Value>(&problem).unwrap()["status"], 503);
}
