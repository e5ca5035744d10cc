//! All replicas serve one feed: a client gets the same entries from each.

use crate::support::{INTERVAL, SERVE, TestCluster, entries, soon, unbroken, until};
use futures_util::future::join_all;
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::sleep;

#[tokio::test]
async fn client_resumes_on_any_replica() {
    let cluster = TestCluster::new().await;
    let replicas: [_; 3] = cluster.replicas().await;
    let mut seen = entries(&mut replicas[0].connect("format=full").await, 2).await;
    for round in 1..9 {
        let last = seen.last().unwrap();
        // The client resumes alternately by id and by date. After a date, the tick of that date is sent again.
        let (resume, again) = match round % 2 {
            0 => (format!("after={}", last["id"]), 0),
            _ => (format!("since={}", last["timedate"].as_str().unwrap()), 1),
        };
        // The feed continues while the client is disconnected.
        sleep(INTERVAL * (round % 4)).await;
        let mut client = replicas[round as usize % 3].connect(&format!("format=full&{resume}")).await;
        let resumed = entries(&mut client, 3 + again).await;
        assert_eq!(resumed[..again], seen[seen.len() - again..], "round {round}");
        seen.extend_from_slice(&resumed[again..]);
    }
    unbroken(&seen);
    let history = replicas[0].history_with(seen.last().unwrap()).await;
    let begin = history.iter().position(|entry| *entry == seen[0]).unwrap();
    assert_eq!(history[begin..begin + seen.len()], seen, "the client has what the store has");
}

#[tokio::test]
async fn clients_that_join_anytime_get_one_chain() {
    let cluster = TestCluster::new().await;
    let replicas: [_; 2] = cluster.replicas().await;
    let first = entries(&mut replicas[0].connect("format=full").await, 1).await[0]["id"].clone();
    let clients = (0..200).map(|number| {
        let (replica, first) = (&replicas[number % 2], &first);
        async move {
            sleep(Duration::from_millis(fastrand::u64(..2000))).await;
            let mut client = replica.connect(&format!("format=full&after={first}")).await;
            let seen = entries(&mut client, 20).await;
            unbroken(&seen);
            assert_eq!(seen[0]["prev"], *first);
            seen
        }
    });
    let all = join_all(clients).await;
    assert!(all.iter().all(|seen| *seen == all[0]), "all clients saw the same entries");
}

#[tokio::test]
async fn replicas_send_identical_bytes() {
    let cluster = TestCluster::new().await;
    let replicas: [_; 3] = cluster.replicas().await;
    let first = entries(&mut replicas[0].connect("format=full").await, 1).await[0]["id"].clone();
    for query in ["format=full", "format=timedate&currency=USD,EUR", "format=timestamp&currency=EUR"] {
        let read = replicas.iter().map(async |replica| {
            let mut client = replica.connect(&format!("{query}&after={first}")).await;
            let mut texts = Vec::new();
            while texts.len() < 8 {
                texts.push(client.text().await);
            }
            texts.retain(|text| !text.contains("synced"));
            texts.truncate(7);
            texts
        });
        let texts = join_all(read).await;
        assert!(texts.iter().all(|other| *other == texts[0]), "{query}: {texts:#?}");
    }
}

#[tokio::test]
async fn only_one_replica_polls_each_exchange() {
    let cluster = TestCluster::new().await;
    let replicas: [_; 4] = cluster.replicas().await;
    let seen = entries(&mut replicas[3].connect("format=full").await, 15).await;
    unbroken(&seen);
    for (name, path) in [("coinbase", "BTC-USD"), ("coinbase", "BTC-EUR"), ("kraken", ""), ("bitstamp", "btcusd")] {
        let asked = cluster.exchange.requests(name, path);
        let took = asked.last().unwrap().duration_since(asked[0]);
        let intervals = took.as_secs_f64() / INTERVAL.as_secs_f64();
        let polls = asked.len() as f64 - 1.0;
        assert!(polls < intervals + 1.5, "{name} {path}: {polls} polls in {intervals:.1} intervals");
        // The circuit breaker may skip a source that was late on a busy machine.
        assert!(polls >= 10.0, "{name} {path}: {polls} polls in {intervals:.1} intervals");
    }
}

#[tokio::test]
async fn clean_stop_hands_over_immediately() {
    let cluster = TestCluster::new().await;
    // The test would fail if the other replica waited until this lease expires.
    let lease = [("BTCFEED_LEASE_TTL", "20s")];
    let mut replicas = [cluster.replica("r1", &lease).await, cluster.replica("r2", &lease).await];
    let leader = cluster.leader().await;
    let (leading, other) = if leader == "r1" { (0, 1) } else { (1, 0) };
    let mut client = replicas[other].connect("format=full").await;
    let mut seen = entries(&mut client, 3).await;
    replicas[leading].signal(rustix::process::Signal::TERM);
    assert!(replicas[leading].exit().await.success());
    seen.extend(entries(&mut client, 6).await);
    let ids = unbroken(&seen);
    let longest = ids.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    // The limit allows for an interval, the other replica's attempt to acquire the lease, and delays of a busy machine.
    assert!(longest < 4000, "{longest} ms without a tick");
    assert_ne!(cluster.leader().await, leader);
}

#[tokio::test]
async fn roles_limit_leading_and_serving() {
    let cluster = TestCluster::new().await;
    let serving = cluster.replica("serving", &[SERVE]).await;
    let fetching = cluster.replica("fetching", &[("BTCFEED_ROLE", "fetch")]).await;
    assert_eq!(cluster.leader().await, "fetching");
    unbroken(&entries(&mut serving.connect("format=full").await, 3).await);
    let refused = TcpStream::connect(&fetching.address).await.expect_err("no port for clients");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    drop(fetching);
    let mut holders = BTreeSet::new();
    until("the lease to expire", async || {
        holders.insert(cluster.redis.leader().await);
        holders.contains(&None)
    })
    .await;
    soon("a few intervals to pass", sleep(INTERVAL * 5)).await;
    assert_eq!(cluster.redis.leader().await, None);
}
