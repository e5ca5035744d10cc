//! Leaders die and pause, Redis goes and comes back, connections are cut or hang: each client still has every tick, once.

use crate::support::exchange::Mode;
use crate::support::proxy::Proxy;
use crate::support::replica::Replica;
use crate::support::{INTERVAL, LEASE, World, entries, http, tick, unbroken, until};
use rustix::process::Signal;
use serde_json::Value;
use std::time::Duration;
use tokio::time::sleep;

/// How late a tick may be where a busy machine holds everything up. Where one is lost with what was held, or with a leader,
/// the pause is as long as the outage, which is longer than this.
const HICCUP: Duration = Duration::from_secs(3);

/// What a busy machine may add to a time that is promised.
const BUSY: Duration = Duration::from_secs(1);

/// The longest time between two ticks.
fn longest_pause(entries: &[Value]) -> Duration {
    let ids = unbroken(entries);
    Duration::from_millis(ids.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap())
}

/// Whether what a client saw is a part of the history without anything left out.
fn is_part_of(seen: &[Value], history: &[Value]) {
    let begin = history.iter().position(|entry| *entry == seen[0]).expect("the history has the first");
    assert_eq!(history[begin..begin + seen.len()], *seen);
}

/// Splits replicas into the one that leads and the others.
async fn split<const N: usize>(world: &World, replicas: [Replica; N]) -> (Replica, Vec<Replica>) {
    let leader = world.leader().await;
    let mut replicas: Vec<_> = replicas.into();
    let place = (0..N).find(|place| leader == format!("r{}", place + 1)).unwrap();
    (replicas.remove(place), replicas)
}

#[tokio::test]
async fn a_leader_that_is_killed_is_replaced_within_its_lease_and_a_second() {
    let world = World::new().await;
    let (leader, others) = split(&world, world.replicas::<3>().await).await;
    let mut client = others[0].connect("format=full").await;
    let mut seen = entries(&mut client, 3).await;
    leader.signal(Signal::KILL);
    seen.extend(entries(&mut client, 10).await);
    let pause = longest_pause(&seen);
    assert!(pause <= LEASE + Duration::from_secs(1) + INTERVAL + BUSY, "{pause:?} without a tick");
    let history = others[1].history_with(seen.last().unwrap()).await;
    assert!(seen.iter().all(|entry| history.contains(entry)), "another replica has the same");
}

#[tokio::test]
async fn a_leader_that_is_paused_past_its_lease_writes_nothing_when_it_wakes() {
    let world = World::new().await;
    let (leader, others) = split(&world, world.replicas::<2>().await).await;
    let mut client = others[0].connect("format=full").await;
    let mut seen = entries(&mut client, 3).await;
    leader.signal(Signal::STOP);
    others[0].logged("leading").await;
    seen.extend(entries(&mut client, 3).await);
    leader.signal(Signal::CONT);
    leader.logged("stood down: another replica has written").await;
    seen.extend(entries(&mut client, 5).await);
    let pause = longest_pause(&seen);
    assert!(pause <= LEASE + Duration::from_secs(1) + INTERVAL + BUSY, "{pause:?} without a tick");
    // The one that woke follows what the other writes, in the same order.
    let mut after = leader.connect(&format!("format=full&after={}", seen[0]["id"])).await;
    assert_eq!(entries(&mut after, seen.len() - 1).await, seen[1..]);
}

#[tokio::test]
async fn a_redis_that_restarts_with_its_file_leaves_no_hole_in_the_history() {
    let mut world = World::new().await;
    let replicas: [_; 2] = world.replicas().await;
    let mut clients = [replicas[0].connect("format=full").await, replicas[1].connect("format=full").await];
    let mut seen = [entries(&mut clients[0], 3).await, entries(&mut clients[1], 3).await];
    world.redis.kill().await;
    sleep(LEASE * 4).await;
    for replica in &replicas {
        assert_eq!(replica.get("/v1/prices/latest").await.0, 200, "the latest price is served without Redis");
        let ready = http().get(format!("http://{}/readyz", replica.ops)).send().await.unwrap();
        assert!(ready.status().is_success(), "a replica without Redis keeps its clients");
    }
    world.redis.run().await;
    for (client, seen) in clients.iter_mut().zip(&mut seen) {
        seen.extend(entries(client, 20).await);
        let pause = longest_pause(seen);
        // What was fetched meanwhile was held, and stands in the history at its time.
        assert!(pause < HICCUP, "{pause:?} without a tick");
    }
}

#[tokio::test]
async fn a_redis_that_is_paused_for_longer_than_the_lease_leaves_no_hole_either() {
    let world = World::new().await;
    let replicas: [_; 3] = world.replicas().await;
    let mut client = replicas[0].connect("format=full").await;
    let mut seen = entries(&mut client, 3).await;
    // What candidates had asked for waits in its buffers, and is granted when they have given up.
    world.redis.pause();
    sleep(LEASE * 4).await;
    world.redis.wake();
    seen.extend(entries(&mut client, 35).await);
    let pause = longest_pause(&seen);
    assert!(pause < HICCUP, "{pause:?} without a tick");
}

#[tokio::test]
async fn a_lease_that_vanishes_and_comes_back_stops_nobody() {
    let world = World::new().await;
    let replica = world.replica("r1", &[]).await;
    let mut client = replica.connect("format=full").await;
    let mut seen = entries(&mut client, 3).await;
    // As if the address had pointed at another Redis for a moment.
    let mut redis = world.redis.connection().await;
    let mut pipe = ::redis::pipe();
    // It must not run out where it is.
    let away = pipe.cmd("RENAME").arg("{btcfeed}:lease").arg("away").ignore().cmd("PERSIST").arg("away").ignore();
    let _: () = away.query_async(&mut redis).await.unwrap();
    sleep(INTERVAL * 2).await;
    let mut pipe = ::redis::pipe();
    let back = pipe.cmd("RENAME").arg("away").arg("{btcfeed}:lease").ignore();
    let back = back.cmd("PEXPIRE").arg("{btcfeed}:lease").arg(LEASE.as_millis() as u64).ignore();
    let _: () = back.query_async(&mut redis).await.unwrap();
    seen.extend(entries(&mut client, 15).await);
    assert!(longest_pause(&seen) < LEASE + INTERVAL * 4);
}

#[tokio::test]
async fn a_leader_that_wakes_after_another_came_and_went_takes_the_feed_as_it_is() {
    let world = World::new().await;
    // Longer than a take-over takes, so that the outage is the only one.
    let settings = [("BTCFEED_STALE_AFTER", "6s"), ("BTCFEED_DOWN_AFTER", "60s")];
    let first = world.replica("r1", &settings).await;
    assert_eq!(world.leader().await, "r1");
    let second = world.replica("r2", &settings).await;
    let mut client = second.connect("format=full&since=0").await;
    entries(&mut client, 3).await;
    first.signal(Signal::STOP);
    second.logged("leading").await;
    // The second leads into an outage, says so, and dies.
    entries(&mut client, 3).await;
    world.exchange.set_all(&Mode::Status(500, None));
    until("the feed to be stale", async || client.json().await["state"] == "stale").await;
    drop(second);
    world.exchange.set_all(&Mode::Good);
    until("the lease to run out", async || world.redis.leader().await.is_none()).await;
    first.signal(Signal::CONT);
    let mut client = first.connect("format=full&since=0").await;
    let mut seen = Vec::new();
    until("the feed to be live", async || {
        seen.push(client.json().await);
        seen.last().unwrap()["state"] == "live"
    })
    .await;
    seen.extend([client.json().await, client.json().await, client.json().await]);
    seen.retain(|message| message["type"] != "synced");
    let (gaps, feed): (Vec<_>, Vec<_>) = seen.iter().cloned().partition(|message| message["type"] == "gap");
    unbroken(&feed);
    let place = seen.iter().position(|message| message["type"] == "gap").unwrap();
    let tick = |messages: &[Value]| messages.iter().find(|message| message["type"] == "tick").unwrap()["id"].clone();
    let before: Vec<_> = seen[..place].iter().rev().cloned().collect();
    let expected = (tick(&before), tick(&seen[place..]));
    assert_eq!(gaps.len(), 1, "the outage, and no other");
    assert_eq!((gaps[0]["after"].clone(), gaps[0]["before"].clone()), expected);
}

#[tokio::test]
async fn two_feeds_in_two_databases_of_one_redis_know_nothing_of_each_other() {
    let world = World::new().await;
    let one = world.replica("r1", &[]).await;
    let url = format!("{}/1", world.redis.url());
    let two = world.replica("r2", &[("REDIS_URL", &url), ("BTCFEED_SOURCES", "simulated")]).await;
    for (replica, simulated) in [(&one, false), (&two, true)] {
        let seen = entries(&mut replica.connect("format=full&since=0").await, 10).await;
        unbroken(&seen);
        let made_up = seen.iter().filter(|tick| tick["sources"]["USD"][0] == "simulated").count();
        assert_eq!(made_up, if simulated { 10 } else { 0 });
    }
}

#[tokio::test]
async fn an_entry_that_cannot_be_read_is_passed_over_and_told_as_missing() {
    let world = World::new().await;
    let replica = world.replica("r1", &[]).await;
    let mut client = replica.connect("format=full").await;
    let before = entries(&mut client, 2).await.pop().unwrap()["id"].as_u64().unwrap();
    // An entry of a version to come, written by another process of that version.
    let (id, mut redis) = (before + 100_000, world.redis.connection().await);
    let entry = format!(r#"{{"id":{id},"prev":{before},"type":"halving"}}"#);
    let mut pipe = ::redis::pipe();
    pipe.zadd("{btcfeed}:ticks", &entry, id).ignore().publish("{btcfeed}:live", &entry).ignore();
    let _: () = pipe.query_async(&mut redis).await.unwrap();
    let mut message = client.json().await;
    while message["type"] == "tick" && message["id"].as_u64().unwrap() < id {
        message = client.json().await;
    }
    assert_eq!((&message["type"], &message["reason"]), (&"gap".into(), &"history_expired".into()));
    assert_eq!(client.json().await["prev"], id);
    // Not even as the newest does it keep another replica from following, or from leading.
    let newcomer = world.replica("r2", &[]).await;
    let mut client = newcomer.connect("format=full").await;
    let newest = entries(&mut client, 2).await.pop().unwrap()["id"].as_u64().unwrap();
    replica.signal(Signal::KILL);
    let id = newest + 100_000;
    let entry = format!(r#"{{"id":{id},"prev":{newest},"type":"halving"}}"#);
    let _: () = ::redis::pipe().zadd("{btcfeed}:ticks", &entry, id).ignore().query_async(&mut redis).await.unwrap();
    newcomer.logged("leading").await;
    until("a tick after it", async || client.json().await["prev"] == id).await;
}

#[tokio::test]
async fn a_leader_that_reaches_no_exchange_lets_another_replica_try() {
    let world = World::new().await;
    let nowhere = format!("http://127.0.0.1:{}", crate::support::redis::free_port());
    let settings = [
        ("BTCFEED_SOURCES", "kraken"),
        ("BTCFEED_SOURCE_KRAKEN_URL", nowhere.as_str()),
        ("BTCFEED_STALE_AFTER", "1s"),
        ("BTCFEED_DOWN_AFTER", "3s"),
    ];
    let cut_off = world.replica("r1", &settings).await;
    assert_eq!(world.leader().await, "r1");
    let other = world.replica("r2", &[]).await;
    let mut client = other.connect("format=full&since=0").await;
    let first = tick(&mut client).await;
    assert_eq!(cut_off.logged("stood down").await["why"], "no source answers here");
    let history = cut_off.history_with(&first).await;
    let states: Vec<_> = history.iter().filter_map(|entry| entry["state"].as_str()).collect();
    assert_eq!(states, ["stale", "down", "live"]);
}

#[tokio::test]
async fn a_redis_that_lost_everything_gets_it_back_from_the_leader() {
    let mut world = World::new().await;
    let replicas: [_; 2] = world.replicas().await;
    let mut client = replicas[1].connect("format=full&since=0").await;
    let mut seen = entries(&mut client, 5).await;
    world.redis.kill().await;
    world.redis.forget();
    world.redis.run().await;
    seen.extend(entries(&mut client, 5).await);
    unbroken(&seen);
    let newcomer = world.replica("r3", &[]).await;
    let mut replay = newcomer.connect("format=full&since=0").await;
    assert_eq!(entries(&mut replay, seen.len()).await, seen, "a replica that never saw it has the whole history");
}

#[tokio::test]
async fn a_replica_that_is_cut_off_from_redis_catches_up_and_its_clients_stay() {
    let world = World::new().await;
    let leader = world.replica("r1", &[]).await;
    world.leader().await;
    let proxy = Proxy::start(world.redis.port).await;
    let cut_off = world.replica("r2", &[("REDIS_URL", &proxy.url())]).await;
    let mut client = cut_off.connect("format=full").await;
    let mut seen = entries(&mut client, 3).await;
    for _ in 0..2 {
        proxy.cut();
        // The feed goes on without it.
        entries(&mut leader.connect("format=full").await, 5).await;
        proxy.mend();
        seen.extend(entries(&mut client, 10).await);
    }
    is_part_of(&seen, &leader.history_with(seen.last().unwrap()).await);
}

#[tokio::test]
async fn a_connection_to_redis_that_hangs_is_noticed_and_replaced() {
    let world = World::new().await;
    let leader = world.replica("r1", &[]).await;
    world.leader().await;
    let proxy = Proxy::start(world.redis.port).await;
    let hanging = world.replica("r2", &[("REDIS_URL", &proxy.url())]).await;
    let mut client = hanging.connect("format=full").await;
    let mut seen = entries(&mut client, 3).await;
    proxy.freeze();
    let begun = tokio::time::Instant::now();
    seen.extend(entries(&mut client, 10).await);
    assert!(begun.elapsed() < Duration::from_secs(15), "it took {:?} to notice", begun.elapsed());
    is_part_of(&seen, &leader.history_with(seen.last().unwrap()).await);
}

#[tokio::test]
async fn a_leader_whose_connections_hang_holds_its_ticks_or_another_takes_over() {
    let world = World::new().await;
    let proxy = Proxy::start(world.redis.port).await;
    let leader = world.replica("r1", &[("REDIS_URL", &proxy.url())]).await;
    world.leader().await;
    let other = world.replica("r2", &[]).await;
    let mut client = other.connect("format=full").await;
    let mut seen = entries(&mut client, 3).await;
    proxy.freeze();
    seen.extend(entries(&mut client, 15).await);
    let pause = longest_pause(&seen);
    assert!(pause <= LEASE + Duration::from_secs(1) + INTERVAL + BUSY, "{pause:?} without a tick");
    let history = leader.history_with(seen.last().unwrap()).await;
    assert_eq!(history.iter().filter(|entry| seen.contains(entry)).count(), seen.len(), "each once");
}

#[tokio::test]
async fn an_outage_of_the_exchanges_is_told_while_it_lasts_and_explained_when_it_is_over() {
    let world = World::new().await;
    let settings = [("BTCFEED_STALE_AFTER", "2s"), ("BTCFEED_DOWN_AFTER", "5s")];
    let replica = world.replica("r1", &settings).await;
    let mut client = replica.connect("format=full&currency=USD,EUR").await;
    let last = entries(&mut client, 3).await.pop().unwrap();
    world.exchange.set_all(&Mode::Status(500, None));
    let mut seen = Vec::new();
    until("the feed to be down", async || {
        seen.push(client.json().await);
        seen.last().unwrap()["state"] == "down"
    })
    .await;
    let [.., last, stale, down] = &[&[last], &seen[..]].concat()[..] else { panic!("stale, then down: {seen:?}") };
    assert_eq!((&last["type"], &stale["state"]), (&"tick".into(), &"stale".into()));
    let reason = stale["reason"].as_str().unwrap();
    assert!(reason.starts_with("no price in USD and EUR: coinbase: HTTP 500"), "{reason}");
    assert_eq!(down["prev"], stale["id"]);
    // A client that comes during the outage is told how things stand.
    let mut late = replica.connect("format=full").await;
    assert_eq!(late.json().await["id"], last["id"]);
    assert_eq!(late.json().await["state"], "stale");

    world.exchange.set_all(&Mode::Good);
    let (live, gap, tick) = (client.json().await, client.json().await, client.json().await);
    assert_eq!(live["state"], "live", "{live}");
    let expected =
        serde_json::json!({"type": "gap", "after": last["id"], "before": tick["id"], "reason": "source_outage"});
    assert_eq!(gap, expected);
    assert_eq!(tick["prev"], live["id"]);
}
