//! What a feed is: entries in one order, each naming the one before it, so that anyone can tell that nothing is missing.
//!
//! The gap rule stands here once. [`Continuity::of`] compares an entry's `prev` with the last id that somebody has, and
//! the hub (against the store) and every session (against its client's cursor) ask nothing else.

use crate::tick::{Currencies, Currency, Tick, TickId};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One entry: a tick or a change of the feed's health, with its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its place.
    pub id: TickId,
    /// The place of the entry before it; zero for the first of a feed.
    pub prev: TickId,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What an entry tells. The store gives it a place and so makes an [`Entry`] of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Event {
    /// Prices were agreed.
    Tick {
        /// The prices.
        #[serde(flatten)]
        tick: Tick,
        /// The outages that end with this tick.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        outages: Vec<Outage>,
    },
    /// The feed's health changed.
    Status(Status),
}

/// A time without prices, told by the tick that ends it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outage {
    /// The last tick that had a price in these currencies.
    pub after: TickId,
    /// The currencies that had no price since.
    pub currencies: Vec<Currency>,
}

/// The feed's health, from the best to the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Every currency has a fresh price.
    Live,
    /// Some currency has had no price for a while.
    Stale,
    /// No currency has had a price for a long while.
    Down,
}

impl State {
    /// The word that clients see.
    pub const fn as_str(self) -> &'static str {
        match self {
            State::Live => "live",
            State::Stale => "stale",
            State::Down => "down",
        }
    }
}

/// A change of the feed's health.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// What it is now.
    pub state: State,
    /// Since when: for `stale` and `down` the last price before it, for `live` the moment prices came back.
    pub since: TickId,
    /// Why, for a person to read.
    pub reason: String,
}

/// Why a client does not get something that was, or should have been, in the feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapReason {
    /// No price could be agreed in that time: the exchanges were silent, or no replica was leading.
    SourceOutage,
    /// It is older than what is kept.
    HistoryExpired,
    /// The store lost it.
    HistoryLost,
    /// The client asked for no more than so many ticks of replay.
    ReplayLimit,
}

impl GapReason {
    /// The word that clients see.
    pub const fn as_str(self) -> &'static str {
        match self {
            GapReason::SourceOutage => "source_outage",
            GapReason::HistoryExpired => "history_expired",
            GapReason::HistoryLost => "history_lost",
            GapReason::ReplayLimit => "replay_limit",
        }
    }
}

/// Between these two ids something is missing, and this is why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The last id before the gap.
    pub after: TickId,
    /// The first id after it.
    pub before: TickId,
    /// Why.
    pub reason: GapReason,
    /// The currencies concerned, where it is not all of them.
    pub only: Option<Currencies>,
}

/// How an entry stands to the last id that somebody has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Continuity {
    /// It is the next one.
    Next,
    /// It, or something later, is known already.
    Known,
    /// Something between the two is missing.
    Missed,
    /// It follows on something older than the last id: the feed has lost that id.
    Lost,
}

impl Outage {
    /// The gap that it leaves for a client that chose `chosen`, if it leaves one. `before` is the tick that ends it.
    pub fn gap(&self, chosen: Currencies, before: TickId) -> Option<Gap> {
        let concerned = self.currencies.iter().copied().collect::<Currencies>().and(chosen);
        let only = (concerned != chosen).then_some(concerned);
        let gap = Gap { after: self.after, before, reason: GapReason::SourceOutage, only };
        (!concerned.is_empty()).then_some(gap)
    }
}

impl Continuity {
    /// The gap rule: how an entry with this `id` and `prev` stands to `last`, the newest id that somebody has.
    pub fn of(id: TickId, prev: TickId, last: TickId) -> Continuity {
        if id <= last {
            Continuity::Known
        } else if prev == last {
            Continuity::Next
        } else if prev > last {
            Continuity::Missed
        } else {
            Continuity::Lost
        }
    }
}

impl Entry {
    /// How this entry stands to `last`, the newest id that somebody has.
    pub fn continues(&self, last: TickId) -> Continuity {
        Continuity::of(self.id, self.prev, last)
    }

    /// The tick, if the entry is one.
    pub fn tick(&self) -> Option<&Tick> {
        match &self.event {
            Event::Tick { tick, .. } => Some(tick),
            Event::Status(_) => None,
        }
    }

    /// The status, if the entry is one.
    pub fn status(&self) -> Option<&Status> {
        match &self.event {
            Event::Tick { .. } => None,
            Event::Status(status) => Some(status),
        }
    }
}

/// The part of the feed that this replica holds, as a leader needs to know it: leader and hub meet in nothing else.
pub trait Feed: Send + Sync {
    /// The newest id; zero if there is none.
    fn head(&self) -> TickId;

    /// Every entry after `id` that is held, oldest first.
    fn after(&self, id: TickId) -> Vec<Arc<Entry>>;

    /// The newest entry for which `wanted` is true.
    fn newest(&self, wanted: &dyn Fn(&Entry) -> bool) -> Option<Arc<Entry>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_next_known_missed_or_lost() {
        let event = Event::Status(Status { state: State::Live, since: TickId::ZERO, reason: String::new() });
        let entry = Entry { id: TickId::from_ms(30), prev: TickId::from_ms(20), event };
        let asked =
            [(20, Continuity::Next), (30, Continuity::Known), (31, Continuity::Known), (10, Continuity::Missed)];
        for (last, expected) in asked.into_iter().chain([(25, Continuity::Lost)]) {
            assert_eq!(entry.continues(TickId::from_ms(last)), expected, "after {last}");
        }
    }

    #[test]
    fn an_entry_reads_back_from_what_the_store_keeps() {
        let json = r#"{"id":20,"prev":10,"type":"tick","prices":{"USD":"97116.10"},"sources":{"USD":["kraken"]}}"#;
        let entry: Entry = serde_json::from_str(json).unwrap();
        assert_eq!(entry.tick().unwrap().prices[&Currency::Usd].to_string(), "97116.10");
        assert_eq!(serde_json::to_string(&entry).unwrap(), json);
        let json = r#"{"id":20,"prev":10,"type":"status","state":"stale","since":5,"reason":"no answer"}"#;
        assert_eq!(serde_json::to_string(&serde_json::from_str::<Entry>(json).unwrap()).unwrap(), json);
    }
}
