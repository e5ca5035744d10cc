//! The one feed that can be written, and the lease: the time-limited right to write it.
//!
//! [`Memory`] serves one process, [`Redis`] any number of replicas. Both keep these promises, and the same tests
//! (`tests/it/store.rs`) hold both to them:
//!
//! - **Only the store orders.** [`Store::append`] checks the lease, gives the id, keeps the entry, trims and publishes in
//!   one step that nothing can come between. Ids strictly increase, also where the clock stands still or runs back, and
//!   each entry's `prev` is the id before it.
//! - **A lease that is over writes nothing**, whatever its holder believes: the store checks, not a replica's clock.
//! - **An append is done once.** A leader that did not hear the answer may ask again with the same [`Record`] and gets the
//!   entry that was made the first time. What it sent the first time, and arrives late, is refused.
//! - **A store that lost its tail says so.** An append by a leader that has seen later entries than the store still has
//!   is refused as [`StoreError::Behind`]; the leader restores them and asks again.

mod memory;
mod redis;

pub use memory::Memory;
pub use redis::Redis;

use crate::feed::{Entry, Event};
use crate::tick::TickId;
use async_trait::async_trait;
use futures_util::stream::BoxStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What every store is told.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How long an entry is kept.
    pub retention: Duration,
    /// How long a lease lasts without being renewed.
    pub lease_ttl: Duration,
}

/// The right to write, until it runs out. Every grant has a token of its own, so that a lease that was lost and taken
/// again is not mistaken for the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// What the store compares; no two grants share it.
    pub token: String,
}

impl Lease {
    /// A lease for `holder`, not granted yet.
    fn new(holder: &str) -> Lease {
        Lease { token: format!("{holder}/{:016x}", fastrand::u64(..)) }
    }
}

/// Something to append, with what makes asking twice harmless.
#[derive(Clone, Debug)]
pub struct Record {
    /// What happened.
    pub event: Event,
    /// When it happened, by the monotonic clock: its id is that moment by the *store's* clock.
    pub at: Instant,
    /// Its number among all records of this process. They are appended in this order, and each once however often it is
    /// asked for.
    pub number: u64,
}

/// How many records this process has made.
static RECORDS: AtomicU64 = AtomicU64::new(1);

impl Record {
    /// A record of something that happens now.
    pub fn now(event: Event) -> Record {
        Record { event, at: Instant::now(), number: RECORDS.fetch_add(1, Ordering::Relaxed) }
    }
}

/// Why a store did not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The lease is over or somebody else's.
    #[error("the lease is not held any more")]
    NotLeader,
    /// The store has lost entries that the leader has seen; this is the newest that it still has.
    #[error("the store has nothing after {0}, but this leader has")]
    Behind(TickId),
    /// It could not be reached, or did not answer in time: it may or may not have done it.
    #[error("the store is away: {0}")]
    Away(String),
}

/// The result of asking a store.
pub type Result<T> = std::result::Result<T, StoreError>;

/// Entries as they are appended. It ends, or yields an error, when it can no longer promise to be complete.
pub type Live = BoxStream<'static, Result<Entry>>;

/// A feed that can be written and read, with its lease.
#[async_trait]
pub trait Store: Send + Sync {
    /// Takes the lease for `holder` if nobody has it.
    async fn acquire(&self, holder: &str) -> Result<Option<Lease>>;

    /// Makes the lease last its full time again.
    async fn renew(&self, lease: &Lease) -> Result<()>;

    /// Gives the lease up, so that the next one can have it at once. Nothing happens if it is over.
    async fn release(&self, lease: &Lease) -> Result<()>;

    /// Gives `record` its place and publishes it. `seen` is the newest id that the leader knows of.
    async fn append(&self, lease: &Lease, record: &Record, seen: TickId) -> Result<Entry>;

    /// Puts back entries that the store has lost, as they were. Those it still has are left as they are.
    async fn restore(&self, lease: &Lease, entries: &[Arc<Entry>]) -> Result<()>;

    /// The store's clock, by which ids are made.
    async fn now(&self) -> Result<TickId>;

    /// The newest id; zero if there is none.
    async fn head(&self) -> Result<TickId>;

    /// The oldest entries with `after < id <= until`, at most `limit` of them, oldest first. Fewer than `limit` only where
    /// there are no more.
    async fn range(&self, after: TickId, until: TickId, limit: usize) -> Result<Vec<Entry>>;

    /// The id of the `n`th entry with `after < id <= until`, counted from one, if there are so many. An entry that cannot be
    /// read counts too, but is not the answer: that is the next one that can be.
    async fn nth(&self, after: TickId, until: TickId, n: usize) -> Result<Option<TickId>> {
        Ok(self.range(after, until, n).await?.get(n - 1).map(|entry| entry.id))
    }

    /// Whether there is any entry with `after < id <= until` that can be read.
    async fn has_between(&self, after: TickId, until: TickId) -> Result<bool> {
        Ok(!self.range(after, until, 1).await?.is_empty())
    }

    /// The newest `limit` entries, oldest first.
    async fn newest(&self, limit: usize) -> Result<Vec<Entry>>;

    /// Remembers the last id that each of these clients was sent, for as long as ticks are kept.
    async fn remember(&self, sent: &[(String, TickId)]) -> Result<()>;

    /// The last id that was remembered for a client.
    async fn recall(&self, client: &str) -> Result<Option<TickId>>;

    /// Follows the feed: everything that is appended after this call has returned.
    async fn subscribe(&self) -> Result<Live>;
}
