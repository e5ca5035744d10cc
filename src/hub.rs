//! The hub of a replica: it follows the store without a gap, keeps a window of the newest entries with their encoded
//! bytes, and wakes the sessions.

mod encoded_log;
mod follow;
mod history;
mod load;
mod marks;
mod window;

pub use encoded_log::SharedView;
pub use history::{AUDIT_ENTRIES, LOAD_ENTRIES};
pub use marks::Skip;
pub use window::{Examined, Read};

use crate::candle::Detail;
use crate::encode::View;
use crate::feed::{Continuity, Entry, Event, Feed};
use crate::store::{Result, Store};
use crate::telemetry::FaultLog;
use crate::telemetry::metrics::{FORKS, GAPS};
use crate::tick::{Currencies, TickId};
use history::HistoryReader;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;
use tokio::sync::watch;
use tracing::{trace, warn};
use window::Window;

/// The settings of a hub.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The maximum number of entries in the window. Older entries are read from the store on demand.
    pub window: usize,
    /// The time for which an entry is kept, in the window and in the store.
    pub retention: Duration,
}

/// The minimum number of entries that a search for ticks reads from the store in its second attempt. The first attempt
/// reads only as many entries as ticks are wanted.
const SEARCH_ENTRIES: usize = 1000;
/// The maximum number of entries that a search for ticks reads, because all of them are in memory at once. Three days
/// at the default interval.
const MAX_SEARCHED: usize = 50_000;

/// The newest part of the feed, ready to be sent.
pub struct Hub {
    store: Arc<dyn Store>,
    /// A std lock: it is held only briefly, and never across an await.
    window: RwLock<Window>,
    capacity: usize,
    retention: Duration,
    /// Reads the store for clients. The hub's own reads do not wait for those of clients.
    history: HistoryReader,
    /// The newest id. Sessions wait until it changes.
    head: watch::Sender<TickId>,
    /// Limits the log lines about entries that the feed has lost.
    fork_log: Mutex<FaultLog>,
    /// Limits the log lines about streams that wait for the history.
    load_log: Mutex<FaultLog>,
    /// True if the hub has subscribed to the store and then read the history.
    primed: watch::Sender<bool>,
}

impl Hub {
    /// Creates an empty hub for `store`.
    pub fn new(store: Arc<dyn Store>, options: Options) -> Hub {
        let window = RwLock::new(Window::new(options.window, options.retention));
        let (head, primed) = (watch::Sender::new(TickId::ZERO), watch::Sender::new(false));
        let (capacity, retention, history) = (options.window, options.retention, HistoryReader::new(store.clone()));
        let (fork_log, load_log) = (Mutex::default(), Mutex::default());
        Hub { store, window, capacity, retention, history, head, fork_log, load_log, primed }
    }

    /// Waits until the hub has subscribed to the store and read the history.
    pub async fn primed(&self) {
        // The sender is part of self, so waiting cannot fail.
        self.primed.subscribe().wait_for(|primed| *primed).await.ok();
    }

    /// Returns true if the hub has subscribed to the store and read the history.
    pub fn is_primed(&self) -> bool {
        *self.primed.borrow()
    }

    /// Returns the time for which an entry is kept.
    pub fn retention(&self) -> Duration {
        self.retention
    }

    /// Returns a receiver that is notified when the head changes.
    pub fn watch_head(&self) -> watch::Receiver<TickId> {
        self.head.subscribe()
    }

    /// Returns a view of the window, which all callers share. When no caller uses it any more, it is dropped after a
    /// while.
    pub fn view(&self, view: View) -> Arc<SharedView> {
        if let Some(shared) = self.window().view(view) {
            return shared;
        }
        self.window_mut().add_view(view)
    }

    /// Returns the entries after `cursor`, encoded in a view of this hub, but at most as many as one write should
    /// contain.
    pub fn read(&self, view: &SharedView, cursor: TickId) -> Read {
        self.window().read(view, cursor)
    }

    /// Passes the entries after `cursor` one by one to `examine`, for a reader that does not want all of them.
    /// `examine` returns which of the entries that follow can be skipped.
    pub fn examine(
        &self,
        view: &SharedView,
        cursor: TickId,
        examine: &mut dyn FnMut(Examined<'_>) -> Option<Skip>,
    ) -> Read {
        self.window().examine(view, cursor, examine)
    }

    /// Returns the id before the newest `count` ticks with a price in one of `currencies`, or zero if the feed has
    /// fewer such ticks. A search in the store ends after its newest 50,000 entries. If it has not found enough ticks
    /// by then, returns the id before these entries.
    ///
    /// # Errors
    /// If the store must be read, and is unavailable or has too many readers.
    pub async fn before_newest_ticks(&self, count: usize, currencies: Currencies) -> Result<TickId> {
        let wanted = |entry: &Entry| has_price(entry, currencies);
        let (found, complete) = {
            let window = self.window();
            (window.before_newest(count, &wanted), window.is_complete())
        };
        if complete || found.is_some() {
            return Ok(found.unwrap_or(TickId::ZERO));
        }
        let permit = self.history.permit().await?;
        let mut limit = count;
        loop {
            let newest = permit.store().newest(limit).await?;
            match newest.iter().rev().filter(|entry| wanted(entry)).nth(count.saturating_sub(1)) {
                Some(entry) => return Ok(entry.prev),
                None if newest.len() < limit => return Ok(TickId::ZERO),
                None if limit == MAX_SEARCHED => return Ok(newest.first().map_or(TickId::ZERO, |entry| entry.prev)),
                // Some entries were statuses, or ticks without a price in these currencies. The limit doubles, so that
                // a search for a currency without recent prices needs only a few reads of the store.
                None => limit = (2 * limit).clamp(SEARCH_ENTRIES, MAX_SEARCHED),
            }
        }
    }

    /// Returns the entries with `after < id <= until`, at most `limit`, oldest first. They come from the window, or
    /// from the store if they are older than the window. Poll the future without a pause, because it holds one of a few
    /// permits.
    ///
    /// # Errors
    /// If the store must be read, and is unavailable or has too many readers.
    pub async fn history(&self, after: TickId, until: TickId, limit: usize) -> Result<Vec<Arc<Entry>>> {
        if let Some(entries) = self.window().range(after, until, limit) {
            return Ok(entries);
        }
        let mut entries = Vec::clone(&*self.history.range(after, until, limit).await?);
        // The window may have entries that the store has lost.
        let last = entries.last().map_or(after, |entry| entry.id);
        entries.extend(self.window().entries_between(last, until, limit - entries.len()));
        Ok(entries)
    }

    /// Returns a page of the [history](Hub::history). If `audits` is true, the ticks have their audits, as far as the
    /// store has them.
    ///
    /// # Errors
    /// If the store must be read, and is unavailable or has too many readers.
    pub async fn page(&self, after: TickId, until: TickId, limit: usize, audits: bool) -> Result<Vec<Arc<Entry>>> {
        let entries = self.history(after, until, limit).await?;
        if audits { self.history.with_audits(after, entries).await } else { Ok(entries) }
    }

    /// Returns all entries with `after < id <= until`, read page by page, or the oldest `max` of them.
    ///
    /// # Errors
    /// If the store must be read, and is unavailable or has too many readers.
    pub async fn pages(&self, after: TickId, until: TickId, max: usize, audits: bool) -> Result<Vec<Arc<Entry>>> {
        let (mut entries, most) = (Vec::new(), if audits { AUDIT_ENTRIES } else { LOAD_ENTRIES });
        loop {
            let limit = most.min(max - entries.len());
            let begin = entries.last().map_or(after, |entry: &Arc<Entry>| entry.id);
            let page = self.page(begin, until, limit, audits).await?;
            let is_last = page.len() < limit || entries.len() + page.len() == max;
            entries.extend(page);
            if is_last {
                return Ok(entries);
            }
        }
    }

    /// Returns the id of the `n`th entry with `after < id <= until`, counted from one, if there are that many.
    ///
    /// # Errors
    /// If the store must be read, and is unavailable or has too many readers.
    pub async fn nth(&self, after: TickId, until: TickId, n: usize) -> Result<Option<TickId>> {
        {
            let window = self.window();
            if window.reaches(after) {
                return Ok(window.nth(after, until, n));
            }
        }
        self.history.permit().await?.store().nth(after, until, n).await
    }

    /// Returns the id of the `n`th newest entry with `after < id <= until`, counted from one, if there are that many.
    ///
    /// # Errors
    /// If the store must be read, and is unavailable or has too many readers.
    pub async fn nth_newest(&self, after: TickId, until: TickId, n: usize) -> Result<Option<TickId>> {
        {
            let window = self.window();
            if let Some(id) = window.nth_newest(until, n) {
                return Ok(Some(id).filter(|id| *id > after));
            }
            if window.reaches(after) {
                return Ok(None);
            }
        }
        self.history.permit().await?.store().nth_newest(after, until, n).await
    }

    /// Returns the oldest id that the store has, or zero if it has none. It always reads the store, because the window
    /// may lack the oldest entries: this replica can have a shorter retention than the leader.
    ///
    /// # Errors
    /// If the store is unavailable or has too many readers.
    pub async fn oldest_kept(&self) -> Result<TickId> {
        let permit = self.history.permit().await?;
        let oldest = permit.store().range(TickId::ZERO, TickId::from_ms(u64::MAX), 1).await?;
        Ok(oldest.first().map_or(TickId::ZERO, |entry| entry.id))
    }

    /// Returns the starts of the hours whose candles the store keeps in this detail, oldest first, or `None` if it
    /// cannot keep candles.
    ///
    /// # Errors
    /// If the store is unavailable or has too many readers.
    pub async fn kept_hours(&self, detail: Detail) -> Result<Option<Vec<TickId>>> {
        self.history.permit().await?.store().kept_hours(detail).await
    }

    /// Returns the candles of these hours, as the store keeps them.
    ///
    /// # Errors
    /// If the store is unavailable or has too many readers.
    pub async fn read_hours(&self, detail: Detail, starts: &[TickId]) -> Result<Vec<Option<String>>> {
        self.history.permit().await?.store().read_hours(detail, starts).await
    }

    /// Deletes the hours that begin at the times `expired` from the store. Then keeps the candles of `hours` in it.
    ///
    /// # Errors
    /// If the store is unavailable or has too many readers.
    pub async fn keep_hours(&self, detail: Detail, hours: &[(TickId, String)], expired: &[TickId]) -> Result<()> {
        self.history.permit().await?.store().keep_hours(detail, hours, expired).await
    }

    /// Returns the id of the last entry up to `until`. Returns `None` if the window has no unbroken chain from the
    /// entry `after` to that entry.
    pub fn chained(&self, after: TickId, until: TickId) -> Option<TickId> {
        self.window().chained(after, until)
    }

    /// Returns the newest tick in the window with a price in one of `currencies`.
    pub fn latest_tick(&self, currencies: Currencies) -> Option<Arc<Entry>> {
        self.newest(&|entry| has_price(entry, currencies))
    }

    /// Returns the newest tick in the window.
    pub fn newest_tick(&self) -> Option<Arc<Entry>> {
        self.newest(&|entry| entry.tick().is_some())
    }

    /// Returns the newest status that has been in the window.
    pub fn status(&self) -> Option<Arc<Entry>> {
        self.window().status()
    }

    fn window(&self) -> RwLockReadGuard<'_, Window> {
        self.window.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn window_mut(&self) -> RwLockWriteGuard<'_, Window> {
        self.window.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends the entries that are newer than the head.
    pub(crate) fn append(&self, entries: Vec<Entry>) {
        let head = {
            let mut window = self.window_mut();
            for entry in entries {
                trace!(id = %entry.id, "received");
                if self.is_primed() && entry.continues(window.head()) == Continuity::Lost {
                    self.note_fork(&entry, window.head());
                }
                if let Event::Tick { outages, .. } = &entry.event
                    && self.is_primed()
                {
                    for outage in outages {
                        GAPS.counter(outage.reason.as_str()).increment(1);
                    }
                }
                window.push(entry);
            }
            window.trim();
            window.head()
        };
        self.head.send_if_modified(|known| std::mem::replace(known, head) != head);
    }
}

impl Hub {
    /// Logs and counts that the feed has lost entries that this replica has.
    fn note_fork(&self, entry: &Entry, head: TickId) {
        FORKS.counter("").increment(1);
        if self.fork_log.lock().unwrap_or_else(PoisonError::into_inner).is_due() {
            warn!(
                id = %entry.id, prev = %entry.prev, %head,
                next = "clients that got the lost entries get a gap",
                "Redis has lost the entries after prev up to head, in a failover or with two primaries at the same time"
            );
        }
    }
}

/// Returns true if an entry is a tick with a price in one of `currencies`.
fn has_price(entry: &Entry, currencies: Currencies) -> bool {
    entry.tick().is_some_and(|tick| !tick.currencies().and(currencies).is_empty())
}

impl Feed for Hub {
    fn head(&self) -> TickId {
        *self.head.borrow()
    }

    fn after(&self, id: TickId) -> Vec<Arc<Entry>> {
        self.window().after(id)
    }

    fn newest(&self, wanted: &dyn Fn(&Entry) -> bool) -> Option<Arc<Entry>> {
        self.window().newest(wanted)
    }

    fn retention(&self) -> Duration {
        self.retention
    }

    fn extent(&self) -> Option<(TickId, TickId, usize)> {
        self.window().extent()
    }
}
