//! What is in the book after which entries.

use super::*;
use crate::feed::{Outage, State, Status};
use crate::tick::Tick;
use std::collections::BTreeMap;

/// A whole hour of Unix time; moments are seconds after it.
const HOUR: u64 = 1_795_165_200_000;
const DAY: Duration = Duration::from_secs(24 * 3600);
const ALL: Range = Range {
    interval: Interval::Minute,
    currencies: Currencies::all(),
    after: TickId::ZERO,
    until: TickId::from_ms(u64::MAX),
    limit: 1000,
};

fn at(second: u64) -> TickId {
    TickId::from_ms(HOUR + second * 1000)
}

/// A book and the place of its last entry.
struct Feed {
    book: Book,
    last: TickId,
}

impl Feed {
    fn new() -> Feed {
        Feed { book: Book::new(DAY), last: TickId::ZERO }
    }

    fn entry(&mut self, second: u64, event: Event) {
        let entry = Entry { id: at(second), prev: self.last, event };
        self.book.take(&entry);
        self.last = entry.id;
    }

    fn tick(&mut self, second: u64, usd: &str, eur: &str) {
        self.tick_after(second, usd, eur, vec![]);
    }

    fn tick_after(&mut self, second: u64, usd: &str, eur: &str, outages: Vec<Outage>) {
        let prices = [(Currency::Usd, usd), (Currency::Eur, eur)];
        let prices = prices.into_iter().filter(|(_, price)| !price.is_empty());
        let prices: BTreeMap<_, _> = prices.map(|(currency, price)| (currency, price.parse().unwrap())).collect();
        self.entry(second, Event::Tick { tick: Tick { prices, sources: BTreeMap::new() }, outages });
    }

    /// Ticks every ten seconds.
    fn ticks(&mut self, seconds: std::ops::Range<u64>) {
        seconds.step_by(10).for_each(|second| self.tick(second, "97116.17", "89348.25"));
    }

    /// The first moments of the candles in a range, in seconds, and the gaps.
    fn told(&self, range: Range) -> (Vec<u64>, Vec<String>) {
        let part = self.book.part(range);
        let second = |id: TickId| id.ms().saturating_sub(HOUR) / 1000;
        let gap = |gap: &Gap| format!("{} {}..{}", gap.reason.as_str(), second(gap.after), second(gap.before));
        (part.candles.iter().map(|candle| second(candle.id)).collect(), part.gaps.iter().map(gap).collect())
    }

    fn candle(&self, interval: Interval, second: u64) -> &Candle {
        let part = self.book.part(Range { interval, after: at(second).before(), limit: 1, ..ALL });
        part.candles[0]
    }
}

fn ohlc(candle: &Candle, currency: Currency) -> [String; 4] {
    let Ohlc { open, high, low, close } = candle.price(currency).unwrap();
    [open, high, low, close].map(ToString::to_string)
}

#[test]
fn a_candle_is_the_first_highest_lowest_and_last_price_with_their_digits() {
    let mut feed = Feed::new();
    feed.tick(0, "97116.10", "");
    feed.tick(10, "97120", "89000.5");
    feed.tick(20, "97101.1234", "");
    feed.tick(59, "97102.0", "");
    feed.tick(60, "97999", "89999");
    let candle = feed.candle(Interval::Minute, 0);
    assert_eq!(candle.id, at(0));
    assert_eq!(ohlc(candle, Currency::Usd), ["97116.10", "97120", "97101.1234", "97102.0"]);
    assert_eq!(ohlc(candle, Currency::Eur), ["89000.5"; 4]);
    assert_eq!([Currency::Usd, Currency::Eur].map(|currency| candle.ticks(currency.into())), [4, 1]);
    assert_eq!(candle.ticks(Currencies::all()), 4);
    let hour = feed.candle(Interval::Hour, 0);
    assert_eq!(ohlc(hour, Currency::Usd), ["97116.10", "97999", "97101.1234", "97999"]);
}

#[test]
fn candles_begin_at_whole_intervals_and_one_without_a_price_is_not_there() {
    let mut feed = Feed::new();
    for second in [59, 60, 299, 300, 3599, 3600] {
        feed.tick(second, "1", "");
    }
    feed.tick(3700, "", "1");
    let starts = |interval| feed.told(Range { interval, currencies: Currency::Usd.into(), ..ALL }).0;
    assert_eq!(starts(Interval::Minute), [0, 60, 240, 300, 3540, 3600]);
    assert_eq!(starts(Interval::FiveMinutes), [0, 300, 3300, 3600]);
    assert_eq!(starts(Interval::Hour), [0, 3600]);
    assert_eq!(feed.told(Range { currencies: Currency::Eur.into(), ..ALL }).0, [3660]);
}

#[test]
fn a_range_is_what_begins_in_it_and_says_where_to_go_on() {
    let mut feed = Feed::new();
    feed.ticks(0..600);
    let minutes = |after, until| feed.told(Range { after, until, ..ALL }).0;
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
    assert_eq!(feed.book.part(Range { limit: 10, ..ALL }).next, None, "there is no eleventh");
}

#[test]
fn what_was_taken_in_is_passed_over() {
    let mut feed = Feed::new();
    feed.ticks(0..120);
    let before = format!("{:?}", feed.book);
    feed.last = TickId::ZERO;
    feed.ticks(0..120);
    assert_eq!(format!("{:?}", feed.book), before);
}

#[test]
fn a_candle_whose_beginning_is_not_kept_any_more_is_left_out() {
    let mut feed = Feed::new();
    // The feed is older than what is kept of it: there was an entry at 25.
    feed.last = at(25);
    feed.ticks(30..400);
    assert_eq!(feed.told(ALL), (vec![60, 120, 180, 240, 300, 360], vec!["history_expired 0..60".into()]));
    let hours = Range { interval: Interval::Hour, ..ALL };
    assert_eq!(feed.told(hours), (vec![], vec!["history_expired 0..3600".into()]));
    // Nothing is missing to those who ask for what came after.
    assert_eq!(feed.told(Range { after: at(60).before(), ..ALL }).1, [""; 0]);
    // One whose first entry is the first in its candle is whole.
    let mut feed = Feed::new();
    feed.last = at(0).before();
    feed.ticks(0..100);
    assert_eq!(feed.told(ALL).0, [0, 60]);
}

#[test]
fn a_candle_expires_with_its_first_moment() {
    let mut feed = Feed::new();
    feed.book = Book::new(Duration::from_secs(300));
    feed.ticks(0..361);
    assert_eq!(feed.told(ALL), (vec![60, 120, 180, 240, 300, 360], vec!["history_expired 0..60".into()]));
    assert_eq!(feed.book.series[Interval::Hour as usize].between(TickId::ZERO, at(9999)).count(), 0);
    assert_eq!(feed.told(Range { after: at(60).before(), ..ALL }).1, [""; 0]);
}

#[test]
fn a_candle_with_a_hole_is_left_out_and_the_hole_is_told() {
    let mut feed = Feed::new();
    feed.ticks(0..100);
    // The entries from 100 to 190 did not get here.
    feed.last = at(190);
    feed.ticks(200..360);
    assert_eq!(feed.told(ALL), (vec![0, 240, 300], vec!["history_expired 90..200".into()]));
    // The feed goes on from 310: what came after it here was lost there.
    feed.last = at(310);
    feed.ticks(370..500);
    let (candles, gaps) = feed.told(ALL);
    assert_eq!(candles, [0, 240, 360, 420, 480]);
    assert_eq!(gaps[1], "history_lost 350..370");
    assert_eq!(feed.book.part(ALL).settled_until, None);
}

#[test]
fn outages_are_told_to_those_whom_they_concern_where_they_overlap() {
    let mut feed = Feed::new();
    feed.ticks(0..120);
    feed.tick(120, "1", "");
    feed.tick_after(300, "1", "1", vec![Outage { after: at(110), currencies: vec![Currency::Eur] }]);
    let gaps = |currencies: Currencies, after, until| {
        let part = feed.book.part(Range { currencies, after, until, ..ALL });
        part.gaps.iter().map(|gap| gap.only).collect::<Vec<_>>()
    };
    let (euro, dollar) = (Currencies::from(Currency::Eur), Currencies::from(Currency::Usd));
    assert_eq!(gaps(Currencies::all(), TickId::ZERO, at(999)), [Some(euro)]);
    assert_eq!(gaps(euro, TickId::ZERO, at(999)), [None]);
    assert_eq!(gaps(dollar, TickId::ZERO, at(999)), []);
    assert_eq!(gaps(euro, at(120), at(180)), [None], "in the midst of it");
    assert_eq!(gaps(euro, TickId::ZERO, at(59)), [], "before it");
    assert_eq!(gaps(euro, at(300), at(999)), [], "after it");
}

#[test]
fn a_part_is_settled_when_nothing_more_can_be_told_about_it_until_its_first_candle_expires() {
    let mut feed = Feed::new();
    feed.ticks(0..180);
    let settled = |feed: &Feed, until| feed.book.part(Range { until, ..ALL }).settled_until;
    assert_eq!(settled(&feed, at(119)), Some(at(0).plus(DAY)));
    assert_eq!(settled(&feed, at(120)), None, "the last candle is open");
    assert_eq!(settled(&feed, ALL.until), None);
    assert_eq!(feed.book.part(Range { limit: 2, ..ALL }).settled_until, Some(at(0).plus(DAY)), "a full page");
    // The candle is over, but whether the euro was missing in it is known when it is back.
    feed.tick(180, "1", "");
    feed.entry(200, Event::Status(Status { state: State::Stale, since: at(170), reason: String::new() }));
    assert_eq!(settled(&feed, at(120)), None);
    let dollars = Range { until: at(120), currencies: Currency::Usd.into(), ..ALL };
    assert_eq!(feed.book.part(dollars).settled_until, Some(at(0).plus(DAY)));
    feed.tick(210, "1", "1");
    assert_eq!(settled(&feed, at(120)), Some(at(0).plus(DAY)));
}
