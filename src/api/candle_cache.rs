//! Candles of this replica.
//!
//! The first update reads candles from the store: candles of hours for the time before the oldest entry, and candles of
//! minutes for the time for which this replica keeps them. It also reads the entries that these candles do not cover.
//! After that, new entries are added by each request, and once a minute by a task. The task also saves the candles of
//! complete hours to the store. Requests that arrive during an update wait for it.

use crate::candle::{Book, Detail, Interval, KeptHour, MINUTES_KEPT, PAGE_HOURS};
use crate::feed::Feed;
use crate::hub::Hub;
use crate::store::{Result, StoreError};
use crate::telemetry::FaultLog;
use crate::tick::TickId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::sleep;
use tracing::{debug, warn};

/// Number of entries in one read.
const PAGE_ENTRIES: usize = 1000;
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
    unusable: Unusable,
    fault: FaultLog,
}

/// Hours in the store that cannot be used.
type Unusable = BTreeMap<(Detail, TickId), Defect>;

/// Reason why an hour in the store cannot be used.
#[derive(Clone, Copy, PartialEq)]
enum Defect {
    /// It ends after the newest entry: a clock was ahead when it was kept.
    Ahead,
    /// It has ended, and its text cannot be decoded. A newer version may have written it.
    Undecodable,
}

impl CandleCache {
    /// Creates an empty cache. It keeps minutes for the retention of `hub`, or for [`MINUTES_KEPT`] if that is longer.
    pub(crate) fn new(hub: &Hub) -> CandleCache {
        let book = Book::new(hub.retention().max(MINUTES_KEPT));
        CandleCache { book: RwLock::new(book), catching_up: Mutex::default() }
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
        let mut kept = [Vec::new(), Vec::new()];
        loop {
            let updated = async {
                self.catch_up(hub).await?;
                for (detail, kept) in Detail::ALL.into_iter().zip(&mut kept) {
                    self.keep_hours(hub, detail, kept).await?;
                }
                Ok::<_, StoreError>(())
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
    /// If the store is unavailable or has too many readers. It is read only at the first update, and for entries that
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
    async fn load(&self, hub: &Hub, unusable: &mut Unusable) -> Result<()> {
        unusable.clear();
        let kept =
            async |detail| Ok::<_, StoreError>(BTreeSet::from_iter(hub.kept_hours(detail).await?.unwrap_or_default()));
        let (mut hours, mut minutes) = (kept(Detail::Hour).await?, kept(Detail::Minutes).await?);
        // The single candle of an hour is used only if entries of that hour are gone. Otherwise the entries are read,
        // because they also give the candles of the minutes. Kept minutes are read if they have not expired for this
        // replica, or if no single candle is used for their hour.
        let (oldest, expired) = (hub.oldest_kept().await?, self.book().minutes_kept_from(hub.head()));
        let is_lost = |moment: TickId| oldest == TickId::ZERO || moment < oldest;
        let is_ahead = |start: TickId| Interval::Hour.end(start) > hub.head();
        hours.retain(|start| is_lost(*start) || is_ahead(*start));
        minutes.retain(|start| *start >= expired || !hours.contains(start));
        let starts: Vec<_> = hours.union(&minutes).copied().collect();
        for page in starts.chunks(PAGE_HOURS) {
            let mut found = BTreeMap::new();
            // If an hour is kept in both details, its minutes replace its single candle.
            for (detail, kept) in [(Detail::Hour, &hours), (Detail::Minutes, &minutes)] {
                let page: Vec<_> = page.iter().copied().filter(|start| kept.contains(start)).collect();
                for (start, text) in page.iter().zip(hub.read_hours(detail, &page).await?) {
                    // Another replica may have just deleted it.
                    let Some(text) = text else { continue };
                    match KeptHour::decode(detail, *start, &text) {
                        Some(hour) if hour.id <= hub.head() => {
                            if detail == Detail::Minutes || is_lost(hour.first()) {
                                found.insert(*start, hour);
                            }
                        }
                        None if !is_ahead(*start) => drop(unusable.insert((detail, *start), Defect::Undecodable)),
                        Some(_) | None => drop(unusable.insert((detail, *start), Defect::Ahead)),
                    }
                }
            }
            for hour in found.values() {
                self.read_entries(hub, hour.prev).await?;
                self.book_mut().add_kept(hour);
            }
        }
        let undecodable = unusable.iter().filter(|(_, defect)| **defect == Defect::Undecodable);
        let invalid = undecodable.map(|((_, start), _)| start).collect::<BTreeSet<_>>().len();
        if invalid > 0 {
            warn!(hours = invalid, next = "replacing those whose entries are kept", "the store has invalid candles");
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

    /// Saves the complete hours to the store. `kept` contains the hours of the last call that succeeded. If the hours
    /// are the same and none is unusable, the store is not asked.
    async fn keep_hours(&self, hub: &Hub, detail: Detail, kept: &mut Vec<TickId>) -> Result<()> {
        let whole: Vec<_> = self.book().whole_hours(detail).collect();
        let mut unusable: Unusable = {
            let known = &mut self.catching_up.lock().await.unusable;
            let (own, others) = std::mem::take(known).into_iter().partition(|((of, _), _)| *of == detail);
            *known = others;
            own
        };
        if unusable.is_empty() && whole == *kept {
            return Ok(());
        }
        let saved = self.save(hub, detail, &whole, &unusable).await;
        if saved.is_err() {
            self.catching_up.lock().await.unusable.append(&mut unusable);
        }
        saved?;
        *kept = whole;
        Ok(())
    }

    /// Saves the `whole` hours that the store does not have, and replaces `unusable` ones that the book has. Deletes
    /// hours that are ahead, and minutes that have expired.
    async fn save(&self, hub: &Hub, detail: Detail, whole: &[TickId], unusable: &Unusable) -> Result<()> {
        let present = hub.kept_hours(detail).await?;
        let present: BTreeSet<_> = match present {
            Some(starts) => starts.into_iter().collect(),
            // The store keeps no candles.
            None => return Ok(()),
        };
        let floor = match detail {
            // The retention of this replica may differ from the leader's, so the floor depends on what the store has.
            // The oldest hour may be partly expired, and is kept until it has expired completely.
            Detail::Minutes => Interval::Hour.start(hub.oldest_kept().await?.min(hub.head().minus(MINUTES_KEPT))),
            Detail::Hour => TickId::ZERO,
        };
        let is_missing =
            |start: &TickId| *start >= floor && (!present.contains(start) || unusable.contains_key(&(detail, *start)));
        let missing: Vec<_> = whole.iter().copied().filter(is_missing).collect();
        let ahead = unusable.iter().filter(|(_, defect)| **defect == Defect::Ahead);
        let mut deleted: Vec<_> = ahead.map(|((_, start), _)| *start).chain(present.range(..floor).copied()).collect();
        // If no hour is missing, a single empty page still deletes hours.
        let pages = missing.chunks(PAGE_HOURS).chain((missing.is_empty() && !deleted.is_empty()).then_some(&[][..]));
        for page in pages {
            let hours: Vec<_> = {
                let book = self.book();
                page.iter().filter_map(|start| Some((*start, book.kept_hour(detail, *start)?.encode()))).collect()
            };
            // An hour that cannot be decoded is deleted by the same call that writes its replacement. Nothing replaces
            // an hour whose entries have expired, so it stays for the version that can decode it.
            deleted
                .extend(hours.iter().map(|(start, _)| *start).filter(|start| unusable.contains_key(&(detail, *start))));
            hub.keep_hours(detail, &hours, &deleted).await?;
            deleted.clear();
        }
        Ok(())
    }
}
