//! Reads of the store's history for clients: a few at a time, and one for all clients that ask for the same page.
//!
//! When a replica is killed, its clients reconnect at the same time with the same cursor. If this cursor is older than
//! the window, each page is read from the store once, however many clients there are. The hub's own reads do not count
//! for the limit and use other connections, so clients cannot delay them.

use crate::feed::{Entry, EntryAudit, Event};
use crate::store::{HISTORY_READERS, Result, Store, StoreError};
use crate::tick::TickId;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The maximum number of entries in one read for a client.
pub const LOAD_ENTRIES: usize = 500;
/// The maximum number of entries in one read with audits, which are many times larger.
pub const AUDIT_ENTRIES: usize = 100;
/// The maximum number of entries in a read with audits whose result is kept for further clients. A live client of
/// audits reads only the newest few entries, and all these clients read the same ones.
const LIVE_ENTRIES: usize = 4;
/// The maximum number of reads that wait for a permit. Further reads fail at once.
const MAX_WAITING: usize = 64;

/// The arguments of a read: `after`, `until` and `limit`.
type Page = (TickId, TickId, usize);
type Entries = Arc<Vec<Arc<Entry>>>;
type Reading = BoxFuture<'static, Result<Entries>>;

/// Reads the store's history for clients.
pub(super) struct HistoryReader {
    permits: Permits,
    /// The reads that run, and ended ones that are not removed yet. A std mutex, because it is never held across an
    /// await.
    running: Mutex<HashMap<Page, WeakShared<Reading>>>,
    /// The reads of audits, kept in the same way.
    running_audits: Mutex<HashMap<Page, WeakShared<Reading>>>,
    /// The newest result of a read of at most [`LIVE_ENTRIES`] entries with audits.
    live_audits: Mutex<Option<(Page, Entries)>>,
}

/// Permits to read from the store.
#[derive(Clone)]
struct Permits {
    store: Arc<dyn Store>,
    reads: Arc<Semaphore>,
    /// Bounds the reads that run or wait. `reads` bounds those that run.
    places: Arc<Semaphore>,
}

/// A permit to read from the store. It is valid until it is dropped.
pub(super) struct HistoryPermit {
    store: Arc<dyn Store>,
    _read: OwnedSemaphorePermit,
    _place: OwnedSemaphorePermit,
}

impl HistoryReader {
    pub(super) fn new(store: Arc<dyn Store>) -> HistoryReader {
        let [reads, places] = [HISTORY_READERS, HISTORY_READERS + MAX_WAITING].map(Semaphore::new).map(Arc::new);
        let store = store.for_clients().unwrap_or(store);
        HistoryReader {
            permits: Permits { store, reads, places },
            running: Mutex::default(),
            running_audits: Mutex::default(),
            live_audits: Mutex::default(),
        }
    }

    /// Waits for a permit to read from the store.
    ///
    /// # Errors
    /// If too many reads wait.
    pub(super) async fn permit(&self) -> Result<HistoryPermit> {
        self.permits.clone().acquire().await
    }

    /// Returns the oldest entries with `after < id <= until`, at most `limit`.
    pub(super) async fn range(&self, after: TickId, until: TickId, limit: usize) -> Result<Entries> {
        let permits = self.permits.clone();
        let read = async move {
            let permit = permits.acquire().await?;
            let entries = permit.store().range(after, until, limit).await?;
            Ok(Arc::new(entries.into_iter().map(Arc::new).collect()))
        };
        join_or_start(&self.running, (after, until, limit), read).await
    }

    /// Returns `entries`, which begin after the id `after`, with their audits.
    pub(super) async fn with_audits(&self, after: TickId, entries: Vec<Arc<Entry>>) -> Result<Vec<Arc<Entry>>> {
        let Some(last) = entries.last().map(|entry| entry.id) else { return Ok(entries) };
        let (permits, limit) = (self.permits.clone(), entries.len());
        let page = (after, last, limit);
        let live = || self.live_audits.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, entries)) = live().as_ref().filter(|(of, _)| *of == page) {
            return Ok(Vec::clone(entries));
        }
        let read = async move {
            let permit = permits.acquire().await?;
            let (mut audits, mut next, size) = (Vec::new(), Some(after), limit.max(AUDIT_ENTRIES));
            // The store may also have audits of entries that this version cannot decode. They take places in a page, so
            // one page may not be enough.
            while let Some(after) = next {
                let page = permit.store().audits(after, last, size).await?;
                next = page.last().map(|audit| audit.id).filter(|id| page.len() == size && *id < last);
                let is_wanted = |id: TickId| entries.binary_search_by_key(&id, |entry| entry.id).is_ok();
                audits.extend(page.into_iter().filter(|audit| is_wanted(audit.id)));
            }
            Ok(Arc::new(join_audits(entries, audits)))
        };
        let entries = join_or_start(&self.running_audits, page, read).await?;
        if limit <= LIVE_ENTRIES && live().as_ref().is_none_or(|((_, known, _), _)| *known < last) {
            *live() = Some((page, entries.clone()));
        }
        Ok(Vec::clone(&entries))
    }
}

/// Returns the entries with their audits. Both are in the order of their ids.
fn join_audits(mut entries: Vec<Arc<Entry>>, audits: Vec<EntryAudit>) -> Vec<Arc<Entry>> {
    let mut audits = audits.into_iter().peekable();
    for entry in &mut entries {
        while audits.next_if(|audit| audit.id < entry.id).is_some() {}
        let Some(found) = audits.next_if(|audit| audit.id == entry.id) else { continue };
        let mut audited = Entry::clone(entry);
        if let Event::Tick { tick, .. } = &mut audited.event {
            tick.audit = Some(Arc::new(found.audit));
        }
        *entry = Arc::new(audited);
    }
    entries
}

/// Returns the running read of this page, or starts one.
fn join_or_start(
    running: &Mutex<HashMap<Page, WeakShared<Reading>>>,
    page: Page,
    read: impl Future<Output = Result<Entries>> + Send + 'static,
) -> Shared<Reading> {
    let mut running = running.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(reading) = running.get(&page).and_then(WeakShared::upgrade).filter(|reading| reading.peek().is_none()) {
        return reading;
    }
    let reading = read.boxed().shared();
    // Finished reads are removed only when the map would grow. If every new read removed them, every new read would
    // scan the whole map.
    if running.len() == running.capacity() {
        running.retain(|_, other| other.upgrade().is_some_and(|other| other.peek().is_none()));
    }
    running.extend(reading.downgrade().map(|reading| (page, reading)));
    reading
}

impl Permits {
    async fn acquire(self) -> Result<HistoryPermit> {
        let unavailable = |error: &dyn std::fmt::Display| StoreError::Unavailable(error.to_string());
        let place = self.places.try_acquire_owned().map_err(|_| unavailable(&"too many reads wait"))?;
        let read = self.reads.acquire_owned().await.map_err(|error| unavailable(&error))?;
        Ok(HistoryPermit { store: self.store, _read: read, _place: place })
    }
}

impl HistoryPermit {
    /// Returns the store with the connections for clients.
    pub(super) fn store(&self) -> &dyn Store {
        &*self.store
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Memory, Options, Record};
    use crate::tick::{Audit, Tick};
    use futures_util::poll;
    use std::pin::pin;
    use std::time::Duration;

    #[tokio::test]
    async fn audits_of_a_live_tick_are_read_once() {
        let hour = Duration::from_secs(3600);
        let store = Arc::new(Memory::new(Options { retention: hour, lease_ttl: hour }));
        let lease = store.acquire("a").await.unwrap().unwrap();
        for _ in 0..10 {
            let record = Record::now(Event::Tick { tick: Tick::default(), outages: vec![] });
            store.append(&lease, &record.with_audit(&Audit::default()), TickId::ZERO).await.unwrap();
        }
        let entries: Vec<_> = store.newest(10).await.unwrap().into_iter().map(Arc::new).collect();
        let reader = HistoryReader::new(store);
        let read = async |from: usize| {
            let (after, entries) = (entries[from].prev, entries[from..].to_vec());
            reader.with_audits(after, entries).await.unwrap()
        };
        let live = read(9).await;
        assert!(live[0].tick().unwrap().audit.is_some());
        assert!(Arc::ptr_eq(&live[0], &read(9).await[0]), "the next client gets what was read");
        assert!(!Arc::ptr_eq(&read(0).await[0], &read(0).await[0]), "long pages are not kept");
        assert!(Arc::ptr_eq(&live[0], &read(9).await[0]));
    }

    #[tokio::test]
    async fn reads_wait_in_a_bounded_number() {
        let hour = Duration::from_secs(3600);
        let reader = HistoryReader::new(Arc::new(Memory::new(Options { retention: hour, lease_ttl: hour })));
        let mut running = Vec::new();
        for _ in 0..HISTORY_READERS {
            running.push(reader.permit().await.unwrap());
        }
        let mut waiting: Vec<_> = (0..MAX_WAITING).map(|_| Box::pin(reader.permit())).collect();
        for read in &mut waiting {
            assert!(poll!(read).is_pending());
        }
        assert!(matches!(reader.permit().await, Err(StoreError::Unavailable(_))));
        let mut range = pin!(reader.range(TickId::ZERO, TickId::ZERO, 1));
        assert!(matches!(poll!(&mut range), std::task::Poll::Ready(Err(StoreError::Unavailable(_)))));
        running.pop();
        waiting.remove(0).await.unwrap();
        let mut next = pin!(reader.permit());
        assert!(poll!(&mut next).is_pending());
    }
}
