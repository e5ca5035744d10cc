//! One client: a cursor over the hub, its options, its limits, its goodbye. Every transport drives the same rules.
//!
//! A session does no I/O. Its whole life is one loop: send what stands after my cursor; wait until the head moves. Replay
//! and live are the same step, so there is no moment between them in which an entry could be lost or doubled.

mod goodbye;

pub use goodbye::Goodbye;

use crate::feed::{Continuity, Entry, Feed, Gap, GapReason};
use crate::hub::{Hub, Read};
use crate::tick::TickId;
use crate::view::View;
use bytes::Bytes;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Where a client wants to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the latest tick, then live.
    Latest,
    /// With the first entry at or after this moment.
    Since(TickId),
    /// With the first entry after this id, which the client has: the exact resume.
    After(TickId),
}

/// What a session allows its client.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long a client that was in sync may be behind the head without ever reaching it.
    pub max_lag: Duration,
    /// How long a write may make no progress.
    pub write_stall: Duration,
    /// How often a client is pinged, and how long its pong may take.
    pub ping_every: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_lag: Duration::from_secs(30),
            write_stall: Duration::from_secs(10),
            ping_every: Duration::from_secs(20),
        }
    }
}

/// What the transport does next.
#[derive(Debug)]
pub enum Step {
    /// Send these bytes, then ask again.
    Send(Vec<Bytes>),
    /// Read the oldest [`LOAD_ENTRIES`] of this part of the history (see [`Hub::history`]), hand them to
    /// [`Session::loaded`], then ask again.
    Load {
        /// The id to read after.
        after: TickId,
        /// The last id to read.
        until: TickId,
    },
    /// Ask again when the hub's head has moved.
    Wait,
    /// Tell the client why, and close.
    Leave(Goodbye),
}

/// The most entries to load at once.
pub const LOAD_ENTRIES: usize = 500;

/// How far ahead of everything known here a cursor may be and still be one of ours: another replica may be an entry ahead.
const AHEAD: Duration = Duration::from_secs(5);

/// One client's place in the feed.
#[derive(Debug)]
pub struct Session {
    view: View,
    max_lag: Duration,
    /// The last id sent or passed over.
    cursor: TickId,
    /// Whether the cursor is the id of an entry that the client has; otherwise it is a moment.
    has_cursor: bool,
    /// Whether the store was asked for what is older than the window, and had nothing.
    nothing_older: bool,
    /// Whether replay is over.
    synced: bool,
    /// Since when the client has not been at the head.
    behind_since: Option<Instant>,
}

impl Session {
    /// A session that begins at `start`.
    pub fn new(view: View, start: Start, limits: &Limits, hub: &Hub) -> Session {
        // Ids are made by the store's clock, which may be ahead of ours.
        let latest = TickId::now().max(hub.head()).plus(AHEAD);
        let (cursor, has_cursor) = match start {
            Start::Since(moment) if moment <= latest => (moment.before(), false),
            Start::After(id) if id <= latest => (id, id > TickId::ZERO),
            Start::Latest => (hub.latest_tick(view.currencies).map_or(hub.head(), |tick| tick.id.before()), false),
            // From the future: nothing to replay, so live.
            Start::Since(_) | Start::After(_) => (hub.head(), false),
        };
        let max_lag = limits.max_lag;
        Session { view, max_lag, cursor, has_cursor, nothing_older: false, synced: false, behind_since: None }
    }

    /// What to do now. To be asked whenever everything that was to be sent has been sent.
    pub fn step(&mut self, hub: &Hub, now: Instant) -> Step {
        loop {
            match hub.read(self.view, self.cursor) {
                Read::Older { before } if !self.nothing_older => {
                    return Step::Load { after: self.cursor, until: before.prev };
                }
                // The store does not have it any more: the client is told, and goes on where the window begins.
                Read::Older { before } => {
                    let gap = self.gap_before(&before);
                    self.move_to(before.prev);
                    if let Some(gap) = gap {
                        return Step::Send(vec![gap]);
                    }
                }
                Read::Nothing => {
                    self.behind_since = None;
                    if self.synced {
                        return Step::Wait;
                    }
                    self.synced = true;
                    // A moment that nothing stands at would be no cursor to resume from.
                    let id = if self.has_cursor { self.cursor } else { self.cursor.min(hub.head()) };
                    return Step::Send(self.view.synced(id).into_iter().collect());
                }
                Read::Batch { first, mut bytes, last } => {
                    if self.too_far_behind(now) {
                        return Step::Leave(Goodbye::TooSlow);
                    }
                    if let Some(gap) = self.gap_before(&first) {
                        bytes.insert(0, gap);
                    }
                    self.move_to(last);
                    // Entries that are nothing in this view are passed over without a word.
                    if !bytes.is_empty() {
                        return Step::Send(bytes);
                    }
                }
            }
        }
    }

    /// Takes in what [`Step::Load`] asked for: what to send of it.
    pub fn loaded(&mut self, entries: &[Arc<Entry>]) -> Vec<Bytes> {
        let mut bytes = Vec::with_capacity(entries.len());
        for entry in entries {
            bytes.extend(self.gap_before(entry));
            bytes.extend(Some(self.view.entry(entry)).filter(|bytes| !bytes.is_empty()));
            self.move_to(entry.id);
        }
        self.nothing_older = entries.is_empty();
        bytes
    }

    /// The last id that was sent or passed over.
    pub fn cursor(&self) -> TickId {
        self.cursor
    }

    fn move_to(&mut self, id: TickId) {
        self.cursor = id;
        self.has_cursor = true;
        self.nothing_older = false;
    }

    /// Only a client that was in sync can be too slow: one that replays is as far behind as it asked to be, and one to
    /// which the feed brings much at once needs its time.
    fn too_far_behind(&mut self, now: Instant) -> bool {
        let since = *self.behind_since.get_or_insert(now);
        self.synced && now.saturating_duration_since(since) > self.max_lag
    }

    /// The gap between the cursor and `entry`, if there is one and the view shows it.
    fn gap_before(&self, entry: &Entry) -> Option<Bytes> {
        let reason = match entry.continues(self.cursor) {
            Continuity::Next | Continuity::Known => return None,
            Continuity::Missed => GapReason::HistoryExpired,
            // Only an id can be lost; a moment that no entry stands at is just a moment.
            Continuity::Lost if !self.has_cursor => return None,
            Continuity::Lost => GapReason::HistoryLost,
        };
        self.view.gap(&Gap { after: self.cursor, before: entry.id, reason, only: None })
    }
}

#[cfg(test)]
mod tests;
