//! The hub follows a store that loses messages on the way: whatever is missing is noticed and read from the history.

use crate::support::{soon, until};
use async_trait::async_trait;
use btcfeed::feed::{Entry, Event, Feed, State, Status};
use btcfeed::hub::{Hub, Options};
use btcfeed::store::{self, EntryStream, Lease, Memory, Record, Result, Store, StoreError};
use btcfeed::tick::{Currencies, TickId};
use futures_util::StreamExt;
use futures_util::future::join_all;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const HOUR: Duration = Duration::from_secs(3600);

/// A memory store whose followers do not get everything.
struct Lossy {
    store: Memory,
    losing: Arc<AtomicBool>,
    subscriptions: AtomicUsize,
    ranges: AtomicUsize,
    /// How many of the newest entries were asked for, in all.
    newest: AtomicUsize,
    /// While it is, nothing can be asked of the store.
    away: AtomicBool,
}

impl Lossy {
    fn here(&self) -> Result<&Memory> {
        if self.away.load(Relaxed) { Err(StoreError::Unavailable("cut".into())) } else { Ok(&self.store) }
    }
}

#[async_trait]
impl Store for Lossy {
    async fn acquire(&self, holder: &str) -> Result<Option<Lease>> {
        self.store.acquire(holder).await
    }
    async fn renew(&self, lease: &Lease) -> Result<()> {
        self.store.renew(lease).await
    }
    async fn release(&self, lease: &Lease) -> Result<()> {
        self.store.release(lease).await
    }
    async fn append(&self, lease: &Lease, record: &Record, seen: TickId) -> Result<Entry> {
        self.store.append(lease, record, seen).await
    }
    async fn restore(&self, lease: &Lease, entries: &[Arc<Entry>]) -> Result<()> {
        self.store.restore(lease, entries).await
    }
    async fn now(&self) -> Result<TickId> {
        self.here()?.now().await
    }
    async fn head(&self) -> Result<TickId> {
        self.here()?.head().await
    }
    async fn range(&self, after: TickId, until: TickId, limit: usize) -> Result<Vec<Entry>> {
        self.ranges.fetch_add(1, Relaxed);
        // As a store that is asked over a line.
        tokio::time::sleep(Duration::from_millis(10)).await;
        self.here()?.range(after, until, limit).await
    }
    async fn newest(&self, limit: usize) -> Result<Vec<Entry>> {
        self.newest.fetch_add(limit, Relaxed);
        self.here()?.newest(limit).await
    }
    async fn remember(&self, sent: &[(String, TickId)]) -> Result<()> {
        self.here()?.remember(sent).await
    }
    async fn recall(&self, client: &str) -> Result<Option<TickId>> {
        self.here()?.recall(client).await
    }
    async fn subscribe(&self) -> Result<EntryStream> {
        let losing = self.losing.clone();
        self.subscriptions.fetch_add(1, Relaxed);
        let live = self.here()?.subscribe().await?;
        Ok(live.filter(move |_| std::future::ready(!losing.load(Relaxed))).boxed())
    }
}

/// A store with its lease, and a hub that follows it.
struct Scene {
    store: Arc<Lossy>,
    lease: Lease,
    hub: Arc<Hub>,
    stop: CancellationToken,
}

impl Scene {
    async fn new() -> Scene {
        Scene::with(3, 100).await
    }

    /// A store with so many entries, and a hub that keeps so many.
    async fn with(entries: usize, window: usize) -> Scene {
        let memory = Memory::new(store::Options { retention: HOUR, lease_ttl: HOUR });
        let (losing, away) = (Arc::default(), AtomicBool::new(false));
        let (subscriptions, ranges, newest) = Default::default();
        let store = Arc::new(Lossy { store: memory, losing, subscriptions, ranges, newest, away });
        let lease = store.acquire("a").await.unwrap().unwrap();
        let hub = Arc::new(Hub::new(store.clone(), Options { window, retention: HOUR }));
        let scene = Scene { store, lease, hub, stop: CancellationToken::new() };
        scene.append(entries).await;
        let (hub, stop) = (scene.hub.clone(), scene.stop.clone());
        tokio::spawn(async move { hub.run(stop).await });
        soon("the hub to be primed", scene.hub.primed()).await;
        scene
    }

    async fn append(&self, count: usize) {
        for _ in 0..count {
            let status = Status { state: State::Live, since: TickId::ZERO, reason: String::new() };
            self.store.append(&self.lease, &Record::now(Event::Status(status)), TickId::ZERO).await.unwrap();
        }
    }

    /// Waits until the hub has exactly what the store has.
    async fn agreed(&self) {
        let kept = self.store.store.newest(1000).await.unwrap();
        until("the hub to have what the store has", async || self.hub.head() == kept.last().unwrap().id).await;
        let held = self.hub.after(TickId::ZERO);
        assert!(held.iter().map(|entry| Entry::clone(entry)).eq(kept), "the same, in the same order");
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[tokio::test]
async fn it_has_what_was_there_before_and_what_comes() {
    let scene = Scene::new().await;
    scene.append(3).await;
    scene.agreed().await;
}

#[tokio::test]
async fn entries_that_were_lost_on_the_way_are_read_when_the_next_one_comes() {
    let scene = Scene::new().await;
    scene.store.losing.store(true, Relaxed);
    scene.append(3).await;
    // The hub has seen none of them, as far as a look can tell; the next entry's prev tells.
    tokio::task::yield_now().await;
    scene.store.losing.store(false, Relaxed);
    scene.append(1).await;
    scene.agreed().await;
    assert_eq!(scene.store.subscriptions.load(Relaxed), 1, "for that it need not subscribe anew");
}

#[tokio::test]
async fn an_entry_that_was_lost_and_that_nothing_follows_is_noticed_all_the_same() {
    let scene = Scene::new().await;
    scene.store.losing.store(true, Relaxed);
    scene.append(1).await;
    scene.agreed().await;
}

#[tokio::test]
async fn a_store_that_is_away_is_followed_again_when_it_is_back() {
    let scene = Scene::new().await;
    scene.store.away.store(true, Relaxed);
    scene.store.losing.store(true, Relaxed);
    scene.append(3).await;
    assert!(scene.hub.history(TickId::ZERO, TickId::from_ms(u64::MAX), 10).await.is_ok(), "what is here is served");
    scene.store.away.store(false, Relaxed);
    scene.agreed().await;
}

#[tokio::test]
async fn those_who_ask_for_the_same_history_at_once_have_it_read_once() {
    let scene = Scene::with(200, 10).await;
    let newest = scene.hub.head();
    let read = async |after| scene.hub.history(after, newest, 50).await.unwrap();
    let answers = soon("the history", join_all((0..100).map(|_| read(TickId::ZERO)))).await;
    assert_eq!(scene.store.ranges.load(Relaxed), 1);
    assert!(answers.iter().all(|answer| answer.len() == 50 && answer.first() == answers[0].first()));
    // Whoever asks later, or for something else, has it read anew; and what failed is tried again.
    let later = read(TickId::ZERO).await;
    let next = read(later.last().unwrap().id).await;
    assert_eq!((next.len(), scene.store.ranges.load(Relaxed)), (50, 3));
    assert_eq!(next[0].prev, later.last().unwrap().id);
    scene.store.away.store(true, Relaxed);
    assert!(scene.hub.history(TickId::ZERO, newest, 50).await.is_err());
    scene.store.away.store(false, Relaxed);
    assert_eq!(read(TickId::ZERO).await.len(), 50);
}

#[tokio::test]
async fn a_currency_that_was_never_there_is_not_looked_for_over_and_over() {
    let scene = Scene::with(20_000, 100).await;
    let before = scene.store.newest.load(Relaxed);
    assert_eq!(scene.hub.before_newest_ticks(1, Currencies::all()).await.unwrap(), TickId::ZERO);
    let asked = scene.store.newest.load(Relaxed) - before;
    assert!(asked < 4 * 20_000, "{asked} entries were asked for of 20000");
}
