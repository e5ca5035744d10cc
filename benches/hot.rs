//! The functions that a tick runs through, each by itself: what is called once a tick, and what is called once a client.
//!
//! What is in here can be reached from outside. The frame decoder and the reading of queries cannot; they run in `fanout`.

use btcfeed::candle::{Book, Interval, Range};
use btcfeed::encode::{Format, Framing, View};
use btcfeed::feed::{Entry, Event};
use btcfeed::hub::{self, Hub, Read};
use btcfeed::session::{Limits, Session, Start, Step};
use btcfeed::store::{self, Lease, Memory, Record, Store};
use btcfeed::tick::{Currencies, Currency, Tick, TickId};
use divan::{AllocProfiler, Bencher, black_box};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

/// Allocations are counted: what is called once a client should make few.
#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

/// An hour of ticks every five seconds.
const HOUR: u64 = 720;
/// A day of them.
const DAY: u64 = 24 * HOUR;
const EVERY_MS: u64 = 5000;
const NEWEST_MS: u64 = 1_795_166_431_075;
const VIEW: View = View { format: Format::Timedate, currencies: Currencies::all(), framing: Framing::WebSocket };

fn main() {
    divan::main();
}

/// A format with what stands around it.
#[derive(Clone, Copy)]
struct Look(Format, Framing);

impl fmt::Display for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.0, self.1)
    }
}

const LOOKS: [Look; 9] = [
    Look(Format::Timedate, Framing::WebSocket),
    Look(Format::Timestamp, Framing::WebSocket),
    Look(Format::Full, Framing::WebSocket),
    Look(Format::Timedate, Framing::Event),
    Look(Format::Timestamp, Framing::Event),
    Look(Format::Full, Framing::Event),
    Look(Format::Full, Framing::Line),
    Look(Format::Full, Framing::Row),
    Look(Format::Full, Framing::Grpc),
];

/// The bytes of a tick: once a tick in each view that somebody uses.
#[divan::bench(args = LOOKS)]
fn encode(bencher: Bencher<'_, '_>, Look(format, framing): Look) {
    let (view, entry) = (View { format, framing, ..VIEW }, entry(1, 2));
    bencher.bench(|| view.entry(black_box(&entry)));
}

/// What the store has of a tick, as every replica reads it.
#[divan::bench]
fn read_from_store(bencher: Bencher<'_, '_>) {
    let json = serde_json::to_string(&entry(1, 2)).expect("an entry can be written");
    bencher.bench(|| serde_json::from_str::<Entry>(black_box(&json)));
}

/// A tick that has just come, read by so many: the first makes the bytes, the others share them.
#[divan::bench(args = [1, 1000], sample_size = 1, sample_count = 300)]
fn hub_live(bencher: Bencher<'_, '_>, readers: usize) {
    let mut feed = Feed::of(HOUR);
    let hub = feed.hub.clone();
    let view = hub.view(VIEW);
    bencher.with_inputs(|| feed.append()).bench_local_values(|cursor| {
        for _ in 0..readers {
            black_box(hub.read(&view, cursor));
        }
    });
}

/// An hour of ticks, as a client that comes back reads it.
#[divan::bench]
fn hub_replay_of_720(bencher: Bencher<'_, '_>) {
    let feed = Feed::of(HOUR);
    let view = feed.hub.view(VIEW);
    bencher.bench_local(|| {
        let mut cursor = TickId::ZERO;
        while let Read::Batch { items, last, .. } = black_box(feed.hub.read(&view, cursor)) {
            black_box(items);
            cursor = last;
        }
    });
}

/// A session at the head of the feed: nothing to do.
#[divan::bench]
fn session_at_the_head(bencher: Bencher<'_, '_>) {
    let feed = Feed::of(HOUR);
    let (mut session, now) = (in_sync(&feed), Instant::now());
    bencher.bench_local(|| matches!(black_box(session.step(&feed.hub, now)), Step::Wait(None)));
}

/// Sessions in sync, and a tick that has just come: each says what to send, then that it waits.
#[divan::bench(args = [1, 1000], sample_size = 1, sample_count = 300)]
fn session_live(bencher: Bencher<'_, '_>, sessions: usize) {
    let mut feed = Feed::of(HOUR);
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

/// A client that replays an hour, from its first step until it is in sync.
#[divan::bench]
fn session_replay_of_720(bencher: Bencher<'_, '_>) {
    let feed = Feed::of(HOUR);
    bencher.bench_local(|| {
        let mut session = Session::new(VIEW, Start::Since(TickId::ZERO), &Limits::default(), &feed.hub);
        catch_up(&mut session, &feed.hub);
        session
    });
}

/// A day of ticks made into candles, as after a start.
#[divan::bench]
fn candles_of_a_day(bencher: Bencher<'_, '_>) {
    let entries = history(DAY);
    bencher.bench(|| fold(&entries));
}

/// One more tick.
#[divan::bench(sample_size = 1, sample_count = 1000)]
fn candles_of_a_tick(bencher: Bencher<'_, '_>) {
    let mut book = fold(&history(DAY));
    let mut head = NEWEST_MS;
    let next = || {
        head += EVERY_MS;
        entry(head - EVERY_MS, head)
    };
    bencher.with_inputs(next).bench_local_values(|entry| book.add(&entry));
}

/// A day of minutes, out of the book.
#[divan::bench]
fn candles_asked_for(bencher: Bencher<'_, '_>) {
    let book = fold(&history(DAY));
    let (after, until) = (TickId::from_ms(NEWEST_MS - DAY * EVERY_MS), TickId::from_ms(NEWEST_MS));
    let range = Range { interval: Interval::Minute, currencies: Currencies::all(), after, until, limit: 1440 };
    bencher.bench(|| black_box(book.part(range)).candles.len());
}

/// A moment in a query.
#[divan::bench(args = ["1795166431075", "1795166431.075", "2026-11-20T09:20:31.075Z"])]
fn read_a_moment(text: &str) -> bool {
    TickId::parse_moment("since", black_box(text)).is_ok()
}

/// A feed in memory, with a hub that follows it.
struct Feed {
    hub: Arc<Hub>,
    store: Arc<Memory>,
    lease: Lease,
    runtime: Runtime,
    stop: CancellationToken,
}

impl Feed {
    fn of(ticks: u64) -> Feed {
        let runtime = Runtime::new().expect("threads can be started");
        let day = Duration::from_secs(86400);
        let store = Arc::new(Memory::new(store::Options { retention: day * 365, lease_ttl: day }));
        let hub = Arc::new(Hub::new(store.clone(), hub::Options { window: 20_000, retention: day * 365 }));
        let lease = runtime.block_on(store.acquire("bench"));
        let lease = lease.ok().flatten().expect("a new store has no leader");
        runtime.block_on(store.restore(&lease, &history(ticks))).expect("the lease is held");
        let stop = CancellationToken::new();
        let (following, until) = (hub.clone(), stop.clone());
        runtime.spawn(async move { following.run(until).await });
        runtime.block_on(hub.primed());
        Feed { hub, store, lease, runtime, stop }
    }

    /// Appends a tick and waits until the hub has it: the id before it.
    fn append(&mut self) -> TickId {
        let Event::Tick { tick, outages } = entry(1, 2).event else { unreachable!("it is made as a tick") };
        let record = Record::now(Event::Tick { tick, outages });
        let entry = self.runtime.block_on(async {
            let entry = self.store.append(&self.lease, &record, TickId::ZERO).await.expect("the lease is held");
            let mut head = self.hub.watch_head();
            head.wait_for(|head| *head >= entry.id).await.expect("the hub is there");
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

fn history(ticks: u64) -> Vec<Arc<Entry>> {
    let id = |number: u64| NEWEST_MS - (ticks - number) * EVERY_MS;
    (1..=ticks).map(|number| Arc::new(entry(if number == 1 { 0 } else { id(number - 1) }, id(number)))).collect()
}

fn entry(prev_ms: u64, id_ms: u64) -> Entry {
    let sources = ["coinbase", "kraken", "bitstamp"].map(str::to_owned).to_vec();
    let prices = [(Currency::Usd, "97116.17"), (Currency::Eur, "89423.50")];
    let prices = prices.map(|(currency, price)| (currency, price.parse().expect("a price"))).into();
    let tick = Tick { prices, sources: Currency::ALL.map(|currency| (currency, sources.clone())).into() };
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
