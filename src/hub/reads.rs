//! Reads of the store's history on behalf of clients: a few at a time, and one for all who ask for the same.
//!
//! Clients that lost one replica together come back with the same cursor together; where that is older than the window,
//! the store is asked once for each page, however many they are.

use crate::feed::Entry;
use crate::store::{Result, Store, StoreError};
use crate::tick::TickId;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Reads that are under way in the store at one time.
const READERS: usize = 4;

/// What is read: after which id, up to which, how many entries.
type Part = (TickId, TickId, usize);
type Entries = Arc<Vec<Arc<Entry>>>;
type Read = BoxFuture<'static, Result<Entries>>;

pub(super) struct Reads {
    store: Arc<dyn Store>,
    places: Arc<Semaphore>,
    /// What is being read. A std lock: held for a look.
    under_way: Mutex<HashMap<Part, WeakShared<Read>>>,
}

impl Reads {
    pub(super) fn new(store: Arc<dyn Store>) -> Reads {
        Reads { store, places: Arc::new(Semaphore::new(READERS)), under_way: Mutex::default() }
    }

    /// A place among those who may ask the store, for as long as it is held.
    pub(super) async fn place(&self) -> Result<OwnedSemaphorePermit> {
        take_place(self.places.clone()).await
    }

    /// The oldest entries with `after < id <= until`, at most `limit` of them.
    pub(super) async fn range(&self, after: TickId, until: TickId, limit: usize) -> Result<Entries> {
        self.reading((after, until, limit)).await
    }

    /// The read of this part that is under way, or else a new one.
    fn reading(&self, part: Part) -> Shared<Read> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reading) =
            under_way.get(&part).and_then(WeakShared::upgrade).filter(|reading| reading.peek().is_none())
        {
            return reading;
        }
        let (store, places, (after, until, limit)) = (self.store.clone(), self.places.clone(), part);
        let read = async move {
            let _place = take_place(places).await?;
            let entries = store.range(after, until, limit).await?;
            Ok(Arc::new(entries.into_iter().map(Arc::new).collect()))
        };
        let reading = read.boxed().shared();
        // Now and then, or each of many would look at all the others.
        if under_way.len() == under_way.capacity() {
            under_way.retain(|_, other| other.upgrade().is_some_and(|other| other.peek().is_none()));
        }
        under_way.extend(reading.downgrade().map(|reading| (part, reading)));
        reading
    }
}

async fn take_place(places: Arc<Semaphore>) -> Result<OwnedSemaphorePermit> {
    places.acquire_owned().await.map_err(|error| StoreError::Unavailable(error.to_string()))
}
