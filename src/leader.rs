//! The one replica that polls the exchanges and writes the feed: campaign → lead → stand down.
//!
//! While it leads, three things run side by side: the `Keeper` renews the lease, `fetch` polls and judges the feed's
//! health, the `Writer` takes what was fetched to the store. Between the last two lies the `Outbox`, so that a store
//! that is away stops no poll: ticks are held, and written in order when it is back.
//!
//! Whether this replica may write is never decided here. The store checks the lease at each write, so a leader that was
//! paused past its lease is refused however convinced it is. Nor does it stop because it has no lease at the moment: it
//! stands down when somebody else has *written*. A lease that nobody uses, which a store that was paused may have granted
//! to a candidate that had given up, runs out by itself.

mod health;
mod keeper;
mod outbox;
mod writer;

use crate::feed::{Event, Feed};
use crate::quorum::{Poll, Quorum};
use crate::store::{Lease, Record, Store, StoreError};
use crate::tick::{Currencies, Currency, TickId};
use health::Health;
use keeper::{Keeper, Over, Tenure};
use outbox::Outbox;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
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
        (self.lease_ttl / 12).min(LONGEST_RETRY) * (75 + fastrand::u32(..50)) / 100
    }
}

/// The longest pause between two attempts, however long a lease lasts: a lease that was released is taken at once.
const LONGEST_RETRY: Duration = Duration::from_millis(250);
/// How long a clean stop may take to write what is still held.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Empty polls in a row before a leader of a feed that is down lets another replica try.
const PATIENCE: u32 = 3;
/// How long a new leader waits for its copy of the feed to have what the store has.
const FEED_DEADLINE: Duration = Duration::from_secs(2);

/// A replica that leads, or would.
pub struct Leader {
    options: Options,
    store: Arc<dyn Store>,
    feed: Arc<dyn Feed>,
    quorum: Quorum,
    /// What is not written yet; it outlives a tenure, for nobody else may have it.
    outbox: Outbox,
    /// The last entry that this replica wrote: the id that a moment of the monotonic clock became.
    anchor: Option<(TickId, Instant)>,
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
        Leader { options, store, feed, quorum, outbox: Outbox::default(), anchor: None }
    }

    /// Campaigns and leads until `stop`, then releases the lease.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut granted = None;
        loop {
            let lease = match granted.take() {
                Some(lease) => lease,
                None => match stop.run_until_cancelled(self.campaign()).await {
                    Some(lease) => lease,
                    None => return,
                },
            };
            match self.lead(lease, &stop).await {
                Over::Stopped => return,
                Over::Overtaken(lease) => granted = lease,
                Over::Yielded => {
                    // Longer than anybody's retry, so that a replica that can do better comes first.
                    stop.run_until_cancelled(sleep(self.options.lease_ttl * 2)).await;
                }
            }
        }
    }

    /// Waits for the lease to be free, and takes it.
    async fn campaign(&self) -> Lease {
        let mut away = false;
        loop {
            match self.store.acquire(&self.options.replica).await {
                Ok(Some(lease)) => return lease,
                Ok(None) => away = false,
                Err(error) => {
                    if !away {
                        warn!(%error, "cannot campaign");
                    }
                    away = true;
                    while self.store.head().await.is_err() {
                        sleep(self.options.retry()).await;
                    }
                    // Whoever led when the store went away holds ticks that nobody else has, so it comes first; also
                    // where a lease that nobody knows of must run out before.
                    sleep(self.options.lease_ttl * 2).await;
                    continue;
                }
            }
            sleep(self.options.retry()).await;
        }
    }

    async fn lead(&mut self, lease: Lease, stop: &CancellationToken) -> Over {
        info!(replica = self.options.replica, held = self.outbox.len(), "leading");
        let begun = match stop.run_until_cancelled(self.begin()).await {
            Some(Ok(begun)) => begun,
            failed => {
                self.store.release(&lease).await.ok();
                let Some(Err(error)) = failed else { return Over::Stopped };
                warn!(%error, "cannot lead now, leaving it to others");
                return Over::Yielded;
            }
        };
        let tenure = Tenure::new(lease, begun.head);
        let keeper = Keeper { options: &self.options, store: &*self.store, tenure: &tenure };
        let mut health = Health::new(&self.options, &*self.feed, &self.outbox, &begun.last_prices);
        let mut writer = Writer {
            options: &self.options,
            store: &*self.store,
            feed: &*self.feed,
            tenure: &tenure,
            outbox: &self.outbox,
            last_prices: begun.last_prices.clone(),
            anchor: &mut self.anchor,
            unseen: Vec::new(),
        };
        // Dropping a fetch costs at most a poll, and dropping a write at most its answer: the record is written once.
        let over = tokio::select! {
            () = stop.cancelled() => Over::Stopped,
            () = fetch(&self.options, &mut self.quorum, &mut health, &self.outbox, &begun.last_prices) => Over::Yielded,
            () = writer.run() => Over::Stopped,
            lease = keeper.run() => Over::Overtaken(lease),
        };
        let why = match &over {
            Over::Overtaken(_) => {
                info!(replica = self.options.replica, "stood down: another replica has written");
                return over;
            }
            Over::Yielded => "no source answers here",
            Over::Stopped => "stopping",
        };
        if timeout(LAST_WORDS, writer.empty()).await.is_err() {
            warn!(held = self.outbox.len(), "stopping with ticks that could not be written");
        }
        let released = self.store.release(&tenure.lease()).await;
        info!(replica = self.options.replica, released = released.is_ok(), why, "stood down");
        over
    }

    /// What a tenure begins with: what the feed is now, once this replica has all of it, less what others have covered.
    async fn begin(&self) -> Result<Beginning, StoreError> {
        let (head, clock) = (self.store.head().await?, self.store.now().await?);
        let now = Instant::now();
        let caught_up = async {
            while self.feed.head() < head {
                sleep(Duration::from_millis(10)).await;
            }
        };
        if timeout(FEED_DEADLINE, caught_up).await.is_err() && self.store.has_between(self.feed.head(), head).await? {
            return Err(StoreError::Unavailable("the feed is not followed".to_owned()));
        }
        // What is held from a time that another leader covered would come after its place, and is not missing. The store may
        // have lost what covers it, and get it back from here.
        let covered = head.max(self.feed.head());
        let place = |record: &Record| match self.anchor {
            Some((id, at)) => id.plus(record.at.saturating_duration_since(at)),
            None => clock.minus(now.saturating_duration_since(record.at)),
        };
        let dropped = self.outbox.drop_while(|record| place(record) <= covered);
        if dropped > 0 {
            info!(dropped, "ticks that were held are in the feed already");
        }
        let last = |currency| {
            let id =
                self.feed.newest(&|entry| entry.tick().is_some_and(|tick| tick.prices.contains_key(&currency)))?.id;
            Some((currency, LastPrice { id, at: now.checked_sub(clock.since(id))? }))
        };
        Ok(Beginning { head, last_prices: self.options.currencies.iter().filter_map(last).collect() })
    }
}

/// What the feed is when a tenure begins.
struct Beginning {
    /// The store's newest id.
    head: TickId,
    /// The newest tick of each currency.
    last_prices: BTreeMap<Currency, LastPrice>,
}

/// Polls once an interval, beginning an interval after the newest tick, or at once if that is over. Returns when the feed
/// is down and no source answers: perhaps one does elsewhere.
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
    let mut empty = 0;
    loop {
        polls.tick().await;
        let poll: Poll = quorum.poll().await;
        debug!(?poll, "polled");
        if let Some(status) = health.judge(&poll, Instant::now()) {
            outbox.push(Record::now(Event::Status(status)));
        }
        empty = if poll.tick.is_some() { 0 } else { empty + 1 };
        if let Some(tick) = poll.tick {
            outbox.push(Record::now(Event::Tick { tick, outages: Vec::new() }));
        }
        if empty >= PATIENCE && health.is_down() {
            return;
        }
    }
}
