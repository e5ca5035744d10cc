//! Functions that run for each tick, for each client or for each request. Each is measured by itself.
//!
//! All of them are public. The frame decoder and the parser of queries are private, so their cost is only in the
//! results of `fanout`.

use btcfeed::candle::{Book, Interval, Range};
use btcfeed::encode::{Format, Framing, ReplicaInfo, View};
use btcfeed::feed::{Entry, Event, Start};
use btcfeed::hub::{self, Hub, Read};
use btcfeed::session::{Bookmarks, Limits, Session, Sessions, Step, Subscription, ThrottleOptions};
use btcfeed::store::{self, Lease, Memory, Record, Store};
use btcfeed::tick::{Currencies, Currency, Tick, TickId};
use divan::{AllocProfiler, Bencher, black_box};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

/// Counts allocations. Functions that run for each client should allocate little.
#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

/// Number of ticks in an hour, one every five seconds.
const HOUR_TICKS: u64 = 720;
/// Maximum median time to replay a day to a client that wants at most one tick in a period. Such a client gets few
/// ticks, so the replay must be fast.
const MAX_THINNED: Duration = Duration::from_millis(2);
/// Number of ticks in a day.
const DAY_TICKS: u64 = 24 * HOUR_TICKS;
const EVERY_MS: u64 = 5000;
const NEWEST_MS: u64 = 1_795_166_431_075;
const VIEW: View = View::new(Format::Timedate, Currencies::USD_EUR, Framing::WebSocket);

fn main() {
    divan::main();
}

/// Throttle of a client.
#[derive(Clone, Copy, Debug)]
struct Throttled {
    /// True if the client wants only ticks that change a price.
    changes: bool,
    /// Period in seconds in which the client wants at most one tick. 0 means no limit.
    every_s: u64,
}

impl fmt::Display for Throttled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "changes={} every={}s", self.changes, self.every_s)
    }
}

/// Format and framing of a view.
#[derive(Clone, Copy)]
struct Encoding(Format, Framing);

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.0, self.1)
    }
}

const ENCODINGS: [Encoding; 9] = [
    Encoding(Format::Timedate, Framing::WebSocket),
    Encoding(Format::Timestamp, Framing::WebSocket),
    Encoding(Format::Full, Framing::WebSocket),
    Encoding(Format::Timedate, Framing::Event),
    Encoding(Format::Timestamp, Framing::Event),
    Encoding(Format::Full, Framing::Event),
    Encoding(Format::Full, Framing::Line),
    Encoding(Format::Full, Framing::Row),
    Encoding(Format::Full, Framing::Grpc),
];

/// Encodes a tick, which happens once in each view that a client uses.
#[divan::bench(args = ENCODINGS)]
fn encode(bencher: Bencher<'_, '_>, Encoding(format, framing): Encoding) {
    let (view, entry) = (View { format, framing, ..VIEW }, entry(1, 2));
    bencher.bench(|| view.entry(black_box(&entry)));
}

/// Decodes a tick from the store, which happens once in each replica.
#[divan::bench]
fn read_from_store(bencher: Bencher<'_, '_>) {
    let json = serde_json::to_string(&entry(1, 2)).expect("an entry can be written");
    bencher.bench(|| serde_json::from_str::<Entry>(black_box(&json)));
}

/// Reads a new tick for `readers` clients: the first read encodes it, the others share the bytes.
#[divan::bench(args = [1, 1000], sample_size = 1, sample_count = 300)]
fn hub_live(bencher: Bencher<'_, '_>, readers: usize) {
    let mut feed = Feed::of(HOUR_TICKS);
    let hub = feed.hub.clone();
    let view = hub.view(VIEW);
    bencher.with_inputs(|| feed.append()).bench_local_values(|cursor| {
        for _ in 0..readers {
            black_box(hub.read(&view, cursor));
        }
    });
}

/// Reads an hour of ticks, as for a client that reconnects.
#[divan::bench]
fn hub_replay_of_720(bencher: Bencher<'_, '_>) {
    let feed = Feed::of(HOUR_TICKS);
    let view = feed.hub.view(VIEW);
    bencher.bench_local(|| {
        let mut cursor = TickId::ZERO;
        while let Read::Batch { items, last, .. } = black_box(feed.hub.read(&view, cursor)) {
            black_box(items);
            cursor = last;
        }
    });
}

/// Steps a session that has sent everything, so that it only waits.
#[divan::bench]
fn session_at_the_head(bencher: Bencher<'_, '_>) {
    let feed = Feed::of(HOUR_TICKS);
    let (mut session, now) = (in_sync(&feed), Instant::now());
    bencher.bench_local(|| matches!(black_box(session.step(&feed.hub, now)), Step::Wait(None)));
}

/// Steps sessions after a new tick. Each returns the bytes to send in its first step, and waits in the second one.
#[divan::bench(args = [1, 1000], sample_size = 1, sample_count = 300)]
fn session_live(bencher: Bencher<'_, '_>, sessions: usize) {
    let mut feed = Feed::of(HOUR_TICKS);
    let mut sessions: Vec<_> = (0..sessions).map(|_| in_sync(&feed)).collect();
    let hub = feed.hub.clone();
    bencher.with_inputs(|| feed.append()).bench_local_values(|_| {
        let now = Instant::now();
        for session in &mut sessions {
            while let Step::Send(bytes) = session.step(&hub, now) {
                black_box(bytes);
            }
        }
    });
}

/// Runs a session that replays an hour, from its first step until it is in sync.
#[divan::bench]
fn session_replay_of_720(bencher: Bencher<'_, '_>) {
    let feed = Feed::of(HOUR_TICKS);
    bencher.bench_local(|| {
        let mut session = Session::new(VIEW, Start::Since(TickId::ZERO), &Limits::default(), &feed.hub);
        catch_up(&mut session, &feed.hub);
        session
    });
}

/// Replays a day with a tick each second to a throttled client, from its first step until it is in sync. Each tick
/// changes a price, so without a period the client wants every tick.
#[divan::bench(args = [
    Throttled { changes: true, every_s: 86400 },
    Throttled { changes: false, every_s: 60 },
    Throttled { changes: true, every_s: 0 },
])]
fn session_throttled_replay_of_86400(bencher: Bencher<'_, '_>, Throttled { changes, every_s }: Throttled) {
    let feed = Feed::every(1000, 86400);
    let every = (every_s > 0).then(|| Duration::from_secs(every_s));
    let throttle = ThrottleOptions { changes, every };
    let options =
        Subscription { throttle, ..Subscription::new(VIEW.currencies, VIEW.format, Start::Since(TickId::ZERO)) };
    let (limits, bookmarks) = (Limits::default(), Arc::new(Bookmarks::new(feed.store.clone())));
    let replica = ReplicaInfo { replica: String::new(), currencies: VIEW.currencies, interval: Duration::from_secs(1) };
    let sessions = Sessions::new(feed.hub.clone(), limits, bookmarks, replica);
    let replay = || {
        let opened = feed.runtime.block_on(sessions.open(&options, VIEW.framing, || Ok::<(), String>(())));
        let mut session = opened.expect("the store is in memory");
        while !matches!(session.step(&feed.hub, Instant::now()), Step::Wait(_)) {}
        session
    };
    if every.is_some() && !cfg!(debug_assertions) {
        let mut times = [(); 21].map(|()| {
            let started = Instant::now();
            black_box(replay());
            started.elapsed()
        });
        times.sort();
        assert!(times[10] <= MAX_THINNED, "a thinned replay of a day takes {:?}", times[10]);
    }
    bencher.bench_local(replay);
}

/// Builds the candles of a day from its entries, as after a start with a store that keeps no candles.
#[divan::bench]
fn candles_of_a_day(bencher: Bencher<'_, '_>) {
    let entries = history(EVERY_MS, DAY_TICKS);
    bencher.bench(|| fold(&entries));
}

/// Adds a tick to the candles of a day.
#[divan::bench(sample_size = 1, sample_count = 1000)]
fn candles_of_a_tick(bencher: Bencher<'_, '_>) {
    let mut book = fold(&history(EVERY_MS, DAY_TICKS));
    let mut head = NEWEST_MS;
    let next = || {
        head += EVERY_MS;
        entry(head - EVERY_MS, head)
    };
    bencher.with_inputs(next).bench_local_values(|entry| book.add(&entry));
}

/// Returns the one-minute candles of a day.
#[divan::bench]
fn candles_asked_for(bencher: Bencher<'_, '_>) {
    let book = fold(&history(EVERY_MS, DAY_TICKS));
    let (after, until) = (TickId::from_ms(NEWEST_MS - DAY_TICKS * EVERY_MS), TickId::from_ms(NEWEST_MS));
    let range = Range { interval: Interval::Minute, currencies: Currencies::USD_EUR, after, until, limit: 1440 };
    bencher.bench(|| black_box(book.part(range)).candles.len());
}

/// Parses a moment in a query.
#[divan::bench(args = ["1795166431075", "1795166431.075", "2026-11-20T09:20:31.075Z"])]
fn read_a_moment(text: &str) -> bool {
    TickId::parse_moment("since", black_box(text)).is_ok()
}

/// Feed in the memory store, with a hub that follows it.
struct Feed {
    hub: Arc<Hub>,
    store: Arc<Memory>,
    lease: Lease,
    runtime: Runtime,
    stop: CancellationToken,
}

impl Feed {
    fn of(ticks: u64) -> Feed {
        Feed::every(EVERY_MS, ticks)
    }

    /// Returns a feed of `ticks` ticks, one every `every_ms`.
    fn every(every_ms: u64, ticks: u64) -> Feed {
        let runtime = Runtime::new().expect("threads can be started");
        let day = Duration::from_secs(86400);
        let store = Arc::new(Memory::new(store::Options { retention: day * 365, lease_ttl: day }));
        let hub = Arc::new(Hub::new(store.clone(), hub::Options { window: 100_000, retention: day * 365 }));
        let lease = runtime.block_on(store.acquire("bench"));
        let lease = lease.ok().flatten().expect("a new store has no leader");
        runtime.block_on(store.restore(&lease, &history(every_ms, ticks))).expect("the lease is held");
        let stop = CancellationToken::new();
        let (following, until) = (hub.clone(), stop.clone());
        runtime.spawn(async move { following.run(until).await });
        runtime.block_on(hub.primed());
        Feed { hub, store, lease, runtime, stop }
    }

    /// Appends a tick, and waits until the hub has it. Returns the id before it.
    fn append(&mut self) -> TickId {
        let Event::Tick { tick, outages } = entry(1, 2).event else { unreachable!("the entry is a tick") };
        let record = Record::now(Event::Tick { tick, outages });
        let entry = self.runtime.block_on(async {
            let entry = self.store.append(&self.lease, &record, TickId::ZERO).await.expect("the lease is held");
            let mut head = self.hub.watch_head();
            head.wait_for(|head| *head >= entry.id).await.expect("the hub is alive");
            entry
        });
        entry.prev
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn in_sync(feed: &Feed) -> Session {
    let mut session = Session::new(VIEW, Start::Latest, &Limits::default(), &feed.hub);
    catch_up(&mut session, &feed.hub);
    session
}

fn catch_up(session: &mut Session, hub: &Hub) {
    let now = Instant::now();
    while let Step::Send(bytes) = session.step(hub, now) {
        black_box(bytes);
    }
}

fn history(every_ms: u64, ticks: u64) -> Vec<Arc<Entry>> {
    let id = |number: u64| NEWEST_MS - (ticks - number) * every_ms;
    (1..=ticks).map(|number| Arc::new(entry(if number == 1 { 0 } else { id(number - 1) }, id(number)))).collect()
}

fn entry(prev_ms: u64, id_ms: u64) -> Entry {
    let sources = ["coinbase", "kraken", "bitstamp"].map(str::to_owned).to_vec();
    let prices = [(Currency::Usd, format!("97116.{:02}", id_ms / 1000 % 100)), (Currency::Eur, "89423.50".to_owned())];
    let prices = prices.map(|(currency, price)| (currency, price.parse().expect("a price"))).into();
    let tick = Tick {
        prices,
        sources: [Currency::Usd, Currency::Eur].map(|currency| (currency, sources.clone())).into(),
        ..Tick::default()
    };
    let event = Event::Tick { tick, outages: Vec::new() };
    Entry { id: TickId::from_ms(id_ms), prev: TickId::from_ms(prev_ms), event }
}

fn fold(entries: &[Arc<Entry>]) -> Book {
    let mut book = Book::new(Duration::from_secs(86400));
    for entry in entries {
        book.add(entry);
    }
    book
}
