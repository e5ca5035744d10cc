//! Candles of this replica.
//!
//! The first update reads the candles that the store keeps, and the entries that they do not cover. After that, new
//! entries are added by each request, and once a minute by a task. The task also saves the candles of complete hours
//! to the store. Requests that arrive during an update wait for it.

use crate::candle::{Book, Interval, KeptHour};
use crate::feed::Feed;
use crate::hub::Hub;
use crate::store::Result;
use crate::telemetry::FaultLog;
use crate::tick::TickId;
use std::collections::BTreeSet;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::sleep;
use tracing::{debug, warn};

/// Number of entries in one read.
const PAGE_ENTRIES: usize = 1000;
/// Number of kept hours in one read or write.
const PAGE_HOURS: usize = 24;
/// Time between two updates by the task.
const UPDATE_EVERY: Duration = Duration::from_secs(60);

/// The candle book, and the lock for its updates.
pub(crate) struct CandleCache {
    /// A std lock, never held across an await. A request holds it while it renders its candles, at most 10,000.
    book: RwLock<Book>,
    /// Lock of the task or request that updates the book.
    catching_up: Mutex<Loading>,
}

/// First update of the book.
#[derive(Default)]
struct Loading {
    is_done: bool,
    /// Hours in the store that cannot be used: the text cannot be decoded, or the hour ends after the newest entry,
    /// because a clock was ahead when it was kept.
    unusable: BTreeSet<TickId>,
    fault: FaultLog,
}

impl CandleCache {
    /// Creates an empty cache with the retention of `hub`.
    pub(crate) fn new(hub: &Hub) -> CandleCache {
        CandleCache { book: RwLock::new(Book::new(hub.retention())), catching_up: Mutex::default() }
    }

    /// Returns the candles. Drop the guard before the next await.
    pub(crate) fn book(&self) -> RwLockReadGuard<'_, Book> {
        self.book.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn book_mut(&self) -> RwLockWriteGuard<'_, Book> {
        self.book.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Updates the candles once a minute, and saves those of each complete hour to the store. Never returns.
    pub(crate) async fn run(&self, hub: &Hub) {
        hub.primed().await;
        let mut kept = BTreeSet::new();
        loop {
            let updated = async {
                self.catch_up(hub).await?;
                self.keep_hours(hub, &mut kept).await
            };
            if let Err(error) = updated.await {
                debug!(%error, "cannot update the candles, retrying");
            }
            sleep(UPDATE_EVERY).await;
        }
    }

    /// Adds the entries that the hub has and the book does not have yet.
    ///
    /// # Errors
    /// If the store must be read and is unavailable or has too many readers: at the first update, and for entries that
    /// have left the hub's window.
    pub(crate) async fn catch_up(&self, hub: &Hub) -> Result<()> {
        let head = hub.head();
        if self.book().head() >= head {
            return Ok(());
        }
        let mut loading = self.catching_up.lock().await;
        if !loading.is_done
            && let Err(error) = self.load(hub, &mut loading.unusable).await
            && loading.fault.is_due()
        {
            warn!(%error, next = "reading the entries", "cannot read the candles that the store keeps");
        }
        self.read_entries(hub, head).await?;
        loading.is_done = true;
        Ok(())
    }

    /// Reads the hours that the store keeps, and the entries between them.
    async fn load(&self, hub: &Hub, unusable: &mut BTreeSet<TickId>) -> Result<()> {
        let starts = hub.kept_hours().await?.unwrap_or_default();
        let mut invalid = 0;
        for page in starts.chunks(PAGE_HOURS) {
            for (start, text) in page.iter().zip(hub.read_hours(page).await?) {
                // Another replica may have just deleted it.
                let Some(text) = text else { continue };
                let Some(hour) = KeptHour::decode(*start, &text) else {
                    // The hour is read from its entries.
                    invalid += 1;
                    unusable.insert(*start);
                    continue;
                };
                // A clock may have been ahead when it was kept.
                if hour.id > hub.head() {
                    unusable.insert(*start);
                    continue;
                }
                self.read_entries(hub, hour.prev).await?;
                self.book_mut().add_kept(&hour);
            }
        }
        if invalid > 0 {
            warn!(hours = invalid, next = "reading the entries of these hours", "the store has invalid candles");
        }
        Ok(())
    }

    /// Adds the entries up to `until` that the book does not have.
    async fn read_entries(&self, hub: &Hub, until: TickId) -> Result<()> {
        loop {
            let after = self.book().head();
            if after >= until {
                return Ok(());
            }
            let entries = hub.history(after, until, PAGE_ENTRIES).await?;
            if entries.is_empty() {
                return Ok(());
            }
            let mut book = self.book_mut();
            for entry in entries {
                book.add(&entry);
            }
        }
    }

    /// Saves to the store each hour that has ended. `kept` contains those that the store has. If no hour is new and
    /// none is unusable, the store is not asked.
    async fn keep_hours(&self, hub: &Hub, kept: &mut BTreeSet<TickId>) -> Result<()> {
        let whole: Vec<_> = self.book().whole_hours().collect();
        let mut unusable = std::mem::take(&mut self.catching_up.lock().await.unusable);
        if unusable.is_empty() && whole.iter().all(|start| kept.contains(start)) {
            return Ok(());
        }
        let saved = self.save(hub, &whole, &unusable).await;
        if saved.is_err() {
            self.catching_up.lock().await.unusable.append(&mut unusable);
        }
        saved?;
        *kept = whole.into_iter().collect();
        Ok(())
    }

    /// Saves the `whole` hours that the store does not have. Replaces or deletes those that are `unusable`.
    async fn save(&self, hub: &Hub, whole: &[TickId], unusable: &BTreeSet<TickId>) -> Result<()> {
        let present = hub.kept_hours().await?;
        let present: BTreeSet<_> = match present {
            Some(starts) => starts.into_iter().collect(),
            // The store keeps no candles.
            None => whole.iter().copied().collect(),
        };
        // The retention of this replica may differ from the leader's, so the floor depends on what the store has. The
        // oldest hour may be partly expired, and is kept until it has expired completely.
        let floor = Interval::Hour.start(hub.oldest_kept().await?);
        let is_missing = |start: &TickId| *start >= floor && (!present.contains(start) || unusable.contains(start));
        let missing: Vec<_> = whole.iter().copied().filter(is_missing).collect();
        let mut expired: Vec<_> = present.range(..floor).chain(unusable).copied().collect();
        // If no hour is missing, a single empty page still deletes the expired hours.
        let pages = missing.chunks(PAGE_HOURS).chain(missing.is_empty().then_some(&[][..]));
        for page in pages {
            let hours: Vec<_> = {
                let book = self.book();
                page.iter().filter_map(|start| Some((*start, book.kept_hour(*start)?.encode()))).collect()
            };
            hub.keep_hours(&hours, &expired).await?;
            expired.clear();
        }
        Ok(())
    }
}
