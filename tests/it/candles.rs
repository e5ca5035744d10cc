//! The candles that replicas keep in the store.

use crate::support::{SERVE, TestCluster, until};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const KEY: &str = "{btcfeed}:candles";

/// Returns the texts of the hours in Redis.
async fn kept(cluster: &TestCluster) -> BTreeMap<u64, String> {
    redis::cmd("HGETALL").arg(KEY).query_async(&mut cluster.redis.connection().await).await.unwrap()
}

#[tokio::test]
async fn new_replica_reads_the_kept_candles() {
    let cluster = TestCluster::new().await;
    let event = |usd: f64| json!({"type": "tick", "prices": {"USD": usd.to_string()}, "sources": {"USD": ["kraken"]}});
    // Four hours, of which at least two are whole.
    cluster.redis.write((0..14_400).map(|number| event(97_000.0 + f64::from(number % 777))).collect()).await;
    let settings = [SERVE, ("BTCFEED_WINDOW", "100")];
    let first = cluster.replica("r1", &settings).await;
    until("candles in Redis", async || kept(&cluster).await.len() >= 3).await;
    let candles = |interval: &'static str| format!("/v1/candles?interval={interval}&limit=10000");
    let mut before = Vec::new();
    for interval in ["1m", "5m", "1h", "1d"] {
        before.push(first.get(&candles(interval)).await.1);
    }
    // An hour that cannot be decoded is read from its entries.
    let mut connection = cluster.redis.connection().await;
    let hours = kept(&cluster).await;
    let [broken, changed] = [0, 1].map(|place| *hours.keys().nth(place).unwrap());
    let _: u64 = redis::cmd("HSET").arg(KEY).arg(broken).arg("{").query_async(&mut connection).await.unwrap();
    // The clock of another one was ahead when it kept this hour.
    let day = 24 * 3_600_000;
    let (start, text) = hours.last_key_value().unwrap();
    let (future, mut hour): (u64, Value) = (start + day, serde_json::from_str(text).unwrap());
    for id in
        ["/prev", "/first", "/id"].map(str::to_owned).into_iter().chain((0..60).map(|n| format!("/minutes/{n}/id")))
    {
        if let Some(id) = hour.pointer_mut(&id) {
            *id = (id.as_u64().unwrap() + day).into();
        }
    }
    let text = hour.to_string();
    let _: u64 = redis::cmd("HSET").arg(KEY).arg(future).arg(text).query_async(&mut connection).await.unwrap();
    let second = cluster.replica("r2", &settings).await;
    for (interval, expected) in ["1m", "5m", "1h", "1d"].into_iter().zip(&before) {
        assert_eq!(second.get(&candles(interval)).await.1, *expected, "{interval}");
    }
    until("the candles of the future to be deleted", async || !kept(&cluster).await.contains_key(&future)).await;
    until("the invalid candles to be replaced", async || kept(&cluster).await[&broken] == hours[&broken]).await;
    // A replica believes the candles that are kept, so it has read them.
    let higher = hours[&changed].replace("97776", "98888");
    assert_ne!(higher, hours[&changed]);
    let _: u64 = redis::cmd("HSET").arg(KEY).arg(changed).arg(higher).query_async(&mut connection).await.unwrap();
    let third = cluster.replica("r3", &settings).await;
    let answer: Value = serde_json::from_str(&third.get(&candles("1h")).await.1).unwrap();
    let hour = answer["candles"].as_array().unwrap().iter().find(|candle| candle["id"] == changed).unwrap();
    assert_eq!(hour["prices"]["USD"]["high"], 98_888, "{hour}");
    // A replica with another retention saves an hour, and deletes none that the others still need.
    let (hours, newest) = (kept(&cluster).await, kept(&cluster).await.pop_last().unwrap().0);
    let _: u64 = redis::cmd("HDEL").arg(KEY).arg(newest).query_async(&mut connection).await.unwrap();
    let _short = cluster.replica("r4", &[SERVE, ("BTCFEED_RETENTION", "125m")]).await;
    until("the hour to be saved", async || kept(&cluster).await.contains_key(&newest)).await;
    assert_eq!(kept(&cluster).await.keys().collect::<Vec<_>>(), hours.keys().collect::<Vec<_>>());
}
