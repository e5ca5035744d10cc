//! Leaders die or pause, Redis stops and restarts, connections break or hang: each client still gets every tick once.

use crate::support::exchange::Mode;
use crate::support::proxy::Proxy;
use crate::support::replica::Replica;
use crate::support::{INTERVAL, LEASE, TestCluster, entries, http, tick, unbroken, until};
use rustix::process::Signal;
use serde_json::Value;
use std::time::Duration;
use tokio::time::sleep;

/// The longest pause between two ticks that a busy machine may cause. The tests with this limit stop Redis for longer.
/// So if the leader loses the ticks that it holds in the meantime, the pause exceeds this limit.
const MAX_PAUSE: Duration = Duration::from_secs(3);

/// The time that a busy machine may add to a promised time.
const TOLERANCE: Duration = Duration::from_secs(1);

/// Returns the longest time between two entries.
pub(super) fn longest_pause(entries: &[Value]) -> Duration {
    let ids = unbroken(entries);
    Duration::from_millis(ids.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap())
}

/// Asserts that `seen` is a part of the history, without missing entries.
fn assert_part_of(seen: &[Value], history: &[Value]) {
    let begin = history.iter().position(|entry| *entry == seen[0]).expect("the history has the first entry");
    assert_eq!(history[begin..begin + seen.len()], *seen);
}

/// Splits replicas into the leader and the others.
pub(super) async fn split<const N: usize>(cluster: &TestCluster, replicas: [Replica; N]) -> (Replica, Vec<Replica>) {
    let leader = cluster.leader().await;
    let mut replicas: Vec<_> = replicas.into();
    let index = (0..N).find(|index| leader == format!("r{}", index + 1)).unwrap();
    (replicas.remove(index), replicas)
}

#[tokio::test]
async fn killed_leader_is_replaced_in_time() {
    let cluster = TestCluster::new().await;
    let (leader, others) = split(&cluster, cluster.replicas::<3>().await).await;
    let mut client = others[0].connect("format=full").await;
    let mut seen = entries(&mut client, 3).await;
    leader.signal(Signal::KILL);
    seen.extend(entries(&mut client, 10).await);
    let pause = longest_pause(&seen);
    assert!(pause <= LEASE + Duration::from_secs(1) + INTERVAL + TOLERANCE, "{pause:?} without a tick");
    let history = others[1].history_with(seen.last().unwrap()).await;
    assert!(seen.iter().all(|entry| history.contains(entry)), "another replica has the same entries");
}

#[tokio::test]
async fn leader_paused_past_its_lease_cannot_write() {
    let cluster = TestCluster::new().await;
    let (leader, others) = split(&cluster, cluster.replicas::<2>().await).await;
    let old = cluster.leader().await;
    let other = if old == "r1" { "r2" } else { "r1" };
    let mut client = others[0].connect("format=full").await;
    let mut seen = entries(&mut client, 3).await;
    leader.signal(Signal::STOP);
    cluster.until_led_by(other).await;
    seen.extend(entries(&mut client, 3).await);
    leader.signal(Signal::CONT);
    seen.extend(entries(&mut client, 5).await);
    // The old leader detects that another replica has written, and stops polling.
    until("the old leader to stand down", async || {
        let before = cluster.exchange.requests_of(&old);
        sleep(INTERVAL * 5).await;
        cluster.exchange.requests_of(&old) == before
    })
    .await;
    let pause = longest_pause(&seen);
    assert!(pause <= LEASE + Duration::from_secs(1) + INTERVAL + TOLERANCE, "{pause:?} without a tick");
    // The old leader follows what the new one writes, in the same order.
    let mut after = leader.connect(&format!("format=full&after={}", seen[0]["id"])).await;
    assert_eq!(entries(&mut after, seen.len() - 1).await, seen[1..]);
}

#[tokio::test]
async fn redis_restart_leaves_no_gap() {
    let mut cluster = TestCluster::new().await;
    let replicas: [_; 2] = cluster.replicas().await;
    let mut clients = [replicas[0].connect("format=full").await, replicas[1].connect("format=full").await];
    let mut seen = [entries(&mut clients[0], 3).await, entries(&mut clients[1], 3).await];
    cluster.redis.kill().await;
    sleep(LEASE * 4).await;
    for replica in &replicas {
        assert_eq!(replica.get("/v1/prices/latest").await.0, 200, "the latest price is served without Redis");
        let ready = http().get(format!("http://{}/readyz", replica.ops)).send().await.unwrap();
        assert!(ready.status().is_success(), "a replica without Redis stays ready");
    }
    cluster.redis.run().await;
    for (client, seen) in clients.iter_mut().zip(&mut seen) {
        seen.extend(entries(client, 20).await);
        let pause = longest_pause(seen);
        // The leader held the ticks of the outage. In the history, each has the time at which it was made.
        assert!(pause < MAX_PAUSE, "{pause:?} without a tick");
    }
}

#[tokio::test]
async fn redis_paused_past_the_lease_leaves_no_gap() {
    let cluster = TestCluster::new().await;
    let replicas: [_; 3] = cluster.replicas().await;
    let mut client = replicas[0].connect("format=full").await;
    let mut seen = entries(&mut client, 3).await;
    // The candidates' requests wait in Redis' buffers. Redis grants them after the candidates have given up.
    cluster.redis.pause();
    sleep(LEASE * 4).await;
    cluster.redis.resume();
    seen.extend(entries(&mut client, 35).await);
    let pause = longest_pause(&seen);
    assert!(pause < MAX_PAUSE, "{pause:?} without a tick");
}

#[tokio::test]
async fn brief_loss_of_the_lease_stops_no_leader() {
    let cluster = TestCluster::new().await;
    let replica = cluster.replica("r1", &[]).await;
    let mut client = replica.connect("format=full").await;
    let mut seen = entries(&mut client, 3).await;
    // The lease is missing for a moment, as if the address had pointed to another Redis.
    let mut redis = cluster.redis.connection().await;
    let mut pipe = ::redis::pipe();
    let remove = pipe.cmd("RENAME").arg("{btcfeed}:lease").arg("kept").ignore();
    // The lease must not expire meanwhile.
    let remove = remove.cmd("PERSIST").arg("kept").ignore();
    let _: () = remove.query_async(&mut redis).await.unwrap();
    sleep(INTERVAL * 2).await;
    let mut pipe = ::redis::pipe();
    let put_back = pipe.cmd("RENAME").arg("kept").arg("{btcfeed}:lease").ignore();
    let put_back = put_back.cmd("PEXPIRE").arg("{btcfeed}:lease").arg(LEASE.as_millis() as u64).ignore();
    let _: () = put_back.query_async(&mut redis).await.unwrap();
    seen.extend(entries(&mut client, 15).await);
    assert!(longest_pause(&seen) < LEASE + INTERVAL * 4);
}

#[tokio::test]
async fn resumed_leader_continues_the_current_feed() {
    let cluster = TestCluster::new().await;
    // A takeover takes less than 6 s, so it is not an outage. The only outage is the time in which the exchanges give
    // no prices.
    let settings = [("BTCFEED_STALE_AFTER", "6s"), ("BTCFEED_DOWN_AFTER", "60s")];
    let first = cluster.replica("r1", &settings).await;
    assert_eq!(cluster.leader().await, "r1");
    let second = cluster.replica("r2", &settings).await;
    let mut client = second.connect("format=full&since=0").await;
    entries(&mut client, 3).await;
    first.signal(Signal::STOP);
    cluster.until_led_by("r2").await;
    // The second leader gets no prices, reports that, and dies.
    entries(&mut client, 3).await;
    cluster.exchange.set_all(&Mode::Status(500, None));
    until("the feed to be stale", async || client.json().await["state"] == "stale").await;
    drop(second);
    cluster.exchange.set_all(&Mode::Good);
    until("the lease to expire", async || cluster.redis.leader().await.is_none()).await;
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
    assert_eq!(gaps.len(), 1, "only the outage is a gap");
    assert_eq!((gaps[0]["after"].clone(), gaps[0]["before"].clone()), expected);
}

#[tokio::test]
async fn databases_of_one_redis_are_separate_feeds() {
    let cluster = TestCluster::new().await;
    let one = cluster.replica("r1", &[]).await;
    let url = format!("{}/1", cluster.redis.url());
    let two = cluster.replica("r2", &[("REDIS_URL", &url), ("BTCFEED_SOURCES", "simulated")]).await;
    for (replica, simulated) in [(&one, false), (&two, true)] {
        let seen = entries(&mut replica.connect("format=full&since=0").await, 10).await;
        unbroken(&seen);
        let from_simulation = seen.iter().filter(|tick| tick["sources"]["USD"][0] == "simulated").count();
        assert_eq!(from_simulation, if simulated { 10 } else { 0 });
    }
}

#[tokio::test]
async fn unknown_entry_is_skipped_and_reported() {
    let cluster = TestCluster::new().await;
    let replica = cluster.replica("r1", &[]).await;
    let mut client = replica.connect("format=full").await;
    let before = entries(&mut client, 2).await.pop().unwrap()["id"].as_u64().unwrap();
    // An entry of a future version, written by another process.
    let (id, mut redis) = (before + 100_000, cluster.redis.connection().await);
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
    // An unknown entry must not prevent another replica from following or leading, even if it is the newest entry.
    let newcomer = cluster.replica("r2", &[]).await;
    let mut client = newcomer.connect("format=full").await;
    let newest = entries(&mut client, 2).await.pop().unwrap()["id"].as_u64().unwrap();
    replica.signal(Signal::KILL);
    let id = newest + 100_000;
    let entry = format!(r#"{{"id":{id},"prev":{newest},"type":"halving"}}"#);
    let _: () = ::redis::pipe().zadd("{btcfeed}:ticks", &entry, id).ignore().query_async(&mut redis).await.unwrap();
    cluster.until_led_by("r2").await;
    until("a tick after the unknown entry", async || client.json().await["prev"] == id).await;
}

#[tokio::test]
async fn leader_without_sources_yields() {
    let cluster = TestCluster::new().await;
    let nowhere = format!("http://127.0.0.1:{}", crate::support::ports::free_port());
    let settings = [
        ("BTCFEED_SOURCES", "kraken"),
        ("BTCFEED_SOURCE_KRAKEN_URL", nowhere.as_str()),
        ("BTCFEED_STALE_AFTER", "1s"),
        ("BTCFEED_DOWN_AFTER", "3s"),
    ];
    let cut_off = cluster.replica("r1", &settings).await;
    assert_eq!(cluster.leader().await, "r1");
    let other = cluster.replica("r2", &[]).await;
    let mut client = other.connect("format=full&since=0").await;
    let first = tick(&mut client).await;
    assert_eq!(cluster.leader().await, "r2");
    let history = cut_off.history_with(&first).await;
    let states: Vec<_> = history.iter().filter_map(|entry| entry["state"].as_str()).collect();
    assert_eq!(states, ["stale", "down", "live"]);
}

#[tokio::test]
async fn leader_restores_an_emptied_redis() {
    let mut cluster = TestCluster::new().await;
    let replicas: [_; 2] = cluster.replicas().await;
    let mut client = replicas[1].connect("format=full&since=0").await;
    let mut seen = entries(&mut client, 5).await;
    cluster.redis.kill().await;
    cluster.redis.delete_data();
    cluster.redis.run().await;
    seen.extend(entries(&mut client, 5).await);
    unbroken(&seen);
    let newcomer = cluster.replica("r3", &[]).await;
    let mut replay = newcomer.connect("format=full&since=0").await;
    assert_eq!(entries(&mut replay, seen.len()).await, seen, "a new replica has the whole history");
}

#[tokio::test]
async fn cut_off_replica_keeps_clients_and_catches_up() {
    let cluster = TestCluster::new().await;
    let leader = cluster.replica("r1", &[]).await;
    cluster.leader().await;
    let proxy = Proxy::start(cluster.redis.port).await;
    let cut_off = cluster.replica("r2", &[("REDIS_URL", &proxy.url())]).await;
    let mut client = cut_off.connect("format=full").await;
    let mut seen = entries(&mut client, 3).await;
    for _ in 0..2 {
        proxy.cut();
        // Meanwhile, the leader continues the feed.
        entries(&mut leader.connect("format=full").await, 5).await;
        proxy.restore();
        seen.extend(entries(&mut client, 10).await);
    }
    assert_part_of(&seen, &leader.history_with(seen.last().unwrap()).await);
}

#[tokio::test]
async fn hanging_redis_connection_is_replaced() {
    let cluster = TestCluster::new().await;
    let leader = cluster.replica("r1", &[]).await;
    cluster.leader().await;
    let proxy = Proxy::start(cluster.redis.port).await;
    let hanging = cluster.replica("r2", &[("REDIS_URL", &proxy.url())]).await;
    let mut client = hanging.connect("format=full").await;
    let mut seen = entries(&mut client, 3).await;
    proxy.freeze();
    let started = tokio::time::Instant::now();
    seen.extend(entries(&mut client, 10).await);
    assert!(started.elapsed() < Duration::from_secs(15), "it took {:?} to notice", started.elapsed());
    assert_part_of(&seen, &leader.history_with(seen.last().unwrap()).await);
}

#[tokio::test]
async fn hanging_leader_delays_ticks_within_bounds() {
    let cluster = TestCluster::new().await;
    let proxy = Proxy::start(cluster.redis.port).await;
    let leader = cluster.replica("r1", &[("REDIS_URL", &proxy.url())]).await;
    cluster.leader().await;
    let other = cluster.replica("r2", &[]).await;
    let mut client = other.connect("format=full").await;
    let mut seen = entries(&mut client, 3).await;
    proxy.freeze();
    seen.extend(entries(&mut client, 15).await);
    let pause = longest_pause(&seen);
    assert!(pause <= LEASE + Duration::from_secs(1) + INTERVAL + TOLERANCE, "{pause:?} without a tick");
    let history = leader.history_with(seen.last().unwrap()).await;
    assert_eq!(history.iter().filter(|entry| seen.contains(entry)).count(), seen.len(), "each tick once");
}

#[tokio::test]
async fn exchange_outage_is_reported_and_explained() {
    let cluster = TestCluster::new().await;
    // With this interval, an exchange's error arrives before the deadline of the poll, even on a busy machine.
    let interval = ("BTCFEED_INTERVAL", "500ms");
    let settings = [interval, ("BTCFEED_STALE_AFTER", "2s"), ("BTCFEED_DOWN_AFTER", "5s")];
    let replica = cluster.replica("r1", &settings).await;
    let mut client = replica.connect("format=full&currency=USD,EUR").await;
    let last = entries(&mut client, 3).await.pop().unwrap();
    cluster.exchange.set_all(&Mode::Status(500, None));
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
    // A client that connects during the outage gets the last tick and the statuses since then.
    let mut late = replica.connect("format=full").await;
    assert_eq!(late.json().await["id"], last["id"]);
    assert_eq!(late.json().await["state"], "stale");
    assert_eq!(late.json().await["state"], "down");

    cluster.exchange.set_all(&Mode::Good);
    let (live, gap, tick) = (client.json().await, client.json().await, client.json().await);
    assert_eq!(live["state"], "live", "{live}");
    let expected =
        serde_json::json!({"type": "gap", "after": last["id"], "before": tick["id"], "reason": "source_outage"});
    assert_eq!(gap, expected);
    assert_eq!(tick["prev"], live["id"]);
}
