//! The candles that replicas keep in the store.

use crate::support::store_contract::{OPTIONS, lease, tick};
use crate::support::{SERVE, TestCluster, until};
use btcfeed::candle::{Book, Detail, Interval};
use btcfeed::feed::Entry;
use btcfeed::store::{self, Store};
use btcfeed::tick::TickId;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The key of the hash with the minutes of each hour.
const KEY: &str = "{btcfeed}:candles";
/// The key of the hash with the candle of each hour.
const HOURS_KEY: &str = "{btcfeed}:hours";
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Returns the minutes of each hour in Redis, as text.
async fn kept(cluster: &TestCluster) -> BTreeMap<u64, String> {
    kept_in(cluster, KEY).await
}

/// Returns the texts of the hours in one of the hashes.
async fn kept_in(cluster: &TestCluster, key: &str) -> BTreeMap<u64, String> {
    redis::cmd("HGETALL").arg(key).query_async(&mut cluster.redis.connection().await).await.unwrap()
}

#[tokio::test]
async fn new_replica_reads_the_kept_candles() {
    let cluster = TestCluster::new().await;
    let event = |usd: f64| json!({"type": "tick", "prices": {"USD": usd.to_string()}, "sources": {"USD": ["kraken"]}});
    // Four hours of ticks. At least three hours have ended, including the hour in which the feed begins.
    cluster.redis.write((0..14_400).map(|number| event(97_000.0 + f64::from(number % 777))).collect()).await;
    let settings = [SERVE, ("BTCFEED_WINDOW", "100")];
    let first = cluster.replica("r1", &settings).await;
    until("candles in Redis", async || kept(&cluster).await.len() >= 3).await;
    let candles = |interval: &'static str| format!("/v1/candles?interval={interval}&limit=10000");
    let mut before = Vec::new();
    for interval in ["1m", "5m", "15m", "1h", "4h", "1d"] {
        before.push(first.get(&candles(interval)).await.1);
    }
    // An hour that cannot be decoded is read from its entries.
    let mut connection = cluster.redis.connection().await;
    let hours = kept(&cluster).await;
    let [broken, changed] = [0, 1].map(|place| *hours.keys().nth(place).unwrap());
    let _: u64 = redis::cmd("HSET").arg(KEY).arg(broken).arg("{").query_async(&mut connection).await.unwrap();
    // An hour of the future, as a replica whose clock is a day ahead would keep it.
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
    // The single candle of that hour, and texts of a newer version for the hour after it.
    let single = kept_in(&cluster, HOURS_KEY).await.pop_last().unwrap().1;
    let mut single: Value = serde_json::from_str(&single).unwrap();
    for id in ["/prev", "/first", "/id", "/candle/id"] {
        if let Some(id) = single.pointer_mut(id) {
            *id = (id.as_u64().unwrap() + day).into();
        }
    }
    let mut pipe = redis::pipe();
    pipe.hset(HOURS_KEY, future, single.to_string()).ignore();
    let newer = future + 3_600_000;
    pipe.hset(HOURS_KEY, newer, "of a newer version").ignore().hset(KEY, newer, "of a newer version").ignore();
    pipe.query_async::<()>(&mut connection).await.unwrap();
    let second = cluster.replica("r2", &settings).await;
    for (interval, expected) in ["1m", "5m", "15m", "1h", "4h", "1d"].into_iter().zip(&before) {
        assert_eq!(second.get(&candles(interval)).await.1, *expected, "{interval}");
    }
    for key in [KEY, HOURS_KEY] {
        let newest = async || kept_in(&cluster, key).await.pop_last().unwrap().0;
        until("the candles of the future to be deleted", async || newest().await < future).await;
    }
    until("the invalid candles to be replaced", async || kept(&cluster).await[&broken] == hours[&broken]).await;
    // The next replica shows a forged value, which proves that it reads the kept candles, not the entries.
    let higher = hours[&changed].replace("97776", "98888");
    assert_ne!(higher, hours[&changed]);
    let _: u64 = redis::cmd("HSET").arg(KEY).arg(changed).arg(higher).query_async(&mut connection).await.unwrap();
    let third = cluster.replica("r3", &settings).await;
    let answer: Value = serde_json::from_str(&third.get(&candles("1h")).await.1).unwrap();
    let hour = answer["candles"].as_array().unwrap().iter().find(|candle| candle["id"] == changed).unwrap();
    assert_eq!(hour["prices"]["USD"]["high"], 98_888, "{hour}");
    // A replica with a shorter retention saves a missing hour, and deletes no hour that the others still need.
    let (hours, newest) = (kept(&cluster).await, kept(&cluster).await.pop_last().unwrap().0);
    let _: u64 = redis::cmd("HDEL").arg(KEY).arg(newest).query_async(&mut connection).await.unwrap();
    let _short = cluster.replica("r4", &[SERVE, ("BTCFEED_RETENTION", "125m")]).await;
    until("the hour to be saved", async || kept(&cluster).await.contains_key(&newest)).await;
    assert_eq!(kept(&cluster).await.keys().collect::<Vec<_>>(), hours.keys().collect::<Vec<_>>());
}

/// Fills the store as if a feed had begun `ago` before now, with a tick every ten minutes. The store gets the candles
/// of all whole hours, and the ticks of the last two hours. The price of a tick is the number of full hours since 1970.
/// Returns the id of the first tick.
async fn keep(store: &dyn Store, ago: Duration) -> TickId {
    let now = TickId::now();
    let (mut id, mut prev, mut book) = (now.minus(ago), TickId::ZERO, Book::new(ago));
    let (first, mut recent) = (id, Vec::new());
    while id < now {
        let entry = Entry { id, prev, event: tick(&(id.ms() / 3_600_000).to_string()).event };
        book.add(&entry);
        if id > now.minus(HOUR * 2) {
            recent.push(Arc::new(entry));
        }
        (prev, id) = (id, id.plus(HOUR / 6));
    }
    for detail in Detail::ALL {
        let starts: Vec<_> = book.whole_hours(detail).collect();
        for page in starts.chunks(1000) {
            let text = |start: &TickId| (*start, book.kept_hour(detail, *start).unwrap().encode());
            store.keep_hours(detail, &page.iter().map(text).collect::<Vec<_>>(), &[]).await.unwrap();
        }
    }
    let lease = lease(store).await;
    store.restore(&lease, &recent).await.unwrap();
    store.release(&lease).await.unwrap();
    first
}

#[tokio::test]
async fn year_of_days_needs_no_ticks() {
    let cluster = TestCluster::new().await;
    let store = store::Redis::new(&cluster.redis.url(), "btcfeed", OPTIONS).unwrap();
    let first = keep(&store, DAY * 365).await;
    let started = Instant::now();
    let replica = cluster.replica("r1", &[SERVE]).await;
    let ready = started.elapsed();
    let candles = async |query: &str| -> Value {
        serde_json::from_str(&replica.get(&format!("/v1/candles?limit=10000&{query}")).await.1).unwrap()
    };
    let days = candles("interval=1d").await;
    eprintln!("ready after {ready:?}, the days of a year after {:?}", started.elapsed());
    assert_eq!((days["candles"].as_array().unwrap().len(), &days["gaps"]), (366, &json!([])), "{first}");
    for (interval, hours) in [("1h", 1), ("4h", 4), ("1d", 24)] {
        let answer = candles(&format!("interval={interval}")).await;
        let candles = answer["candles"].as_array().unwrap();
        // The first and the last one are not complete.
        for candle in &candles[1..candles.len() - 1] {
            let first = candle["id"].as_u64().unwrap() / 3_600_000;
            let usd = &candle["prices"]["USD"];
            let found = [&usd["open"], &usd["low"], &usd["high"], &usd["close"], &candle["ticks"]];
            let last = first + hours - 1;
            assert_eq!(found.map(|value| value.as_u64().unwrap()), [first, first, last, last, hours * 6], "{candle}");
        }
    }
    // Minutes are kept for 30 days, so the replica deletes older ones from the store.
    until("older minutes to be deleted", async || {
        store.kept_hours(Detail::Minutes).await.unwrap().unwrap().len() <= 721
    })
    .await;
    let minutes = candles("interval=15m").await;
    let oldest = TickId::from_ms(minutes["candles"][0]["id"].as_u64().unwrap());
    let age = TickId::now().since(oldest);
    // The newest tick is up to ten minutes old.
    assert!(age <= DAY * 30 + HOUR && age > DAY * 30 - HOUR, "{age:?}");
    let gap = &minutes["gaps"][0];
    assert_eq!((gap["after"].as_u64(), gap["reason"].as_str()), (Some(0), Some("history_expired")), "{gap}");
    let old = candles("interval=1m&since=100d&until=99d").await;
    assert_eq!((&old["candles"], old["gaps"].as_array().unwrap().len()), (&json!([]), 1), "{old}");
    assert_eq!(store.kept_hours(Detail::Hour).await.unwrap().unwrap()[0], Interval::Hour.start(first));
}

#[tokio::test]
async fn unreadable_old_hours_are_not_deleted() {
    let cluster = TestCluster::new().await;
    let store = store::Redis::new(&cluster.redis.url(), "btcfeed", OPTIONS).unwrap();
    keep(&store, DAY * 3).await;
    let hours = store.kept_hours(Detail::Hour).await.unwrap().unwrap();
    let [lost, kept, old] = [hours[5], hours[10], hours[12]];
    let newer = [lost, kept].map(|start| (start, "of a newer version".to_owned()));
    store.keep_hours(Detail::Hour, &newer, &[lost, kept]).await.unwrap();
    let minutes = (old, "minutes of a newer version".to_owned());
    store.keep_hours(Detail::Minutes, std::slice::from_ref(&minutes), &[lost, old]).await.unwrap();
    let replica = cluster.replica("r1", &[SERVE]).await;
    let answer: Value = serde_json::from_str(&replica.get("/v1/candles?interval=1h").await.1).unwrap();
    assert_eq!(answer["gaps"].as_array().unwrap().len(), 1, "{answer}");
    let texts = async || store.read_hours(Detail::Hour, &[lost, kept]).await.unwrap();
    until("the hour that has minutes to be written", async || texts().await[1].as_deref() != Some(&*newer[1].1)).await;
    assert_eq!(texts().await[0].as_deref(), Some(&*newer[0].1));
    let minutes_of_old = async || store.read_hours(Detail::Minutes, &[old]).await.unwrap().remove(0);
    assert_eq!(minutes_of_old().await.as_deref(), Some(&*minutes.1));
}
