//! This replica's copy of the newest part of the feed: it follows the store without a gap, keeps a window with everything
//! encoded, and wakes the sessions.
//!
//! It subscribes first and reads the history after, so that nothing falls between the two; then it compares each live
//! entry's `prev` with its own head ([`Entry::continues`]). Whatever was missed, for whatever reason, is noticed by the
//! next entry or, where that is missed too, by looking at the store's head once a second.

mod reads;
mod tape;
mod window;

pub use window::Read;

use crate::feed::{Continuity, Entry, Feed};
use crate::store::{EntryStream, Result, Store, StoreError};
use crate::tick::{Currencies, TickId};
use crate::view::View;
use bytes::Bytes;
use futures_util::StreamExt;
use reads::Reads;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, trace, warn};
use window::Window;

/// What the hub is told.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The most entries that are kept here; older ones are read from the store when somebody asks.
    pub window: usize,
    /// How long an entry is kept, here as in the store.
    pub retention: Duration,
}

/// How often the store's head is compared with ours.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// The first pause after the store was lost, and the longest.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// Entries in one read of the store's history.
const PAGE: usize = 1000;

/// The newest part of the feed, with whatever is needed to hand it out.
pub struct Hub {
    store: Arc<dyn Store>,
    /// A std lock: sessions read it for microseconds, the hub writes it once an entry, nobody holds it across an await.
    window: RwLock<Window>,
    capacity: usize,
    retention: Duration,
    /// Clients' reads of the store, a few at a time. Following the store waits for none.
    reads: Reads,
    /// The newest id; sessions wait for it to move.
    head: watch::Sender<TickId>,
    /// Whether the history has been read once.
    primed: watch::Sender<bool>,
}

impl Hub {
    /// An empty hub, to follow `store`.
    pub fn new(store: Arc<dyn Store>, options: Options) -> Hub {
        let window = RwLock::new(Window::new(options.window, options.retention));
        let (head, primed) = (watch::Sender::new(TickId::ZERO), watch::Sender::new(false));
        let (capacity, retention, reads) = (options.window, options.retention, Reads::new(store.clone()));
        Hub { store, window, capacity, retention, reads, head, primed }
    }

    /// Follows the store until `stop`, however often it goes away.
    pub async fn run(&self, stop: CancellationToken) {
        stop.run_until_cancelled(async {
            let (mut pause, mut told) = (RETRY.0, false);
            loop {
                let began = Instant::now();
                let error = self.follow().await.err();
                if began.elapsed() > RETRY.1 * 2 {
                    // It was followed for a while, so this is another time that it is lost.
                    (pause, told) = (RETRY.0, false);
                }
                match error {
                    Some(error) if !told => warn!(%error, "not following the store"),
                    Some(error) => debug!(%error, "still not following the store"),
                    None => {}
                }
                told = true;
                // Where only the subscription fails, the history can still be read.
                self.catch_up().await.ok();
                sleep(pause / 2 + pause.mul_f64(fastrand::f64())).await;
                pause = (pause * 2).min(RETRY.1);
            }
        })
        .await;
    }

    /// Returns when the history has been read once.
    pub async fn primed(&self) {
        // The sender lives in self, so waiting cannot fail.
        self.primed.subscribe().wait_for(|primed| *primed).await.ok();
    }

    /// Whether the history has been read once.
    pub fn is_primed(&self) -> bool {
        *self.primed.borrow()
    }

    /// How long an entry is kept.
    pub fn retention(&self) -> Duration {
        self.retention
    }

    /// Something to wait on for the head to move.
    pub fn watch_head(&self) -> watch::Receiver<TickId> {
        self.head.subscribe()
    }

    /// What stands after `cursor` in `view`, as much as is good for one write.
    pub fn read(&self, view: View, cursor: TickId) -> Read {
        self.window().read(view, cursor)
    }

    /// The same with the entries themselves, for a client that does not want them all.
    pub fn read_entries(&self, view: View, cursor: TickId) -> Read<(Arc<Entry>, Bytes)> {
        self.window().read_entries(view, cursor)
    }

    /// The id before the newest `count` ticks with a price in one of `currencies`; zero if there are not as many.
    ///
    /// # Errors
    /// If the store must be asked and is away.
    pub async fn before_newest_ticks(&self, count: usize, currencies: Currencies) -> Result<TickId> {
        let wanted = |entry: &Entry| has_price(entry, currencies);
        let (found, complete) = {
            let window = self.window();
            (window.before_newest(count, &wanted), window.is_complete())
        };
        if complete || found.is_some() {
            return Ok(found.unwrap_or(TickId::ZERO));
        }
        let _place = self.reads.place().await?;
        let mut asked = count;
        loop {
            let newest = self.store.newest(asked).await?;
            match newest.iter().rev().filter(|entry| wanted(entry)).nth(count.saturating_sub(1)) {
                Some(entry) => return Ok(entry.prev),
                None if newest.len() < asked => return Ok(TickId::ZERO),
                // Some were statuses, or ticks without the price. Twice as many are asked for, or a currency that was silent
                // for long would have everything read over and over.
                None => asked = (2 * asked).max(PAGE),
            }
        }
    }

    /// The entries with `after < id <= until`, at most `limit`, from the window or, where that begins too late, from the
    /// store. Oldest first. To be awaited without a pause: only a few reads are under way at a time.
    ///
    /// # Errors
    /// If the store is asked and is away.
    pub async fn history(&self, after: TickId, until: TickId, limit: usize) -> Result<Vec<Arc<Entry>>> {
        if let Some(entries) = self.window().range(after, until, limit) {
            return Ok(entries);
        }
        let mut entries = Vec::clone(&*self.reads.range(after, until, limit).await?);
        // The store has no more: what it has lost since, or does not have yet, may still be here.
        let last = entries.last().map_or(after, |entry| entry.id);
        entries.extend(self.window().held(last, until, limit - entries.len()));
        Ok(entries)
    }

    /// The id of the `n`th entry with `after < id <= until`, counted from one, if there are so many.
    ///
    /// # Errors
    /// If the store is asked and is away.
    pub async fn nth(&self, after: TickId, until: TickId, n: usize) -> Result<Option<TickId>> {
        {
            let window = self.window();
            if window.reaches(after) {
                return Ok(window.nth(after, until, n));
            }
        }
        let _place = self.reads.place().await?;
        self.store.nth(after, until, n).await
    }

    /// The last entry up to `until`, if everything between the entry `after` and that one is in the window and nothing is missing.
    pub fn chained(&self, after: TickId, until: TickId) -> Option<TickId> {
        self.window().chained(after, until)
    }

    /// The newest tick with a price in one of `currencies`.
    pub fn latest_tick(&self, currencies: Currencies) -> Option<Arc<Entry>> {
        self.newest(&|entry| has_price(entry, currencies))
    }

    /// The newest status in the window.
    pub fn status(&self) -> Option<Arc<Entry>> {
        self.window().status()
    }

    fn window(&self) -> RwLockReadGuard<'_, Window> {
        self.window.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn window_mut(&self) -> RwLockWriteGuard<'_, Window> {
        self.window.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows the store until that fails.
    async fn follow(&self) -> Result<()> {
        let mut live: EntryStream = self.store.subscribe().await?;
        self.catch_up().await?;
        self.primed.send_replace(true);
        info!(head = %self.head(), "following the store");
        let mut checks = interval(CHECK_EVERY);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut expected = TickId::ZERO;
        loop {
            // Both arms are cancel-safe: an entry that is not taken yet stays in the stream.
            tokio::select! {
                biased;
                entry = live.next() => match entry {
                    Some(entry) => self.take(entry?).await?,
                    None => return Err(StoreError::Unavailable("the subscription ended".to_owned())),
                },
                _ = checks.tick() => {
                    // What the store had at the last check must be here by now.
                    if expected > self.head() && self.store.has_between(self.head(), expected).await? {
                        return Err(StoreError::Unavailable(format!("the subscription missed {expected}")));
                    }
                    expected = self.store.head().await?;
                }
            }
        }
    }

    /// Takes a live entry in. Where it does not follow on our head, the history decides, in which it stands too by now.
    async fn take(&self, entry: Entry) -> Result<()> {
        match entry.continues(self.head()) {
            Continuity::Known => Ok(()),
            Continuity::Next => {
                self.append(vec![entry]);
                Ok(())
            }
            Continuity::Missed => {
                debug!(id = %entry.id, prev = %entry.prev, head = %self.head(), "missed entries, reading the history");
                self.catch_up().await
            }
            Continuity::Lost => {
                warn!(id = %entry.id, prev = %entry.prev, head = %self.head(), "the store has lost the newest entries");
                self.catch_up().await
            }
        }
    }

    /// Reads what the store has after our head.
    async fn catch_up(&self) -> Result<()> {
        if self.head() == TickId::ZERO {
            let newest = self.store.newest(self.capacity).await?;
            self.window_mut().set_complete(newest.len() < self.capacity);
            self.append(newest);
            return Ok(());
        }
        loop {
            let page = self.store.range(self.head(), TickId::from_ms(u64::MAX), PAGE).await?;
            if page.is_empty() {
                return Ok(());
            }
            self.append(page);
        }
    }

    /// Adds entries at the end; those that are known already are passed over.
    pub(crate) fn append(&self, entries: Vec<Entry>) {
        let head = {
            let mut window = self.window_mut();
            for entry in entries {
                trace!(id = %entry.id, "received");
                window.push(entry);
            }
            window.trim();
            window.head()
        };
        self.head.send_if_modified(|known| std::mem::replace(known, head) != head);
    }
}

/// Whether an entry is a tick with a price in one of `currencies`.
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
}
