//! What a store must do, written once and run on both.

use crate::support::redis::Redis as Server;
use crate::support::soon;
use btcfeed::feed::{Entry, Event};
use btcfeed::store::{Lease, Memory, Options, Record, Redis, Store, StoreError};
use btcfeed::tick::{Currency, Tick, TickId};
use futures_util::StreamExt;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::sleep;

const OPTIONS: Options = Options { retention: Duration::from_secs(3600), lease_ttl: Duration::from_secs(2) };

fn tick(price: &str) -> Record {
    let prices = BTreeMap::from([(Currency::Usd, price.parse().unwrap())]);
    let sources = BTreeMap::from([(Currency::Usd, vec!["kraken".to_owned()])]);
    Record::now(Event::Tick { tick: Tick { prices, sources }, outages: vec![] })
}

/// A tick that was agreed on `ago`.
fn earlier(price: &str, ago: Duration) -> Record {
    Record { at: Instant::now().checked_sub(ago).unwrap(), ..tick(price) }
}

async fn lease(store: &dyn Store) -> Lease {
    store.acquire("a").await.unwrap().expect("nobody has it")
}

async fn append(store: &dyn Store, lease: &Lease, price: &str) -> Entry {
    store.append(lease, &tick(price), TickId::ZERO).await.unwrap()
}

/// An entry from a store that has since lost it.
fn lost(id: TickId, prev: TickId) -> Arc<Entry> {
    Arc::new(Entry { id, prev, event: tick("1").event })
}

const EVERYTHING: TickId = TickId::from_ms(u64::MAX);

async fn ids(store: &dyn Store, after: TickId, until: TickId, limit: usize) -> Vec<TickId> {
    store.range(after, until, limit).await.unwrap().iter().map(|entry| entry.id).collect()
}

async fn entries_come_back_in_order_and_each_names_the_one_before(store: &dyn Store) {
    let lease = lease(store).await;
    let mut before = TickId::ZERO;
    for price in ["97116.17", "97116.10", "97000"] {
        let entry = append(store, &lease, price).await;
        assert!(entry.prev == before && entry.id > before);
        assert_eq!(entry.tick().unwrap().prices[&Currency::Usd].to_string(), price, "with all its digits");
        before = entry.id;
    }
    let entries = store.range(TickId::ZERO, EVERYTHING, 10).await.unwrap();
    assert_eq!(entries.len(), 3);
    assert_eq!(store.newest(2).await.unwrap(), entries[1..]);
    assert_eq!(store.head().await.unwrap(), before);
}

async fn an_id_is_the_moment_of_its_tick_and_ids_increase_when_the_clock_stands_still_or_runs_back(store: &dyn Store) {
    let lease = lease(store).await;
    let record = earlier("1", Duration::from_secs(60));
    let held = store.append(&lease, &record, TickId::ZERO).await.unwrap();
    let age = TickId::now().since(held.id);
    assert!((59..62).contains(&age.as_secs()), "a tick that was held for a minute keeps its time, not {age:?}");
    // All at one moment.
    let at = Instant::now();
    let mut before = held.id;
    for _ in 0..20 {
        let entry = store.append(&lease, &Record { at, ..tick("1") }, TickId::ZERO).await.unwrap();
        assert!(entry.id > before);
        before = entry.id;
    }
    // The clock was ahead by an hour when the newest entry was made.
    let ahead = TickId::now().plus(Duration::from_secs(3600));
    store.restore(&lease, &[lost(ahead, before)]).await.unwrap();
    for expected in [ahead.next(), ahead.next().next()] {
        assert_eq!(append(store, &lease, "1").await.id, expected);
    }
}

async fn only_the_lease_that_runs_can_write(store: &dyn Store) {
    let first = lease(store).await;
    assert_eq!(store.acquire("b").await.unwrap(), None, "it is taken");
    append(store, &first, "1").await;
    store.renew(&first).await.unwrap();
    // Its holder is paused for longer than it lasts, and somebody else takes it.
    let second = soon("the lease to run out", async {
        loop {
            if let Some(lease) = store.acquire("b").await.unwrap() {
                break lease;
            }
            sleep(Duration::from_millis(20)).await;
        }
    });
    let second = second.await;
    let head = append(store, &second, "2").await.id;
    assert!(matches!(store.append(&first, &tick("3"), TickId::ZERO).await, Err(StoreError::NotLeader)));
    assert!(matches!(store.renew(&first).await, Err(StoreError::NotLeader)));
    assert!(matches!(store.restore(&first, &[lost(head.next(), head)]).await, Err(StoreError::NotLeader)));
    store.release(&first).await.unwrap();
    append(store, &second, "4").await;
    assert_eq!(store.range(TickId::ZERO, EVERYTHING, 10).await.unwrap().len(), 3, "the paused one wrote nothing");
}

async fn a_lease_that_ran_out_is_refused_also_where_nobody_took_it(store: &dyn Store) {
    let first = lease(store).await;
    soon("the lease to run out", async {
        while store.append(&first, &tick("1"), TickId::ZERO).await.is_ok() {
            sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    assert!(matches!(store.renew(&first).await, Err(StoreError::NotLeader)));
    let again = store.acquire("a").await.unwrap().expect("it is free");
    assert_ne!(again, first, "the same holder's next lease is another one");
    assert!(matches!(store.append(&first, &tick("1"), TickId::ZERO).await, Err(StoreError::NotLeader)));
}

async fn a_released_lease_is_free_at_once(store: &dyn Store) {
    let first = lease(store).await;
    store.release(&first).await.unwrap();
    assert!(store.acquire("b").await.unwrap().is_some());
}

async fn an_append_that_is_asked_for_again_is_done_once(store: &dyn Store) {
    let lease = lease(store).await;
    append(store, &lease, "1").await;
    let record = tick("2");
    let done = store.append(&lease, &record, TickId::ZERO).await.unwrap();
    assert_eq!(store.append(&lease, &record, TickId::ZERO).await.unwrap(), done);
    assert_eq!(store.range(TickId::ZERO, EVERYTHING, 10).await.unwrap().len(), 2);
    assert_eq!(append(store, &lease, "2").await.prev, done.id, "the same price again is another tick");
    // What was sent first arrives late, when more has been written since.
    store.append(&lease, &record, TickId::ZERO).await.unwrap_err();
    assert_eq!(store.range(TickId::ZERO, EVERYTHING, 10).await.unwrap().len(), 3);
}

async fn a_range_has_both_its_bounds_and_a_limit(store: &dyn Store) {
    let lease = lease(store).await;
    let mut all = Vec::new();
    for _ in 0..5 {
        all.push(append(store, &lease, "1").await.id);
    }
    assert_eq!(ids(store, TickId::ZERO, EVERYTHING, 10).await, all);
    assert_eq!(ids(store, all[1], all[3], 10).await, all[2..=3], "after excludes, until includes");
    assert_eq!(ids(store, all[0].before(), EVERYTHING, 2).await, all[..2], "the oldest ones");
    assert!(ids(store, all[4], EVERYTHING, 10).await.is_empty());
    assert!(ids(store, all[3], all[1], 10).await.is_empty());
}

async fn the_nth_is_the_last_of_a_range_that_has_so_many(store: &dyn Store) {
    let lease = lease(store).await;
    for _ in 0..5 {
        append(store, &lease, "1").await;
    }
    let all = ids(store, TickId::ZERO, EVERYTHING, 10).await;
    for (after, until) in [(TickId::ZERO, EVERYTHING), (all[0], all[3]), (all[4], EVERYTHING), (all[3], all[1])] {
        let range = ids(store, after, until, 10).await;
        for n in 1..=6 {
            assert_eq!(store.nth(after, until, n).await.unwrap(), range.get(n - 1).copied(), "{n} of {}", range.len());
        }
    }
}

async fn what_is_older_than_the_retention_goes_with_the_next_append(store: &dyn Store) {
    let lease = lease(store).await;
    let now = TickId::now();
    let old = [now.minus(OPTIONS.retention * 2), now.minus(OPTIONS.retention).plus(Duration::from_secs(60))];
    store.restore(&lease, &[lost(old[0], TickId::ZERO), lost(old[1], old[0])]).await.unwrap();
    assert_eq!(ids(store, TickId::ZERO, EVERYTHING, 10).await, old);
    let new = append(store, &lease, "1").await.id;
    assert_eq!(ids(store, TickId::ZERO, EVERYTHING, 10).await, [old[1], new]);
}

async fn a_follower_gets_what_is_appended_after_it_came(store: &dyn Store) {
    let lease = lease(store).await;
    append(store, &lease, "1").await;
    let mut live = [store.subscribe().await.unwrap(), store.subscribe().await.unwrap()];
    let appended = [append(store, &lease, "2").await, append(store, &lease, "3").await];
    for follower in &mut live {
        for entry in &appended {
            assert_eq!(soon("an entry", follower.next()).await.unwrap().unwrap(), *entry);
        }
    }
}

async fn a_store_that_lost_its_tail_says_so_and_takes_it_back(store: &dyn Store) {
    let lease = lease(store).await;
    let kept = append(store, &lease, "1").await.id;
    let seen = [kept.next(), kept.next().next()];
    let refused = store.append(&lease, &tick("4"), seen[1]).await;
    assert!(matches!(refused, Err(StoreError::Behind(newest)) if newest == kept), "{refused:?}");
    let tail = [lost(seen[0], kept), lost(seen[1], seen[0])];
    store.restore(&lease, &tail).await.unwrap();
    store.restore(&lease, &tail).await.unwrap();
    let entry = store.append(&lease, &tick("4"), seen[1]).await.unwrap();
    assert_eq!(entry.prev, seen[1]);
    let all = store.range(TickId::ZERO, EVERYTHING, 10).await.unwrap();
    assert_eq!(all.len(), 4);
    assert!(all[1..3].iter().zip(&tail).all(|(restored, lost)| *restored == **lost), "as they were");
}

async fn a_client_is_remembered_at_the_last_place_that_was_told(store: &dyn Store) {
    let place = |client: &str, ms| (client.to_owned(), TickId::from_ms(ms));
    assert_eq!(store.recall("a").await.unwrap(), None);
    store.remember(&[place("a", 5), place("b", 6), place("a", 7)]).await.unwrap();
    store.remember(&[]).await.unwrap();
    store.remember(&[place("b", 4)]).await.unwrap();
    assert_eq!(store.recall("a").await.unwrap(), Some(TickId::from_ms(7)));
    assert_eq!(store.recall("b").await.unwrap(), Some(TickId::from_ms(4)));
}

/// Runs each promise on a memory store and on a Redis store of its own.
macro_rules! contract {
    ($($promise:ident),+ $(,)?) => {
        mod memory {
            $(#[tokio::test]
            async fn $promise() {
                super::$promise(&super::Memory::new(super::OPTIONS)).await;
            })+
        }
        mod redis {
            $(#[tokio::test]
            async fn $promise() {
                let server = super::Server::start().await;
                let store = super::Redis::new(&server.url(), "test", super::OPTIONS).unwrap();
                super::$promise(&store).await;
            })+
        }
    };
}

contract! {
    entries_come_back_in_order_and_each_names_the_one_before,
    an_id_is_the_moment_of_its_tick_and_ids_increase_when_the_clock_stands_still_or_runs_back,
    only_the_lease_that_runs_can_write,
    a_lease_that_ran_out_is_refused_also_where_nobody_took_it,
    a_released_lease_is_free_at_once,
    an_append_that_is_asked_for_again_is_done_once,
    a_range_has_both_its_bounds_and_a_limit,
    the_nth_is_the_last_of_a_range_that_has_so_many,
    what_is_older_than_the_retention_goes_with_the_next_append,
    a_follower_gets_what_is_appended_after_it_came,
    a_store_that_lost_its_tail_says_so_and_takes_it_back,
    a_client_is_remembered_at_the_last_place_that_was_told,
}

#[tokio::test]
async fn every_key_of_a_feed_has_the_same_hash_tag() {
    let server = Server::start().await;
    let store = Redis::new(&server.url(), "shop", OPTIONS).unwrap();
    let lease = lease(&store).await;
    append(&store, &lease, "1").await;
    store.remember(&[("a".to_owned(), TickId::from_ms(1))]).await.unwrap();
    let keys: Vec<String> = ::redis::cmd("KEYS").arg("*").query_async(&mut server.connection().await).await.unwrap();
    assert_eq!(keys.len(), 4);
    assert!(keys.iter().all(|key| key.starts_with("{shop}:")), "{keys:?}");
}

#[tokio::test]
async fn a_client_is_forgotten_with_the_ticks_that_it_has_not_seen() {
    let server = Server::start().await;
    let store = Redis::new(&server.url(), "shop", OPTIONS).unwrap();
    store.remember(&[("a".to_owned(), TickId::from_ms(1))]).await.unwrap();
    let mut ttl = ::redis::cmd("PTTL");
    let ttl_ms: u64 = ttl.arg("{shop}:client:a").query_async(&mut server.connection().await).await.unwrap();
    assert!((3_590_000..=3_600_000).contains(&ttl_ms), "{ttl_ms}");
}
