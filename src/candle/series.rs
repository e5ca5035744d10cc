//! The candles of one interval, in order.

use super::interval::Interval;
use crate::tick::{Currencies, Currency, Price, Tick, TickId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::sync::OnceLock;

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
    /// The number of ticks with prices in exactly this set of currencies, by [`Currencies::index`].
    ticks: [u32; Currencies::SETS],
    prices: [Option<Ohlc>; Currency::ALL.len()],
    /// The encoded candle for each set of currencies that a client has chosen, by [`Currencies::index`].
    encoded: OnceLock<Box<EncodedCandle>>,
}

type EncodedCandle = [OnceLock<String>; Currencies::SETS];

/// A candle in a store.
#[derive(Clone, Serialize, Deserialize)]
struct KeptCandle {
    id: TickId,
    /// The numbers of ticks with prices in exactly these currencies.
    ticks: Vec<(Vec<Currency>, u32)>,
    /// Open, high, low and close.
    prices: BTreeMap<Currency, [Price; 4]>,
}

impl From<Candle> for KeptCandle {
    fn from(Candle { id, ticks, prices, .. }: Candle) -> KeptCandle {
        let counts = Currencies::sets().map(|set| (set.iter().collect(), ticks[set.index()]));
        let ohlc = |currency: Currency| {
            let Ohlc { open, high, low, close } = prices[currency as usize]?;
            Some((currency, [open, high, low, close]))
        };
        let ticks = counts.filter(|(_, count)| *count > 0).collect();
        KeptCandle { id, ticks, prices: Currency::ALL.into_iter().filter_map(ohlc).collect() }
    }
}

impl From<KeptCandle> for Candle {
    fn from(kept: KeptCandle) -> Candle {
        let mut candle = Candle::new(kept.id);
        for (currencies, count) in kept.ticks {
            let set: Currencies = currencies.into_iter().collect();
            candle.ticks[set.index()] = count;
        }
        for (currency, [open, high, low, close]) in kept.prices {
            candle.prices[currency as usize] = Some(Ohlc { open, high, low, close });
        }
        candle
    }
}

impl Candle {
    fn new(id: TickId) -> Candle {
        let (ticks, prices, encoded) = Default::default();
        Candle { id, ticks, prices, encoded }
    }

    /// Returns the candle encoded for clients that chose `currencies`. `encode` is called once for all of them.
    pub fn encoded(&self, currencies: Currencies, encode: impl FnOnce(&Candle) -> String) -> &str {
        self.encoded.get_or_init(Box::default)[currencies.index()].get_or_init(|| encode(self))
    }

    /// A candle of one tick.
    pub(super) fn of(id: TickId, tick: &Tick) -> Candle {
        let mut candle = Candle::new(id);
        candle.ticks[tick.currencies().index()] = 1;
        for (currency, price) in &tick.prices {
            let price = *price;
            candle.prices[*currency as usize] = Some(Ohlc { open: price, high: price, low: price, close: price });
        }
        candle
    }

    /// Adds a candle of later ticks.
    fn add(&mut self, later: &Candle) {
        self.encoded.take();
        for (count, more) in self.ticks.iter_mut().zip(&later.ticks) {
            *count = count.saturating_add(*more);
        }
        for (summary, later) in self.prices.iter_mut().zip(&later.prices) {
            *summary = match (*summary, *later) {
                (Some(Ohlc { open, high, low, .. }), Some(later)) => {
                    Some(Ohlc { open, high: high.max(later.high), low: low.min(later.low), close: later.close })
                }
                (summary, later) => summary.or(later),
            };
        }
    }

    /// Returns the number of ticks with a price in at least one of `currencies`.
    pub fn ticks(&self, currencies: Currencies) -> u32 {
        Currencies::sets().filter(|set| !set.and(currencies).is_empty()).map(|set| self.ticks[set.index()]).sum()
    }

    /// Returns the prices of `currency`, if it had any.
    pub fn price(&self, currency: Currency) -> Option<&Ohlc> {
        self.prices[currency as usize].as_ref()
    }

    /// Returns the currencies that had a price.
    pub fn currencies(&self) -> Currencies {
        Currency::ALL.into_iter().filter(|currency| self.price(*currency).is_some()).collect()
    }
}

/// The candles of one interval. Only the last one may still change.
#[derive(Debug)]
pub(super) struct Series {
    interval: Interval,
    candles: VecDeque<Candle>,
    /// Candles that start before this moment may be incomplete and are omitted.
    complete_from: TickId,
}

impl Series {
    pub(super) fn new(interval: Interval) -> Series {
        Series { interval, candles: VecDeque::new(), complete_from: TickId::ZERO }
    }

    /// Adds a candle of the next ticks to the candle of this series, unless that one may be incomplete. Its ticks must
    /// be in one interval of this series.
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

    /// Removes the candles that start before `kept_from`, and returns the id of the last removed one.
    pub(super) fn expire(&mut self, kept_from: TickId) -> Option<TickId> {
        self.complete_from = self.complete_from.max(kept_from);
        let expired = self.candles.partition_point(|candle| candle.id < kept_from);
        self.candles.drain(..expired).next_back().map(|candle| candle.id)
    }

    /// Returns the candles with `first <= id <= until`, oldest first.
    pub(super) fn between(&self, first: TickId, until: TickId) -> impl Iterator<Item = &Candle> {
        let from = self.candles.partition_point(|candle| candle.id < first);
        self.candles.range(from..).take_while(move |candle| candle.id <= until)
    }
}
