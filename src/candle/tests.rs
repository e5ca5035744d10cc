//! Tests of the candles and gaps of a book to which entries were added.

mod kept;

use super::series::MAX_ENCODED;
use super::*;
use crate::feed::{FeedState, Outage, Status};
use crate::tick::Tick;
use std::cell::Cell;
use std::collections::BTreeMap;

/// The start of an hour, in Unix milliseconds. Moments in the tests are seconds after it.
const START_MS: u64 = 1_795_165_200_000;
const DAY: Duration = Duration::from_secs(24 * 3600);
const ALL: Range = Range {
    interval: Interval::Minute,
    currencies: Currencies::USD_EUR,
    after: TickId::ZERO,
    until: TickId::from_ms(u64::MAX),
    limit: 1000,
};

fn at(second: u64) -> TickId {
    TickId::from_ms(START_MS + second * 1000)
}

/// A feed whose entries are added to a book. `prev` is the id of the last entry.
struct TestFeed {
    book: Book,
    prev: TickId,
}

impl TestFeed {
    fn new() -> TestFeed {
        TestFeed { book: Book::new(DAY), prev: TickId::ZERO }
    }

    fn entry(&mut self, second: u64, event: Event) {
        let entry = Entry { id: at(second), prev: self.prev, event };
        self.book.add(&entry);
        self.prev = entry.id;
    }

    fn tick(&mut self, second: u64, usd: &str, eur: &str) {
        self.tick_with_outages(second, usd, eur, vec![]);
    }

    fn tick_with_outages(&mut self, second: u64, usd: &str, eur: &str, outages: Vec<Outage>) {
        let prices = [(Currency::Usd, usd), (Currency::Eur, eur)];
        let prices = prices.into_iter().filter(|(_, price)| !price.is_empty());
        let prices: BTreeMap<_, _> = prices.map(|(currency, price)| (currency, price.parse().unwrap())).collect();
        self.entry(second, Event::Tick { tick: Tick { prices, ..Tick::default() }, outages });
    }

    /// Adds a tick every ten seconds.
    fn ticks(&mut self, seconds: std::ops::Range<u64>) {
        seconds.step_by(10).for_each(|second| self.tick(second, "97116.17", "89348.25"));
    }

    /// Returns the start of each candle in a range, in seconds after `START_MS`, and the gaps as text.
    fn candles_and_gaps(&self, range: Range) -> (Vec<u64>, Vec<String>) {
        let part = self.book.part(range);
        let second = |id: TickId| id.ms().saturating_sub(START_MS) / 1000;
        let gap = |gap: &Gap| format!("{} {}..{}", gap.reason.as_str(), second(gap.after), second(gap.before));
        (part.candles.iter().map(|candle| second(candle.id)).collect(), part.gaps.iter().map(gap).collect())
    }

    fn candle(&self, interval: Interval, second: u64) -> &Candle {
        let part = self.book.part(Range { interval, after: at(second).before(), limit: 1, ..ALL });
        part.candles[0]
    }
}

fn open_high_low_close(candle: &Candle, currency: Currency) -> [String; 4] {
    let Ohlc { open, high, low, close } = candle.price(currency).unwrap();
    [open, high, low, close].map(ToString::to_string)
}

#[test]
fn candle_keeps_open_high_low_close_digits() {
    let mut feed = TestFeed::new();
    feed.tick(0, "97116.10", "");
    feed.tick(10, "97120", "89000.5");
    feed.tick(20, "97101.1234", "");
    feed.tick(59, "97102.0", "");
    feed.tick(60, "97999", "89999");
    let candle = feed.candle(Interval::Minute, 0);
    assert_eq!(candle.id, at(0));
    assert_eq!(open_high_low_close(candle, Currency::Usd), ["97116.10", "97120", "97101.1234", "97102.0"]);
    assert_eq!(open_high_low_close(candle, Currency::Eur), ["89000.5"; 4]);
    assert_eq!([Currency::Usd, Currency::Eur].map(|currency| candle.ticks(currency.into())), [4, 1]);
    assert_eq!(candle.ticks(Currencies::USD_EUR), 4);
    let hour = feed.candle(Interval::Hour, 0);
    assert_eq!(open_high_low_close(hour, Currency::Usd), ["97116.10", "97999", "97101.1234", "97999"]);
}

#[test]
fn candles_start_at_whole_intervals() {
    let mut feed = TestFeed::new();
    for second in [59, 60, 299, 300, 3599, 3600] {
        feed.tick(second, "1", "");
    }
    feed.tick(3700, "", "1");
    let starts = |interval| feed.candles_and_gaps(Range { interval, currencies: Currency::Usd.into(), ..ALL }).0;
    assert_eq!(starts(Interval::Minute), [0, 60, 240, 300, 3540, 3600]);
    assert_eq!(starts(Interval::FiveMinutes), [0, 300, 3300, 3600]);
    assert_eq!(starts(Interval::Hour), [0, 3600]);
    assert_eq!(feed.candles_and_gaps(Range { currencies: Currency::Eur.into(), ..ALL }).0, [3660]);
}

#[test]
fn range_bounds_first_moments_and_has_pages() {
    let mut feed = TestFeed::new();
    feed.ticks(0..600);
    let minutes = |after, until| feed.candles_and_gaps(Range { after, until, ..ALL }).0;
    assert_eq!(minutes(at(60).before(), at(180)), [60, 120, 180]);
    assert_eq!(minutes(at(60), at(179)), [120]);
    assert_eq!(minutes(at(61), at(119)), [0; 0]);
    let (mut after, mut pages) = (TickId::ZERO, Vec::new());
    loop {
        let part = feed.book.part(Range { after, limit: 4, ..ALL });
        pages.extend(part.candles.iter().map(|candle| candle.id));
        let Some(next) = part.next else { break };
        after = next;
    }
    assert_eq!(pages, (0..10).map(|minute| at(minute * 60)).collect::<Vec<_>>());
    assert_eq!(feed.book.part(Range { limit: 10, ..ALL }).next, None, "there is no eleventh candle");
}

#[test]
fn known_entries_are_ignored() {
    let mut feed = TestFeed::new();
    feed.ticks(0..120);
    let before = format!("{:?}", feed.book);
    feed.prev = TickId::ZERO;
    feed.ticks(0..120);
    assert_eq!(format!("{:?}", feed.book), before);
}

#[test]
fn candle_with_an_expired_start_is_omitted() {
    let mut feed = TestFeed::new();
    // The feed is older than the history: an entry at second 25 has expired.
    feed.prev = at(25);
    feed.ticks(30..400);
    assert_eq!(feed.candles_and_gaps(ALL), (vec![60, 120, 180, 240, 300, 360], vec!["history_expired 0..60".into()]));
    let hours = Range { interval: Interval::Hour, ..ALL };
    assert_eq!(feed.candles_and_gaps(hours), (vec![], vec!["history_expired 0..3600".into()]));
    // Nothing is missing in a later range.
    assert_eq!(feed.candles_and_gaps(Range { after: at(60).before(), ..ALL }).1, [""; 0]);
    // The expired entry is from an earlier interval, so the first candle is complete.
    let mut feed = TestFeed::new();
    feed.prev = at(0).before();
    feed.ticks(0..100);
    assert_eq!(feed.candles_and_gaps(ALL).0, [0, 60]);
}

#[test]
fn candle_expires_with_its_first_moment() {
    let mut feed = TestFeed::new();
    feed.book = Book::new(Duration::from_secs(300));
    feed.ticks(0..361);
    assert_eq!(feed.candles_and_gaps(ALL), (vec![60, 120, 180, 240, 300, 360], vec!["history_expired 0..60".into()]));
    let hours = Range { interval: Interval::Hour, ..ALL };
    assert_eq!(feed.candles_and_gaps(hours), (vec![0], vec![]), "hours do not expire");
    assert_eq!(feed.candles_and_gaps(Range { after: at(60).before(), ..ALL }).1, [""; 0]);
}

#[test]
fn incomplete_candle_is_replaced_by_a_gap() {
    let mut feed = TestFeed::new();
    feed.ticks(0..100);
    // The entries at seconds 100 to 190 are missing.
    feed.prev = at(190);
    feed.ticks(200..360);
    assert_eq!(feed.candles_and_gaps(ALL), (vec![0, 240, 300], vec!["history_expired 90..200".into()]));
    // The `prev` of the next entry is the id of the entry at second 310, so the entries at seconds 320 to 350 are lost.
    feed.prev = at(310);
    feed.ticks(370..500);
    let (candles, gaps) = feed.candles_and_gaps(ALL);
    assert_eq!(candles, [0, 240, 360, 420, 480]);
    assert_eq!(gaps[1], "history_lost 350..370");
    assert_eq!(feed.book.part(ALL).settled_until, None);
}

#[test]
fn outage_is_reported_where_it_applies() {
    let mut feed = TestFeed::new();
    feed.ticks(0..120);
    feed.tick(120, "1", "");
    feed.tick_with_outages(300, "1", "1", vec![Outage::of_sources(at(110), vec![Currency::Eur])]);
    let gaps = |currencies: Currencies, after, until| {
        let part = feed.book.part(Range { currencies, after, until, ..ALL });
        part.gaps.iter().map(|gap| gap.only).collect::<Vec<_>>()
    };
    let (euro, dollar) = (Currencies::from(Currency::Eur), Currencies::from(Currency::Usd));
    assert_eq!(gaps(Currencies::USD_EUR, TickId::ZERO, at(999)), [Some(euro)]);
    assert_eq!(gaps(euro, TickId::ZERO, at(999)), [None]);
    assert_eq!(gaps(dollar, TickId::ZERO, at(999)), []);
    assert_eq!(gaps(euro, at(120), at(180)), [None], "within the outage");
    assert_eq!(gaps(euro, TickId::ZERO, at(59)), [], "before the outage");
    assert_eq!(gaps(euro, at(300), at(999)), [], "after the outage");
}

#[test]
fn part_is_settled_when_no_entry_can_change_it() {
    let mut feed = TestFeed::new();
    feed.ticks(0..180);
    let settled = |feed: &TestFeed, until| feed.book.part(Range { until, ..ALL }).settled_until;
    assert_eq!(settled(&feed, at(119)), Some(at(0).plus(DAY)));
    assert_eq!(settled(&feed, at(120)), None, "the last candle of the range is not complete");
    assert_eq!(settled(&feed, ALL.until), None);
    assert_eq!(feed.book.part(Range { limit: 2, ..ALL }).settled_until, Some(at(0).plus(DAY)), "a full page");
    // The minute of the last candle is over, but the next tick in euros may report an outage that began in that minute.
    feed.tick(180, "1", "");
    feed.entry(200, Event::Status(Status { state: FeedState::Stale, since: at(170), reason: String::new() }));
    assert_eq!(settled(&feed, at(120)), None);
    let dollars = Range { until: at(120), currencies: Currency::Usd.into(), ..ALL };
    assert_eq!(feed.book.part(dollars).settled_until, Some(at(0).plus(DAY)));
    feed.tick(210, "1", "1");
    assert_eq!(settled(&feed, at(120)), Some(at(0).plus(DAY)));
}

#[test]
fn candle_counts_the_ticks_of_each_set() {
    let start = TickId::from_ms(START_MS);
    let stored = concat!(
        r#"{"id":1795165200000,"ticks":[[["USD"],2],[["USD","EUR"],10],[["USD","XAU"],3],[["XAU"],4]],"#,
        r#""prices":{"USD":["1","3","1","2"],"EUR":["1","1","1","1"],"XAU":["new"]}}"#
    );
    let candle: Candle = serde_json::from_str(stored).unwrap();
    assert_eq!((candle.id, candle.currencies()), (start, Currencies::USD_EUR), "unknown currencies are left out");
    assert_eq!([Currency::Usd, Currency::Eur].map(|currency| candle.ticks(currency.into())), [15, 10]);
    assert_eq!(candle.ticks(Currencies::USD_EUR), 15);
    let text = serde_json::to_string(&candle).unwrap();
    assert_eq!(serde_json::from_str::<Candle>(&text).unwrap(), candle);
    for currencies in [Currencies::USD_EUR, Currency::Usd.into(), Currencies::USD_EUR] {
        let encoded = candle.encoded(currencies, |candle| format!("{} {currencies}", candle.ticks(currencies)));
        assert_eq!(encoded, format!("15 {currencies}"), "each set of currencies has its own text");
    }
    // Clients may choose any set, but a candle keeps the encoded text of only the first few.
    let sets = || Currency::ALL.into_iter().map(Currencies::from);
    let calls = Cell::new(0);
    for set in sets().chain(sets()) {
        let text = candle.encoded(set, |_| format!("{set}{}", calls.replace(calls.get() + 1)));
        assert!(text.starts_with(&set.to_string()) || text == format!("15 {set}"), "{text}");
    }
    let kept = MAX_ENCODED - 2;
    assert_eq!(calls.get(), 2 * (Currency::ALL.len() - 1 - kept) + kept, "the sets USD and USD,EUR are kept already");
}
