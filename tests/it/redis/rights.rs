//! A user of Redis with exactly the documented rights, and with fewer.

use crate::support::failover::RedisCluster;
use crate::support::redis::Redis;
use crate::support::store_contract::{OPTIONS, append, lease};
use crate::support::{TestCluster, entries, http, until};
use btcfeed::store::{self, RedisOptions, Store};
use std::fs;
use std::time::Duration;

/// Returns the words of the documented ACL after the password.
fn documented() -> Vec<String> {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md")).unwrap();
    let line = page.lines().find_map(|line| line.strip_prefix("ACL SETUSER btcfeed on >PASSWORD ")).unwrap();
    line.split(' ').map(str::to_owned).collect()
}

async fn set_user(redis: &Redis, name: &str, words: &[String]) {
    let words = words.iter().map(String::as_str);
    let command: Vec<_> = ["ACL", "SETUSER", name, "reset", "on", ">pw"].into_iter().chain(words).collect();
    redis.command(&command).await;
}

fn url(redis: &Redis, user: &str) -> String {
    format!("redis://{user}:pw@127.0.0.1:{}", redis.port)
}

#[tokio::test]
async fn documented_rights_are_enough() {
    let cluster = TestCluster::new().await;
    set_user(&cluster.redis, "feed", &documented()).await;
    let url = url(&cluster.redis, "feed");
    let settings = [("REDIS_URL", url.as_str())];
    let replicas = [cluster.replica("r1", &settings).await, cluster.replica("r2", &settings).await];
    let id = "client_id=0123456789abcdefghijkl";
    for replica in &replicas {
        entries(&mut replica.connect(&format!("format=full&{id}")).await, 2).await;
        let history = format!("http://{}/v1/prices?format=full&after=0", replica.address);
        assert!(http().get(history).send().await.unwrap().status().is_success());
        until("the bookmark", async || {
            let keys: Vec<String> =
                redis::from_redis_value(cluster.redis.command(&["KEYS", "*client:*"]).await).unwrap();
            keys.len() == 1
        })
        .await;
    }
    let log: Vec<redis::Value> = redis::from_redis_value(cluster.redis.command(&["ACL", "LOG"]).await).unwrap();
    assert!(log.is_empty(), "a command was denied: {log:?}");
    let store = store::Redis::new(&url, "btcfeed", OPTIONS).unwrap();
    let found = store.inspect().await.unwrap();
    assert!(found.rejected.is_empty() && found.optional.is_empty(), "{found:?}");
}

#[tokio::test]
async fn each_missing_right_is_named() {
    let redis = Redis::start().await;
    let rights = documented();
    for (number, word) in rights.iter().enumerate() {
        let Some(command) = word.strip_prefix('+') else { continue };
        let user = format!("user{number}");
        let fewer: Vec<_> = rights.iter().filter(|other| *other != word).cloned().collect();
        set_user(&redis, &user, &fewer).await;
        let store = store::Redis::new(&url(&redis, &user), "btcfeed", OPTIONS).unwrap();
        let name = command.replace('|', " ").to_uppercase();
        let acquired = store.acquire("r1").await;
        match command {
            // A replica that lacks one of these rights can still write prices.
            "role" | "client|setname" | "subscribe" | "hsetnx" | "hkeys" | "hdel" => {
                store.release(&acquired.unwrap().unwrap()).await.unwrap();
            }
            _ => {
                let error = acquired.expect_err(command).to_string();
                assert!(error.contains(&format!("lacks rights that a leader needs: {name}")), "{error}");
            }
        }
        if command != "role" && command != "ping" {
            let found = store.inspect().await.unwrap();
            let is_optional = matches!(command, "client|setname" | "hsetnx" | "hkeys" | "hdel");
            let rejected = if is_optional { &found.optional } else { &found.rejected };
            assert!(rejected.iter().any(|rejected| rejected.starts_with(&name)), "{name}: {found:?}");
            assert_eq!(found.rejected.is_empty(), is_optional, "{name}: {found:?}");
        }
    }
    let keys: Vec<String> = redis::from_redis_value(redis.command(&["KEYS", "*"]).await).unwrap();
    for key in keys {
        assert!(key.starts_with("{btcfeed}:check:"), "{key}");
        let ttl: i64 = redis::from_redis_value(redis.command(&["PTTL", &key]).await).unwrap();
        assert_ne!(ttl, -1, "{key} never expires, and a user without the right to DEL leaves it behind");
    }
}

#[tokio::test]
async fn right_to_wait_is_tried_if_it_is_needed() {
    let redis = Redis::start().await;
    set_user(&redis, "feed", &documented()).await;
    let options = RedisOptions { min_acks: 1, ..RedisOptions::new(&url(&redis, "feed"), "btcfeed") };
    let store = store::Redis::open(&options, OPTIONS).unwrap();
    let error = store.acquire("r1").await.unwrap_err().to_string();
    assert!(error.contains("lacks rights that a leader needs: WAIT"), "{error}");
    let rejected = store.inspect().await.unwrap().rejected;
    assert!(rejected.iter().any(|rejected| rejected.starts_with("WAIT")), "{rejected:?}");
    redis.command(&["ACL", "SETUSER", "feed", "+wait"]).await;
    assert!(store.acquire("r1").await.unwrap().is_some());
}

#[tokio::test]
async fn rights_for_a_cluster_are_tried() {
    let cluster = RedisCluster::start().await;
    let mut rights = documented();
    rights.extend(["+cluster|slots", "+spublish", "+ssubscribe"].map(str::to_owned));
    for node in &cluster.nodes {
        set_user(node, "feed", &rights).await;
    }
    let url = cluster.url().replace("://", "://feed:pw@");
    let store = store::Redis::new(&url, "btcfeed", OPTIONS).unwrap();
    let rejected = store.inspect().await.unwrap().rejected;
    assert!(rejected.len() == 1 && rejected[0].starts_with("ASKING"), "{rejected:?}");
    let error = store.acquire("r1").await.unwrap_err().to_string();
    assert!(error.contains("lacks rights that a leader needs: ASKING"), "{error}");
    for node in &cluster.nodes {
        node.command(&["ACL", "SETUSER", "feed", "+asking"]).await;
    }
    let found = store.inspect().await.unwrap();
    assert!(found.rejected.is_empty() && found.optional.is_empty(), "{found:?}");
    assert!(store.acquire("r1").await.unwrap().is_some());
}

#[tokio::test]
async fn missing_key_and_channel_are_named() {
    let redis = Redis::start().await;
    let keys = "~{btcfeed}:*";
    for (word, other, expected) in [
        (keys, "~{btcfeed}:check:*", "EVALSHA on the keys of the feed"),
        (keys, "%R~{btcfeed}:*", "SET on the keys of the feed"),
        ("&{btcfeed}:*", "&{btcfeed}:live", "PUBLISH on the channels of the feed"),
    ] {
        let words: Vec<_> =
            documented().iter().map(|known| if known == word { other.to_owned() } else { known.clone() }).collect();
        set_user(&redis, "few", &words).await;
        let store = store::Redis::new(&url(&redis, "few"), "btcfeed", OPTIONS).unwrap();
        let error = store.acquire("r1").await.expect_err(other).to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn replica_without_a_right_does_not_lead() {
    let cluster = TestCluster::new().await;
    let fewer: Vec<_> = documented().into_iter().filter(|word| word != "+hset").collect();
    set_user(&cluster.redis, "few", &fewer).await;
    let url = url(&cluster.redis, "few");
    let settings = [("REDIS_URL", url.as_str()), ("BTCFEED_LOG_FORMAT", "json")];
    let replica = cluster.replica("r1", &settings).await;
    until("the log to name the right", async || {
        let lines = replica.logged("cannot campaign, retrying");
        lines.iter().any(|line| line["error"].as_str().is_some_and(|error| error.contains("HSET")))
    })
    .await;
    assert_eq!(cluster.redis.leader().await, None);
    // When the right is granted, the replica leads without a restart.
    set_user(&cluster.redis, "few", &documented()).await;
    entries(&mut replica.connect("format=full").await, 2).await;
    // A leader that loses this right keeps its ticks in the outbox. It writes none of them until the right is back.
    cluster.redis.command(&["ACL", "SETUSER", "few", "-hset"]).await;
    let count = || async {
        let count = cluster.redis.command(&["ZCARD", "{btcfeed}:ticks"]).await;
        redis::from_redis_value::<u64>(count).unwrap()
    };
    let before = count().await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(count().await <= before + 1, "entries were added although the hash `record` cannot be written");
    cluster.redis.command(&["ACL", "SETUSER", "few", "+hset"]).await;
    entries(&mut replica.connect("format=full").await, 2).await;
}

#[tokio::test]
async fn rights_are_tried_again_after_a_reconnect() {
    let server = Redis::start().await;
    set_user(&server, "feed", &documented()).await;
    let store = store::Redis::new(&url(&server, "feed"), "test2", OPTIONS).unwrap();
    assert!(store.acquire("r1").await.is_err(), "the rights are for another prefix");
    let store = store::Redis::new(&url(&server, "feed"), "btcfeed", OPTIONS).unwrap();
    let lease = lease(&store).await;
    append(&store, &lease, "1").await;
    store.release(&lease).await.unwrap();
    server.command(&["ACL", "SETUSER", "feed", "-publish"]).await;
    server.command(&["CLIENT", "KILL", "USER", "feed"]).await;
    until("the missing right to be noticed", async || store.acquire("r1").await.is_err()).await;
}
