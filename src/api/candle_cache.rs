//! Candles of this replica, updated by the requests for them.
//!
//! Each request first adds the entries since the last request. The first request adds the whole history. Requests that
//! arrive during an update wait for it.

use crate::candle::Book;
use crate::feed::Feed;
use crate::hub::Hub;
use crate::store::Result;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use tokio::sync::Mutex;

/// Number of entries in one read.
const PAGE_ENTRIES: usize = 1000;

/// Candles of this replica.
pub(crate) struct CandleCache {
    /// A std lock: it is held for less than a millisecond, and never across an await.
    book: RwLock<Book>,
    /// Lock of the request that updates the book.
    catching_up: Mutex<()>,
}

impl CandleCache {
    /// Creates an empty cache that keeps candles as long as the hub keeps entries.
    pub(crate) fn new(hub: &Hub) -> CandleCache {
        CandleCache { book: RwLock::new(Book::new(hub.retention())), catching_up: Mutex::default() }
    }

    /// Returns the candles. Drop the guard before the next await.
    pub(crate) fn book(&self) -> RwLockReadGuard<'_, Book> {
        self.book.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the entries that the hub has and the book does not have yet.
    ///
    /// # Errors
    /// If entries are no longer in the hub's window and the store is unavailable.
    pub(crate) async fn catch_up(&self, hub: &Hub) -> Result<()> {
        let head = hub.head();
        if self.book().head() >= head {
            return Ok(());
        }
        let _guard = self.catching_up.lock().await;
        loop {
            let after = self.book().head();
            let entries = hub.history(after, head, PAGE_ENTRIES).await?;
            if entries.is_empty() {
                return Ok(());
            }
            let mut book = self.book.write().unwrap_or_else(PoisonError::into_inner);
            for entry in entries {
                book.add(&entry);
            }
        }
    }
}
