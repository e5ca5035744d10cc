//! One feed over all transports: an id means the same on each of them, on every replica.

use crate::support::events::Events;
use crate::support::grpc::{Start, Subscriber, request};
use crate::support::replica::Replica;
use crate::support::sdk;
use crate::support::{TestCluster, entries, unbroken, until};
use btcfeed::client::{Client, Start as From, Transport};
use btcfeed::tick::{Currency, TickId};
use rustix::process::Signal;
use serde_json::Value;

/// Returns the next `count` entries after `cursor` over a transport.
async fn read(transport: &str, replica: &Replica, cursor: u64, count: usize) -> Vec<Value> {
    match transport {
        "ws" => entries(&mut replica.connect(&format!("format=full&after={cursor}")).await, count).await,
        "sse" => {
            let url = format!("http://{}/v1/prices/stream?format=full", replica.address);
            let mut events = Events::connect(&url, &[("Last-Event-ID", &cursor.to_string())]).await;
            let mut read = Vec::new();
            while read.len() < count {
                let event = events.event().await;
                match event.name.as_deref() {
                    None | Some("status") => read.push(event.json()),
                    Some("synced") => {}
                    _ => panic!("neither tick nor status: {event:?}"),
                }
            }
            read
        }
        "grpc" => {
            let asked = request(&[], Some(Start::After(cursor)));
            Subscriber::connect(&replica.address, asked).await.entries(count).await
        }
        "rest" => {
            let mut read = Vec::new();
            until("enough of the history", async || {
                let after = read.last().map_or(cursor, |entry: &Value| entry["id"].as_u64().unwrap());
                let page = format!("/v1/prices?format=full&after={after}&limit={}", count - read.len());
                let answer = replica.json(&page).await;
                read.extend(answer["prices"].as_array().unwrap().iter().cloned());
                read.len() == count
            })
            .await;
            read
        }
        _ => panic!("unknown transport {transport}"),
    }
}

#[tokio::test]
async fn cursor_works_on_every_transport_and_replica() {
    let cluster = TestCluster::new().await;
    let replicas: [_; 2] = cluster.replicas().await;
    let mut seen = entries(&mut replicas[0].connect("format=full&since=0").await, 2).await;
    // Each transport comes directly after each of the three others once. The replica changes each time.
    let transports = ["ws", "sse", "grpc", "rest", "ws", "grpc", "sse", "rest", "sse", "ws", "rest", "grpc", "ws"];
    for (turn, transport) in transports.into_iter().enumerate() {
        let cursor = seen.last().unwrap()["id"].as_u64().unwrap();
        seen.extend(read(transport, &replicas[(turn + 1) % 2], cursor, 2).await);
    }
    unbroken(&seen);
    for replica in &replicas {
        assert_eq!(
            replica.history_with(seen.last().unwrap()).await[..seen.len()],
            seen,
            "the streams and the history have different entries"
        );
    }
}

#[tokio::test]
async fn client_changes_transport_after_a_crash() {
    let cluster = TestCluster::new().await;
    let [first, second] = cluster.replicas().await;
    let mut seen = Vec::new();
    for transport in ["ws", "sse", "grpc"] {
        seen.push(read(transport, &first, 0, 3).await);
    }
    first.signal(Signal::KILL);
    for (before, transport) in seen.iter_mut().zip(["grpc", "ws", "sse"]) {
        let cursor = before.last().unwrap()["id"].as_u64().unwrap();
        before.extend(read(transport, &second, cursor, 5).await);
        unbroken(before);
    }
    assert!(seen.iter().all(|entries| *entries == seen[0]), "the clients have different entries");
}

#[tokio::test]
async fn inputs_are_the_same_on_every_transport() {
    let cluster = TestCluster::new().await;
    let [first, second] = cluster.replicas().await;
    let mut socket = first.connect("format=audit&since=0&currency=USD,EUR").await;
    let ticks: Vec<_> = entries(&mut socket, 8).await.into_iter().filter(|entry| entry["type"] == "tick").collect();
    for tick in &ticks {
        let used = |input: &&Value| input["currency"] == "USD" && input.get("used").is_some();
        let used = tick["inputs"].as_array().unwrap().iter().filter(used).count();
        assert_eq!(used, tick["sources"]["USD"].as_array().unwrap().len(), "{tick}");
    }
    let last = ticks.last().unwrap()["id"].as_u64().unwrap();
    let page = second.json("/v1/prices?format=audit&currency=USD,EUR&limit=100").await;
    let page = page["prices"].as_array().unwrap().iter().filter(|entry| entry["type"] == "tick");
    let page: Vec<_> = page.take_while(|tick| tick["id"].as_u64().unwrap() <= last).cloned().collect();
    assert_eq!(page, ticks);
    let mut audits = Vec::new();
    for transport in [Transport::WebSocket, Transport::Sse, Transport::Grpc] {
        let client = Client::builder(&second.address)
            .transport(transport)
            .audit(true)
            .currencies([Currency::Usd, Currency::Eur]);
        let mut updates = client.start(From::After(TickId::ZERO)).build().unwrap().subscribe();
        let mut seen = Vec::new();
        while seen.len() < ticks.len() {
            let tick = sdk::tick(&mut updates).await;
            seen.push((tick.id.ms(), tick.audit.expect("its inputs are kept")));
        }
        audits.push(seen);
    }
    assert!(audits.iter().all(|seen| *seen == audits[0]));
    assert_eq!(
        audits[0].iter().map(|(id, _)| *id).collect::<Vec<_>>(),
        page.iter().map(|tick| tick["id"].as_u64().unwrap()).collect::<Vec<_>>()
    );
    assert_eq!(audits[0][0].1.inputs.len(), page[0]["inputs"].as_array().unwrap().len());
}
