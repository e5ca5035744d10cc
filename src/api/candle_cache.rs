//! Candles of this replica, kept up to date by the requests for them.
//!
//! Each request first adds what has happened since the last one; the very first adds the whole history. Requests that arrive
//! in the meantime wait for that, and then find the work done.

use crate::candle::Book;
use crate::feed::Feed;
use crate::hub::Hub;
use crate::store::Result;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use tokio::sync::Mutex;

/// Entries that are read at a time.
const PAGE: usize = 1000;

/// This replica's candles.
pub(crate) struct CandleCache {
    /// A std lock: it is read and written for less than a millisecond, and never across an await.
    book: RwLock<Book>,
    /// Held by the request that reads what is new.
    catching_up: Mutex<()>,
}

impl CandleCache {
    pub(crate) fn new(hub: &Hub) -> CandleCache {
        CandleCache { book: RwLock::new(Book::new(hub.retention())), catching_up: Mutex::default() }
    }

    pub(crate) fn book(&self) -> RwLockReadGuard<'_, Book> {
        self.book.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds what the hub has and the book has not.
    ///
    /// # Errors
    /// If the store is needed and unavailable.
    pub(crate) async fn catch_up(&self, hub: &Hub) -> Result<()> {
        let head = hub.head();
        if self.book().head() >= head {
            return Ok(());
        }
        let _turn = self.catching_up.lock().await;
        loop {
            let after = self.book().head();
            let entries = hub.history(after, head, PAGE).await?;
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
