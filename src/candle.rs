//! Candles: open, high, low and close of each currency in each interval of the history. Intervals are 1, 5 or 15
//! minutes, 1 or 4 hours, or a day long.
//!
//! This module does no I/O. A [`Book`] adds the entries of the feed to its candles, each once and in order. It answers
//! from its candles ([`Book::part`]), without the entries. If entries are missing ([`Entry::continues`]), the book
//! omits the candles that would be wrong and reports a gap instead. Candles of less than an hour expire when their
//! first moment is too old. Candles of an hour or more never expire.

mod detail;
mod interval;
mod kept_hour;
mod series;

pub use detail::{Detail, MINUTES_KEPT, PAGE_HOURS};
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
    /// The time for which candles of less than an hour are kept.
    minutes_kept: Duration,
    /// The id of the newest entry.
    head: TickId,
    /// For each currency, the id of the newest tick that has its price. If that tick came in a candle from a store, its
    /// id is not known, and this is the start of the candle.
    last_priced: [TickId; Currency::ALL.len()],
    series: [Series; Interval::ALL.len()],
    /// The ranges in which entries or prices are missing, in the order of their ends.
    missing: VecDeque<Missing>,
    /// The ranges in which only candles of less than an hour are missing, because the store kept only candles of whole
    /// hours. Oldest first.
    without_minutes: VecDeque<Missing>,
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
    /// The currencies. A candle that has a price in none of them is left out.
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
    /// The moment until which the part can be cached: the moment at which its first candle expires or, if candles of
    /// this length never expire, `minutes_kept` after the newest entry. `None` if the part may change earlier, or has
    /// no candle.
    pub settled_until: Option<TickId>,
}

impl Book {
    /// An empty book that keeps candles of less than an hour for `minutes_kept`.
    pub fn new(minutes_kept: Duration) -> Book {
        let kept = |interval: Interval| (interval.detail() == Detail::Minutes).then_some(minutes_kept);
        Book {
            minutes_kept,
            head: TickId::ZERO,
            last_priced: Default::default(),
            series: Interval::ALL.map(|interval| Series::new(interval, kept(interval))),
            missing: VecDeque::new(),
            without_minutes: VecDeque::new(),
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

    /// Adds the candles of an hour that a store kept. Does nothing if the book has entries of this or of a later hour
    /// already.
    pub fn add_kept(&mut self, hour: &KeptHour) {
        let start = Interval::Hour.start(hour.id);
        if self.head >= start || !self.advance(hour.first, hour.prev, hour.id) {
            return;
        }
        for KeptOutage { after, before, reason, currencies } in &hour.outages {
            self.add_missing(*after, *before, *reason, currencies.iter().copied().collect());
        }
        match hour.detail() {
            Detail::Minutes => hour.minutes.iter().flatten().for_each(|minute| self.add_candle(minute)),
            Detail::Hour => {
                hour.hour.iter().for_each(|candle| self.add_candle(candle));
                self.note_lack_of_minutes(hour);
            }
        }
        self.expire();
    }

    /// Records that the book lacks the minutes of an hour.
    fn note_lack_of_minutes(&mut self, hour: &KeptHour) {
        let (start, before) = (hour.start(), Interval::Hour.end(hour.start()));
        for series in self.series.iter_mut().filter(|series| series.kept.is_some()) {
            series.omit(start.before(), before.before());
        }
        self.hours.back_mut().into_iter().for_each(|hour| hour.has_minutes = false);
        match self.without_minutes.back_mut() {
            // No entry is between the range and this hour.
            Some(range) if range.before > hour.prev => range.before = before,
            _ => {
                let (reason, currencies) = (GapReason::HistoryExpired, Currencies::all());
                self.without_minutes.push_back(Missing { after: hour.prev, before, reason, currencies });
            }
        }
    }

    /// Returns the starts of the hours that a store can keep in this detail: those that have ended, and lack no entry
    /// and no candle.
    pub fn whole_hours(&self, detail: Detail) -> impl Iterator<Item = TickId> {
        let whole = self.hours.iter().filter(move |hour| self.is_whole(hour, detail));
        whole.map(|hour| hour.start)
    }

    fn is_whole(&self, hour: &ReadHour, detail: Detail) -> bool {
        let kept = detail == Detail::Hour || (hour.has_minutes && hour.start >= self.minutes_kept_from(self.head));
        hour.whole && kept && self.head >= Interval::Hour.end(hour.start)
    }

    /// Returns one of the [`whole_hours`](Self::whole_hours).
    pub fn kept_hour(&self, detail: Detail, start: TickId) -> Option<KeptHour> {
        let found = self.hours.binary_search_by_key(&start, |hour| hour.start).ok()?;
        let ReadHour { prev, first, id, .. } = *self.hours.get(found).filter(|hour| self.is_whole(hour, detail))?;
        let end = Interval::Hour.end(start);
        let candles = |interval: Interval| self.series[interval as usize].between(start, end.before()).cloned();
        let (minutes, hour) = match detail {
            Detail::Minutes => (Some(candles(Interval::Minute).collect()), None),
            Detail::Hour => (None, candles(Interval::Hour).next()),
        };
        let from = self.missing.partition_point(|missing| missing.before < start);
        let ended_here = self.missing.range(from..).take_while(|missing| missing.before < end);
        let outages = ended_here.filter(|missing| is_outage(missing.reason)).map(|missing| {
            let currencies = missing.currencies.iter().collect();
            KeptOutage { after: missing.after, before: missing.before, reason: missing.reason, currencies }
        });
        Some(KeptHour { prev, first, id, minutes, hour, outages: outages.collect() })
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
                self.series.iter_mut().for_each(|series| series.expired = prev);
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
            None => {
                self.hours.push_back(ReadHour { start, prev, first, id, whole: prev < start, has_minutes: true });
            }
        }
    }

    /// Adds the candle of a tick, of a minute or of an hour to each series.
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
        let kept_from = self.minutes_kept_from(self.head);
        let minutes = Interval::Minute as usize;
        for series in &mut self.series {
            series.expire(self.head);
        }
        // A range of `without_minutes` becomes a part of the expired time when no minutes before it are kept.
        while let Some(range) = self.without_minutes.front().copied()
            && range.after <= self.series[minutes].expired.max(kept_from)
        {
            self.without_minutes.pop_front();
            for series in self.series.iter_mut().filter(|series| series.kept.is_some()) {
                series.expired = series.expired.max(range.before.before());
            }
        }
    }

    /// Returns the first moment whose candles of less than an hour are kept if `head` is the newest id.
    pub fn minutes_kept_from(&self, head: TickId) -> TickId {
        head.minus(self.minutes_kept)
    }

    /// Returns the candles of a range.
    pub fn part(&self, range: Range) -> Part<'_> {
        let Range { interval, currencies, after, until, limit } = range;
        let series = &self.series[interval as usize];
        let first = interval.first_start_at_or_after(after.next());
        let mut found = series.between(first, until);
        let mut wanted = found.by_ref().filter(|candle| !candle.currencies().and(currencies).is_empty());
        let candles: Vec<_> = wanted.by_ref().take(limit).collect();
        let next = wanted.next().and(candles.last()).map(|candle| candle.id);
        // If there are more candles, the part ends with its last candle. Otherwise it ends with the last interval of
        // the range.
        let end = interval.end(next.unwrap_or(until));
        let expired = self.expired_gap(&range);
        let mut gaps: Vec<_> = expired.into_iter().collect();
        // The gap of the expired time includes the other gaps that end in it.
        let first = expired.map_or(first, |gap| first.max(gap.before));
        gaps.extend(Self::gaps(&self.missing, currencies, first, end));
        if interval.detail() == Detail::Minutes && !self.without_minutes.is_empty() {
            gaps.extend(Self::gaps(&self.without_minutes, currencies, first, end));
            gaps.sort_by_key(|gap| gap.before);
        }
        // A part in which entries are missing is not cached, because another replica may have them.
        let complete = gaps.iter().all(|gap| is_outage(gap.reason));
        let settled = complete && self.is_final(currencies, end);
        let expiry = |candle: &&Candle| match series.kept {
            Some(kept) => candle.id.plus(kept),
            None => self.head.plus(self.minutes_kept),
        };
        let settled_until = candles.first().filter(|_| settled).map(expiry);
        Part { candles, gaps, next, settled_until }
    }

    /// Returns the newest `limit` candles with a price in any of `currencies` that begin before `end`, oldest first.
    pub fn newest_before(&self, interval: Interval, currencies: Currencies, end: TickId, limit: usize) -> Vec<&Candle> {
        let earlier = self.series[interval as usize].before(end).rev();
        let wanted = earlier.filter(|candle| !candle.currencies().and(currencies).is_empty());
        let mut newest: Vec<_> = wanted.take(limit).collect();
        newest.reverse();
        newest
    }

    /// Returns true if every chosen currency has a price at or after `end`. Then the candles and gaps before `end` are
    /// final, unless the feed loses entries: a future tick has a higher id, and a future outage starts at the last
    /// price of a currency.
    fn is_final(&self, currencies: Currencies, end: TickId) -> bool {
        currencies.iter().all(|currency| self.last_priced[currency as usize] >= end)
    }

    /// Returns the gap of the range's expired candles, if it has any.
    fn expired_gap(&self, range: &Range) -> Option<Gap> {
        let series = &self.series[range.interval as usize];
        let before = range.interval.first_start_at_or_after(series.expired.next().max(series.kept_from(self.head)));
        let gap = Gap { after: range.after, before, reason: GapReason::HistoryExpired, only: None };
        (range.after < series.expired && range.after < range.until).then_some(gap)
    }

    fn gaps(missing: &VecDeque<Missing>, chosen: Currencies, first: TickId, end: TickId) -> impl Iterator<Item = Gap> {
        let from = missing.partition_point(|missing| missing.before <= first);
        let overlapping = missing.range(from..).filter(move |missing| missing.after.next() < end);
        overlapping.filter_map(move |missing| {
            let Missing { after, before, reason, currencies } = *missing;
            let affected = currencies.and(chosen);
            let only = (affected != chosen).then_some(affected);
            (!affected.is_empty()).then_some(Gap { after, before, reason, only })
        })
    }
}

/// Returns true if a gap with this reason is an outage. In an outage, prices are missing, but no entry of the feed is.
fn is_outage(reason: GapReason) -> bool {
    matches!(reason, GapReason::SourceOutage | GapReason::HeldTooLong)
}

#[cfg(test)]
mod tests;
