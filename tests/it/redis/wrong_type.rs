//! Keys of the feed that another program has overwritten with a value of a wrong type.

use crate::support::client::Client;
use crate::support::redis::Redis;
use crate::support::replica::Replica;
use crate::support::store_contract::OPTIONS;
use crate::support::{TestCluster, entries, tick, unbroken, until, until_within};
use btcfeed::store::{self, Claim, Store};
use btcfeed::tick::TickId;
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// Keys that stop all writes while they have a wrong type.
const STOPPING: [&str; 3] = ["ticks", "lease", "record"];
/// Keys whose wrong type does not stop the feed.
const HARMLESS: [&str; 8] = ["claim", "replicas", "settings", "audits", "quarantine", "candles", "hours", "client:"];
/// Time after which every replica must have reported a fault, or its end.
const TOLD_AFTER: Duration = Duration::from_secs(5);

/// Replaces the value of a key by a stream. No key of the feed has this type.
async fn spoil(server: &Redis, key: &str) {
    // Between two single commands, a replica could write the key.
    let script = "redis.call('DEL', KEYS[1]) return redis.call('XADD', KEYS[1], '*', 'x', 'y')";
    server.command(&["EVAL", script, "1", key]).await;
}

/// A client of a cluster with two replicas.
struct Feed {
    cluster: TestCluster,
    replicas: [Replica; 2],
    client: Client,
    seen: Vec<Value>,
    began: Instant,
}

impl Feed {
    async fn start() -> Feed {
        let cluster = TestCluster::new().await;
        let replicas = cluster.replicas().await;
        let mut client = replicas[1].connect("format=full&since=0").await;
        let seen = entries(&mut client, 3).await;
        Feed { cluster, replicas, client, seen, began: Instant::now() }
    }

    async fn spoil(&self, key: &str) {
        spoil(&self.cluster.redis, &format!("{{btcfeed}}:{key}")).await;
    }

    async fn delete(&self, key: &str) {
        self.cluster.redis.command(&["DEL", &format!("{{btcfeed}}:{key}")]).await;
    }

    async fn read(&mut self, count: usize) {
        self.seen.extend(entries(&mut self.client, count).await);
    }

    /// Waits until each replica reports a fault of the store, or no fault if `is_fault` is false.
    async fn until_told(&self, key: &str, is_fault: bool) {
        for replica in &self.replicas {
            until_within(TOLD_AFTER, &format!("a report about {key}: {is_fault}"), async || {
                let report: Value = serde_json::from_str(&replica.get("/v1/status").await.1).unwrap();
                let metric = replica.metric("btcfeed_store_up").await;
                let fault = report["store"]["fault"].as_str().unwrap_or_default().to_owned();
                is_fault == fault.contains("WRONGTYPE") && is_fault == (metric < 0.5)
            })
            .await;
        }
    }

    /// Asserts that no entry is missing, and that each log has at most one warning or error for each second, and 5
    /// more.
    fn check(self) {
        unbroken(&self.seen);
        for replica in &self.replicas {
            let log = replica.log();
            let lines: Vec<_> = log.iter().filter(|line| line.contains(" WARN ") || line.contains(" ERROR ")).collect();
            assert!(lines.len() as u64 <= self.began.elapsed().as_secs() + 5, "{lines:#?}");
        }
    }
}

#[test]
fn every_key_is_in_a_list() {
    let code = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/redis/keys.rs")).unwrap();
    let mut keys: Vec<_> = code
        .split(": key(\"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap())
        .filter(|key| *key != "check")
        .collect();
    let mut tried = [&STOPPING[..], &HARMLESS].concat();
    keys.sort_unstable();
    tried.sort_unstable();
    assert_eq!(keys, tried);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_type_stops_the_feed_with_a_report() {
    let mut feed = Feed::start().await;
    for key in STOPPING {
        feed.spoil(key).await;
        feed.until_told(key, true).await;
        feed.delete(key).await;
        feed.read(10).await;
        feed.until_told(key, false).await;
    }
    feed.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_type_beside_the_feed_is_harmless() {
    let mut feed = Feed::start().await;
    for key in HARMLESS {
        feed.spoil(&if key == "client:" {
            format!("{key}3b1f0c52-7d4e-4c8a-9f6b-2e5a8d7c1904")
        } else {
            key.to_owned()
        })
        .await;
    }
    // Garbage that must be moved into quarantine.
    feed.cluster.redis.command(&["ZADD", "{btcfeed}:ticks", "+inf", "garbage"]).await;
    until("the quarantine", async || {
        let found = feed.cluster.redis.command(&["TYPE", "{btcfeed}:quarantine"]).await;
        redis::from_redis_value::<String>(found).unwrap() == "zset"
    })
    .await;
    feed.read(10).await;
    feed.until_told("any key", false).await;
    // Audits are kept again.
    let last = feed.seen.last().unwrap()["id"].clone();
    let mut client = feed.replicas[0].connect(&format!("format=audit&after={last}")).await;
    let audited = tick(&mut client).await;
    assert!(audited["inputs"].is_array(), "{audited}");
    let log = feed.replicas.iter().flat_map(|replica| replica.log());
    let replaced = log.filter(|line| line.contains("replaced keys of the feed")).collect::<String>();
    assert!(replaced.contains("{btcfeed}:audits") && replaced.contains("{btcfeed}:quarantine"), "{replaced}");
    let (status, _) = feed.replicas[0].get("/v1/candles?interval=1h").await;
    assert_eq!(status, 200);
    let bookmark = "format=full&client_id=3b1f0c52-7d4e-4c8a-9f6b-2e5a8d7c1904";
    let gap = feed.replicas[0].connect(bookmark).await.json().await;
    assert_eq!(gap["before"], feed.seen[0]["id"], "the bookmark is lost, so the client gets everything");
    until("the replicas to be known", async || {
        let status = feed.replicas[1].json("/v1/status").await;
        status["replicas"].as_array().is_some_and(|replicas| replicas.len() == 2)
    })
    .await;
    // Another replica can lead.
    let leader = feed.cluster.leader().await;
    let index = usize::from(leader != "r1");
    let mut client = feed.replicas[1 - index].connect("format=full").await;
    feed.replicas[index].signal(Signal::KILL);
    let other = if index == 0 { "r2" } else { "r1" };
    feed.cluster.until_led_by(other).await;
    entries(&mut client, 10).await;
    let settings = feed.cluster.redis.command(&["TYPE", "{btcfeed}:settings"]).await;
    assert_eq!(redis::from_redis_value::<String>(settings).unwrap(), "string");
    feed.check();
}

#[tokio::test]
async fn claim_replaces_a_value_of_a_wrong_type() {
    let server = Redis::start().await;
    let store = store::Redis::new(&server.url(), "shop", OPTIONS).unwrap();
    spoil(&server, "{shop}:claim").await;
    let claim = Claim { holder: "a", seen: TickId::ZERO, records: 1 };
    assert_eq!(store.claim(claim).await.unwrap(), None);
    assert_eq!(store.acquire("b").await.unwrap(), None, "the lease is reserved");
}
