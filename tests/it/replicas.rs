//! Many replicas are one feed: whatever a client gets from one, it would have got from any other.

use crate::support::{INTERVAL, SERVE, World, entries, soon, unbroken, until};
use futures_util::future::join_all;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::sleep;

#[tokio::test]
async fn a_client_that_reconnects_to_another_replica_misses_nothing_and_gets_nothing_twice() {
    let world = World::new().await;
    let replicas: [_; 3] = world.replicas().await;
    let mut seen = entries(&mut replicas[0].connect("format=full").await, 2).await;
    for round in 1..9 {
        let last = seen.last().unwrap();
        // By id and by date in turn. A date is at or after: its own tick comes again, and only that.
        let (resume, again) = match round % 2 {
            0 => (format!("after={}", last["id"]), 0),
            _ => (format!("since={}", last["timedate"].as_str().unwrap()), 1),
        };
        // The feed goes on while the client is away.
        sleep(INTERVAL * (round % 4)).await;
        let mut client = replicas[round as usize % 3].connect(&format!("format=full&{resume}")).await;
        let resumed = entries(&mut client, 3 + again).await;
        assert_eq!(resumed[..again], seen[seen.len() - again..], "round {round}");
        seen.extend_from_slice(&resumed[again..]);
    }
    unbroken(&seen);
    let history = replicas[0].history_with(seen.last().unwrap()).await;
    let begin = history.iter().position(|entry| *entry == seen[0]).unwrap();
    assert_eq!(history[begin..begin + seen.len()], seen, "what the client pieced together is what the store has");
}

#[tokio::test]
async fn two_hundred_clients_that_join_at_random_moments_each_see_an_unbroken_chain() {
    let world = World::new().await;
    let replicas: [_; 2] = world.replicas().await;
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
    assert!(all.iter().all(|seen| *seen == all[0]), "everybody saw the same");
}

#[tokio::test]
async fn every_replica_sends_the_same_bytes() {
    let world = World::new().await;
    let replicas: [_; 3] = world.replicas().await;
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
        assert!(texts.iter().all(|of_one| *of_one == texts[0]), "{query}: {texts:#?}");
    }
}

#[tokio::test]
async fn each_exchange_is_polled_once_an_interval_however_many_replicas_run() {
    let world = World::new().await;
    let replicas: [_; 4] = world.replicas().await;
    let seen = entries(&mut replicas[3].connect("format=full").await, 15).await;
    unbroken(&seen);
    for (name, path) in [("coinbase", "BTC-USD"), ("coinbase", "BTC-EUR"), ("kraken", ""), ("bitstamp", "btcusd")] {
        let asked = world.exchange.asked(name, path);
        let took = asked.last().unwrap().duration_since(asked[0]);
        let intervals = took.as_secs_f64() / INTERVAL.as_secs_f64();
        let polls = asked.len() as f64 - 1.0;
        assert!(polls < intervals + 1.5, "{name} {path}: {polls} polls in {intervals:.1} intervals");
        // A source that was late on a busy machine rests, and is asked less often.
        assert!(polls >= 10.0, "{name} {path}: {polls} polls in {intervals:.1} intervals");
    }
}

#[tokio::test]
async fn a_clean_stop_hands_over_at_once() {
    let world = World::new().await;
    // Nobody could wait for this lease to run out.
    let lease = [("BTCFEED_LEASE_TTL", "20s")];
    let mut replicas = [world.replica("r1", &lease).await, world.replica("r2", &lease).await];
    let leader = world.leader().await;
    let (leading, other) = if leader == "r1" { (0, 1) } else { (1, 0) };
    let mut client = replicas[other].connect("format=full").await;
    let mut seen = entries(&mut client, 3).await;
    replicas[leading].signal(rustix::process::Signal::TERM);
    assert!(replicas[leading].exit().await.success());
    seen.extend(entries(&mut client, 6).await);
    let ids = unbroken(&seen);
    let longest = ids.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    // An interval, an attempt of the other to take the lease, and whatever else runs on this machine.
    assert!(longest < 4000, "{longest} ms without a tick");
    assert_ne!(world.leader().await, leader);
}

#[tokio::test]
async fn a_replica_that_only_serves_never_leads_and_one_that_only_fetches_never_serves() {
    let world = World::new().await;
    let serving = world.replica("serving", &[SERVE]).await;
    let fetching = world.replica("fetching", &[("BTCFEED_ROLE", "fetch")]).await;
    assert_eq!(world.leader().await, "fetching");
    unbroken(&entries(&mut serving.connect("format=full").await, 3).await);
    assert!(fetching.address.is_empty());
    drop(fetching);
    let mut refused = BTreeSet::new();
    until("the lease to run out", async || {
        refused.insert(world.redis.leader().await);
        refused.contains(&None)
    })
    .await;
    soon("nobody to lead", sleep(INTERVAL * 5)).await;
    assert_eq!(world.redis.leader().await, None);
}
