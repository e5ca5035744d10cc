//! The contract of a store: one writable feed, and the lease, a time-limited right to write it.
//!
//! Every store keeps these promises, and the same tests (`tests/it/store.rs`) check each of them:
//!
//! - **Only the store decides the order.** [`Store::append`] checks the lease, assigns the id, keeps the entry, trims
//!   old entries and publishes, in one atomic step. Ids strictly increase, even if the clock stands still or runs
//!   backwards. Each entry's `prev` is the id of the entry before it.
//! - **The holder of an expired lease cannot write.** The store checks the lease, so the clocks of the replicas do not
//!   matter.
//! - **A wrong clock moves neither ids nor the retention.** If the time of the store's clock differs by more than two
//!   seconds from the time that the leader counts, the entry gets the leader's time. An append moves the start of the
//!   history by at most the time since the newest entry. If the retention was shortened by an hour, the limit is an
//!   hour greater. If the sources confirm the time, there is no limit: the append drops everything that is older than
//!   the retention.
//! - **An append happens once.** A leader that did not receive the answer may retry with the same [`Record`] and gets
//!   the entry that the first attempt created. An attempt that arrives after newer records is rejected.
//! - **The audit of an entry is written with it**, and expires with it. Only [`Store::audits`] reads it, so audits do
//!   not slow down the reads of entries. An audit that is lost is not put back.
//! - **A store detects that it has lost its newest entries.** If a leader has seen entries that are newer than those in
//!   the store, its append is rejected with [`StoreError::Behind`]. The leader restores the lost entries and retries.

use super::reckoning::Reckoning;
use crate::candle::Detail;
use crate::feed::{Entry, EntryAudit, Event};
use crate::telemetry::traces::TraceStep;
use crate::tick::{Audit, TickId};
use async_trait::async_trait;
use futures_util::stream::BoxStream;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// The maximum number of reads of the history that a hub runs concurrently for clients. A store that uses connections
/// opens at most this many connections for these reads.
pub const HISTORY_READERS: usize = 4;

/// The settings of every store.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The time for which an entry is kept.
    pub retention: Duration,
    /// The time for which a lease lasts without a renewal.
    pub lease_ttl: Duration,
}

/// The right to write, until it expires. Each grant has its own token, so a lease that was lost and acquired again is a
/// different lease.
#[derive(Clone, PartialEq, Eq)]
pub struct Lease {
    /// The value that the store compares. It is different for each grant. Whoever knows it can write.
    pub token: String,
}

/// Formats the holder without the token.
impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("holder", &Lease::holder(&self.token)).finish_non_exhaustive()
    }
}

impl Lease {
    /// A lease for `holder` that has not been granted yet.
    pub(super) fn new(holder: &str) -> Lease {
        Lease { token: format!("{holder}/{}", Uuid::now_v7()) }
    }

    /// Returns the holder that a token names.
    pub(super) fn holder(token: &str) -> Option<String> {
        token.rsplit_once('/').map(|(holder, _)| holder.to_owned())
    }
}

/// The entries and records that a replica has. The store may lack some of them after a failure.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// The name of the replica.
    pub holder: &'a str,
    /// The newest id that it knows of.
    pub seen: TickId,
    /// The number of its records that are not written yet.
    pub records: usize,
}

/// A replica that is alive.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReplicaBeat {
    /// The name of the replica.
    pub name: String,
    /// The version of its program.
    pub version: String,
}

/// The replicas of a feed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// The name of the replica that holds the lease, if one does.
    pub leader: Option<String>,
    /// The time to live of the lease. `None` if there is no lease, or if it never expires.
    pub lease_ttl: Option<Duration>,
    /// The replicas that are alive, in the order of their names.
    pub replicas: Vec<ReplicaBeat>,
}

/// An event to append, with a number that makes retries harmless.
#[derive(Clone, Debug)]
pub struct Record {
    /// The event.
    pub event: Event,
    /// The moment of the event on the monotonic clock. The id is normally the same moment on the *store's* clock.
    pub at: Instant,
    /// The record's number in this process. Records are appended in the order of their numbers, and each only once,
    /// even if the leader retries.
    pub number: u64,
    /// What went into the prices of a tick, as JSON, if it is known.
    pub audit: Option<Arc<str>>,
    /// The time of the event as the leader counts it. `None` if the store's clock is used in any case.
    pub reckoned: Option<Reckoning>,
    /// The poll that made the event, for its trace. A store ignores it.
    pub poll: Option<Arc<TraceStep>>,
}

/// The number of the next record of this process.
static NEXT_NUMBER: AtomicU64 = AtomicU64::new(1);

impl Record {
    /// A record of an event that happens now.
    pub fn now(event: Event) -> Record {
        let number = NEXT_NUMBER.fetch_add(1, Ordering::Relaxed);
        Record { event, at: Instant::now(), number, audit: None, reckoned: None, poll: None }
    }

    /// Returns true if a record of this process has this number.
    pub(super) fn is_number_used(number: u64) -> bool {
        number < NEXT_NUMBER.load(Ordering::Relaxed)
    }

    /// Adds what went into the prices.
    #[must_use]
    pub fn with_audit(self, audit: &Audit) -> Record {
        Record { audit: serde_json::to_string(audit).ok().map(Arc::from), ..self }
    }

    /// The same record with the time that its leader counts.
    #[must_use]
    pub fn reckoned_at(self, moment: TickId, passed: Option<Duration>) -> Record {
        Record { reckoned: Some(Reckoning { moment, passed }), ..self }
    }

    /// Returns the time of the entry. `now` is the time of the store's clock.
    pub(super) fn moment(&self, now: TickId) -> TickId {
        let moment = now.minus(self.at.elapsed());
        self.reckoned.map_or(moment, |reckoned| reckoned.correct(moment))
    }

    /// Returns the oldest id that is kept after an append of `id`. `oldest` is the oldest id that was kept before it.
    pub(super) fn floor(&self, id: TickId, retention: Duration, oldest: TickId) -> TickId {
        let floor = id.minus(retention);
        let passed = self.reckoned.and_then(|reckoned| reckoned.passed);
        passed.map_or(floor, |passed| floor.min(oldest.plus(passed)))
    }
}

/// The reason why a store rejected or failed a request.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The lease has expired, another holder has it, or a newer record of this process was appended.
    #[error("the lease is no longer held")]
    NotLeader,
    /// Another replica, with this name, has records that must be written before the first entry of this leader.
    #[error("the lease is reserved for {0}, which has ticks that are not written")]
    Claimed(String),
    /// The store lost entries that the leader has seen. The id is the newest one that the store still has.
    #[error("the store has no entry after {0}, but the leader has")]
    Behind(TickId),
    /// The store could not be reached, did not answer in time or reported an error. It may or may not have executed the
    /// request.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
}

/// The result of a request to a store.
pub type Result<T> = std::result::Result<T, StoreError>;

/// Entries in the order in which they are appended. The stream ends, or yields an error, when it may have missed one.
pub type EntryStream = BoxStream<'static, Result<Entry>>;

/// Messages between replicas. The stream ends, or yields an error, when it may have missed one.
pub type MessageStream = BoxStream<'static, Result<String>>;

/// A feed that can be written and read, with its lease.
#[async_trait]
pub trait Store: Send + Sync {
    /// Returns true if other processes can also write the feed.
    fn is_shared(&self) -> bool {
        false
    }

    /// Returns this store with separate connections, for reads of the history on the runtime that serves clients.
    /// Returns `None` if the store has no connections.
    ///
    /// The task that drives a connection runs on the runtime that opened the connection. A connection that the runtime
    /// of the clients has opened stops while that runtime is busy, so the hub must not use it.
    fn for_clients(&self) -> Option<Arc<dyn Store>> {
        None
    }

    /// Acquires the lease for `holder`. Returns `None` if another lease is still valid, if the lease is reserved for
    /// another replica, or if this replica may not write into the feed. In the last case, [`fault`](Store::fault) has
    /// the reason.
    async fn acquire(&self, holder: &str) -> Result<Option<Lease>>;

    /// Reserves the lease for some seconds for a replica that has something that the store lacks. During this time, no
    /// other replica can acquire the lease. If the lease stays reserved for another replica, returns the name of that
    /// replica. Only a shared store needs reservations.
    async fn claim(&self, _claim: Claim<'_>) -> Result<Option<String>> {
        Ok(None)
    }

    /// Extends the lease to its full time to live.
    async fn renew(&self, lease: &Lease) -> Result<()>;

    /// Releases the lease, so that another replica can acquire it immediately. Does nothing if the lease has expired.
    async fn release(&self, lease: &Lease) -> Result<()>;

    /// Reports that a replica is alive. The report counts for five seconds. Returns the leader and the replicas that
    /// are alive.
    async fn beat(&self, replica: &ReplicaBeat) -> Result<Members> {
        Ok(Members { replicas: vec![replica.clone()], ..Members::default() })
    }

    /// Returns what an operator should know about the other replicas of the feed, as text for people.
    fn warning(&self) -> Option<String> {
        None
    }

    /// Returns the reason why writes fail at the moment, if any of them do. Clients can see the reason, so it contains
    /// nothing internal.
    fn fault(&self) -> Option<String> {
        None
    }

    /// Assigns an id to `record`, keeps it and publishes it. `seen` is the newest id that the leader knows of.
    async fn append(&self, lease: &Lease, record: &Record, seen: TickId) -> Result<Entry>;

    /// Puts lost entries back unchanged. They must be in the order of their ids. Does not change entries that the store
    /// still has. If an entry is older than the oldest one in the store, the store keeps it, too, and it expires as
    /// time passes.
    async fn restore(&self, lease: &Lease, entries: &[Arc<Entry>]) -> Result<()>;

    /// Returns the given entries that are not in the store. Only a shared store can lose entries inside the feed.
    async fn lacking(&self, _entries: &[Arc<Entry>]) -> Result<Vec<Arc<Entry>>> {
        Ok(Vec::new())
    }

    /// Puts entries back that are missing inside the feed. Their neighbours show where they belong, so no lease is
    /// needed. Returns the number of entries that were put back. Only a shared store can lose entries there.
    async fn put_back(&self, _entries: &[Arc<Entry>]) -> Result<usize> {
        Ok(0)
    }

    /// Returns the number of entries with `after < id <= until`. In Redis, members that are not entries count, too.
    async fn count(&self, after: TickId, until: TickId) -> Result<usize> {
        Ok(self.range(after, until, usize::MAX).await?.len())
    }

    /// Confirms an entry that the stream of [`subscribe`](Store::subscribe) has announced. If only this process can
    /// write to that stream, returns the announced entry. Otherwise reads entries after `after` from the history, so
    /// that a forged entry is not returned.
    async fn announced(&self, announced: &Entry, _after: TickId) -> Result<Vec<Entry>> {
        Ok(vec![announced.clone()])
    }

    /// Returns the present time of the store's clock, computed from an earlier answer of the store. Returns `None` if
    /// the store uses this machine's clock.
    fn clock(&self) -> Option<TickId> {
        None
    }

    /// Returns the time of the store's clock, from which ids are made.
    async fn now(&self) -> Result<TickId>;

    /// Returns the newest id, or zero if the feed is empty.
    async fn head(&self) -> Result<TickId>;

    /// Returns the oldest `limit` entries with `after < id <= until`, oldest first. If it returns fewer entries, there
    /// are no more.
    async fn range(&self, after: TickId, until: TickId, limit: usize) -> Result<Vec<Entry>>;

    /// Returns the id of the `n`th entry with `after < id <= until`, counted from one, if there are that many. If that
    /// entry cannot be decoded, returns the id of the next one that can be decoded.
    async fn nth(&self, after: TickId, until: TickId, n: usize) -> Result<Option<TickId>> {
        Ok(self.range(after, until, n).await?.get(n - 1).map(|entry| entry.id))
    }

    /// Returns the id of the `n`th newest entry with `after < id <= until`, counted from one, if there are that many.
    /// If that entry cannot be decoded, returns the id of the next older one that can be decoded.
    async fn nth_newest(&self, after: TickId, until: TickId, n: usize) -> Result<Option<TickId>> {
        Ok(self.range(after, until, usize::MAX).await?.iter().rev().nth(n - 1).map(|entry| entry.id))
    }

    /// Returns true if there is an entry with `after < id <= until` that can be decoded.
    async fn has_between(&self, after: TickId, until: TickId) -> Result<bool> {
        Ok(!self.range(after, until, 1).await?.is_empty())
    }

    /// Returns the newest `limit` entries, oldest first.
    async fn newest(&self, limit: usize) -> Result<Vec<Entry>>;

    /// Returns the oldest `limit` audits of entries with `after < id <= until`, oldest first. Not every entry has one.
    async fn audits(&self, _after: TickId, _until: TickId, _limit: usize) -> Result<Vec<EntryAudit>> {
        Ok(Vec::new())
    }

    /// Saves the last id that each of these clients was sent, for as long as entries are kept. A store of one process
    /// drops the oldest bookmarks if there are too many.
    async fn remember(&self, sent: &[(String, TickId)]) -> Result<()>;

    /// Saves the last ids of those clients for which the store has none. Returns the number of ids that were saved.
    /// Only a shared store can lose them.
    async fn put_back_bookmarks(&self, _sent: &[(String, TickId)]) -> Result<usize> {
        Ok(0)
    }

    /// Returns the last id that was saved for a client.
    async fn recall(&self, client: &str) -> Result<Option<TickId>>;

    /// Returns the starts of the hours that have candles in the store, oldest first. `detail` selects the candles of
    /// minutes or those of hours. Returns `None` if the store cannot keep candles.
    async fn kept_hours(&self, _detail: Detail) -> Result<Option<Vec<TickId>>> {
        Ok(None)
    }

    /// Returns the candles of each of these hours, as the text that [`keep_hours`](Store::keep_hours) got, or `None` if
    /// the store does not have that hour.
    async fn read_hours(&self, _detail: Detail, starts: &[TickId]) -> Result<Vec<Option<String>>> {
        Ok(vec![None; starts.len()])
    }

    /// Deletes the hours that begin at the times `expired`. Then saves `hours`: the start of each hour, and its candles
    /// as a text that the store does not parse. An hour that the store already has in this detail does not change. The
    /// store deletes no hour by itself, even if the entries of that hour expire.
    async fn keep_hours(&self, _detail: Detail, _hours: &[(TickId, String)], _expired: &[TickId]) -> Result<()> {
        Ok(())
    }

    /// Follows the feed: the stream yields every entry that is appended after this call has returned.
    async fn subscribe(&self) -> Result<EntryStream>;

    /// Sends a message to all replicas that wait for [messages](Store::messages). A replica that is disconnected misses
    /// it.
    async fn broadcast(&self, _message: &str) -> Result<()> {
        Ok(())
    }

    /// Follows the messages between replicas: the stream yields every message that is sent after this call has
    /// returned. Returns `None` if the store serves only one replica.
    async fn messages(&self) -> Result<Option<MessageStream>> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_of_a_lease_is_not_printed() {
        let lease = Lease::new("r1");
        let printed = format!("{lease:?}");
        let secret = lease.token.strip_prefix("r1/").unwrap();
        assert!(printed.contains("r1") && !printed.contains(secret), "{printed}");
    }
}
