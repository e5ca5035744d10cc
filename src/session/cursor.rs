//! One client's place in the feed.
//!
//! A session does no I/O. Its whole life is one loop: send what comes after the cursor; wait until the head moves. Replay and
//! live are the same step, so there is no moment between them in which an entry could be lost or duplicated.

use super::bookmarks::Bookmark;
use super::close_reason::CloseReason;
use super::limits::Limits;
use super::throttle::{Throttle, ThrottleOptions};
use crate::encode::View;
use crate::feed::{Continuity, Entry, Feed, Gap, GapReason};
#[cfg(doc)]
use crate::hub::LOAD_ENTRIES;
use crate::hub::{Hub, Read};
use crate::tick::TickId;
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
    /// Ask again when others have had their turn: there was much, and nothing for this client.
    Again,
    /// Ask again when the hub's head has moved, or after this time.
    Wait(Option<Duration>),
    /// Tell the client why, and close.
    Close(CloseReason),
}

/// The most reads in one step that come to nothing. A client that wants one tick a day would else be given the whole window
/// at once, while everybody else waits.
const READS_A_STEP: usize = 4;

/// How far ahead of everything known here a cursor may be and still be one of ours: another replica may be an entry ahead.
const AHEAD: Duration = Duration::from_secs(5);

/// One client's place in the feed. There are very many, so what few of them need stands elsewhere.
#[derive(Debug)]
pub struct Session {
    view: View,
    max_lag_ms: u32,
    /// The last id sent or passed over.
    cursor: TickId,
    /// Whether the cursor is the id of an entry that the client has; otherwise it is a moment.
    has_cursor: bool,
    /// Whether replay is over.
    synced: bool,
    /// Since when the client has not been at the head.
    behind_since: Option<Instant>,
    /// For a client that does not want every tick.
    throttle: Option<Box<Throttle>>,
    /// For a client that asked for more than a plain replay.
    extras: Option<Box<Extras>>,
}

#[derive(Debug, Default)]
pub(super) struct Extras {
    /// Up to where the store was asked last for what is older than the window, and up to where it had nothing.
    asked_until: TickId,
    nothing_until: TickId,
    /// The last id before what was left out of the replay, until the client has been told.
    pub(super) left_out_after: Option<TickId>,
    /// What is said before everything else.
    pub(super) greeting: Option<Bytes>,
    /// Where it is remembered how far the client is.
    pub(super) bookmark: Option<Bookmark>,
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
        Session {
            view,
            max_lag_ms: u32::try_from(limits.max_lag.as_millis()).unwrap_or(u32::MAX),
            cursor,
            has_cursor,
            synced: false,
            behind_since: None,
            throttle: None,
            extras: None,
        }
    }

    pub(super) fn extras(&mut self) -> &mut Extras {
        self.extras.get_or_insert_default()
    }

    /// The same for a client that does not want every tick. Whether it got the one that the cursor names tells `knows_price`.
    pub(super) fn throttled(mut self, options: ThrottleOptions, knows_price: bool) -> Session {
        let has = Some(self.cursor).filter(|_| self.has_cursor && knows_price);
        self.throttle = Some(Box::new(Throttle::new(self.view, options, has)));
        if options.changes && has.is_some() {
            // What the client got last is told by the tick that its cursor names, which is read first.
            (self.cursor, self.has_cursor) = (self.cursor.before(), false);
        }
        self
    }

    /// What to do now. To be asked whenever everything that was to be sent has been sent.
    pub fn step(&mut self, hub: &Hub, now: Instant) -> Step {
        self.mark();
        if let Some(greeting) = self.extras.as_mut().and_then(|extras| extras.greeting.take()) {
            return Step::Send(vec![greeting]);
        }
        for _ in 0..READS_A_STEP {
            match self.read(hub) {
                // Also where it had nothing a moment ago, if the window has begun later since.
                Read::Older { before } if self.extras().nothing_until < before.prev => {
                    self.extras().asked_until = before.prev;
                    return Step::Load { after: self.cursor, until: before.prev };
                }
                // The store does not have it any more: the client is told, and goes on where the window begins.
                Read::Older { before } => {
                    let mut bytes = Vec::new();
                    self.tell_gap_before(&before, &mut bytes);
                    self.move_to(before.prev);
                    if !bytes.is_empty() {
                        return Step::Send(bytes);
                    }
                }
                Read::Nothing => {
                    self.behind_since = None;
                    if self.synced {
                        return self.wait();
                    }
                    self.synced = true;
                    // A moment that nothing stands at would be no cursor to resume from.
                    let id = self.settled().unwrap_or_else(|| self.cursor.min(hub.head()));
                    return Step::Send(self.view.synced(id).into_iter().collect());
                }
                Read::Batch { items: bytes, last, .. } => {
                    if self.too_far_behind(now) {
                        return Step::Close(CloseReason::TooSlow);
                    }
                    self.move_to(last);
                    // Entries that are nothing in this view are passed over without a word.
                    if !bytes.is_empty() {
                        return Step::Send(bytes);
                    }
                }
            }
        }
        Step::Again
    }

    /// Takes in what [`Step::Load`] asked for: what to send of it.
    pub fn loaded(&mut self, entries: &[Arc<Entry>]) -> Vec<Bytes> {
        let mut bytes = Vec::with_capacity(entries.len());
        for entry in entries {
            self.tell_gap_before(entry, &mut bytes);
            match &mut self.throttle {
                None => bytes.push(self.view.entry(entry)),
                Some(throttle) => throttle.take(entry, self.view.entry(entry), &mut bytes),
            }
            self.move_to(entry.id);
        }
        bytes.retain(|bytes| !bytes.is_empty());
        if entries.is_empty() {
            let extras = self.extras();
            extras.nothing_until = extras.asked_until;
        }
        bytes
    }

    /// The last id that was sent or passed over.
    pub fn cursor(&self) -> TickId {
        self.cursor
    }

    /// What remembers how far the client is, to be closed with the session. It stands where everything had been sent for the
    /// last time: what was handed out since may be dropped.
    pub fn take_bookmark(&mut self) -> Option<Bookmark> {
        self.extras.as_mut().and_then(|extras| extras.bookmark.take())
    }

    /// Everything that was handed out has been sent.
    fn mark(&self) {
        let bookmark = self.extras.as_ref().and_then(|extras| extras.bookmark.as_ref());
        if let (Some(bookmark), Some(id)) = (bookmark, self.settled()) {
            bookmark.move_to(id);
        }
    }

    /// The id to resume after: before anything that is held back. None, if the client has nothing yet but a moment.
    pub(super) fn settled(&self) -> Option<TickId> {
        let throttled = self.throttle.as_ref().map(|throttle| throttle.settled(self.cursor));
        let has = self.throttle.as_ref().is_some_and(|throttle| throttle.has() > TickId::ZERO);
        (self.has_cursor || has).then(|| throttled.unwrap_or(self.cursor))
    }

    /// Reads what stands after the cursor, behind a word about the gap before it, and without what the client does not want.
    fn read(&mut self, hub: &Hub) -> Read {
        if self.throttle.is_none() {
            let mut read = hub.read(self.view, self.cursor);
            if let Read::Batch { first, items, .. } = &mut read
                && let Some(gap) = self.gap_before(first)
            {
                items.insert(0, gap);
            }
            return read;
        }
        match hub.read_entries(self.view, self.cursor) {
            Read::Nothing => Read::Nothing,
            Read::Older { before } => Read::Older { before },
            Read::Batch { first, items, last } => {
                let mut wanted = Vec::new();
                self.tell_gap_before(&first, &mut wanted);
                if let Some(throttle) = &mut self.throttle {
                    for (entry, bytes) in items {
                        throttle.take(&entry, bytes, &mut wanted);
                    }
                }
                wanted.retain(|bytes| !bytes.is_empty());
                Read::Batch { first, items: wanted, last }
            }
        }
    }

    /// At the head: nothing to send before it moves, unless a tick is held back that is due before.
    fn wait(&mut self) -> Step {
        match self.throttle.as_mut().and_then(|throttle| throttle.due_in(TickId::now())) {
            Some(Duration::ZERO) => {
                Step::Send(self.throttle.as_mut().and_then(|throttle| throttle.release()).into_iter().collect())
            }
            due_in => Step::Wait(due_in),
        }
    }

    fn move_to(&mut self, id: TickId) {
        self.cursor = id;
        self.has_cursor = true;
    }

    /// Only a client that was in sync can be too slow: one that replays is as far behind as it asked to be, and one to
    /// which the feed brings much at once needs its time.
    fn too_far_behind(&mut self, now: Instant) -> bool {
        let since = *self.behind_since.get_or_insert(now);
        self.synced && now.saturating_duration_since(since) > Duration::from_millis(self.max_lag_ms.into())
    }

    /// Says that there is a gap before `entry`, if there is one. What is held back stands before it.
    fn tell_gap_before(&mut self, entry: &Entry, bytes: &mut Vec<Bytes>) {
        if let Some(gap) = self.gap_before(entry) {
            bytes.extend(self.throttle.as_mut().and_then(|throttle| throttle.release()));
            bytes.push(gap);
        }
    }

    /// The gap between the cursor and `entry`, if there is one and the view shows it.
    fn gap_before(&mut self, entry: &Entry) -> Option<Bytes> {
        if let Some(after) = self.extras.as_mut().and_then(|extras| extras.left_out_after.take()) {
            return self.view.gap(&Gap { after, before: entry.id, reason: GapReason::ReplayLimit, only: None });
        }
        // The tick that the cursor names was to be read first, and is not there any more.
        if let Some(has) =
            self.throttle.as_ref().map(|throttle| throttle.has()).filter(|has| (self.cursor..entry.id).contains(has))
        {
            (self.cursor, self.has_cursor) = (has, true);
        }
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
