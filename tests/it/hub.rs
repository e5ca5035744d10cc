//! The hub follows a store that loses messages. It detects that it has missed entries, and reads them from the history.

use crate::support::redis::Redis;
use crate::support::{soon, until};
use async_trait::async_trait;
use btcfeed::feed::{Entry, Event, Feed, FeedState, Status};
use btcfeed::hub::{Hub, Options};
use btcfeed::shutdown::Tasks;
use btcfeed::store::{self, EntryStream, HISTORY_READERS, Lease, Memory, Record, Result, Store, StoreError};
use btcfeed::tick::{Currencies, TickId};
use futures_util::StreamExt;
use futures_util::future::join_all;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const HOUR: Duration = Duration::from_secs(3600);

/// A memory store whose subscribers do not get every entry.
struct LossyStore {
    store: Memory,
    losing: Arc<AtomicBool>,
    subscriptions: AtomicUsize,
    ranges: AtomicUsize,
    /// The sum of `limit` over all calls of `newest`.
    newest: AtomicUsize,
    /// While true, all requests fail except those of the leader.
    unavailable: AtomicBool,
}

impl LossyStore {
    fn store(&self) -> Result<&Memory> {
        if self.unavailable.load(Relaxed) { Err(StoreError::Unavailable("cut".into())) } else { Ok(&self.store) }
    }
}

#[async_trait]
impl Store for LossyStore {
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
        self.store()?.now().await
    }
    async fn head(&self) -> Result<TickId> {
        self.store()?.head().await
    }
    async fn range(&self, after: TickId, until: TickId, limit: usize) -> Result<Vec<Entry>> {
        self.ranges.fetch_add(1, Relaxed);
        // The delay of a store behind a network.
        tokio::time::sleep(Duration::from_millis(10)).await;
        self.store()?.range(after, until, limit).await
    }
    async fn newest(&self, limit: usize) -> Result<Vec<Entry>> {
        self.newest.fetch_add(limit, Relaxed);
        self.store()?.newest(limit).await
    }
    async fn remember(&self, sent: &[(String, TickId)]) -> Result<()> {
        self.store()?.remember(sent).await
    }
    async fn recall(&self, client: &str) -> Result<Option<TickId>> {
        self.store()?.recall(client).await
    }
    async fn subscribe(&self) -> Result<EntryStream> {
        let losing = self.losing.clone();
        self.subscriptions.fetch_add(1, Relaxed);
        let live = self.store()?.subscribe().await?;
        Ok(live.filter(move |_| std::future::ready(!losing.load(Relaxed))).boxed())
    }
}

/// A store with its lease, and a hub that follows it.
struct TestHub {
    store: Arc<LossyStore>,
    lease: Lease,
    hub: Arc<Hub>,
    stop: CancellationToken,
}

impl TestHub {
    async fn new() -> TestHub {
        TestHub::with(3, 100).await
    }

    /// A store with `entries` entries, and a hub that keeps the newest `window`.
    async fn with(entries: usize, window: usize) -> TestHub {
        let memory = Memory::new(store::Options { retention: HOUR, lease_ttl: HOUR });
        let (losing, unavailable) = (Arc::default(), AtomicBool::new(false));
        let (subscriptions, ranges, newest) = Default::default();
        let store = Arc::new(LossyStore { store: memory, losing, subscriptions, ranges, newest, unavailable });
        let lease = store.acquire("a").await.unwrap().unwrap();
        let hub = Arc::new(Hub::new(store.clone(), Options { window, retention: HOUR }));
        let test = TestHub { store, lease, hub, stop: CancellationToken::new() };
        test.append(entries).await;
        let (hub, stop) = (test.hub.clone(), test.stop.clone());
        tokio::spawn(async move { hub.run(stop).await });
        soon("the hub to be primed", test.hub.primed()).await;
        test
    }

    async fn append(&self, count: usize) {
        for _ in 0..count {
            let status = Status { state: FeedState::Live, since: TickId::ZERO, reason: String::new() };
            self.store.append(&self.lease, &Record::now(Event::Status(status)), TickId::ZERO).await.unwrap();
        }
    }

    /// Waits until the hub has exactly the entries that the store has.
    async fn in_sync(&self) {
        let kept = self.store.store.newest(1000).await.unwrap();
        until("the hub to have what the store has", async || self.hub.head() == kept.last().unwrap().id).await;
        let held = self.hub.after(TickId::ZERO);
        assert!(held.iter().map(|entry| Entry::clone(entry)).eq(kept), "the hub has other entries than the store");
    }
}

impl Drop for TestHub {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[tokio::test]
async fn hub_has_old_and_new_entries() {
    let test = TestHub::new().await;
    test.append(3).await;
    test.in_sync().await;
}

#[tokio::test]
async fn next_entry_reveals_missed_ones() {
    let test = TestHub::new().await;
    test.store.losing.store(true, Relaxed);
    test.append(3).await;
    tokio::task::yield_now().await;
    test.store.losing.store(false, Relaxed);
    test.append(1).await;
    test.in_sync().await;
    assert_eq!(test.store.subscriptions.load(Relaxed), 1, "without a new subscription");
}

#[tokio::test]
async fn check_reveals_a_missed_newest_entry() {
    let test = TestHub::new().await;
    test.store.losing.store(true, Relaxed);
    test.append(1).await;
    test.in_sync().await;
}

#[tokio::test]
async fn hub_follows_a_store_after_an_outage() {
    let test = TestHub::new().await;
    test.store.unavailable.store(true, Relaxed);
    test.store.losing.store(true, Relaxed);
    test.append(3).await;
    assert!(test.hub.history(TickId::ZERO, TickId::from_ms(u64::MAX), 10).await.is_ok(), "the window is served");
    test.store.unavailable.store(false, Relaxed);
    test.in_sync().await;
}

#[tokio::test]
async fn same_page_is_read_once_for_all_clients() {
    let test = TestHub::with(200, 10).await;
    let newest = test.hub.head();
    let read = async |after| test.hub.history(after, newest, 50).await.unwrap();
    let answers = soon("the history", join_all((0..100).map(|_| read(TickId::ZERO)))).await;
    assert_eq!(test.store.ranges.load(Relaxed), 1);
    assert!(answers.iter().all(|answer| answer.len() == 50 && answer.first() == answers[0].first()));
    // A later request reads the store again, for the same page or another one. After a failure, the next request
    // succeeds.
    let later = read(TickId::ZERO).await;
    let next = read(later.last().unwrap().id).await;
    assert_eq!((next.len(), test.store.ranges.load(Relaxed)), (50, 3));
    assert_eq!(next[0].prev, later.last().unwrap().id);
    test.store.unavailable.store(true, Relaxed);
    assert!(test.hub.history(TickId::ZERO, newest, 50).await.is_err());
    test.store.unavailable.store(false, Relaxed);
    assert_eq!(read(TickId::ZERO).await.len(), 50);
}

#[tokio::test]
async fn search_for_an_absent_currency_is_bounded() {
    let test = TestHub::with(20_000, 100).await;
    let before = test.store.newest.load(Relaxed);
    assert_eq!(test.hub.before_newest_ticks(1, Currencies::USD_EUR).await.unwrap(), TickId::ZERO);
    let asked = test.store.newest.load(Relaxed) - before;
    assert!(asked < 4 * 20_000, "the hub read {asked} entries from a store with 20000");
}

/// The task that drives a connection to Redis runs on the runtime that opened the connection. Here the runtime of the
/// clients is busy, so the hub must read over connections that its own runtime has opened.
#[tokio::test]
async fn hub_reads_while_threads_of_clients_are_busy() {
    let server = Redis::start().await;
    let ids = server.fill(50).await;
    let store = store::Redis::new(&server.url(), "btcfeed", store::Options { retention: HOUR, lease_ttl: HOUR });
    let hub = Arc::new(Hub::new(Arc::new(store.unwrap()), Options { window: 10, retention: HOUR }));
    let (clients, stop) = (Tasks::isolated("clients").unwrap(), CancellationToken::new());
    let (running, stopped) = (hub.clone(), stop.clone());
    tokio::spawn(async move { running.run(stopped).await });
    soon("the hub to be primed", hub.primed()).await;
    let (read, mut sizes) = mpsc::unbounded_channel();
    for id in &ids[..HISTORY_READERS] {
        let (hub, read, after) = (hub.clone(), read.clone(), TickId::from_ms(*id));
        clients.spawn(async move { read.send(hub.history(after, after.plus(HOUR), 20).await.unwrap().len()).unwrap() });
    }
    for _ in 0..HISTORY_READERS {
        assert_eq!(soon("the read of a client", sizes.recv()).await, Some(20));
    }
    let threads = std::thread::available_parallelism().unwrap().get();
    let blocked = Arc::new(AtomicUsize::new(0));
    for _ in 0..threads {
        let (blocked, stop) = (blocked.clone(), stop.clone());
        clients.spawn(async move {
            blocked.fetch_add(1, Relaxed);
            while !stop.is_cancelled() {
                std::thread::sleep(Duration::from_millis(5));
            }
        });
    }
    until("all threads of clients to be blocked", async || blocked.load(Relaxed) == threads).await;
    // The `prev` of the first entry is not the hub's head, so the hub reads the history. Only then does it take the
    // second entry.
    let started = Instant::now();
    let missed = server.append_tick(ids[49] + 60_000).await;
    let newest = server.append_tick(missed).await;
    until("the hub to follow", async || hub.head().ms() == newest).await;
    assert!(started.elapsed() < Duration::from_secs(2), "the hub waited {:?} for Redis", started.elapsed());
    stop.cancel();
}
