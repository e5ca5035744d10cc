//! Reads of the store's history for clients: a few at a time, and one for all clients that ask for the same page.
//!
//! Clients that lost a replica reconnect together with the same cursor. If it is older than the window, the store is asked
//! once for each page, however many clients there are. The limit keeps clients from delaying the hub's own reads, which do
//! not count.

use crate::feed::Entry;
use crate::store::{HISTORY_READERS, Result, Store, StoreError};
use crate::tick::TickId;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The most entries in one read for a client.
pub const LOAD_ENTRIES: usize = 500;

/// The arguments of a read: `after`, `until` and `limit`.
type Page = (TickId, TickId, usize);
type Entries = Arc<Vec<Arc<Entry>>>;
type Reading = BoxFuture<'static, Result<Entries>>;

/// The reads that clients need.
pub(super) struct HistoryReader {
    store: Arc<dyn Store>,
    permits: Arc<Semaphore>,
    /// The reads that have not ended. A std mutex, held for a lookup.
    running: Mutex<HashMap<Page, WeakShared<Reading>>>,
}

impl HistoryReader {
    pub(super) fn new(store: Arc<dyn Store>) -> HistoryReader {
        HistoryReader { store, permits: Arc::new(Semaphore::new(HISTORY_READERS)), running: Mutex::default() }
    }

    /// Waits for a permit to read from the store. It is valid until it is dropped.
    pub(super) async fn permit(&self) -> Result<OwnedSemaphorePermit> {
        acquire(self.permits.clone()).await
    }

    /// Returns the oldest entries with `after < id <= until`, at most `limit`.
    pub(super) async fn range(&self, after: TickId, until: TickId, limit: usize) -> Result<Entries> {
        self.join_or_start((after, until, limit)).await
    }

    /// Returns the running read of this page, or starts one.
    fn join_or_start(&self, page: Page) -> Shared<Reading> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reading) =
            running.get(&page).and_then(WeakShared::upgrade).filter(|reading| reading.peek().is_none())
        {
            return reading;
        }
        let (store, permits, (after, until, limit)) = (self.store.clone(), self.permits.clone(), page);
        let read = async move {
            let _permit = acquire(permits).await?;
            let entries = store.range(after, until, limit).await?;
            Ok(Arc::new(entries.into_iter().map(Arc::new).collect()))
        };
        let reading = read.boxed().shared();
        // Finished reads are removed only when the map would grow. If each new read removed them, each would scan all others.
        if running.len() == running.capacity() {
            running.retain(|_, other| other.upgrade().is_some_and(|other| other.peek().is_none()));
        }
        running.extend(reading.downgrade().map(|reading| (page, reading)));
        reading
    }
}

async fn acquire(permits: Arc<Semaphore>) -> Result<OwnedSemaphorePermit> {
    permits.acquire_owned().await.map_err(|error| StoreError::Unavailable(error.to_string()))
}
