//! Redis with Sentinel, and a Redis Cluster: the feed goes on when another server takes over.

use crate::support::exchange::Exchange;
use crate::support::failover::{RedisCluster, Sentinels};
use crate::support::redis::Redis;
use crate::support::replica::Replica;
use crate::support::store_contract::{OPTIONS, lease, tick};
use crate::support::{LEASE, entries, replica_settings, unbroken, until};
use btcfeed::store::{self, RedisOptions, Store};
use btcfeed::tick::TickId;
use serde_json::Value;
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// Replicas of a feed, and the entries that a client has got so far.
struct Feed {
    _exchange: Exchange,
    replicas: Vec<Replica>,
    got: Vec<Value>,
}

impl Feed {
    async fn start(url: &str) -> Feed {
        let exchange = Exchange::start().await;
        let mut replicas = Vec::new();
        for name in ["r1", "r2"] {
            let settings = [("REDIS_URL", url), ("BTCFEED_WINDOW", "100")];
            replicas.push(Replica::start(&replica_settings(&exchange, name, &settings)).await);
        }
        Feed { _exchange: exchange, replicas, got: Vec::new() }
    }

    /// Reads some entries after the last one, from each replica.
    async fn read(&mut self, count: usize) {
        for replica in &self.replicas {
            let after = self.got.last().map_or(0, |entry| entry["id"].as_u64().unwrap());
            let mut client = replica.connect(&format!("format=full&after={after}")).await;
            self.got.extend(entries(&mut client, count).await);
        }
    }

    /// Checks that the entries are a chain, and waits until `server` has all of them. The replicas of btcfeed write
    /// back the entries that the old primary did not replicate.
    async fn check(&self, server: &Redis) {
        let ids = unbroken(&self.got);
        until("the new primary to have all entries", async || {
            let kept = server.command(&["ZRANGE", "{btcfeed}:ticks", "0", "-1", "WITHSCORES"]).await;
            let kept: Vec<(String, u64)> = redis::from_redis_value(kept).unwrap();
            ids.iter().all(|id| kept.iter().any(|(_, kept)| kept == id))
        })
        .await;
    }
}

#[tokio::test]
async fn feed_survives_death_of_the_primary() {
    let mut sentinels = Sentinels::start().await;
    let mut feed = Feed::start(&sentinels.url()).await;
    feed.read(3).await;
    let (_, new) = sentinels.kill_primary().await;
    feed.read(5).await;
    feed.check(&sentinels.servers[new]).await;
}

#[tokio::test]
async fn feed_follows_a_planned_failover() {
    let sentinels = Sentinels::start().await;
    let mut feed = Feed::start(&sentinels.url()).await;
    feed.read(3).await;
    let old = sentinels.primary().await;
    sentinels.fail_over().await;
    until("another primary", async || sentinels.primary().await != old).await;
    feed.read(5).await;
    feed.check(&sentinels.servers[sentinels.primary().await]).await;
}

#[tokio::test]
async fn feed_survives_death_of_its_node() {
    let mut cluster = RedisCluster::start().await;
    let mut feed = Feed::start(&cluster.url()).await;
    feed.read(3).await;
    let old = cluster.owner().await;
    cluster.nodes[old].kill().await;
    feed.read(5).await;
    let new = cluster.owner().await;
    assert_ne!(new, old);
    feed.check(&cluster.nodes[new]).await;
}

#[tokio::test]
async fn feed_follows_its_slot() {
    let cluster = RedisCluster::start().await;
    let mut feed = Feed::start(&cluster.url()).await;
    feed.read(3).await;
    let old = cluster.owner().await;
    for number in 0..300 {
        cluster.nodes[old].command(&["SET", &format!("{{btcfeed}}:client:{number}"), "1", "PX", "600000"]).await;
    }
    for to in [(old + 1) % 3, (old + 2) % 3] {
        cluster.move_slot(to).await;
        feed.read(5).await;
    }
    feed.check(&cluster.nodes[(old + 2) % 3]).await;
}

#[tokio::test]
async fn feed_is_written_while_its_slot_is_open() {
    let cluster = RedisCluster::start().await;
    let mut feed = Feed::start(&cluster.url()).await;
    feed.read(3).await;
    let owner = cluster.owner().await;
    // There are no audits, as if another program had deleted them, or an older version had written the feed.
    cluster.nodes[owner].command(&["DEL", "{btcfeed}:audits"]).await;
    // No key moves, as after an interrupted `redis-cli --cluster reshard`.
    cluster.open_slot((owner + 1) % 3).await;
    let started = Instant::now();
    feed.read(10).await;
    assert!(started.elapsed() < LEASE * 10, "the feed stood still for {:?}", started.elapsed());
    // A replica that starts now reports that the slot is moving, and not that permissions are missing.
    let newcomer = store::Redis::new(&cluster.url(), "btcfeed", OPTIONS).unwrap();
    let error = newcomer.acquire("r3").await.unwrap_err().to_string();
    assert!(error.contains("the slot of the feed is moving"), "{error}");
    assert!(newcomer.fault().is_some());
    feed.check(&cluster.nodes[owner]).await;
}

#[tokio::test]
async fn next_entry_waits_for_replicas_of_redis() {
    let primary = Redis::start().await;
    let options = RedisOptions { min_acks: 1, ..RedisOptions::new(&primary.url(), "btcfeed") };
    let store = store::Redis::open(&options, OPTIONS).unwrap();
    let lease = lease(&store).await;
    let record = tick("1");
    for _ in 0..2 {
        let error = store.append(&lease, &record, TickId::ZERO).await.unwrap_err().to_string();
        assert!(error.contains("0 replicas of Redis have the last entry, expected 1"), "{error}");
    }
    assert!(store.fault().is_some());
    let _replica = Redis::start_with(&["--replicaof", "127.0.0.1", &primary.port.to_string()]).await;
    let mut entry = None;
    until("the replica to have the entry", async || {
        store.renew(&lease).await.ok();
        entry = store.append(&lease, &record, TickId::ZERO).await.ok();
        entry.is_some()
    })
    .await;
    assert_eq!(store.newest(10).await.unwrap(), [entry.unwrap()], "the entry was written once");
}

#[tokio::test]
async fn lease_is_renewed_while_an_append_waits() {
    let primary = Redis::start().await;
    let timeout = Duration::from_secs(20);
    let options = RedisOptions { min_acks: 1, timeout, ..RedisOptions::new(&primary.url(), "btcfeed") };
    let store = store::Redis::open(&options, OPTIONS).unwrap();
    let lease = lease(&store).await;
    let (record, started) = (tick("1"), Instant::now());
    let renewing = async {
        for _ in 0..10 {
            store.renew(&lease).await.unwrap();
            store.head().await.unwrap();
        }
        started.elapsed()
    };
    let (appended, renewed) = tokio::join!(store.append(&lease, &record, TickId::ZERO), renewing);
    assert!(appended.is_err(), "there is no replica");
    assert!(started.elapsed() < OPTIONS.lease_ttl, "it waited longer than the lease: {:?}", started.elapsed());
    assert!(renewed < OPTIONS.lease_ttl / 5, "the renewal waited for {renewed:?}");
    // While the append is repeated, the fault stays.
    let appending = async {
        for _ in 0..3 {
            store.append(&lease, &record, TickId::ZERO).await.unwrap_err();
            store.renew(&lease).await.unwrap();
        }
    };
    let watching = async {
        loop {
            assert!(store.fault().is_some_and(|fault| fault.contains("too few replicas")), "{:?}", store.fault());
            sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! { () = appending => {}, never = watching => never }
}

#[tokio::test]
async fn wrong_kind_of_server_is_named() {
    let (sentinels, cluster) = (Sentinels::start().await, RedisCluster::start().await);
    let primary = sentinels.primary().await;
    let error = async |address: &str| {
        let store = store::Redis::new(&format!("redis://{address}"), "btcfeed", OPTIONS).unwrap();
        store.inspect().await.expect_err(address).to_string()
    };
    let text = error(&sentinels.sentinel()).await;
    let right = format!("redis+sentinel://{}/0?master=the-feed", sentinels.sentinel());
    assert!(text.contains("is a Sentinel") && text.ends_with(&right), "{text}");
    let replica = &sentinels.servers[(primary + 1) % 3];
    let text = error(&format!("127.0.0.1:{}", replica.port)).await;
    let right = format!("name 127.0.0.1:{} in REDIS_URL", sentinels.servers[primary].port);
    assert!(text.contains("is a replica of") && text.ends_with(&right), "{text}");
    let other = (cluster.owner().await + 1) % 3;
    let address = format!("127.0.0.1:{}", cluster.nodes[other].port);
    let text = error(&address).await;
    assert!(text.ends_with(&format!("begin REDIS_URL with redis+cluster://{address}")), "{text}");
    let unknown = sentinels.url().replace("the-feed", "another");
    let store = store::Redis::new(&unknown, "btcfeed", OPTIONS).unwrap();
    let text = store.head().await.unwrap_err().to_string();
    assert!(text.contains("the Sentinel knows no primary \"another\""), "{text}");
}
