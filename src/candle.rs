//! Candles: open, high, low and close of each currency in each minute, five minutes, hour and day of the history.
//!
//! This module does no I/O. A [`Book`] takes each entry of the feed once, in order, so the cost of an answer depends
//! only on the number of its candles. If entries are missing ([`Entry::continues`]), the book omits the candles that
//! would be wrong and reports a gap instead. A candle expires when its first moment is older than the retention. So all
//! replicas have the same candles, regardless of how long they have been running.

mod interval;
mod kept_hour;
mod series;

pub use interval::Interval;
pub use kept_hour::KeptHour;
pub use series::{Candle, Ohlc};

use crate::feed::{Continuity, Entry, Event, Gap, GapReason};
use crate::tick::{Currencies, Currency, TickId};
use kept_hour::{KeptOutage, ReadHour};
use series::Series;
use std::collections::VecDeque;
use std::time::Duration;

/// The candles of the whole history.
#[derive(Debug)]
pub struct Book {
    retention: Duration,
    /// The id of the newest entry.
    head: TickId,
    /// For each currency, the id of the newest tick with a price in it.
    last_priced: [TickId; Currency::ALL.len()],
    /// The last id that is known to have expired, or zero if none is.
    expired: TickId,
    series: [Series; Interval::ALL.len()],
    /// The ranges in which entries or prices are missing, in the order of their ends.
    missing: VecDeque<Missing>,
    /// The hours with entries, oldest first.
    hours: VecDeque<ReadHour>,
}

/// A range of ids in which entries or prices are missing.
#[derive(Clone, Copy, Debug)]
struct Missing {
    after: TickId,
    before: TickId,
    reason: GapReason,
    currencies: Currencies,
}

/// The candles that a reader asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The length of each candle.
    pub interval: Interval,
    /// The currencies. Candles without a price in any of them are left out.
    pub currencies: Currencies,
    /// The exclusive lower bound of a candle's first moment.
    pub after: TickId,
    /// The inclusive upper bound of a candle's first moment.
    pub until: TickId,
    /// The maximum number of candles.
    pub limit: usize,
}

/// The answer for a [`Range`].
#[derive(Debug)]
pub struct Part<'a> {
    /// The candles, oldest first. An interval without a price has no candle.
    pub candles: Vec<&'a Candle>,
    /// The gaps in the range, oldest first.
    pub gaps: Vec<Gap>,
    /// The `after` of the next part, if there are more candles.
    pub next: Option<TickId>,
    /// The moment at which the part's first candle expires, if the part cannot change before that. The part can be
    /// cached until then.
    pub settled_until: Option<TickId>,
}

impl Book {
    /// An empty book for a history that keeps entries for `retention`.
    pub fn new(retention: Duration) -> Book {
        Book {
            retention,
            head: TickId::ZERO,
            last_priced: Default::default(),
            expired: TickId::ZERO,
            series: Interval::ALL.map(Series::new),
            missing: VecDeque::new(),
            hours: VecDeque::new(),
        }
    }

    /// Returns the id of the newest entry.
    pub fn head(&self) -> TickId {
        self.head
    }

    /// Adds the next entry. Does nothing if the book has it already.
    pub fn add(&mut self, entry: &Entry) {
        if !self.advance(entry.id, entry.prev, entry.id) {
            return;
        }
        if let Event::Tick { tick, outages } = &entry.event {
            for outage in outages {
                let currencies = outage.currencies.iter().copied().collect();
                self.add_missing(outage.after, entry.id, outage.reason, currencies);
            }
            self.add_candle(&Candle::of(entry.id, tick));
        }
        self.expire();
    }

    /// Adds the candles of an hour that a store kept. Does nothing if the book has entries of the hour already.
    pub fn add_kept(&mut self, hour: &KeptHour) {
        let start = Interval::Hour.start(hour.id);
        if self.head >= start || !self.advance(hour.first, hour.prev, hour.id) {
            return;
        }
        for KeptOutage { after, before, reason, currencies } in &hour.outages {
            self.add_missing(*after, *before, *reason, currencies.iter().copied().collect());
        }
        for minute in &hour.minutes {
            self.add_candle(minute);
        }
        self.expire();
    }

    /// Returns the starts of the hours that a store can keep: those that have ended, and lack no entry and no candle.
    pub fn whole_hours(&self) -> impl Iterator<Item = TickId> {
        let whole = self.hours.iter().filter(|hour| self.is_whole(hour));
        whole.map(|hour| hour.start)
    }

    fn is_whole(&self, hour: &ReadHour) -> bool {
        hour.whole && hour.start >= self.kept_from() && self.head >= Interval::Hour.end(hour.start)
    }

    /// Returns one of the [`whole_hours`](Self::whole_hours).
    pub fn kept_hour(&self, start: TickId) -> Option<KeptHour> {
        let found = self.hours.binary_search_by_key(&start, |hour| hour.start).ok()?;
        let ReadHour { prev, first, id, .. } = *self.hours.get(found).filter(|hour| self.is_whole(hour))?;
        let end = Interval::Hour.end(start);
        let minutes = self.series[Interval::Minute as usize].between(start, end.before()).cloned().collect();
        let ended_here =
            self.missing.iter().filter(|missing| is_outage(missing.reason) && (start..end).contains(&missing.before));
        let outages = ended_here.map(|missing| {
            let currencies = missing.currencies.iter().collect();
            KeptOutage { after: missing.after, before: missing.before, reason: missing.reason, currencies }
        });
        Some(KeptHour { prev, first, id, minutes, outages: outages.collect() })
    }

    /// Advances the head over the entries from `first` to `id`, all of the same hour. Returns false if the book has
    /// them already.
    fn advance(&mut self, first: TickId, prev: TickId, id: TickId) -> bool {
        let continuity = Continuity::of(id, prev, self.head);
        match continuity {
            Continuity::Known => return false,
            Continuity::Next => {}
            // The history with which this book starts does not reach back to the feed's first entry.
            Continuity::Missed if self.head == TickId::ZERO => {
                self.expired = prev;
                self.omit(TickId::ZERO, prev);
            }
            Continuity::Missed => {
                self.add_missing(self.head, first, GapReason::HistoryExpired, Currencies::all());
                self.omit(self.head, prev);
            }
            Continuity::Lost => {
                self.add_missing(self.head, first, GapReason::HistoryLost, Currencies::all());
                self.omit(prev, self.head);
            }
        }
        self.note_hour(first, prev, id, continuity);
        self.head = id;
        true
    }

    /// Updates the hours for the entries from `first` to `id`.
    fn note_hour(&mut self, first: TickId, prev: TickId, id: TickId, continuity: Continuity) {
        match continuity {
            Continuity::Missed => self.hours.back_mut().into_iter().for_each(|hour| hour.whole = false),
            Continuity::Lost => {
                let lost = |hour: &&mut ReadHour| Interval::Hour.end(hour.start) > prev.next();
                let affected = self.hours.iter_mut().rev().take_while(lost);
                affected.for_each(|hour| hour.whole = false);
            }
            Continuity::Next | Continuity::Known => {}
        }
        let start = Interval::Hour.start(id);
        match self.hours.back_mut().filter(|hour| hour.start == start) {
            Some(hour) => hour.id = id,
            None => self.hours.push_back(ReadHour { start, prev, first, id, whole: prev < start }),
        }
    }

    /// Adds the candle of a tick or of a minute to each series.
    fn add_candle(&mut self, candle: &Candle) {
        for currency in candle.currencies().iter() {
            self.last_priced[currency as usize] = candle.id;
        }
        for series in &mut self.series {
            series.add(candle);
        }
    }

    fn add_missing(&mut self, after: TickId, before: TickId, reason: GapReason, currencies: Currencies) {
        self.missing.push_back(Missing { after, before, reason, currencies });
    }

    /// Omits the candles of the range `after < id <= until`, because the book or the feed lacks entries of it.
    fn omit(&mut self, after: TickId, until: TickId) {
        for series in &mut self.series {
            series.omit(after, until);
        }
    }

    fn expire(&mut self) {
        let kept_from = self.kept_from();
        for series in &mut self.series {
            self.expired = self.expired.max(series.expire(kept_from).unwrap_or_default());
        }
        while self.missing.front().is_some_and(|missing| missing.before < kept_from) {
            self.missing.pop_front();
        }
        while self.hours.front().is_some_and(|hour| Interval::Hour.end(hour.start) <= kept_from) {
            self.hours.pop_front();
        }
    }

    /// Returns the first moment that is kept. The store deletes earlier entries when it appends the newest entry.
    fn kept_from(&self) -> TickId {
        self.head.minus(self.retention)
    }

    /// Returns the candles of a range.
    pub fn part(&self, range: Range) -> Part<'_> {
        let Range { interval, currencies, after, until, limit } = range;
        let first = interval.first_start_at_or_after(after.next());
        let mut found = self.series[interval as usize].between(first, until);
        let mut wanted = found.by_ref().filter(|candle| !candle.currencies().and(currencies).is_empty());
        let candles: Vec<_> = wanted.by_ref().take(limit).collect();
        let next = wanted.next().and(candles.last()).map(|candle| candle.id);
        // If there are more candles, the part ends with its last candle. Otherwise it ends with the last interval of
        // the range.
        let end = interval.end(next.unwrap_or(until));
        let mut gaps: Vec<_> = self.expired_gap(&range).into_iter().collect();
        gaps.extend(self.gaps(currencies, first, end));
        // Another replica may have the entries that this one missed.
        let complete = gaps.iter().all(|gap| is_outage(gap.reason));
        let settled = complete && self.is_final(currencies, end);
        let settled_until = candles.first().filter(|_| settled).map(|candle| candle.id.plus(self.retention));
        Part { candles, gaps, next, settled_until }
    }

    /// Returns true if no future entry can change the time before `end`: every chosen currency has a price at or after
    /// `end`. The ids of future ticks are higher, and a future outage starts at the last price of a currency.
    fn is_final(&self, currencies: Currencies, end: TickId) -> bool {
        currencies.iter().all(|currency| self.last_priced[currency as usize] >= end)
    }

    /// Returns the gap of the range's expired candles, if it has any.
    fn expired_gap(&self, range: &Range) -> Option<Gap> {
        let before = range.interval.first_start_at_or_after(self.expired.next().max(self.kept_from()));
        let gap = Gap { after: range.after, before, reason: GapReason::HistoryExpired, only: None };
        (range.after < self.expired && range.after < range.until).then_some(gap)
    }

    fn gaps(&self, chosen: Currencies, first: TickId, end: TickId) -> impl Iterator<Item = Gap> {
        let from = self.missing.partition_point(|missing| missing.before <= first);
        let overlapping = self.missing.range(from..).filter(move |missing| missing.after.next() < end);
        overlapping.filter_map(move |missing| {
            let Missing { after, before, reason, currencies } = *missing;
            let affected = currencies.and(chosen);
            let only = (affected != chosen).then_some(affected);
            (!affected.is_empty()).then_some(Gap { after, before, reason, only })
        })
    }
}

/// Returns true if no entry is missing in a gap with this reason: there was no tick.
fn is_outage(reason: GapReason) -> bool {
    matches!(reason, GapReason::SourceOutage | GapReason::HeldTooLong)
}

#[cfg(test)]
mod tests;
