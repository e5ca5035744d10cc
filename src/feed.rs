//! The feed: entries in one order. Each entry has the id of the entry before it, so a reader can detect that one is
//! missing.
//!
//! The gap rule is implemented only here. [`Continuity::of`] compares an entry's `prev` with the last id that a reader
//! has. The hub applies it to its head, a session to its client's cursor, and the SDK to the last update that it
//! received.

use crate::tick::{Audit, Currencies, Currency, Tick, TickId, known_currencies};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// A tick or a change of the feed's health, with its id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The position in the feed, which is also the moment of the event.
    pub id: TickId,
    /// The id of the entry before it, or zero for the first entry of a feed.
    pub prev: TickId,
    /// The event.
    #[serde(flatten)]
    pub event: Event,
}

/// The content of an entry. It becomes an [`Entry`] when the store assigns an id to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Event {
    /// New prices.
    Tick {
        /// The prices.
        #[serde(flatten)]
        tick: Tick,
        /// The outages that end with this tick.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        outages: Vec<Outage>,
    },
    /// A change of the feed's health.
    Status(Status),
}

/// What went into the prices of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryAudit {
    /// The id of the entry.
    pub id: TickId,
    /// The inputs, and the numbers of the method.
    #[serde(flatten)]
    pub audit: Audit,
}

/// A time without prices, reported by the tick that ends it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outage {
    /// The id of the last tick that had a price in these currencies.
    pub after: TickId,
    /// The currencies that had no price after that tick.
    #[serde(deserialize_with = "known_currencies")]
    pub currencies: Vec<Currency>,
    /// The reason.
    #[serde(default = "GapReason::of_sources", skip_serializing_if = "GapReason::is_of_sources")]
    pub reason: GapReason,
}

/// The feed's health, ordered from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FeedState {
    /// Every currency has a recent price.
    Live,
    /// Every currency has a recent price, but for a while some price has come from fewer than half of the sources
    /// configured for it, or from only one of several.
    Degraded,
    /// Some currency has had no price for a while.
    Stale,
    /// No currency has had a price for a long while.
    Down,
}

impl FeedState {
    /// All states, from best to worst.
    pub const ALL: [FeedState; 4] = [FeedState::Live, FeedState::Degraded, FeedState::Stale, FeedState::Down];

    /// Returns the word that clients get.
    pub const fn as_str(self) -> &'static str {
        match self {
            FeedState::Live => "live",
            FeedState::Degraded => "degraded",
            FeedState::Stale => "stale",
            FeedState::Down => "down",
        }
    }
}

/// A change of the feed's health, or the news that clocks contradict each other or agree again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StoredStatus", into = "StoredStatus")]
pub struct Status {
    /// The new state.
    pub state: FeedState,
    /// The start of the state: for `stale` and `down` the moment of the last price, for `degraded` that of the last
    /// price from enough sources, for `live` the moment at which the feed recovered. If several currencies are
    /// affected, the earliest of their moments. If the reason is about clocks, the moment of the status.
    pub since: TickId,
    /// The reason, as text for people.
    pub reason: String,
}

/// A status as the store keeps it.
///
/// Replicas of version 0.2.0 skip an entry with a state that they do not know. So `degraded` is stored as `live`, the
/// state that they would report, with a field that they ignore.
#[derive(Clone, Serialize, Deserialize)]
struct StoredStatus {
    state: FeedState,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    degraded: bool,
    since: TickId,
    reason: String,
}

impl From<Status> for StoredStatus {
    fn from(Status { state, since, reason }: Status) -> StoredStatus {
        let degraded = state == FeedState::Degraded;
        StoredStatus { state: if degraded { FeedState::Live } else { state }, degraded, since, reason }
    }
}

impl From<StoredStatus> for Status {
    fn from(StoredStatus { state, degraded, since, reason }: StoredStatus) -> Status {
        let state = if degraded && state == FeedState::Live { FeedState::Degraded } else { state };
        Status { state, since, reason }
    }
}

/// The reason for a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapReason {
    /// There were no prices in that time: too few sources gave one, or no replica was leading.
    SourceOutage,
    /// The entries are older than the retention, or are missing inside the history.
    HistoryExpired,
    /// The store has lost the last entry that the reader has, or the feed never had that id.
    HistoryLost,
    /// The client limited the number of ticks in its replay.
    ReplayLimit,
    /// The store could not be written for so long that the leader had to drop ticks.
    HeldTooLong,
    /// The store has no bookmark of the client, so the last entry that the client got is unknown.
    UnknownClientId,
}

impl GapReason {
    /// Returns the word that clients get.
    pub const fn as_str(self) -> &'static str {
        match self {
            GapReason::SourceOutage => "source_outage",
            GapReason::HistoryExpired => "history_expired",
            GapReason::HistoryLost => "history_lost",
            GapReason::ReplayLimit => "replay_limit",
            GapReason::HeldTooLong => "held_too_long",
            GapReason::UnknownClientId => "unknown_client_id",
        }
    }

    const fn of_sources() -> GapReason {
        GapReason::SourceOutage
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    fn is_of_sources(&self) -> bool {
        *self == GapReason::SourceOutage
    }
}

/// A range of ids in which entries or prices are missing, and the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The last id before the gap.
    pub after: TickId,
    /// The first id after the gap.
    pub before: TickId,
    /// The reason.
    pub reason: GapReason,
    /// The affected currencies, or `None` if all are.
    pub only: Option<Currencies>,
}

/// The place of an entry relative to the last id that a reader has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Continuity {
    /// The entry is the next one.
    Next,
    /// The reader already has the entry or a later one.
    Known,
    /// Entries between the reader's last id and the entry are missing.
    Missed,
    /// The entry follows an id that is older than the reader's last id: the feed has lost the entry with that last id.
    Lost,
}

impl Outage {
    /// An outage in which too few sources gave a price, or no replica was leading.
    pub fn of_sources(after: TickId, currencies: Vec<Currency>) -> Outage {
        Outage { after, currencies, reason: GapReason::SourceOutage }
    }

    /// Returns the gap of the outage for a client with the currencies `chosen`, if the outage affects any of them.
    /// `before` is the id of the tick that ends the outage.
    pub fn gap(&self, chosen: Currencies, before: TickId) -> Option<Gap> {
        let affected = self.currencies.iter().copied().collect::<Currencies>().and(chosen);
        let only = (affected != chosen).then_some(affected);
        let gap = Gap { after: self.after, before, reason: self.reason, only };
        (!affected.is_empty()).then_some(gap)
    }
}

impl Continuity {
    /// Applies the gap rule to an entry with this `id` and `prev`, for a reader whose newest id is `last`. No entry has
    /// an id from before Bitcoin began. So a reader with such a `last` has no entry yet, and the first entry of a feed
    /// is its next one.
    pub fn of(id: TickId, prev: TickId, last: TickId) -> Continuity {
        if id <= last {
            Continuity::Known
        } else if prev == last || prev == TickId::ZERO && last.is_before_bitcoin() {
            Continuity::Next
        } else if prev > last {
            Continuity::Missed
        } else {
            Continuity::Lost
        }
    }
}

impl Entry {
    /// Applies the gap rule to this entry, for a reader whose newest id is `last`.
    pub fn continues(&self, last: TickId) -> Continuity {
        Continuity::of(self.id, self.prev, last)
    }

    /// Returns the gap between `last`, the id after which a reader reads, and this entry. `is_entry` is false if `last`
    /// is only a moment, which need not be the id of an entry.
    pub fn gap_after(&self, last: TickId, is_entry: bool) -> Option<Gap> {
        let reason = match self.continues(last) {
            Continuity::Next | Continuity::Known => return None,
            Continuity::Missed => GapReason::HistoryExpired,
            // A moment that is not the id of an entry has no entry that could be lost.
            Continuity::Lost if !is_entry => return None,
            Continuity::Lost => GapReason::HistoryLost,
        };
        Some(Gap { after: last, before: self.id, reason, only: None })
    }

    /// Returns the gaps that end with this entry, for a client with the currencies `chosen`.
    pub fn outages(&self, chosen: Currencies) -> impl Iterator<Item = Gap> {
        let outages = match &self.event {
            Event::Tick { outages, .. } => &outages[..],
            Event::Status(_) => &[],
        };
        outages.iter().filter_map(move |outage| outage.gap(chosen, self.id))
    }

    /// Returns the tick, if the entry is one.
    pub fn tick(&self) -> Option<&Tick> {
        match &self.event {
            Event::Tick { tick, .. } => Some(tick),
            Event::Status(_) => None,
        }
    }

    /// Returns the status, if the entry is one.
    pub fn status(&self) -> Option<&Status> {
        match &self.event {
            Event::Tick { .. } => None,
            Event::Status(status) => Some(status),
        }
    }
}

/// The place in the feed at which a reader starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// The latest tick.
    #[default]
    Latest,
    /// The first entry at or after this moment.
    Since(TickId),
    /// The first entry after this id. A reader that has the entry with this id misses nothing and gets nothing twice.
    After(TickId),
}

/// This replica's copy of the feed, as the leader needs it. It is the only interface between leader and hub.
pub trait Feed: Send + Sync {
    /// Returns the newest id, or zero if the feed is empty.
    fn head(&self) -> TickId;

    /// Returns all entries of this copy after `id`, oldest first.
    fn after(&self, id: TickId) -> Vec<Arc<Entry>>;

    /// Returns the time for which an entry is kept.
    fn retention(&self) -> Duration;

    /// Returns the ids of the first and the last entry of this copy, and the number of entries, if there are any.
    fn extent(&self) -> Option<(TickId, TickId, usize)>;

    /// Returns the newest entry for which `wanted` is true.
    fn newest(&self, wanted: &dyn Fn(&Entry) -> bool) -> Option<Arc<Entry>>;
}

/// A copy of the feed that is empty.
#[cfg(test)]
pub(crate) struct EmptyFeed;

#[cfg(test)]
impl Feed for EmptyFeed {
    fn head(&self) -> TickId {
        TickId::ZERO
    }

    fn after(&self, _id: TickId) -> Vec<Arc<Entry>> {
        Vec::new()
    }

    fn retention(&self) -> Duration {
        Duration::from_secs(3600)
    }

    fn extent(&self) -> Option<(TickId, TickId, usize)> {
        None
    }

    fn newest(&self, _wanted: &dyn Fn(&Entry) -> bool) -> Option<Arc<Entry>> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gap_rule_distinguishes_four_cases() {
        let event = Event::Status(Status { state: FeedState::Live, since: TickId::ZERO, reason: String::new() });
        let entry = Entry { id: TickId::from_ms(30), prev: TickId::from_ms(20), event };
        let relations =
            [(20, Continuity::Next), (30, Continuity::Known), (31, Continuity::Known), (10, Continuity::Missed)];
        for (last, expected) in relations.into_iter().chain([(25, Continuity::Lost)]) {
            assert_eq!(entry.continues(TickId::from_ms(last)), expected, "after {last}");
        }
    }

    #[test]
    fn first_entry_follows_ids_of_no_feed() {
        let first = |last| Continuity::of(TickId::now(), TickId::ZERO, TickId::from_ms(last));
        assert_eq!((first(0), first(1), first(1_230_940_799_999)), [Continuity::Next; 3].into());
        assert_eq!(first(1_795_166_431_075), Continuity::Lost, "another feed may have had this id");
    }

    #[test]
    fn stored_entry_decodes_to_the_same() {
        let json = r#"{"id":20,"prev":10,"type":"tick","prices":{"USD":"97116.10"},"sources":{"USD":["kraken"]}}"#;
        let entry: Entry = serde_json::from_str(json).unwrap();
        assert_eq!(entry.tick().unwrap().prices[&Currency::Usd].to_string(), "97116.10");
        assert_eq!(serde_json::to_string(&entry).unwrap(), json);
        let json = r#"{"id":20,"prev":10,"type":"status","state":"stale","since":5,"reason":"no answer"}"#;
        assert_eq!(serde_json::to_string(&serde_json::from_str::<Entry>(json).unwrap()).unwrap(), json);
        let json = concat!(
            r#"{"id":20,"prev":10,"type":"tick","prices":{"USD":"97116.10"},"sources":{"USD":["kraken","gemini"]},"#,
            r#""method":1,"confidence":{"USD":"0.25"},"spread":{"USD":"1.00"}}"#
        );
        let entry: Entry = serde_json::from_str(json).unwrap();
        assert_eq!(entry.tick().unwrap().spread[&Currency::Usd].to_string(), "1.00");
        assert_eq!(serde_json::to_string(&entry).unwrap(), json);
    }

    #[test]
    fn degraded_is_stored_as_live_for_old_replicas() {
        let status = Status { state: FeedState::Degraded, since: TickId::from_ms(5), reason: "few".to_owned() };
        let entry = Entry { id: TickId::from_ms(20), prev: TickId::from_ms(10), event: Event::Status(status) };
        let json = serde_json::to_string(&entry).unwrap();
        let expected = r#"{"id":20,"prev":10,"type":"status","state":"live","degraded":true,"since":5,"reason":"few"}"#;
        assert_eq!(json, expected);
        assert_eq!(serde_json::from_str::<Entry>(&json).unwrap(), entry);
    }

    #[test]
    fn unknown_currency_is_left_out() {
        let json = concat!(
            r#"{"id":20,"prev":10,"type":"tick","prices":{"USD":"97116.10","XAU":["new"]},"#,
            r#""sources":{"USD":["kraken"],"XAU":["kraken"]},"outages":[{"after":5,"currencies":["XAU","USD"]}]}"#
        );
        let entry: Entry = serde_json::from_str(json).unwrap();
        let known = concat!(
            r#"{"id":20,"prev":10,"type":"tick","prices":{"USD":"97116.10"},"#,
            r#""sources":{"USD":["kraken"]},"outages":[{"after":5,"currencies":["USD"]}]}"#
        );
        assert_eq!(serde_json::to_string(&entry).unwrap(), known);
    }
}
