//! The candles of one length, in order.

use super::interval::Interval;
use crate::tick::{Currencies, Currency, Price, Tick, TickId, known_currencies, known_keys};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::sync::OnceLock;
use std::time::Duration;

/// The prices of one currency in a candle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ohlc {
    /// The first price.
    pub open: Price,
    /// The highest price.
    pub high: Price,
    /// The lowest price.
    pub low: Price,
    /// The last price so far.
    pub close: Price,
}

/// A summary of the ticks of one interval, which has at least one tick.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "KeptCandle", into = "KeptCandle")]
pub struct Candle {
    /// The first moment of the interval.
    pub id: TickId,
    /// For each set of currencies, the number of ticks with prices in exactly this set. Nearly always there is one set.
    ticks: Vec<(Currencies, u32)>,
    prices: BTreeMap<Currency, Ohlc>,
    /// The encoded candle for the sets of currencies that clients have chosen.
    encoded: OnceLock<Box<EncodedCandle>>,
}

/// The maximum number of sets of currencies for which a candle is kept encoded. A feed with seven currencies has 127
/// sets, and clients can choose all of them.
pub(super) const MAX_ENCODED: usize = 4;

/// The encoded candle for one set of currencies, and for the sets that clients chose later. A list that only grows can
/// be read without a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
struct EncodedCandle {
    currencies: Currencies,
    text: String,
    next: OnceLock<Box<EncodedCandle>>,
}

/// A candle in a store.
#[derive(Clone, Serialize, Deserialize)]
struct KeptCandle {
    id: TickId,
    /// The numbers of ticks with prices in exactly these currencies.
    ticks: Vec<(KeptCurrencies, u32)>,
    /// Open, high, low and close.
    #[serde(deserialize_with = "known_keys")]
    prices: BTreeMap<Currency, [Price; 4]>,
}

/// The currencies of ticks in a store.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
struct KeptCurrencies(#[serde(deserialize_with = "known_currencies")] Vec<Currency>);

impl From<Candle> for KeptCandle {
    fn from(Candle { id, ticks, prices, .. }: Candle) -> KeptCandle {
        let ticks = ticks.into_iter().map(|(set, count)| (KeptCurrencies(set.iter().collect()), count)).collect();
        let prices = prices.into_iter();
        let prices = prices.map(|(currency, Ohlc { open, high, low, close })| (currency, [open, high, low, close]));
        KeptCandle { id, ticks, prices: prices.collect() }
    }
}

impl From<KeptCandle> for Candle {
    fn from(kept: KeptCandle) -> Candle {
        let mut candle = Candle::new(kept.id);
        for (KeptCurrencies(currencies), count) in kept.ticks {
            candle.count(currencies.into_iter().collect(), count);
        }
        for (currency, [open, high, low, close]) in kept.prices {
            candle.prices.insert(currency, Ohlc { open, high, low, close });
        }
        candle
    }
}

impl Candle {
    fn new(id: TickId) -> Candle {
        let (ticks, prices, encoded) = Default::default();
        Candle { id, ticks, prices, encoded }
    }

    /// Returns the candle encoded for clients that chose `currencies`. `encode` is called once for each of the first
    /// `MAX_ENCODED` sets, and each time for any other set.
    pub fn encoded(&self, currencies: Currencies, encode: impl Fn(&Candle) -> String) -> Cow<'_, str> {
        let mut place = &self.encoded;
        for _ in 0..MAX_ENCODED {
            let new = || Box::new(EncodedCandle { currencies, text: encode(self), next: OnceLock::new() });
            let found = place.get_or_init(new);
            if found.currencies == currencies {
                return Cow::Borrowed(&found.text);
            }
            place = &found.next;
        }
        Cow::Owned(encode(self))
    }

    /// Adds to the number of ticks with prices in exactly `currencies`.
    fn count(&mut self, currencies: Currencies, more: u32) {
        match self.ticks.binary_search_by_key(&currencies, |(set, _)| *set) {
            Ok(place) => self.ticks[place].1 = self.ticks[place].1.saturating_add(more),
            Err(place) => self.ticks.insert(place, (currencies, more)),
        }
    }

    /// A candle of one tick.
    pub(super) fn of(id: TickId, tick: &Tick) -> Candle {
        let mut candle = Candle::new(id);
        candle.count(tick.currencies(), 1);
        let ohlc = |price| Ohlc { open: price, high: price, low: price, close: price };
        candle.prices = tick.prices.iter().map(|(currency, price)| (*currency, ohlc(*price))).collect();
        candle
    }

    /// Adds a candle of later ticks.
    fn add(&mut self, later: &Candle) {
        self.encoded.take();
        for (currencies, more) in &later.ticks {
            self.count(*currencies, *more);
        }
        for (currency, later) in &later.prices {
            let add = |Ohlc { high, low, close, .. }: &mut Ohlc| {
                (*high, *low, *close) = ((*high).max(later.high), (*low).min(later.low), later.close);
            };
            self.prices.entry(*currency).and_modify(add).or_insert(*later);
        }
    }

    /// Returns the number of ticks with a price in at least one of `currencies`.
    pub fn ticks(&self, currencies: Currencies) -> u32 {
        self.ticks.iter().filter(|(set, _)| !set.and(currencies).is_empty()).map(|(_, count)| count).sum()
    }

    /// Returns the prices of `currency`, if it had any.
    pub fn price(&self, currency: Currency) -> Option<&Ohlc> {
        self.prices.get(&currency)
    }

    /// Returns the currencies that had a price.
    pub fn currencies(&self) -> Currencies {
        self.prices.keys().copied().collect()
    }
}

/// The candles of one length. Only the last one may still change.
#[derive(Debug)]
pub(super) struct Series {
    interval: Interval,
    /// The time for which a candle is kept. `None` means without end.
    pub(super) kept: Option<Duration>,
    candles: VecDeque<Candle>,
    /// New candles that start before this moment may be incomplete and are omitted.
    complete_from: TickId,
    /// The last id that is known to have expired, or zero if none is.
    pub(super) expired: TickId,
}

impl Series {
    pub(super) fn new(interval: Interval, kept: Option<Duration>) -> Series {
        let (complete_from, expired) = Default::default();
        Series { interval, kept, candles: VecDeque::new(), complete_from, expired }
    }

    /// Returns the first moment that is kept if `head` is the newest id.
    pub(super) fn kept_from(&self, head: TickId) -> TickId {
        self.kept.map_or(TickId::ZERO, |kept| head.minus(kept))
    }

    /// Adds `next`, a candle of later ticks, to the candle of the interval in which it starts, unless that candle may
    /// be incomplete. If `next` is longer than an interval of this series (an hour in a series of minutes), that candle
    /// is wrong afterwards, and the caller must remove it with [`omit`](Self::omit).
    pub(super) fn add(&mut self, next: &Candle) {
        let start = self.interval.start(next.id);
        if start < self.complete_from {
            return;
        }
        if self.candles.back().is_none_or(|candle| candle.id < start) {
            self.candles.push_back(Candle::new(start));
        }
        if let Some(candle) = self.candles.back_mut() {
            candle.add(next);
        }
    }

    /// Removes each candle that may lack an entry with `after < id <= until`. From now on, omits new candles that start
    /// at or before `until`. The newest entry so far must not be later than `until`.
    pub(super) fn omit(&mut self, after: TickId, until: TickId) {
        let complete = self.candles.partition_point(|candle| self.interval.end(candle.id) <= after.next());
        self.candles.truncate(complete);
        self.complete_from = self.complete_from.max(until.next());
    }

    /// Removes the candles that have expired if `head` is the newest id.
    pub(super) fn expire(&mut self, head: TickId) {
        let kept_from = self.kept_from(head);
        self.complete_from = self.complete_from.max(kept_from);
        let expired = self.candles.partition_point(|candle| candle.id < kept_from);
        if let Some(last) = self.candles.drain(..expired).next_back() {
            self.expired = self.expired.max(last.id);
        }
    }

    /// Returns the candles that begin before `end`, oldest first.
    pub(super) fn before(&self, end: TickId) -> impl DoubleEndedIterator<Item = &Candle> {
        self.candles.range(..self.candles.partition_point(|candle| candle.id < end))
    }

    /// Returns the candles with `first <= id <= until`, oldest first.
    pub(super) fn between(&self, first: TickId, until: TickId) -> impl Iterator<Item = &Candle> {
        let from = self.candles.partition_point(|candle| candle.id < first);
        self.candles.range(from..).take_while(move |candle| candle.id <= until)
    }
}
