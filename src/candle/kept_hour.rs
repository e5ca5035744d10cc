//! The candles of one hour, as a store keeps them.
//!
//! When an hour has ended, a store keeps it twice. One [`KeptHour`] has the candles of its minutes, so that a replica
//! need not read every entry of a long history when it starts. Another has a single candle of the whole hour, which
//! stays when minutes and entries have expired. Candles of 5 and 15 minutes are made of minutes. Candles of four hours
//! and of a day are made of hours. [`Book::add_kept`](super::Book::add_kept) treats the hour like one large entry: its
//! `prev` is the id of the last entry before the hour.

use super::detail::Detail;
use super::interval::Interval;
use super::series::Candle;
use crate::feed::GapReason;
use crate::tick::{Currency, TickId, known_currencies};
use serde::{Deserialize, Serialize};

/// The candles of an hour that has ended. The hour is complete: the book has missed none of its entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptHour {
    /// The id of the last entry before the hour.
    pub prev: TickId,
    /// The id of the first entry of the hour.
    pub(super) first: TickId,
    /// The id of the last entry of the hour.
    pub id: TickId,
    /// The candles of its minutes, oldest first. `None` in [`Detail::Hour`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) minutes: Option<Vec<Candle>>,
    /// The candle of the hour. `None` in [`Detail::Minutes`], or if the hour has no tick.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) hour: Option<Candle>,
    /// The outages that a tick of this hour ended, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) outages: Vec<KeptOutage>,
}

/// A time without prices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KeptOutage {
    pub(super) after: TickId,
    pub(super) before: TickId,
    pub(super) reason: GapReason,
    #[serde(deserialize_with = "known_currencies")]
    pub(super) currencies: Vec<Currency>,
}

impl KeptHour {
    /// Decodes the hour that starts at `start`. Returns `None` if the text is not that of this hour in this detail.
    pub fn decode(detail: Detail, start: TickId, text: &str) -> Option<KeptHour> {
        let hour: KeptHour = serde_json::from_str(text).ok()?;
        (hour.is_consistent() && hour.detail() == detail && hour.start() == start).then_some(hour)
    }

    /// Returns true if all parts are of the same hour, in order, and in one detail.
    pub fn is_consistent(&self) -> bool {
        let start = self.start();
        let contains = |moment: TickId| Interval::Hour.start(moment) == start;
        let minutes = self.minutes.as_deref().unwrap_or_default();
        let ordered = minutes.is_sorted_by(|one, next| one.id < next.id);
        let is_minute = |minute: &Candle| contains(minute.id) && Interval::Minute.start(minute.id) == minute.id;
        let candles = match &self.hour {
            Some(hour) => hour.id == start && self.minutes.is_none(),
            None => ordered && minutes.iter().all(is_minute),
        };
        let outages = self.outages.iter().all(|outage| outage.after < outage.before && contains(outage.before));
        self.prev < start && contains(self.first) && self.first <= self.id && candles && outages
    }

    /// Returns the detail in which the hour is kept.
    pub fn detail(&self) -> Detail {
        if self.minutes.is_some() { Detail::Minutes } else { Detail::Hour }
    }

    /// Returns the id of the first entry of the hour.
    pub fn first(&self) -> TickId {
        self.first
    }

    /// Returns the start of the hour.
    pub fn start(&self) -> TickId {
        Interval::Hour.start(self.id)
    }

    /// Encodes the hour.
    ///
    /// # Panics
    /// Never: all its values have a JSON form.
    pub fn encode(&self) -> String {
        serde_json::to_string(self).expect("currencies are strings, so they can be keys")
    }
}

/// The part of an hour that a book has read so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReadHour {
    pub(super) start: TickId,
    /// The id of the last entry before the hour.
    pub(super) prev: TickId,
    pub(super) first: TickId,
    /// The id of the newest entry of the hour.
    pub(super) id: TickId,
    /// True if no entry is missing so far.
    pub(super) whole: bool,
    /// True if the book has the minutes of the hour.
    pub(super) has_minutes: bool,
}
