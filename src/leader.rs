//! The one replica that polls the exchanges and writes the feed: campaign → lead → stand down.
//!
//! While it leads, three things run side by side: the [`Keeper`] renews the lease, [`fetch`] polls and
//! judges the feed's health, the [`Writer`] takes what was fetched to the store. Between the last two lies the
//! [`Outbox`], so that a store that is away stops no poll: ticks are held, and written in order when it is back.
//!
//! Whether this replica may write is never decided here. The store checks the lease at each write, so a leader that was
//! paused past its lease is refused however convinced it is.

mod health;
mod outbox;
mod writer;

use crate::feed::{Event, Feed};
use crate::quorum::{Poll, Quorum};
use crate::store::{Lease, Record, Store, StoreError};
use crate::tick::{Currencies, Currency, TickId};
use health::Health;
use outbox::Outbox;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval_at, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};
use writer::Writer;

/// What the leader is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// This replica's name, which stands in the lease.
    pub replica: String,
    /// The time between two polls.
    pub interval: Duration,
    /// The currencies that a healthy feed has prices in.
    pub currencies: Currencies,
    /// How long a lease lasts without being renewed.
    pub lease_ttl: Duration,
    /// Without a price for so long, a currency is stale.
    pub stale_after: Duration,
    /// Without any price for so long, the feed is down.
    pub down_after: Duration,
}

impl Options {
    /// The pause between two attempts, a little different each time so that replicas do not march in step.
    fn retry(&self) -> Duration {
        self.lease_ttl / 12 * (75 + fastrand::u32(..50)) / 100
    }
}

/// How long a clean stop may take to write what is still held.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A replica that leads, or would.
pub struct Leader {
    options: Options,
    store: Arc<dyn Store>,
    feed: Arc<dyn Feed>,
    quorum: Quorum,
}

/// When a currency last had a price, as far as the feed knows.
#[derive(Clone, Copy, Debug)]
struct LastPrice {
    id: TickId,
    at: Instant,
}

impl Leader {
    /// A candidate. `feed` is this replica's copy of what `store` holds; it should be up to date when [`run`](Self::run)
    /// is called.
    pub fn new(options: Options, store: Arc<dyn Store>, feed: Arc<dyn Feed>, quorum: Quorum) -> Leader {
        Leader { options, store, feed, quorum }
    }

    /// Campaigns and leads until `stop`, then releases the lease.
    pub async fn run(mut self, stop: CancellationToken) {
        while let Some(Some(lease)) = stop.run_until_cancelled(self.campaign()).await {
            info!(replica = self.options.replica, "leading");
            self.lead(lease, &stop).await;
        }
    }

    /// Waits for the lease to be free, and takes it.
    async fn campaign(&self) -> Option<Lease> {
        let mut away = false;
        loop {
            match self.store.acquire(&self.options.replica).await {
                Ok(Some(lease)) => return Some(lease),
                Ok(None) => away = false,
                Err(error) => {
                    if !away {
                        warn!(%error, "cannot campaign");
                    }
                    away = true;
                    self.wait_for_store().await;
                    // Whoever led when the store went away holds ticks that nobody else has, so it comes first.
                    sleep(self.options.lease_ttl).await;
                    continue;
                }
            }
            sleep(self.options.retry()).await;
        }
    }

    async fn wait_for_store(&self) {
        while self.store.head().await.is_err() {
            sleep(self.options.retry()).await;
        }
    }

    async fn lead(&mut self, lease: Lease, stop: &CancellationToken) {
        let last_prices = self.last_prices();
        let tenure = Tenure { lease: Mutex::new(lease), granted: Notify::new() };
        let outbox = Outbox::default();
        let keeper = Keeper { options: &self.options, store: &*self.store, tenure: &tenure };
        let mut writer = Writer {
            store: &*self.store,
            feed: &*self.feed,
            tenure: &tenure,
            outbox: &outbox,
            last_prices: last_prices.clone(),
            stale_after: self.options.stale_after,
            retry: self.options.lease_ttl / 12,
            anchor: None,
            lease_used: None,
        };
        let mut health = Health::new(&self.options, &*self.feed, &last_prices);
        // Dropping a fetch costs at most a poll, and dropping a write at most its answer: the record is written once.
        tokio::select! {
            () = stop.cancelled() => {}
            () = fetch(&self.options, &mut self.quorum, &mut health, &outbox, &last_prices) => {}
            () = writer.run() => {}
            () = keeper.run() => {
                let held = outbox.len();
                info!(replica = self.options.replica, held, "stood down: another replica leads");
                return;
            }
        }
        if timeout(LAST_WORDS, writer.empty()).await.is_err() {
            warn!(held = outbox.len(), "stopping with ticks that could not be written");
        }
        let released = self.store.release(&tenure.lease()).await;
        info!(replica = self.options.replica, released = released.is_ok(), "stood down: stopping");
    }

    /// The newest tick of each currency that this replica knows of.
    fn last_prices(&self) -> BTreeMap<Currency, LastPrice> {
        let (now, clock) = (Instant::now(), TickId::now());
        let last = |currency| {
            let id =
                self.feed.newest(&|entry| entry.tick().is_some_and(|tick| tick.prices.contains_key(&currency)))?.id;
            Some((currency, LastPrice { id, at: now.checked_sub(clock.since(id))? }))
        };
        self.options.currencies.iter().filter_map(last).collect()
    }
}

/// Polls once an interval, beginning an interval after the newest tick, or at once if that is over.
async fn fetch(
    options: &Options,
    quorum: &mut Quorum,
    health: &mut Health,
    outbox: &Outbox,
    last_prices: &BTreeMap<Currency, LastPrice>,
) {
    let now = Instant::now();
    let newest = last_prices.values().map(|last| last.at).max();
    let first = newest.map_or(now, |at| (at + options.interval).clamp(now, now + options.interval));
    let mut polls = interval_at(first.into(), options.interval);
    polls.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        polls.tick().await;
        let poll: Poll = quorum.poll().await;
        debug!(?poll, "polled");
        if let Some(status) = health.judge(&poll, Instant::now()) {
            outbox.push(Record::now(Event::Status(status)));
        }
        if let Some(tick) = poll.tick {
            outbox.push(Record::now(Event::Tick { tick, outages: Vec::new() }));
        }
    }
}

/// The time for which this replica leads, which may span several leases: a store that was away may have let one run out.
struct Tenure {
    lease: Mutex<Lease>,
    /// Told when a new lease was granted.
    granted: Notify,
}

impl Tenure {
    fn lease(&self) -> Lease {
        self.lease.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Renews the lease.
struct Keeper<'a> {
    options: &'a Options,
    store: &'a dyn Store,
    tenure: &'a Tenure,
}

impl Keeper<'_> {
    /// Returns when another replica holds the lease.
    async fn run(self) {
        let mut away = false;
        loop {
            sleep(if away { self.options.retry() } else { self.options.lease_ttl / 3 }).await;
            match self.renew().await {
                Ok(true) if away => {
                    away = false;
                    info!("the store is back");
                }
                Ok(false) => return,
                Err(error) if !away => {
                    away = true;
                    warn!(%error, "the store is away, holding ticks until it is back");
                }
                Ok(true) | Err(_) => {}
            }
        }
    }

    /// Whether this replica still leads, with the lease it had or with a new one if that ran out and nobody took it.
    async fn renew(&self) -> Result<bool, StoreError> {
        let lease = self.tenure.lease();
        match self.store.renew(&lease).await {
            Err(StoreError::NotLeader) => {}
            other => return other.map(|()| true),
        }
        let Some(lease) = self.store.acquire(&self.options.replica).await? else { return Ok(false) };
        info!(replica = self.options.replica, "the lease had run out, leading with a new one");
        *self.tenure.lease.lock().unwrap_or_else(PoisonError::into_inner) = lease;
        self.tenure.granted.notify_one();
        Ok(true)
    }
}
