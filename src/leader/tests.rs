//! A replica that cannot begin a term, and one that gets no prices.

use super::*;
use crate::aggregate;
use crate::feed::{EmptyFeed, Entry, Event};
use crate::store::{EntryStream, Memory, Record, Result};
use crate::tick::{Currencies, Tick};
use async_trait::async_trait;
use rust_decimal::Decimal;
use std::sync::Mutex;

const LEASE: Duration = Duration::from_secs(60);

/// A shared store in memory that notes the claims: the newest id and the number of records.
struct SharedStore {
    memory: Memory,
    claims: Mutex<Vec<(TickId, usize)>>,
}

#[async_trait]
impl Store for SharedStore {
    fn is_shared(&self) -> bool {
        true
    }
    async fn acquire(&self, holder: &str) -> Result<Option<Lease>> {
        self.memory.acquire(holder).await
    }
    async fn claim(&self, claim: Claim<'_>) -> Result<Option<String>> {
        self.claims.lock().unwrap().push((claim.seen, claim.records));
        Ok(None)
    }
    async fn renew(&self, lease: &Lease) -> Result<()> {
        self.memory.renew(lease).await
    }
    async fn release(&self, lease: &Lease) -> Result<()> {
        self.memory.release(lease).await
    }
    async fn append(&self, lease: &Lease, record: &Record, seen: TickId) -> Result<Entry> {
        self.memory.append(lease, record, seen).await
    }
    async fn restore(&self, lease: &Lease, entries: &[Arc<Entry>]) -> Result<()> {
        self.memory.restore(lease, entries).await
    }
    async fn now(&self) -> Result<TickId> {
        self.memory.now().await
    }
    async fn head(&self) -> Result<TickId> {
        self.memory.head().await
    }
    async fn range(&self, after: TickId, until: TickId, limit: usize) -> Result<Vec<Entry>> {
        self.memory.range(after, until, limit).await
    }
    async fn newest(&self, limit: usize) -> Result<Vec<Entry>> {
        self.memory.newest(limit).await
    }
    async fn remember(&self, sent: &[(String, TickId)]) -> Result<()> {
        self.memory.remember(sent).await
    }
    async fn recall(&self, client: &str) -> Result<Option<TickId>> {
        self.memory.recall(client).await
    }
    async fn subscribe(&self) -> Result<EntryStream> {
        self.memory.subscribe().await
    }
}

/// Returns a tick with an age of this many seconds.
fn tick(seconds: u64) -> Record {
    let at = Instant::now().checked_sub(Duration::from_secs(seconds)).unwrap();
    let event = Event::Tick { tick: Tick::default(), outages: vec![] };
    Record { at, ..Record::now(event) }
}

/// Returns a leader without sources.
fn leader(store: Arc<dyn Store>) -> Leader {
    let options = Options {
        replica: "r1".to_owned(),
        interval: Duration::from_secs(1),
        currencies: Currencies::USD_EUR,
        lease_ttl: LEASE,
        stale_after: Duration::ZERO,
        down_after: Duration::ZERO,
    };
    let polling = aggregate::Options {
        currencies: options.currencies,
        deadline: LEASE,
        rules: aggregate::Rules {
            interval: LEASE,
            max_age: LEASE,
            outlier_share: Decimal::ONE,
            clamp_share: Decimal::ONE,
            min_sources: 1,
            frozen_polls: 1000,
        },
    };
    let aggregator = Aggregator::new(vec![], polling);
    Leader::new(options, store, Arc::new(EmptyFeed), aggregator, Arc::default())
}

#[tokio::test(start_paused = true)]
async fn replica_that_cannot_begin_keeps_nobody_out() {
    let store = SharedStore {
        memory: Memory::new(crate::store::Options { retention: LEASE, lease_ttl: LEASE }),
        claims: Mutex::default(),
    };
    let other = store.acquire("other").await.unwrap().unwrap();
    store.append(&other, &tick(2), TickId::ZERO).await.unwrap();
    store.release(&other).await.unwrap();
    let store = Arc::new(store);
    let mut leader = leader(store.clone());
    leader.outbox.push(tick(1));
    leader.claim().await.unwrap();
    assert_eq!(store.claims.lock().unwrap().last(), Some(&(TickId::ZERO, 1)));
    let lease = store.acquire("r1").await.unwrap().unwrap();
    assert!(matches!(leader.lead(lease, &CancellationToken::new()).await, TermEnd::Yielded(_)));
    leader.claim().await.unwrap();
    assert_eq!(store.claims.lock().unwrap().last(), Some(&(TickId::ZERO, 0)), "claims nothing for one lease time");
    assert_eq!(leader.outbox.len(), 1, "the tick is newer than what is written");
    // Another replica has written a newer tick, so the tick in the outbox is not needed any more.
    let other = store.acquire("other").await.unwrap().expect("the lease is free");
    store.append(&other, &tick(0), TickId::ZERO).await.unwrap();
    leader.claims_from = None;
    leader.claim().await.unwrap();
    assert_eq!(store.claims.lock().unwrap().last(), Some(&(TickId::ZERO, 0)), "the tick is dropped");
}

#[tokio::test(start_paused = true)]
async fn only_process_without_prices_keeps_polling() {
    let store = Arc::new(Memory::new(crate::store::Options { retention: LEASE, lease_ttl: LEASE }));
    let mut leader = leader(store.clone());
    let lease = store.acquire("r1").await.unwrap().unwrap();
    let ended = timeout(LEASE / 2, leader.lead(lease, &CancellationToken::new())).await;
    assert!(ended.is_err(), "gives up the lease, although nobody else can lead");
}
