//! Two primaries at the same time: the leader and one part of the clients are cut off with the old one.

use super::stage::{Stage, now};
use crate::support::redis::Redis;
use crate::support::until_within;
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
    // The old primary becomes a replica of the new one.
    let kept = ids(&copy).await;
    let lost: Vec<_> = ids(&stage.redis).await.into_iter().filter(|id| !kept.contains(id)).collect();
    assert!(lost.len() >= 5, "{lost:?}");
    stage.redis.command(&["REPLICAOF", "127.0.0.1", &copy.port.to_string()]).await;
    stage.members[place].connect_to(copy.port).await;
    let healed = now();
    let replica = stage.members[place].replica.as_ref().unwrap();
    until_within(SEEN, "the operator to see it", async || {
        let line = "the feed goes on after an older entry than this replica's newest";
        replica.metric("btcfeed_forks_total").await >= 1.0 && replica.log().iter().any(|entry| entry.contains(line))
    })
    .await;
    assert!(stage.is_flowing(healed + 400, SEEN).await, "the feed does not flow {SEEN:?} after the fault");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    until_within(SEEN, "the old primary to follow", async || ids(&stage.redis).await == ids(&copy).await).await;
    let mut records = stage.records(now() - 1200).await;
    // The others lead when the lease that they find in the copy has expired.
    records.handover_ms = Some(3000);
    let base = kept.iter().filter(|id| **id < lost[0]).max().unwrap();
    // What the losing primary accepted is not kept, so its clients got entries that are not in the history.
    let got = std::mem::take(&mut records.clients);
    for mut messages in got {
        let number = |message: &Value, name: &str| message[name].as_u64();
        let is_lost = |message: &Value| number(message, "id").is_some_and(|id| lost.contains(&id));
        let last = messages.iter().rposition(is_lost);
        if let Some(last) = last {
            let gap = &messages[last + 1];
            assert_eq!((&gap["type"], &gap["reason"]), (&"gap".into(), &"history_lost".into()), "{gap}");
            assert_eq!(number(gap, "after"), number(&messages[last], "id"));
            assert_eq!(number(gap, "before"), number(&messages[last + 2], "id"));
            // The gap also stands for the entries that took the place of the lost ones.
            messages[last + 1]["after"] = (*base).into();
        }
        records.clients.push(messages.into_iter().filter(|message| !is_lost(message)).collect());
    }
    let findings = records.check();
    assert!(findings.violations.is_empty(), "{:#?}", findings.violations);
    assert!(findings.gaps.keys().all(|reason| reason == "history_lost"), "{:?}", findings.gaps);
    assert!(!findings.gaps.is_empty(), "no client was told");
}

#[tokio::test(flavor = "multi_thread")]
async fn follower_of_an_isolated_primary_says_so() {
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
    let messages = stage.watchers[place].messages();
    assert!(messages.iter().all(|message| message["type"] != "gap"), "it missed nothing in the end");
}
