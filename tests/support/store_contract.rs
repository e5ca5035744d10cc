//! The contract of a store. Each function is a promise that every store keeps; `for_each_promise!` lists them.

use super::soon;
use btcfeed::candle::Detail;
use btcfeed::feed::{Entry, Event};
use btcfeed::store::{Lease, Options, Record, Store, StoreError};
use btcfeed::tick::{Audit, Currency, Input, Tick, TickId};
use futures_util::StreamExt;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// Options of the stores. The lease is short, because some promises wait until it expires.
pub const OPTIONS: Options = Options { retention: Duration::from_secs(3600), lease_ttl: Duration::from_secs(2) };

/// Returns a record of a price in dollars.
pub fn tick(price: &str) -> Record {
    let prices = BTreeMap::from([(Currency::Usd, price.parse().unwrap())]);
    let sources = BTreeMap::from([(Currency::Usd, vec!["kraken".to_owned()])]);
    Record::now(Event::Tick { tick: Tick { prices, sources, ..Tick::default() }, outages: vec![] })
}

/// Returns a record of a tick that was made `ago` before now.
fn earlier(price: &str, ago: Duration) -> Record {
    Record { at: Instant::now().checked_sub(ago).unwrap(), ..tick(price) }
}

/// Acquires the lease.
pub async fn lease(store: &dyn Store) -> Lease {
    store.acquire("a").await.unwrap().expect("the lease is free")
}

/// Appends a tick.
pub async fn append(store: &dyn Store, lease: &Lease, price: &str) -> Entry {
    store.append(lease, &tick(price), TickId::ZERO).await.unwrap()
}

/// Returns an entry that the store has lost.
fn lost(id: TickId, prev: TickId) -> Arc<Entry> {
    Arc::new(Entry { id, prev, event: tick("1").event })
}

/// An upper bound that includes every id.
pub const EVERYTHING: TickId = TickId::from_ms(u64::MAX);

/// Returns the ids of a range.
pub async fn ids(store: &dyn Store, after: TickId, until: TickId, limit: usize) -> Vec<TickId> {
    store.range(after, until, limit).await.unwrap().iter().map(|entry| entry.id).collect()
}

pub async fn entries_are_ordered_and_chained(store: &dyn Store) {
    let lease = lease(store).await;
    let mut before = TickId::ZERO;
    for price in ["97116.17", "97116.10", "97000"] {
        let entry = append(store, &lease, price).await;
        assert!(entry.prev == before && entry.id > before);
        assert_eq!(entry.tick().unwrap().prices[&Currency::Usd].to_string(), price, "a price keeps its digits");
        before = entry.id;
    }
    let entries = store.range(TickId::ZERO, EVERYTHING, 10).await.unwrap();
    assert_eq!(entries.len(), 3);
    assert_eq!(store.newest(2).await.unwrap(), entries[1..]);
    assert_eq!(store.head().await.unwrap(), before);
}

pub async fn ids_are_moments_and_always_increase(store: &dyn Store) {
    let lease = lease(store).await;
    let record = earlier("1", Duration::from_secs(60));
    let held = store.append(&lease, &record, TickId::ZERO).await.unwrap();
    let age = TickId::now().since(held.id);
    assert!((59..62).contains(&age.as_secs()), "a tick that was held for a minute keeps its time, not {age:?}");
    // Records of the same moment get different ids.
    let at = Instant::now();
    let mut before = held.id;
    for _ in 0..20 {
        let entry = store.append(&lease, &Record { at, ..tick("1") }, TickId::ZERO).await.unwrap();
        assert!(entry.id > before);
        before = entry.id;
    }
    // The clock was an hour ahead when the newest entry was written.
    let ahead = TickId::now().plus(Duration::from_secs(3600));
    store.restore(&lease, &[lost(ahead, before)]).await.unwrap();
    for expected in [ahead.next(), ahead.next().next()] {
        assert_eq!(append(store, &lease, "1").await.id, expected);
    }
}

pub async fn only_the_valid_lease_can_write(store: &dyn Store) {
    let first = lease(store).await;
    assert_eq!(store.acquire("b").await.unwrap(), None, "another holder has it");
    append(store, &first, "1").await;
    store.renew(&first).await.unwrap();
    // The holder is paused for longer than the lease lasts, and another replica acquires the lease.
    let second = soon("the lease to expire", async {
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
    assert_eq!(store.range(TickId::ZERO, EVERYTHING, 10).await.unwrap().len(), 3, "only 1, 2 and 4 were written");
}

pub async fn expired_lease_is_rejected_even_if_free(store: &dyn Store) {
    let first = lease(store).await;
    soon("the lease to expire", async {
        while store.append(&first, &tick("1"), TickId::ZERO).await.is_ok() {
            sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    assert!(matches!(store.renew(&first).await, Err(StoreError::NotLeader)));
    let again = store.acquire("a").await.unwrap().expect("it is free");
    assert_ne!(again, first, "the same holder gets a new lease");
    assert!(matches!(store.append(&first, &tick("1"), TickId::ZERO).await, Err(StoreError::NotLeader)));
}

pub async fn released_lease_is_free_immediately(store: &dyn Store) {
    let first = lease(store).await;
    store.release(&first).await.unwrap();
    assert!(store.acquire("b").await.unwrap().is_some());
}

/// Returns a record with an audit.
pub fn audited(price: &str, ago: Duration) -> Record {
    let input = Input { value: price.parse().ok(), used: price.parse().ok(), ..Input::new("kraken", Currency::Usd) };
    earlier(price, ago).with_audit(&Audit { inputs: vec![input], ..Audit::default() })
}

/// Returns the used price of each audit of a range, with the id of its entry.
pub async fn audits(store: &dyn Store, after: TickId, until: TickId, limit: usize) -> Vec<(TickId, String)> {
    let audits = store.audits(after, until, limit).await.unwrap();
    audits.iter().map(|of| (of.id, of.audit.inputs[0].used.unwrap().to_string())).collect()
}

pub async fn audit_is_kept_beside_its_entry(store: &dyn Store) {
    let lease = lease(store).await;
    let mut live = store.subscribe().await.unwrap();
    let record = audited("97116.10", Duration::ZERO);
    let first = store.append(&lease, &record, TickId::ZERO).await.unwrap();
    assert_eq!(store.append(&lease, &record, TickId::ZERO).await.unwrap(), first);
    append(store, &lease, "2").await;
    let third = store.append(&lease, &audited("3", Duration::ZERO), TickId::ZERO).await.unwrap();
    let expected = [(first.id, "97116.10".to_owned()), (third.id, "3".to_owned())];
    assert_eq!(audits(store, TickId::ZERO, EVERYTHING, 9).await, expected, "a retry writes it once");
    assert_eq!(audits(store, TickId::ZERO, EVERYTHING, 1).await, expected[..1]);
    assert_eq!(audits(store, first.id, third.id, 9).await, expected[1..]);
    assert_eq!(audits(store, TickId::ZERO, first.id, 9).await, expected[..1]);
    assert_eq!(audits(store, third.id, EVERYTHING, 9).await, []);
    let announced = soon("an entry", live.next()).await.unwrap().unwrap();
    assert!(announced.tick().unwrap().audit.is_none(), "a live entry has no audit");
    assert_eq!(store.newest(3).await.unwrap()[0], first);
}

pub async fn audit_expires_with_its_entry(store: &dyn Store) {
    let lease = lease(store).await;
    let old = store.append(&lease, &audited("1", OPTIONS.retention * 2), TickId::ZERO).await.unwrap();
    assert_eq!(audits(store, TickId::ZERO, old.id, 9).await.len(), 1);
    let new = store.append(&lease, &audited("2", Duration::ZERO), TickId::ZERO).await.unwrap();
    assert_eq!(audits(store, TickId::ZERO, EVERYTHING, 9).await, [(new.id, "2".to_owned())]);
}

pub async fn retried_append_happens_once(store: &dyn Store) {
    let lease = lease(store).await;
    append(store, &lease, "1").await;
    let record = tick("2");
    let done = store.append(&lease, &record, TickId::ZERO).await.unwrap();
    assert_eq!(store.append(&lease, &record, TickId::ZERO).await.unwrap(), done);
    assert_eq!(store.range(TickId::ZERO, EVERYTHING, 10).await.unwrap().len(), 2);
    assert_eq!(append(store, &lease, "2").await.prev, done.id, "a new record with the same price is a new tick");
    // The first attempt arrives late, after a newer record.
    store.append(&lease, &record, TickId::ZERO).await.unwrap_err();
    assert_eq!(store.range(TickId::ZERO, EVERYTHING, 10).await.unwrap().len(), 3);
}

pub async fn range_respects_bounds_and_limit(store: &dyn Store) {
    let lease = lease(store).await;
    let mut all = Vec::new();
    for _ in 0..5 {
        all.push(append(store, &lease, "1").await.id);
    }
    assert_eq!(ids(store, TickId::ZERO, EVERYTHING, 10).await, all);
    assert_eq!(ids(store, all[1], all[3], 10).await, all[2..=3], "after excludes, until includes");
    assert_eq!(ids(store, all[0].before(), EVERYTHING, 2).await, all[..2], "the oldest entries first");
    assert!(ids(store, all[4], EVERYTHING, 10).await.is_empty());
    assert!(ids(store, all[3], all[1], 10).await.is_empty());
}

/// Writes five entries. Returns ranges with all, three and none of them, and one whose end is before its start.
async fn ranges_of_five(store: &dyn Store) -> [(TickId, TickId); 4] {
    let lease = lease(store).await;
    for _ in 0..5 {
        append(store, &lease, "1").await;
    }
    let all = ids(store, TickId::ZERO, EVERYTHING, 10).await;
    [(TickId::ZERO, EVERYTHING), (all[0], all[3]), (all[4], EVERYTHING), (all[3], all[1])]
}

pub async fn nth_is_the_last_id_of_a_range_of_n(store: &dyn Store) {
    for (after, until) in ranges_of_five(store).await {
        let range = ids(store, after, until, 10).await;
        for n in 1..=6 {
            assert_eq!(store.nth(after, until, n).await.unwrap(), range.get(n - 1).copied(), "{n} of {}", range.len());
        }
    }
}

pub async fn nth_newest_is_the_nth_from_the_end(store: &dyn Store) {
    for (after, until) in ranges_of_five(store).await {
        let range = ids(store, after, until, 10).await;
        for n in 1..=6 {
            let expected = range.iter().rev().nth(n - 1).copied();
            assert_eq!(store.nth_newest(after, until, n).await.unwrap(), expected, "{n} of {}", range.len());
        }
    }
}

pub async fn append_trims_entries_past_the_retention(store: &dyn Store) {
    let lease = lease(store).await;
    let now = TickId::now();
    let old = [now.minus(OPTIONS.retention * 2), now.minus(OPTIONS.retention).plus(Duration::from_secs(60))];
    store.restore(&lease, &[lost(old[0], TickId::ZERO), lost(old[1], old[0])]).await.unwrap();
    assert_eq!(ids(store, TickId::ZERO, EVERYTHING, 10).await, old);
    let new = append(store, &lease, "1").await.id;
    assert_eq!(ids(store, TickId::ZERO, EVERYTHING, 10).await, [old[1], new]);
}

pub async fn wrong_clock_moves_no_id(store: &dyn Store) {
    let lease = lease(store).await;
    let mut prev = append(store, &lease, "1").await.id;
    let close = prev.plus(Duration::from_secs(1));
    let entry = store.append(&lease, &tick("2").reckoned_at(close, None), TickId::ZERO).await.unwrap();
    assert!(entry.id.since(prev) < Duration::from_millis(900), "a small difference does not count");
    // The clock of the store has been set back, so the leader counts later times.
    for ahead in [3, 7200, 172_800] {
        let moment = TickId::now().plus(Duration::from_secs(ahead));
        let entry = store.append(&lease, &tick("3").reckoned_at(moment, None), prev).await.unwrap();
        assert_eq!(entry.id, moment);
        prev = entry.id;
    }
    assert_eq!(store.head().await.unwrap(), prev);
    assert_eq!(store.newest(1).await.unwrap()[0].id, prev, "an entry that is far ahead of the clock is no garbage");
    // The newest id is two days ahead of the clock of the store. The time that the leader counts still becomes the id.
    let moment = prev.plus(Duration::from_secs(5));
    assert_eq!(store.append(&lease, &tick("4").reckoned_at(moment, None), prev).await.unwrap().id, moment);
    let late = tick("5").reckoned_at(prev, None);
    assert_eq!(store.append(&lease, &late, prev).await.unwrap().id, moment.next(), "ids increase");
}

pub async fn clock_that_is_ahead_moves_no_id(store: &dyn Store) {
    let lease = lease(store).await;
    // The clock of the store is an hour ahead of the feed.
    let old = lost(TickId::now().minus(Duration::from_secs(3600)), TickId::ZERO);
    store.restore(&lease, std::slice::from_ref(&old)).await.unwrap();
    let moment = old.id.plus(Duration::from_secs(5));
    assert_eq!(store.append(&lease, &tick("1").reckoned_at(moment, None), old.id).await.unwrap().id, moment);
}

pub async fn history_expires_only_as_time_passes(store: &dyn Store) {
    let lease = lease(store).await;
    expire(store, &lease).await;
}

pub async fn restored_history_expires_only_as_time_passes(store: &dyn Store) {
    let lease = lease(store).await;
    // The oldest id that is kept is later than the entries that an operator restores.
    append(store, &lease, "1").await;
    expire(store, &lease).await;
}

/// Restores ten entries that are older than the retention, and lets them expire.
async fn expire(store: &dyn Store, lease: &Lease) {
    let now = TickId::now();
    let old: Vec<_> =
        (0..10).map(|number| now.minus(OPTIONS.retention * 2).plus(Duration::from_secs(number))).collect();
    let entries: Vec<_> = old.iter().map(|id| lost(*id, id.minus(Duration::from_secs(1)))).collect();
    store.restore(lease, &entries).await.unwrap();
    let end = now.minus(OPTIONS.retention);
    let left = async |passed: Option<Duration>| {
        store.append(lease, &tick("1").reckoned_at(TickId::now(), passed), TickId::ZERO).await.unwrap();
        ids(store, TickId::ZERO, end, 100).await.len()
    };
    assert_eq!(left(Some(Duration::ZERO)).await, 10);
    let after_three_seconds = left(Some(Duration::from_secs(3))).await;
    assert!((6..=7).contains(&after_three_seconds), "{after_three_seconds}");
    assert_eq!(left(None).await, 0, "everything old expires if the sources confirm the time");
}

pub async fn subscriber_gets_every_later_append(store: &dyn Store) {
    let lease = lease(store).await;
    append(store, &lease, "1").await;
    let mut live = [store.subscribe().await.unwrap(), store.subscribe().await.unwrap()];
    let appended = [append(store, &lease, "2").await, append(store, &lease, "3").await];
    for subscriber in &mut live {
        for entry in &appended {
            assert_eq!(soon("an entry", subscriber.next()).await.unwrap().unwrap(), *entry);
        }
    }
}

pub async fn lost_entries_are_reported_and_restored(store: &dyn Store) {
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
    assert!(all[1..3].iter().zip(&tail).all(|(restored, lost)| *restored == **lost), "restored unchanged");
}

pub async fn client_is_remembered_at_its_last_id(store: &dyn Store) {
    let place = |client: &str, ms| (client.to_owned(), TickId::from_ms(ms));
    assert_eq!(store.recall("a").await.unwrap(), None);
    store.remember(&[place("a", 5), place("b", 6), place("a", 7)]).await.unwrap();
    store.remember(&[]).await.unwrap();
    store.remember(&[place("b", 4)]).await.unwrap();
    assert_eq!(store.recall("a").await.unwrap(), Some(TickId::from_ms(7)));
    assert_eq!(store.recall("b").await.unwrap(), Some(TickId::from_ms(4)));
}

pub async fn hours_are_kept_once_until_deleted(store: &dyn Store) {
    for detail in Detail::ALL {
        hours_are_kept_once(store, detail).await;
    }
}

async fn hours_are_kept_once(store: &dyn Store, detail: Detail) {
    let hour = |hour: u64| TickId::from_ms(hour * 3_600_000);
    let text = |text: &str| Some(text.to_owned());
    store.keep_hours(detail, &[(hour(11), "eleven".to_owned()), (hour(9), "nine".to_owned())], &[]).await.unwrap();
    let Some(kept) = store.kept_hours(detail).await.unwrap() else {
        assert_eq!(store.read_hours(detail, &[hour(9)]).await.unwrap(), [None], "this store keeps no candles");
        return;
    };
    assert_eq!(kept, [hour(9), hour(11)]);
    assert_eq!(store.read_hours(detail, &[hour(11), hour(10)]).await.unwrap(), [text("eleven"), None]);
    assert_eq!(store.read_hours(detail, &[]).await.unwrap(), []);
    store
        .keep_hours(detail, &[(hour(12), "twelve".to_owned()), (hour(11), "other".to_owned())], &[hour(9)])
        .await
        .unwrap();
    assert_eq!(store.kept_hours(detail).await.unwrap().unwrap(), [hour(11), hour(12)]);
    assert_eq!(store.read_hours(detail, &[hour(9), hour(11)]).await.unwrap(), [None, text("eleven")]);
}
