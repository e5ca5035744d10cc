//! The candles of one hour, as a store keeps them.
//!
//! A store keeps the minutes of each hour that has ended, so that a replica need not read every entry of a long history
//! when it starts. Longer candles are made of the minutes. [`Book::add_kept`](super::Book::add_kept) treats the hour
//! like one large entry: its `prev` is the id of the last entry before the hour.

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
    /// The candles of its minutes, oldest first.
    pub(super) minutes: Vec<Candle>,
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
    /// Decodes the hour that starts at `start`. Returns `None` if the text is not that of this hour.
    pub fn decode(start: TickId, text: &str) -> Option<KeptHour> {
        let hour: KeptHour = serde_json::from_str(text).ok()?;
        let contains = |moment: TickId| Interval::Hour.start(moment) == start;
        let ordered = hour.minutes.is_sorted_by(|one, next| one.id < next.id);
        let is_minute = |minute: &Candle| contains(minute.id) && Interval::Minute.start(minute.id) == minute.id;
        let minutes = ordered && hour.minutes.iter().all(is_minute);
        let outages = hour.outages.iter().all(|outage| outage.after < outage.before && contains(outage.before));
        let ids = hour.prev < start && contains(hour.first) && hour.first <= hour.id && contains(hour.id);
        (ids && minutes && outages).then_some(hour)
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
}
