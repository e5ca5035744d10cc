//! Two primaries of Redis at the same time. One replica and its clients stay with the old primary, and the other
//! replicas use the new one.

use super::stage::{Stage, now};
use super::watcher::{Port, Watcher};
use crate::support::exchange::Exchange;
use crate::support::failover::Sentinels;
use crate::support::proxy::Proxy;
use crate::support::redis::Redis;
use crate::support::replica::Replica;
use crate::support::{replica_settings, until_within};
use futures_util::future::join_all;
use redis::aio::MultiplexedConnection;
use serde_json::Value;
use std::time::Duration;

/// The time within which an operator sees the fault.
const SEEN: Duration = Duration::from_secs(5);

/// Starts a copy of the stage's Redis and makes it a primary of its own. All replicas except `left` are connected to
/// it.
async fn split(stage: &Stage, left: &str) -> Redis {
    stage.redis.command(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"]).await;
    let port = stage.redis.port.to_string();
    let copy = Redis::start_with(&["--replicaof", "127.0.0.1", &port, "--repl-diskless-sync-delay", "0"]).await;
    let members = async |redis: &Redis| {
        redis::from_redis_value::<u64>(redis.command(&["ZCARD", "{btcfeed}:ticks"]).await).unwrap()
    };
    until_within(SEEN, "the copy to follow", async || members(&copy).await + 1 >= members(&stage.redis).await).await;
    copy.command(&["REPLICAOF", "NO", "ONE"]).await;
    for member in stage.members.iter().filter(|member| member.name != left) {
        member.connect_to(copy.port).await;
    }
    copy
}

/// Returns the id and the `prev` of each entry in a history. Both leaders may give the same id, so an id alone does not
/// identify an entry.
async fn links(redis: &Redis) -> Vec<(u64, u64)> {
    let history = redis.command(&["ZRANGE", "{btcfeed}:ticks", "0", "-1"]).await;
    let link = |entry: String| {
        let entry: Value = serde_json::from_str(&entry).unwrap();
        (entry["id"].as_u64().unwrap(), entry["prev"].as_u64().unwrap())
    };
    redis::from_redis_value::<Vec<String>>(history).unwrap().into_iter().map(link).collect()
}

/// Returns the ids in a history.
async fn ids(redis: &Redis) -> Vec<u64> {
    let history = redis.command(&["ZRANGE", "{btcfeed}:ticks", "0", "-1", "WITHSCORES"]).await;
    redis::from_redis_value::<Vec<(String, u64)>>(history).unwrap().into_iter().map(|(_, id)| id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_the_losing_primary_get_a_gap() {
    let stage = Stage::start().await;
    let old = stage.leader.clone();
    let place = stage.members.iter().position(|member| member.name == old).unwrap();
    let copy = split(&stage, &old).await;
    let began = now();
    // Both primaries have a leader for some seconds.
    until_within(Duration::from_secs(20), "entries of both leaders", async || {
        let newer = |ids: Vec<u64>| ids.into_iter().filter(|id| *id > began + 1000).count();
        newer(ids(&copy).await) >= 5 && newer(ids(&stage.redis).await) >= 5
    })
    .await;
    // The old primary stops writing, and then becomes a replica of the new one.
    stage.redis.command(&["CONFIG", "SET", "min-replicas-to-write", "9"]).await;
    let kept = links(&copy).await;
    let lost: Vec<_> = links(&stage.redis).await.into_iter().filter(|link| !kept.contains(link)).collect();
    assert!(lost.len() >= 5, "{lost:?}");
    stage.redis.command(&["REPLICAOF", "127.0.0.1", &copy.port.to_string()]).await;
    stage.members[place].connect_to(copy.port).await;
    let healed = now();
    let replica = stage.members[place].replica.as_ref().unwrap();
    until_within(SEEN, "the operator to see it", async || {
        let line = "Redis has lost the entries after prev up to head";
        replica.metric("btcfeed_forks_total").await >= 1.0 && replica.log().iter().any(|entry| entry.contains(line))
    })
    .await;
    assert!(stage.is_flowing(healed + 400, SEEN).await, "the feed does not flow {SEEN:?} after the fault");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    until_within(SEEN, "the old primary to follow", async || ids(&stage.redis).await == ids(&copy).await).await;
    let mut records = stage.records(now() - 1200).await;
    // The other replicas can lead only when the lease in the copy has expired.
    records.handover_ms = Some(3000);
    let base = lost[0].1;
    // What the losing primary accepted is not kept, so its clients got entries that are not in the history.
    let got = std::mem::take(&mut records.clients);
    for mut messages in got {
        let number = |message: &Value, name: &str| message[name].as_u64();
        let is_lost = |message: &Value| {
            number(message, "id").zip(number(message, "prev")).is_some_and(|link| lost.contains(&link))
        };
        let last = messages.iter().rposition(is_lost);
        if let Some(last) = last {
            let gap = &messages[last + 1];
            assert_eq!((&gap["type"], &gap["reason"]), (&"gap".into(), &"history_lost".into()), "{gap}");
            assert_eq!(number(gap, "after"), number(&messages[last], "id"));
            assert_eq!(number(gap, "before"), number(&messages[last + 2], "id"));
            // The client has not received the entries that the new primary has instead of the lost ones. For the check,
            // the gap begins before these entries.
            messages[last + 1]["after"] = base.into();
        }
        records.clients.push(messages.into_iter().filter(|message| !is_lost(message)).collect());
    }
    let findings = records.check();
    assert!(findings.violations.is_empty(), "{:#?}", findings.violations);
    assert!(findings.gaps.keys().all(|reason| reason == "history_lost"), "{:?}", findings.gaps);
    assert!(!findings.gaps.is_empty(), "no client was told");
}

#[tokio::test(flavor = "multi_thread")]
async fn follower_of_an_isolated_primary_is_stale() {
    let mut stage = Stage::start().await;
    let follower = stage.follower().await;
    let copy = split(&stage, &follower).await;
    // The old primary gets no entry any more.
    let silent = now();
    let place = stage.members.len() - 1;
    let replica = stage.members[place].replica.as_ref().unwrap();
    let limit = super::stage::STALE_AFTER + SEEN;
    until_within(limit, "the follower to say so", async || {
        let report: Value = serde_json::from_str(&replica.get("/v1/status").await.1).unwrap();
        report["state"] == "stale"
            && replica.metric("btcfeed_feed_state{state=\"stale\"}").await == 1.0
            && !replica.logged("the feed is stale").is_empty()
    })
    .await;
    stage.members[place].connect_to(copy.port).await;
    until_within(SEEN, "the follower to be live", async || {
        let report: Value = serde_json::from_str(&replica.get("/v1/status").await.1).unwrap();
        report["state"] == "live" && stage.watchers[place].last() > silent + 1000
    })
    .await;
    let mut messages = stage.watchers[place].messages();
    messages.retain(|message| message["type"] == "gap");
    assert_eq!(messages, [] as [Value; 0], "it missed nothing in the end");
}

/// Returns a connection as the user `feed`. The fault disables only the user `default`.
async fn connect_as_feed(port: u16) -> MultiplexedConnection {
    let client = redis::Client::open(format!("redis://feed:secret@127.0.0.1:{port}")).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

/// Returns the ids after `after` in the history of a server.
async fn ids_after(connection: &mut MultiplexedConnection, after: u64) -> Vec<u64> {
    let mut read = redis::cmd("ZRANGEBYSCORE");
    read.arg("{btcfeed}:ticks").arg(format!("({after}")).arg("+inf").arg("WITHSCORES");
    let found: Vec<(String, u64)> = read.query_async(connection).await.unwrap();
    found.into_iter().map(|(_, id)| id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_off_leader_joins_the_new_primary() {
    let (sentinels, exchange) = (Sentinels::start().await, Exchange::start().await);
    for server in &sentinels.servers {
        server.command(&["ACL", "SETUSER", "feed", "on", ">secret", "~*", "&*", "+@all"]).await;
    }
    let proxies = join_all(sentinels.ports.iter().map(|port| Proxy::start(*port))).await;
    let direct = sentinels.url().replace("://", "://feed:secret@");
    let through = sentinels.ports.iter().zip(&proxies);
    let cut_off = through.fold(direct.clone(), |url, (port, proxy)| {
        url.replace(&format!(":{port}"), &format!(":{}", proxy.address.port()))
    });
    let start = async |name: &str, url: &str| {
        Replica::start(&replica_settings(&exchange, name, &[("REDIS_URL", url), ("BTCFEED_LOG_FORMAT", "json")])).await
    };
    let leader = start("r1", &cut_off).await;
    leader.priced().await;
    let _other = start("r2", &direct).await;
    let watcher = Watcher::start(vec![Port::from(&*leader.address)]);
    // The old primary and the leader lose the Sentinels and the other servers, but not each other.
    let old = sentinels.primary().await;
    let mut isolated = connect_as_feed(sentinels.servers[old].port).await;
    let began = now();
    proxies.iter().for_each(Proxy::cut);
    let mut fault = redis::pipe();
    fault.cmd("ACL").arg("SETUSER").arg("default").arg("off").ignore();
    fault.cmd("CLIENT").arg("KILL").arg("USER").arg("default").ignore();
    let _: () = fault.query_async(&mut isolated).await.unwrap();
    let mut new = old;
    until_within(Duration::from_secs(20), "another primary", async || {
        new = sentinels.primary().await;
        new != old
    })
    .await;
    let mut promoted = connect_as_feed(sentinels.servers[new].port).await;
    until_within(Duration::from_secs(10), "entries of both leaders", async || {
        let own = ids_after(&mut promoted, began).await;
        let lost = ids_after(&mut isolated, began).await;
        lost.iter().filter(|id| !own.contains(id)).count() >= 5
            && own.iter().filter(|id| !lost.contains(id)).count() >= 5
    })
    .await;
    assert!(watcher.messages().iter().all(|message| message["type"] != "gap"), "nobody can notice it yet");
    let healed = now();
    proxies.iter().for_each(Proxy::restore);
    let _: () = redis::cmd("ACL").arg("SETUSER").arg("default").arg("on").query_async(&mut isolated).await.unwrap();
    let told = || watcher.messages().into_iter().find(|message| message["type"] == "gap");
    until_within(SEEN * 2, "the gap", async || told().is_some_and(|gap| gap["reason"] == "history_lost")).await;
    until_within(SEEN, "the operator to see it", async || leader.metric("btcfeed_forks_total").await >= 1.0).await;
    until_within(SEEN, "the feed of the new primary", async || {
        watcher.last() > healed && ids_after(&mut promoted, healed).await.contains(&watcher.last())
    })
    .await;
}
