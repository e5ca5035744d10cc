//! Recovery of the feed. After an outage of Redis, a replica that has records or entries that Redis lacks leads first,
//! no matter how long it has been running.

use super::faults::{longest_pause, split};
use crate::support::proxy::Proxy;
use crate::support::replica::Replica;
use crate::support::{INTERVAL, LEASE, SERVE, TestCluster, entries, replica_settings, unbroken, until, until_within};
use futures_util::future::join_all;
use rustix::process::Signal;
use std::time::Duration;
use tokio::time::sleep;

/// Starts replicas while Redis is unavailable. They have none of the feed's entries.
async fn newcomers(cluster: &TestCluster) -> Vec<Replica> {
    let url = cluster.redis.url();
    let names = (1..=4).map(|number| format!("newcomer{number}"));
    let settings: Vec<_> =
        names.map(|name| replica_settings(&cluster.exchange, &name, &[("REDIS_URL", &url)])).collect();
    join_all(settings.iter().map(|settings| Replica::start_unready(settings))).await
}

#[tokio::test]
async fn newcomers_wait_for_a_leader_that_holds_ticks() {
    let mut cluster = TestCluster::new().await;
    let (leader, _others) = split(&cluster, cluster.replicas::<2>().await).await;
    let mut client = leader.connect("format=full").await;
    let mut seen = entries(&mut client, 3).await;
    cluster.redis.kill().await;
    let _newcomers = newcomers(&cluster).await;
    sleep(LEASE * 4).await;
    cluster.redis.run().await;
    seen.extend(entries(&mut client, 30).await);
    let pause = longest_pause(&seen);
    assert!(pause < LEASE, "the leader held the ticks of the outage: {pause:?} without a tick");
}

#[tokio::test]
async fn newcomers_wait_for_one_with_the_history() {
    let mut cluster = TestCluster::new().await;
    let (leader, mut others) = split(&cluster, cluster.replicas::<2>().await).await;
    let mut client = others[0].connect("format=full&since=0").await;
    let mut seen = entries(&mut client, 10).await;
    // Redis comes back empty, and the leader stays dead. Only a follower has the history.
    cluster.redis.kill().await;
    cluster.redis.delete_data();
    leader.signal(Signal::KILL);
    let newcomers = newcomers(&cluster).await;
    sleep(LEASE).await;
    cluster.redis.run().await;
    seen.extend(entries(&mut client, 5).await);
    unbroken(&seen);
    let other = others.remove(0);
    for replica in newcomers.iter().chain([&other]) {
        replica.ready().await;
        let mut replay = replica.connect("format=full&since=0").await;
        assert_eq!(entries(&mut replay, seen.len()).await, seen);
    }
}

#[tokio::test]
async fn lost_history_comes_back_within_seconds() {
    let cluster = TestCluster::new().await;
    let filled = cluster.redis.fill(300).await.len();
    // The replicas check the store several times before the leader writes again.
    let slow = [("BTCFEED_INTERVAL", "4s")];
    let replicas = [cluster.replica("r1", &slow).await, cluster.replica("r2", &slow).await];
    for replica in &replicas {
        entries(&mut replica.connect("format=full").await, 1).await;
    }
    cluster.redis.command(&["FLUSHALL"]).await;
    let count = async || {
        let count = cluster.redis.command(&["ZCARD", "{btcfeed}:ticks"]).await;
        redis::from_redis_value::<usize>(count).unwrap()
    };
    until_within(Duration::from_secs(15), "the history", async || count().await > filled).await;
}

#[tokio::test]
async fn hole_of_a_new_replica_is_filled() {
    let cluster = TestCluster::new().await;
    let ids = cluster.redis.fill(30).await;
    let middle = cluster.redis.command(&["ZRANGE", "{btcfeed}:ticks", "10", "19", "WITHSCORES"]).await;
    let middle: Vec<(String, u64)> = redis::from_redis_value(middle).unwrap();
    cluster.redis.command(&["ZREMRANGEBYRANK", "{btcfeed}:ticks", "10", "19"]).await;
    // The replica starts before the middle of the history is put back.
    let replica = cluster.replica("r1", &[SERVE]).await;
    let mut client = replica.connect("format=full&since=0").await;
    entries(&mut client, 10).await;
    assert_eq!(client.json().await["type"], "gap");
    for (text, id) in &middle {
        cluster.redis.command(&["ZADD", "{btcfeed}:ticks", &id.to_string(), text]).await;
    }
    until("the replica to have all entries", async || {
        let (_, page) = replica.get("/v1/prices?format=full&after=0&limit=100").await;
        page.matches("\"prev\":").count() == ids.len()
    })
    .await;
    let got = entries(&mut replica.connect("format=full&since=0").await, ids.len()).await;
    assert_eq!(unbroken(&got), ids);
}

#[tokio::test]
async fn overtaken_leader_does_not_claim_what_it_held() {
    let cluster = TestCluster::new().await;
    let proxy = Proxy::start(cluster.redis.port).await;
    let cut_off = cluster.replica("r1", &[("REDIS_URL", &proxy.url())]).await;
    entries(&mut cut_off.connect("format=full").await, 2).await;
    let _other = cluster.replica("r2", &[]).await;
    proxy.cut();
    let holds_none = async || cut_off.metric("btcfeed_held_records").await == 0.0;
    until("ticks that r1 holds", async || !holds_none().await).await;
    cluster.until_led_by("r2").await;
    proxy.restore();
    until("r1 to drop them", holds_none).await;
    let mut redis = cluster.redis.connection().await;
    until("the lease to be reserved for nobody", async || {
        let claims: u64 = ::redis::cmd("EXISTS").arg("{btcfeed}:claim").query_async(&mut redis).await.unwrap();
        claims == 0
    })
    .await;
}

#[tokio::test]
async fn candidates_error_does_not_delay_its_term() {
    let cluster = TestCluster::new().await;
    let lease = Duration::from_secs(3);
    let settings = [("BTCFEED_LEASE_TTL", "3s")];
    let replicas = [cluster.replica("r1", &settings).await, cluster.replica("r2", &settings).await];
    let (leader, others) = split(&cluster, replicas).await;
    let mut client = others[0].connect("format=full").await;
    let mut seen = entries(&mut client, 3).await;
    // All connections break, so the next request of the candidate fails.
    let mut redis = cluster.redis.connection().await;
    let _: u64 = ::redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("normal").query_async(&mut redis).await.unwrap();
    leader.signal(Signal::KILL);
    seen.extend(entries(&mut client, 10).await);
    let pause = longest_pause(&seen);
    assert!(pause <= lease + Duration::from_secs(1) + INTERVAL, "{pause:?} without a tick");
}

#[tokio::test]
async fn lease_that_would_not_expire_is_taken_over() {
    let cluster = TestCluster::new().await;
    let (mut leader, others) = split(&cluster, cluster.replicas::<2>().await).await;
    let mut redis = cluster.redis.connection().await;
    let mut client = others[0].connect("format=full").await;
    let mut seen = entries(&mut client, 3).await;
    // The leader is paused first, because its next renewal would give the lease a time to live again.
    leader.signal(Signal::STOP);
    let _: u64 = ::redis::cmd("PERSIST").arg("{btcfeed}:lease").query_async(&mut redis).await.unwrap();
    leader.signal(Signal::KILL);
    leader.exit().await;
    seen.extend(entries(&mut client, 5).await);
    assert!(longest_pause(&seen) < LEASE + Duration::from_secs(2));
    // The lease of the next leader expires in an hour, as if the clock of Redis had been set back.
    let mut leader = others.into_iter().next().unwrap();
    let newcomer = cluster.replica("r3", &[]).await;
    let mut client = newcomer.connect("format=full").await;
    let mut seen = entries(&mut client, 3).await;
    leader.signal(Signal::STOP);
    let mut expire = ::redis::cmd("PEXPIRE");
    let _: u64 = expire.arg("{btcfeed}:lease").arg(3_600_000).query_async(&mut redis).await.unwrap();
    leader.signal(Signal::KILL);
    leader.exit().await;
    seen.extend(entries(&mut client, 5).await);
    assert!(longest_pause(&seen) < LEASE + Duration::from_secs(2));
}

#[tokio::test]
async fn client_whose_bookmark_is_garbage_gets_a_gap() {
    let cluster = TestCluster::new().await;
    let replica = cluster.replica("r1", &[]).await;
    let seen = entries(&mut replica.connect("format=full&since=0").await, 3).await;
    let mut redis = cluster.redis.connection().await;
    for (client, write) in
        [("3b1f0c52-7d4e-4c8a-9f6b-2e5a8d7c1904", "SET"), ("9c27d5e1-0a3b-4f68-b1d4-7e6f5a8c2b90", "RPUSH")]
    {
        let key = format!("{{btcfeed}}:client:{client}");
        let _: ::redis::Value = ::redis::cmd(write).arg(key).arg("garbage").query_async(&mut redis).await.unwrap();
        let mut client = replica.connect(&format!("format=full&client_id={client}")).await;
        let gap = client.json().await;
        assert_eq!((&gap["type"], &gap["before"]), (&"gap".into(), &seen[0]["id"]), "{write}: {gap}");
        assert_eq!(entries(&mut client, 3).await, seen);
    }
}

#[tokio::test]
async fn replica_with_other_settings_leads_only_alone() {
    let cluster = TestCluster::new().await;
    let first = cluster.replica("r1", &[]).await;
    cluster.until_led_by("r1").await;
    let other = cluster.replica("r2", &[("BTCFEED_RETENTION", "1h"), ("BTCFEED_CURRENCIES", "USD")]).await;
    until("the fault of the other replica", async || {
        let report: serde_json::Value = serde_json::from_str(&other.get("/v1/status").await.1).unwrap();
        report["store"]["fault"].as_str().is_some_and(|fault| {
            fault.contains("kept for 24h; one tick") && fault.contains(". This replica: real prices in USD")
        })
    })
    .await;
    let mut redis = cluster.redis.connection().await;
    for _ in 0..5 {
        let _: u64 = ::redis::cmd("DEL").arg("{btcfeed}:lease").query_async(&mut redis).await.unwrap();
        assert_eq!(cluster.leader().await, "r1");
    }
    drop(first);
    cluster.until_led_by("r2").await;
}
