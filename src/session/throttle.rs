//! Throttle for clients that want fewer ticks: only those with a changed price, or at most one in each period.
//!
//! Time is measured by the ids of ticks, so a replay has the same ticks as the live stream had. Statuses and gaps are
//! never dropped.

use crate::encode::View;
use crate::feed::{Entry, Event};
use crate::hub::{Examined, Skip};
use crate::tick::{Currencies, Currency, Price, TickId};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Selection of the ticks that a client wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ThrottleOptions {
    /// Only ticks in which a price differs from the last price that the client was sent in that currency.
    pub changes: bool,
    /// At most one tick in each period of this length: the newest.
    pub every: Option<Duration>,
}

impl ThrottleOptions {
    /// Returns whether the client wants every tick.
    pub fn is_full(self) -> bool {
        self == ThrottleOptions::default()
    }
}

/// Maximum of the grace time around the end of a period.
const MAX_GRACE: Duration = Duration::from_secs(1);

/// Throttle of one client. It decides whether a tick is sent, dropped or held, and holds the newest tick until it is
/// due.
#[derive(Clone, Debug)]
pub(super) struct Throttle {
    view: View,
    options: ThrottleOptions,
    /// The id of the tick that the client had when it connected, or zero. Its prices are the first `last_prices`.
    known_id: TickId,
    /// The last price that the client was sent in each currency.
    last_prices: BTreeMap<Currency, Price>,
    /// The end of the current period, or zero if none has begun.
    period_end: TickId,
    /// The newest tick of the period, to be sent when the period ends.
    held: Option<Held>,
}

#[derive(Clone, Debug)]
struct Held {
    entry: Arc<Entry>,
    /// The id before the first tick that was held in this period.
    before: TickId,
}

/// State of a throttle, which determines the ticks that it sends.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ThrottlePosition {
    view: View,
    options: ThrottleOptions,
    known_id: TickId,
    last_prices: BTreeMap<Currency, Price>,
    period_end: TickId,
    /// The id of the held tick, and the id before the first one of its period.
    held: Option<(TickId, TickId)>,
}

impl Throttle {
    /// Creates the throttle of a client. `known_id` is the id of the tick that the client already has, if any.
    pub(super) fn new(view: View, options: ThrottleOptions, known_id: Option<TickId>) -> Throttle {
        let period_end = known_id.zip(options.every).map_or(TickId::ZERO, |(id, every)| id.plus(every));
        let known_id = known_id.unwrap_or(TickId::ZERO);
        Throttle { view, options, known_id, last_prices: BTreeMap::new(), period_end, held: None }
    }

    /// Returns the state of this throttle. Throttles in the same state send the same ticks.
    pub(super) fn position(&self) -> ThrottlePosition {
        let Throttle { view, options, known_id, ref last_prices, period_end, ref held } = *self;
        let held = held.as_ref().map(|held| (held.entry.id, held.before));
        ThrottlePosition { view, options, known_id, last_prices: last_prices.clone(), period_end, held }
    }

    /// Returns the id of the tick that the client had when it connected, or zero.
    pub(super) fn known_id(&self) -> TickId {
        self.known_id
    }

    /// Returns the id after which the client can resume if its cursor is at `cursor`.
    pub(super) fn resume_id(&self, cursor: TickId) -> TickId {
        self.held.as_ref().map_or(cursor, |held| held.before).max(self.known_id)
    }

    /// Processes the next entry, and pushes to `send` all bytes that are now due.
    pub(super) fn push(&mut self, next: &Examined<'_>, send: &mut Vec<Bytes>) {
        let Examined { entry, skipped_after, bytes } = *next;
        if entry.id <= self.known_id {
            self.record_prices(entry);
            return;
        }
        let status = entry.status().map(|_| bytes());
        // A status must not be sent before the held tick, because ids increase. A tick that has prices, but lacks one
        // in a currency of the held tick, cannot replace the held tick. In both cases, the held tick is sent first.
        let is_status = status.as_ref().is_some_and(|status| !status.is_empty());
        if entry.id >= self.period_end.plus(self.grace()) || is_status || self.holds_more_than(entry) {
            send.extend(self.release());
        }
        if let Some(status) = status {
            send.push(status);
        } else if !self.is_wanted(entry) {
            // The held tick is no longer the newest, and the client already has the newest prices.
            if self.prices(entry).next().is_some() {
                self.held = None;
            }
            self.push_outages(entry, send);
        } else if self.is_within_period(entry.id) {
            self.push_outages(entry, send);
            let before = self.held.take().map_or(skipped_after.unwrap_or(entry.prev), |held| held.before);
            self.held = Some(Held { entry: entry.clone(), before });
        } else {
            // This tick is newer than the held one, which is therefore dropped.
            self.held = None;
            self.record_prices(entry);
            // After a tick within the grace time, the next period begins at the end of the current one. If it began at
            // the tick, ticks that are always early would shift the periods.
            let is_at_end = entry.id < self.period_end.plus(self.grace());
            let begin = if is_at_end { self.period_end } else { entry.id };
            self.period_end = self.options.every.map_or(TickId::ZERO, |every| begin.plus(every));
            send.push(bytes());
        }
    }

    /// Returns a condition for the ticks that follow `entry`, the last entry that was pushed. Of the ticks that meet
    /// this condition, only the last one must be pushed.
    pub(super) fn skip(&self, entry: &Entry) -> Option<Skip> {
        if entry.status().is_some() || entry.id <= self.known_id {
            return None;
        }
        if self.is_within_period(entry.id) {
            // Of the ticks within the period, only the last one is held.
            return Some(Skip { before: self.period_end.minus(self.grace()), unchanged: None });
        }
        // The client has the prices of this tick, or does not want them. So it does not want later ticks with the same
        // prices, either. But if a tick is still held, the first tick after the grace time releases it. That first tick
        // must be pushed, so `before` excludes it.
        let before = if self.held.is_some() { self.period_end.plus(self.grace()) } else { TickId::from_ms(u64::MAX) };
        let is_dropped = self.options.changes || self.prices(entry).next().is_none();
        is_dropped.then_some(Skip { before, unchanged: Some(self.view.currencies) })
    }

    /// Returns whether a tick with this id has to be held.
    fn is_within_period(&self, id: TickId) -> bool {
        self.options.every.is_some() && id < self.period_end.minus(self.grace())
    }

    fn push_outages(&self, entry: &Entry, send: &mut Vec<Bytes>) {
        if matches!(&entry.event, Event::Tick { outages, .. } if !outages.is_empty()) {
            send.push(self.view.outages(entry));
        }
    }

    /// Returns the time until the held tick is due, if there is one.
    pub(super) fn due_in(&self, now: TickId) -> Option<Duration> {
        self.held.as_ref().map(|_| self.period_end.plus(self.grace()).since(now))
    }

    /// Returns the grace time: a tick that comes within this time before or after the end of a period counts as the
    /// tick at the end. If the period is a multiple of the interval of the feed, a tick comes near the end of each
    /// period.
    fn grace(&self) -> Duration {
        self.options.every.map_or(Duration::ZERO, |every| (every / 10).min(MAX_GRACE))
    }

    /// Returns the bytes of the held tick, if there is one, and begins the next period.
    pub(super) fn release(&mut self) -> Option<Bytes> {
        let Held { entry, .. } = self.held.take()?;
        self.record_prices(&entry);
        self.period_end = self.period_end.plus(self.options.every.unwrap_or_default());
        Some(self.view.entry_alone(&entry))
    }

    /// Returns whether the held tick has a price in a currency in which `entry` has none.
    fn holds_more_than(&self, entry: &Entry) -> bool {
        let has = |currency| self.prices(entry).any(|(other, _)| other == currency);
        let held = self.held.iter().flat_map(|held| self.prices(&held.entry));
        entry.tick().is_some() && self.prices(entry).next().is_some() && !{ held }.all(|(currency, _)| has(currency))
    }

    fn is_wanted(&self, entry: &Entry) -> bool {
        let mut prices = self.prices(entry).peekable();
        if self.options.changes {
            prices.any(|(currency, price)| self.last_prices.get(&currency) != Some(&price))
        } else {
            prices.peek().is_some()
        }
    }

    fn record_prices(&mut self, entry: &Entry) {
        let prices: Vec<_> = self.prices(entry).collect();
        self.last_prices.extend(prices);
    }

    /// Returns the prices of a tick in the client's currencies.
    fn prices<'a>(&self, entry: &'a Entry) -> impl Iterator<Item = (Currency, Price)> + use<'a> {
        let chosen: Currencies = self.view.currencies;
        let prices = entry.tick().into_iter().flat_map(|tick| &tick.prices);
        prices.filter(move |(currency, _)| chosen.contains(**currency)).map(|(currency, price)| (*currency, *price))
    }
}
