//! The place after which a client reads.

use crate::feed::{Feed, Start};
use crate::hub::Hub;
use crate::tick::{Currencies, TickId};
use std::time::Duration;

/// Maximum time by which a cursor may be ahead of both the clock and the head of this replica. Another replica may have
/// received an entry earlier.
const MAX_AHEAD: Duration = Duration::from_secs(5);

/// The place after which a client reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartPoint {
    /// The last id that the client does not need.
    pub id: TickId,
    /// True if `id` must be the id of an entry, for example of the last one that the client has. If the feed does not
    /// have this entry, the client gets a gap. False if `id` may be any moment.
    pub is_entry: bool,
}

impl StartPoint {
    /// Returns the place of `start` in this replica's feed, for a client with these currencies.
    pub fn of(start: Start, currencies: Currencies, hub: &Hub) -> StartPoint {
        // The store makes the ids, and its clock may be ahead of ours.
        let latest = TickId::now().max(hub.head()).plus(MAX_AHEAD);
        let (id, is_entry) = match start {
            Start::Since(moment) if moment <= latest => (moment.before(), false),
            Start::After(id) if id <= latest => (id, id > TickId::ZERO),
            Start::Latest => (hub.latest_tick(currencies).map_or(hub.head(), |tick| tick.id.before()), false),
            // If the start is in the future, there is nothing to replay, and the client is live at once.
            Start::Since(_) | Start::After(_) => (hub.head(), false),
        };
        StartPoint { id, is_entry }
    }
}
