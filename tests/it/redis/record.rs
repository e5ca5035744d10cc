//! Garbage in what the scripts read: the hash of the newest record, the set of entries and the set of audits. Other
//! programs may write anything there.

use crate::support::clock::ShiftedClock;
use crate::support::redis::Redis;
use crate::support::store_contract::{EVERYTHING, OPTIONS, append, audited, audits, ids, lease, tick};
use crate::support::until;
use btcfeed::feed::Entry;
use btcfeed::store::{self, Options, PriceKind, RedisOptions, Store};
use btcfeed::tick::TickId;
use std::sync::Arc;
use std::time::Duration;

const RECORD: &str = "{shop}:record";
const TICKS: &str = "{shop}:ticks";
const AUDITS: &str = "{shop}:audits";
const DAY: Duration = Duration::from_secs(24 * 3600);

fn open(server: &Redis) -> store::Redis {
    store::Redis::new(&server.url(), "shop", OPTIONS).unwrap()
}

/// Returns an entry with this id, for a restore.
fn restored(id: TickId, prev: TickId) -> Arc<Entry> {
    Arc::new(Entry { id, prev, event: tick("1").event })
}

#[tokio::test]
async fn garbage_in_the_record_stops_nothing() {
    let server = Redis::start().await;
    let store = open(&server);
    let lease = lease(&store).await;
    // An entry that is older than the retention. The first append deletes it. The second restore also changes the
    // oldest id that is kept, so later appends delete the entry only if garbage causes that.
    let old = TickId::now().minus(OPTIONS.retention * 3);
    store.restore(&lease, &[restored(old, TickId::ZERO)]).await.unwrap();
    let first = append(&store, &lease, "1").await;
    store.restore(&lease, &[restored(old, TickId::ZERO)]).await.unwrap();
    let (mut prev, mut written) = (first.id, 1);
    let years = TickId::now().plus(DAY * 1100).ms().to_string();
    let numbers = ["", "x", "inf", "-inf", "nan", "1e30", "-7", "0.5", "999999999", "9e15"];
    // `retention` comes last, because a wrong value may delete the old entry.
    for field in ["number", "id", "floor", "retention"] {
        assert_eq!(ids(&store, TickId::ZERO, old, 9).await, [old], "{field}");
        for value in numbers.into_iter().chain([years.as_str()]) {
            match value {
                "" => server.command(&["HDEL", RECORD, field]).await,
                value => server.command(&["HSET", RECORD, field, value]).await,
            };
            let record = tick("2").reckoned_at(TickId::now(), Some(Duration::ZERO));
            let entry =
                store.append(&lease, &record, prev).await.unwrap_or_else(|error| panic!("{field} {value}: {error}"));
            assert_eq!(entry.prev, prev, "{field} {value}");
            (prev, written) = (entry.id, written + 1);
            // A leader that got no answer sends the record again. The garbage is written between its two attempts.
            let known = ["number", "id"].contains(&field);
            if known && !value.is_empty() {
                server.command(&["HSET", RECORD, field, value]).await;
                let again = store.append(&lease, &record, prev).await;
                let again = again.unwrap_or_else(|error| panic!("{field} {value} again: {error}"));
                written += usize::from(again.id != prev);
                prev = again.id;
            }
            assert_eq!(store.head().await.unwrap(), prev, "{field} {value}");
        }
    }
    assert_eq!(ids(&store, old, EVERYTHING, 1000).await.len(), written);
    assert!(TickId::now().since(prev) < Duration::from_secs(60) && prev.since(TickId::now()) < DAY, "{prev}");
}

#[tokio::test]
async fn wrong_id_in_the_record_admits_no_garbage() {
    let server = Redis::start().await;
    let store = open(&server);
    let lease = lease(&store).await;
    let newest = append(&store, &lease, "1").await.id;
    let (year, later) = (TickId::now().plus(DAY * 365), TickId::now().plus(DAY * 1100).ms().to_string());
    let garbage = serde_json::to_string(&*restored(year, newest)).unwrap();
    server.command(&["ZADD", TICKS, &year.ms().to_string(), &garbage]).await;
    server.command(&["HSET", RECORD, "id", &later]).await;
    assert_eq!(store.head().await.unwrap(), newest);
    assert_eq!(store.newest(9).await.unwrap().len(), 1);
    let next = append(&store, &lease, "2").await;
    assert_eq!(next.prev, newest);
    assert_eq!(server.command(&["ZCARD", "{shop}:quarantine"]).await, redis::Value::Int(1));
}

#[tokio::test]
async fn shortened_retention_shortens_the_history() {
    let server = Redis::start().await;
    let long = Options { retention: OPTIONS.retention * 2, ..OPTIONS };
    let store = store::Redis::new(&server.url(), "shop", long).unwrap();
    let lease = lease(&store).await;
    let minutes = |ago: u64| TickId::now().minus(Duration::from_secs(60 * ago));
    let old = [minutes(90), minutes(30)];
    store.restore(&lease, &[restored(old[0], TickId::ZERO), restored(old[1], old[0])]).await.unwrap();
    let write = async |store: &store::Redis| {
        let record = tick("1").reckoned_at(TickId::now(), Some(Duration::ZERO));
        store.append(&lease, &record, TickId::ZERO).await.unwrap();
        ids(store, TickId::ZERO, EVERYTHING, 9).await
    };
    assert_eq!(write(&store).await[..2], old);
    let shorter = open(&server);
    assert_eq!(write(&shorter).await[0], old[1], "the shorter retention applies although no time has passed");
}

#[tokio::test]
async fn kind_is_known_if_the_clock_is_behind() {
    let clock = ShiftedClock::new(-2 * 24 * 3_600_000);
    let server = Redis::start_at(&clock).await;
    let real = open(&server);
    let held = lease(&real).await;
    let moment = TickId::now();
    real.append(&held, &tick("1").reckoned_at(moment, None), TickId::ZERO).await.unwrap();
    real.release(&held).await.unwrap();
    let options = RedisOptions { kind: Some(PriceKind::Simulated), ..RedisOptions::new(&server.url(), "shop") };
    let simulated = store::Redis::open(&options, OPTIONS).unwrap();
    assert_eq!(simulated.acquire("b").await.unwrap(), None);
    assert!(simulated.fault().unwrap().contains("the feed has real prices"));
}

#[tokio::test]
async fn candidates_read_entries_once_a_second() {
    let server = Redis::start().await;
    let held = lease(&open(&server)).await;
    let options = RedisOptions { kind: Some(PriceKind::Simulated), ..RedisOptions::new(&server.url(), "shop") };
    let candidate = store::Redis::open(&options, OPTIONS).unwrap();
    append(&open(&server), &held, "1").await;
    server.command(&["CONFIG", "RESETSTAT"]).await;
    for _ in 0..20 {
        assert_eq!(candidate.acquire("b").await.unwrap(), None);
    }
    assert!(candidate.fault().unwrap().contains("the feed has real prices"), "known while another replica leads");
    let stats: String = redis::from_redis_value(server.command(&["INFO", "commandstats"]).await).unwrap();
    let calls = stats.lines().find_map(|line| line.strip_prefix("cmdstat_zrevrangebyscore:calls="));
    let calls: u32 = calls.unwrap().split(',').next().unwrap().parse().unwrap();
    // The check of the rights makes one of these calls.
    assert!(calls <= 4, "{calls}");
}

#[tokio::test]
async fn garbage_in_place_of_an_entry_hides_nothing() {
    let server = Redis::start().await;
    let store = open(&server);
    let lease = lease(&store).await;
    let mut entries = Vec::new();
    for price in ["1", "2", "3", "4"] {
        entries.push(Arc::new(append(&store, &lease, price).await));
    }
    let lost = [entries[1].clone(), entries[3].clone()];
    for (entry, garbage) in lost.iter().zip(["{\"a\":1}", "~"]) {
        let id = entry.id.ms().to_string();
        server.command(&["ZREMRANGEBYSCORE", TICKS, &id, &id]).await;
        // Members of one score are in the order of their bytes: the first garbage comes before an entry, the second
        // one after it.
        server.command(&["ZADD", TICKS, &id, garbage]).await;
    }
    assert_eq!(store.lacking(&entries).await.unwrap(), lost);
    store.restore(&lease, &lost[1..]).await.unwrap();
    assert_eq!(store.put_back(&lost[..1]).await.unwrap(), 1);
    assert_eq!(store.lacking(&entries).await.unwrap(), []);
    let all: Vec<_> = entries.iter().map(|entry| entry.id).collect();
    for limit in 1..=6 {
        let mut found = Vec::new();
        while found.len() < all.len() {
            let after = found.last().copied().unwrap_or_default();
            let page = ids(&store, after, EVERYTHING, limit).await;
            assert!(!page.is_empty(), "{limit} after {after}");
            found.extend(page);
        }
        assert_eq!(found, all, "{limit}");
    }
    assert_eq!(store.newest(9).await.unwrap().len(), 4);
}

#[tokio::test]
async fn rewritten_entry_leaves_no_audit_behind() {
    let server = Redis::start().await;
    let store = open(&server);
    let lease = lease(&store).await;
    let record = audited("1", Duration::ZERO);
    let first = store.append(&lease, &record, TickId::ZERO).await.unwrap();
    // Redis has lost the entry, and the leader has not got the answer.
    server.command(&["DEL", TICKS]).await;
    let other = restored(first.id.plus(Duration::from_millis(5)), TickId::ZERO);
    store.restore(&lease, std::slice::from_ref(&other)).await.unwrap();
    let again = store.append(&lease, &record, TickId::ZERO).await.unwrap();
    assert!(again.prev == other.id && again.id > first.id);
    assert_eq!(audits(&store, TickId::ZERO, EVERYTHING, 9).await, [(again.id, "1".to_owned())]);
}

#[tokio::test]
async fn garbage_among_audits_hides_none() {
    let server = Redis::start().await;
    let store = open(&server);
    let lease = lease(&store).await;
    let mut expected = Vec::new();
    for number in ["1", "2", "3"] {
        let entry = store.append(&lease, &audited(number, Duration::ZERO), TickId::ZERO).await.unwrap();
        expected.push((entry.id, number.to_owned()));
        let after = entry.id.next().ms().to_string();
        for garbage in ["x", "{}", "{\"id\":1}"] {
            server.command(&["ZADD", AUDITS, &after, &format!("{garbage}{number}")]).await;
        }
        until("the next millisecond", async || TickId::now() > entry.id.next()).await;
    }
    for limit in 1..5 {
        let mut found: Vec<(TickId, String)> = Vec::new();
        loop {
            let after = found.last().map_or(TickId::ZERO, |(id, _)| *id);
            let page = audits(&store, after, EVERYTHING, limit).await;
            if page.is_empty() {
                break;
            }
            found.extend(page);
        }
        assert_eq!(found, expected, "{limit}");
    }
}
