//! Candles: open, high, low and close of each currency in every minute, five minutes and hour of the history.
//!
//! No I/O. A [`Book`] takes in every entry of the feed once, in order, and after that an answer costs no more than its
//! candles. It would rather have no candle than a wrong one: where entries are missing ([`Entry::continues`] tells), the
//! candles that they belonged to are left out, and a gap is told instead. A candle is kept as long as its first moment is, so
//! that every replica, however long it has been running, has the same ones.

mod interval;
mod series;

pub use interval::Interval;
pub use series::{Candle, Ohlc};

use crate::feed::{Continuity, Entry, Event, Gap, GapReason};
use crate::tick::{Currencies, Currency, TickId};
use series::Series;
use std::collections::VecDeque;
use std::time::Duration;

/// The candles of everything that the history keeps.
#[derive(Debug)]
pub struct Book {
    retention: Duration,
    /// The newest entry that was taken in.
    head: TickId,
    /// The newest tick with a price in each currency.
    last_prices: [TickId; Currency::ALL.len()],
    /// Whatever is known to have been before is not kept any more up to here; zero if there was nothing.
    expired: TickId,
    series: [Series; Interval::ALL.len()],
    /// Where something is missing, in the order of its end.
    holes: VecDeque<Hole>,
}

/// Something that is missing.
#[derive(Clone, Copy, Debug)]
struct Hole {
    after: TickId,
    before: TickId,
    reason: GapReason,
    currencies: Currencies,
}

/// Which candles somebody wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// How long each is.
    pub interval: Interval,
    /// The currencies to see.
    pub currencies: Currencies,
    /// The last moment before the first candle's first.
    pub after: TickId,
    /// The last moment that a candle may begin at.
    pub until: TickId,
    /// The most candles.
    pub limit: usize,
}

/// The candles of a [`Range`], oldest first; where nothing was traded there is none.
#[derive(Debug)]
pub struct Part<'a> {
    /// The candles.
    pub candles: Vec<&'a Candle>,
    /// What is missing in the part, oldest first.
    pub gaps: Vec<Gap>,
    /// Where to go on, if there are more.
    pub next: Option<TickId>,
    /// If the part can no longer change: the newest moment of the feed at which that is still so.
    pub settled_until: Option<TickId>,
}

impl Book {
    /// An empty book of a history that keeps entries for `retention`.
    pub fn new(retention: Duration) -> Book {
        Book {
            retention,
            head: TickId::ZERO,
            last_prices: Default::default(),
            expired: TickId::ZERO,
            series: Interval::ALL.map(Series::new),
            holes: VecDeque::new(),
        }
    }

    /// The newest entry that was taken in.
    pub fn head(&self) -> TickId {
        self.head
    }

    /// Takes in the next entry. One that is known is passed over.
    pub fn take(&mut self, entry: &Entry) {
        match entry.continues(self.head) {
            Continuity::Known => return,
            Continuity::Next => {}
            // The history that this book was begun with does not reach back to the feed's first entry.
            Continuity::Missed if self.head == TickId::ZERO => {
                self.expired = entry.prev;
                self.spoil(TickId::ZERO, entry.prev);
            }
            Continuity::Missed => {
                self.note(self.head, entry.id, GapReason::HistoryExpired, Currencies::all());
                self.spoil(self.head, entry.prev);
            }
            Continuity::Lost => {
                self.note(self.head, entry.id, GapReason::HistoryLost, Currencies::all());
                self.spoil(entry.prev, self.head);
            }
        }
        self.head = entry.id;
        if let Event::Tick { tick, outages } = &entry.event {
            for outage in outages {
                let currencies = outage.currencies.iter().copied().collect();
                self.note(outage.after, entry.id, GapReason::SourceOutage, currencies);
            }
            for currency in tick.prices.keys() {
                self.last_prices[*currency as usize] = entry.id;
            }
            for series in &mut self.series {
                series.take(entry.id, tick);
            }
        }
        self.expire();
    }

    fn note(&mut self, after: TickId, before: TickId, reason: GapReason, currencies: Currencies) {
        self.holes.push_back(Hole { after, before, reason, currencies });
    }

    /// Some entries with `after < id <= until` are not here.
    fn spoil(&mut self, after: TickId, until: TickId) {
        for series in &mut self.series {
            series.spoil(after, until);
        }
    }

    fn expire(&mut self) {
        let kept_from = self.kept_from();
        for series in &mut self.series {
            self.expired = self.expired.max(series.expire(kept_from).unwrap_or_default());
        }
        while self.holes.front().is_some_and(|hole| hole.before < kept_from) {
            self.holes.pop_front();
        }
    }

    /// The first moment that is kept: the store drops what is before it when it takes in the head.
    fn kept_from(&self) -> TickId {
        self.head.minus(self.retention)
    }

    /// The candles of a range.
    pub fn part(&self, range: Range) -> Part<'_> {
        let Range { interval, currencies, after, until, limit } = range;
        let first = interval.start_from(after.next());
        let mut found = self.series[interval as usize].between(first, until);
        let mut wanted = found.by_ref().filter(|candle| !candle.currencies().and(currencies).is_empty());
        let candles: Vec<_> = wanted.by_ref().take(limit).collect();
        let next = wanted.next().and(candles.last()).map(|candle| candle.id);
        // The part ends where its last candle does, or else where the last one that it may have would.
        let end = interval.end(next.unwrap_or(until));
        let mut gaps: Vec<_> = self.expired_gap(&range).into_iter().collect();
        gaps.extend(self.gaps(currencies, first, end));
        // Another replica may have what this one missed.
        let whole = gaps.iter().all(|gap| gap.reason == GapReason::SourceOutage);
        let settled = whole && self.is_told(currencies, end);
        let settled_until = candles.first().filter(|_| settled).map(|candle| candle.id.plus(self.retention));
        Part { candles, gaps, next, settled_until }
    }

    /// Whether nothing more can be told about the time before `end`: no tick, for ids increase, and no outage either, which
    /// would have begun at a currency's last price.
    fn is_told(&self, currencies: Currencies, end: TickId) -> bool {
        currencies.iter().all(|currency| self.last_prices[currency as usize] >= end)
    }

    /// What a range asks for that has expired.
    fn expired_gap(&self, range: &Range) -> Option<Gap> {
        let before = range.interval.start_from(self.expired.next().max(self.kept_from()));
        let gap = Gap { after: range.after, before, reason: GapReason::HistoryExpired, only: None };
        (range.after < self.expired && range.after < range.until).then_some(gap)
    }

    fn gaps(&self, chosen: Currencies, first: TickId, end: TickId) -> impl Iterator<Item = Gap> {
        let from = self.holes.partition_point(|hole| hole.before <= first);
        let overlapping = self.holes.range(from..).filter(move |hole| hole.after.next() < end);
        overlapping.filter_map(move |hole| {
            let Hole { after, before, reason, currencies } = *hole;
            let concerned = currencies.and(chosen);
            let only = (concerned != chosen).then_some(concerned);
            (!concerned.is_empty()).then_some(Gap { after, before, reason, only })
        })
    }
}

#[cfg(test)]
mod tests;
