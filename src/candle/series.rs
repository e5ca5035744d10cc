//! The candles of one interval, in order.

use super::Interval;
use crate::tick::{Currencies, Currency, Price, Tick, TickId};
use std::collections::VecDeque;
use std::sync::OnceLock;

/// What the price of one currency did in a candle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ohlc {
    /// The first price.
    pub open: Price,
    /// The highest.
    pub high: Price,
    /// The lowest.
    pub low: Price,
    /// The last, so far if the candle is still open.
    pub close: Price,
}

/// The ticks of an interval in short; it has at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candle {
    /// Its first moment.
    pub id: TickId,
    /// How many of its ticks have a price in exactly this set of currencies, by [`Currencies::index`].
    ticks: [u32; Currencies::SETS],
    prices: [Option<Ohlc>; Currency::ALL.len()],
    /// What it is in a message to those who chose a set of currencies, once one of them has asked.
    written: [OnceLock<String>; Currencies::SETS],
}

impl Candle {
    fn new(id: TickId) -> Candle {
        let (ticks, prices, written) = Default::default();
        Candle { id, ticks, prices, written }
    }

    /// What the candle is in a message to those who chose `currencies`, which `write` makes: once, for everybody.
    pub fn written(&self, currencies: Currencies, write: impl FnOnce(&Candle) -> String) -> &str {
        self.written[currencies.index()].get_or_init(|| write(self))
    }

    fn take(&mut self, tick: &Tick) {
        self.written = Default::default();
        self.ticks[tick.currencies().index()] += 1;
        for (currency, price) in &tick.prices {
            let ohlc = &mut self.prices[*currency as usize];
            let Ohlc { open, high, low, .. } =
                ohlc.unwrap_or(Ohlc { open: *price, high: *price, low: *price, close: *price });
            *ohlc = Some(Ohlc { open, high: high.max(*price), low: low.min(*price), close: *price });
        }
    }

    /// How many of its ticks have a price in one of `currencies` at least.
    pub fn ticks(&self, currencies: Currencies) -> u32 {
        Currencies::sets().filter(|set| !set.and(currencies).is_empty()).map(|set| self.ticks[set.index()]).sum()
    }

    /// What the price of `currency` did, if it had one.
    pub fn price(&self, currency: Currency) -> Option<&Ohlc> {
        self.prices[currency as usize].as_ref()
    }

    /// The currencies that had a price.
    pub fn currencies(&self) -> Currencies {
        Currency::ALL.into_iter().filter(|currency| self.price(*currency).is_some()).collect()
    }
}

/// The candles of one interval. Only the last one may still grow.
#[derive(Debug)]
pub(super) struct Series {
    interval: Interval,
    candles: VecDeque<Candle>,
    /// Candles that begin before are not all there, and left out.
    whole_from: TickId,
}

impl Series {
    pub(super) fn new(interval: Interval) -> Series {
        Series { interval, candles: VecDeque::new(), whole_from: TickId::ZERO }
    }

    /// Takes in the next tick.
    pub(super) fn take(&mut self, id: TickId, tick: &Tick) {
        let start = self.interval.start(id);
        if start < self.whole_from {
            return;
        }
        if self.candles.back().is_none_or(|candle| candle.id < start) {
            self.candles.push_back(Candle::new(start));
        }
        if let Some(candle) = self.candles.back_mut() {
            candle.take(tick);
        }
    }

    /// Some entries with `after < id <= until` are not here, `until` being later than all that are: leaves out each candle that
    /// may have one of them.
    pub(super) fn spoil(&mut self, after: TickId, until: TickId) {
        let whole = self.candles.partition_point(|candle| self.interval.end(candle.id) <= after.next());
        self.candles.truncate(whole);
        self.whole_from = self.whole_from.max(until.next());
    }

    /// Drops the candles that begin before `kept_from`, and returns the last one's first moment.
    pub(super) fn expire(&mut self, kept_from: TickId) -> Option<TickId> {
        self.whole_from = self.whole_from.max(kept_from);
        let expired = self.candles.partition_point(|candle| candle.id < kept_from);
        self.candles.drain(..expired).next_back().map(|candle| candle.id)
    }

    /// The candles with `first <= id <= until`.
    pub(super) fn between(&self, first: TickId, until: TickId) -> impl Iterator<Item = &Candle> {
        let from = self.candles.partition_point(|candle| candle.id < first);
        self.candles.range(from..).take_while(move |candle| candle.id <= until)
    }
}
