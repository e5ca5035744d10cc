//! Behind the load balancer that is shipped, many replicas look like one.

use crate::support::client::Client;
use crate::support::events::Events;
use crate::support::nginx::Nginx;
use crate::support::{World, entries, soon, unbroken};
use rustix::process::Signal;
use tokio::time::Instant;

#[tokio::test]
async fn clients_of_a_killed_replica_read_on_through_the_same_address() {
    let world = World::new().await;
    let replicas: [_; 3] = world.replicas().await;
    let addresses = [0, 1, 2].map(|number: usize| replicas[number].address.as_str());
    let nginx = Nginx::start(&addresses).await;
    let connect =
        async |resume: &str| Client::connect(&format!("ws://{}/v1/ws?format=full{resume}", nginx.address)).await;

    let mut seen = entries(&mut connect("&since=0").await, 3).await;
    // Every replica but one is killed in turn: some of the clients lose their connection each time, and one the leader.
    for replica in &replicas[..2] {
        let mut client = connect(&format!("&after={}", seen.last().unwrap()["id"])).await;
        seen.extend(entries(&mut client, 2).await);
        replica.signal(Signal::KILL);
    }
    let mut client = connect(&format!("&after={}", seen.last().unwrap()["id"])).await;
    seen.extend(entries(&mut client, 5).await);
    unbroken(&seen);
    assert_eq!(replicas[2].history().await[..seen.len()], seen);
}

#[tokio::test]
async fn an_update_goes_through_at_once_and_so_does_a_refusal() {
    let world = World::new().await;
    let replica = world.replica("r1", &[]).await;
    let nginx = Nginx::start(&[&replica.address]).await;
    let url = |query: &str| format!("ws://{}/v1/ws?{query}", nginx.address);
    let (mut direct, mut through) = (replica.connect("").await, Client::connect(&url("")).await);
    for _ in 0..3 {
        direct.text().await;
        let begun = Instant::now();
        through.text().await;
        assert!(begun.elapsed().as_millis() < 100, "it was held back for {:?}", begun.elapsed());
    }
    let (status, body) = Client::refused(&url("currency=GBP")).await;
    assert!(status == 400 && body.contains("currency reads USD or EUR, got \\\"GBP\\\""), "{status} {body}");
    let answer =
        soon("the history", reqwest::get(format!("http://{}/v1/prices?limit=2", nginx.address))).await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/json");
}

#[tokio::test]
async fn events_go_through_at_once_and_resume_on_another_replica() {
    let world = World::new().await;
    let [first, second] = world.replicas().await;
    let nginx = Nginx::start(&[&first.address, &second.address]).await;
    let url = format!("http://{}/v1/prices/stream?format=full&hello=true", nginx.address);
    let mut events = Events::connect(&url, &[]).await;
    let replica = events.named("hello").await.json()["replica"].as_str().unwrap().to_owned();
    let [serving, other] = if replica == "r1" { [&first, &second] } else { [&second, &first] };
    let mut direct = other.connect("format=full").await;
    let mut seen = vec![events.update().await.json()];
    for _ in 0..3 {
        // What comes directly comes through nginx in a moment too.
        let id = direct.json().await["id"].as_u64();
        let begun = Instant::now();
        while seen.last().unwrap()["id"].as_u64() < id {
            seen.push(events.update().await.json());
        }
        assert!(begun.elapsed().as_millis() < 100, "it was held back for {:?}", begun.elapsed());
    }
    serving.signal(Signal::KILL);
    while let Some(event) = events.block().await {
        seen.extend(event.data.as_ref().map(|_| event.json()).filter(|message| message["type"] == "tick"));
    }
    let last = seen.last().unwrap()["id"].to_string();
    let mut events = Events::connect(&url, &[("Last-Event-ID", &last)]).await;
    assert_ne!(events.named("hello").await.json()["replica"], replica);
    let resumed = events.update().await.json();
    assert_eq!(resumed["prev"].to_string(), last, "{resumed}");
}
