//! Clients that want fewer ticks: only where the price changed, or at most one a period.
//!
//! Everything is measured by the ids of ticks, which are times, so that a replay is thinned just as it would have been
//! live. Statuses and gaps are never thinned out.

use crate::encode::View;
use crate::feed::Entry;
use crate::tick::{Currencies, Currency, Price, TickId};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Which ticks a client wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThrottleOptions {
    /// Only those with a price that differs from the last one that this client got, in any of its currencies.
    pub changes: bool,
    /// At most one in so long a time, the newest.
    pub every: Option<Duration>,
}

impl ThrottleOptions {
    /// Whether every tick is wanted.
    pub fn is_full(self) -> bool {
        self == ThrottleOptions::default()
    }
}

/// The farthest from a period's end that a tick counts as the one at its end.
const LONGEST_GRACE: Duration = Duration::from_secs(1);

/// Decides tick by tick, and keeps the newest one that may still have to be sent.
#[derive(Debug)]
pub(super) struct Throttle {
    view: View,
    options: ThrottleOptions,
    /// The client has this tick already: it is where its prices are read off.
    has: TickId,
    /// The prices that the client got last.
    got: BTreeMap<Currency, Price>,
    /// When the period ends that began with the last tick sent.
    period_end: TickId,
    /// The newest tick of this period, which is to be sent when that is over, and the id before everything held back.
    held: Option<Held>,
}

#[derive(Debug)]
struct Held {
    entry: Arc<Entry>,
    bytes: Bytes,
    before: TickId,
}

impl Throttle {
    /// A throttle for a client that has the tick `has`, or none.
    pub(super) fn new(view: View, options: ThrottleOptions, has: Option<TickId>) -> Throttle {
        let period_end = has.zip(options.every).map_or(TickId::ZERO, |(id, every)| id.plus(every));
        let has = has.unwrap_or(TickId::ZERO);
        Throttle { view, options, has, got: BTreeMap::new(), period_end, held: None }
    }

    /// The tick that the client had when it came; zero if none.
    pub(super) fn has(&self) -> TickId {
        self.has
    }

    /// The last id that the client has, where the cursor has moved on to `cursor`.
    pub(super) fn settled(&self, cursor: TickId) -> TickId {
        self.held.as_ref().map_or(cursor, |held| held.before).max(self.has)
    }

    /// Takes the next entry in, which is `bytes` in this view, and hands out what is to be sent now.
    pub(super) fn take(&mut self, entry: &Arc<Entry>, bytes: Bytes, send: &mut Vec<Bytes>) {
        if entry.id <= self.has {
            self.learn(entry);
            return;
        }
        // A status must not overtake a tick that is held back, for ids never run backwards; and a tick that lacks one of its
        // prices does not replace it.
        let is_status = entry.status().is_some() && !bytes.is_empty();
        if entry.id >= self.period_end.plus(self.grace()) || is_status || self.holds_more_than(entry) {
            send.extend(self.release());
        }
        if entry.status().is_some() {
            send.push(bytes);
        } else if !self.is_wanted(entry) {
            // What was held back is no longer the newest, and what is newest the client has.
            if self.prices(entry).next().is_some() {
                self.held = None;
            }
            send.push(self.view.outages(entry));
        } else if self.options.every.is_some() && entry.id < self.period_end.minus(self.grace()) {
            send.push(self.view.outages(entry));
            let before = self.held.take().map_or(entry.prev, |held| held.before);
            self.held = Some(Held { entry: entry.clone(), bytes: self.view.entry_alone(entry), before });
        } else {
            // It is the newest now, so what was held back is not sent any more.
            self.held = None;
            self.learn(entry);
            // One that counts as the one at the end moves no period, or what is early each time would add up.
            let is_at_end = entry.id < self.period_end.plus(self.grace());
            let begin = if is_at_end { self.period_end } else { entry.id };
            self.period_end = self.options.every.map_or(TickId::ZERO, |every| begin.plus(every));
            send.push(bytes);
        }
    }

    /// How long a tick is still held back, if one is.
    pub(super) fn due_in(&self, now: TickId) -> Option<Duration> {
        self.held.as_ref().map(|_| self.period_end.plus(self.grace()).since(now))
    }

    /// How far from a period's end a tick may be to count as the one at its end. Where the period is a multiple of the time
    /// between two ticks, one comes just then, or a moment before or after.
    fn grace(&self) -> Duration {
        self.options.every.map_or(Duration::ZERO, |every| (every / 10).min(LONGEST_GRACE))
    }

    /// Hands out the tick that is held back, and begins the next period.
    pub(super) fn release(&mut self) -> Option<Bytes> {
        let Held { entry, bytes, .. } = self.held.take()?;
        self.learn(&entry);
        self.period_end = self.period_end.plus(self.options.every.unwrap_or_default());
        Some(bytes)
    }

    /// Whether a tick is held back that has a price in a currency in which this one has none.
    fn holds_more_than(&self, entry: &Entry) -> bool {
        let has = |currency| self.prices(entry).any(|(other, _)| other == currency);
        let held = self.held.iter().flat_map(|held| self.prices(&held.entry));
        entry.tick().is_some() && self.prices(entry).next().is_some() && !{ held }.all(|(currency, _)| has(currency))
    }

    fn is_wanted(&self, entry: &Entry) -> bool {
        let mut prices = self.prices(entry).peekable();
        if self.options.changes {
            prices.any(|(currency, price)| self.got.get(&currency) != Some(&price))
        } else {
            prices.peek().is_some()
        }
    }

    fn learn(&mut self, entry: &Entry) {
        let prices: Vec<_> = self.prices(entry).collect();
        self.got.extend(prices);
    }

    /// The prices of a tick that this client sees.
    fn prices<'a>(&self, entry: &'a Entry) -> impl Iterator<Item = (Currency, Price)> + use<'a> {
        let chosen: Currencies = self.view.currencies;
        let prices = entry.tick().into_iter().flat_map(|tick| &tick.prices);
        prices.filter(move |(currency, _)| chosen.contains(**currency)).map(|(currency, price)| (*currency, *price))
    }
}
