//! One client's position in the feed.
//!
//! A session does no I/O. It repeats two steps: send the entries after the cursor, and wait until the head moves.
//! Replayed and live entries go through the same steps, so no entry can be lost or duplicated between them.

use super::bookmarks::Bookmark;
use super::close_reason::CloseReason;
use super::limits::Limits;
use super::start_point::StartPoint;
use super::thinned_pages::{PageStart, ThinnedPage, ThinnedPages};
use super::throttle::{Throttle, ThrottleOptions};
use super::traffic::{Counts, StreamTransport};
use crate::access::KeyedStream;
use crate::encode::View;
use crate::feed::{Entry, Feed, Gap, GapReason, Start};
use crate::hub::{Examined, Hub, Read, SharedView};
use crate::telemetry::metrics::GAPS;
use crate::tick::TickId;
use bytes::Bytes;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::WaitForCancellationFutureOwned;

/// Next action of the transport.
#[derive(Debug)]
pub enum Step {
    /// Send these bytes, then call [`Session::step`] again.
    Send(Vec<Bytes>),
    /// Read the oldest entries of this part of the history (see [`Hub::load`]), pass them to [`Session::loaded`], then
    /// call [`Session::step`] again.
    Load {
        /// The id to read after.
        after: TickId,
        /// The last id to read.
        until: TickId,
        /// True if the entries are needed with their audits.
        audits: bool,
    },
    /// Let other sessions run, then call [`Session::step`] again. The session has read many entries, but its client
    /// wants none of them.
    Again,
    /// Call [`Session::step`] again when the hub's head has moved, or after this time.
    Wait(Option<Duration>),
    /// Send this reason to the client, and close the stream.
    Close(CloseReason),
}

/// Maximum number of reads in one step that return nothing to send. Without this limit, a client that wants one tick a
/// day would read the whole window in one step, and delay all other clients.
const MAX_READS_PER_STEP: usize = 4;

/// One client's position in the feed. A replica has very many sessions, so fields that only few of them need are boxed.
#[derive(Debug)]
pub struct Session {
    view: Arc<SharedView>,
    max_lag_ms: u32,
    /// The last id that was sent, skipped or held back.
    cursor: TickId,
    /// True if the cursor is the id of an entry that the client has or skips. If not, it is only a moment.
    cursor_is_id: bool,
    /// True if replay is over.
    synced: bool,
    /// The time since which the client has not been at the head.
    behind_since: Option<Instant>,
    /// Throttle of a client that does not want every tick.
    throttle: Option<Box<Throttle>>,
    /// State that only few sessions need.
    extras: Option<Box<Extras>>,
    /// Numbers of entries that were returned and that the transport has not counted yet.
    counts: Counts,
}

/// State that few sessions need.
#[derive(Debug, Default)]
pub(super) struct Extras {
    /// The end of the last part of the history that was requested from the store.
    requested_until: TickId,
    /// The end of the last part of the history in which the store had no entries.
    empty_until: TickId,
    /// The gap to send before the first entry: the id after which entries are left out, and the reason. It is taken
    /// when that entry is sent.
    pub(super) skipped: Option<(TickId, GapReason)>,
    /// The message to send before all others.
    pub(super) hello: Option<Bytes>,
    /// Pages of the store's history that throttled clients share.
    pub(super) pages: Option<Arc<ThinnedPages>>,
    /// The permission of a client with an API key.
    access: Option<KeyedStream>,
    /// The bookmark of a client with a `client_id`.
    pub(super) bookmark: Option<Bookmark>,
}

impl Session {
    /// Creates a session that begins at `start`.
    pub fn new(view: View, start: Start, limits: &Limits, hub: &Hub) -> Session {
        let StartPoint { id: cursor, is_entry: cursor_is_id } = StartPoint::of(start, view.currencies, hub);
        Session {
            view: hub.view(view),
            max_lag_ms: u32::try_from(limits.max_lag.as_millis()).unwrap_or(u32::MAX),
            cursor,
            cursor_is_id,
            synced: false,
            behind_since: None,
            throttle: None,
            extras: None,
            counts: Counts::default(),
        }
    }

    pub(super) fn extras(&mut self) -> &mut Extras {
        self.extras.get_or_insert_default()
    }

    /// Ends the session when the permission of this stream ends.
    pub(crate) fn permitted_by(mut self, access: KeyedStream) -> Session {
        self.extras().access = Some(access);
        self
    }

    /// Returns a future that waits for the end of the permission, if the client has an API key.
    pub(crate) fn permission_ended(&self) -> Option<WaitForCancellationFutureOwned> {
        Some(self.extras.as_ref()?.access.as_ref()?.wait_for_end())
    }

    /// Adds a throttle. `has_tick` says whether the client has the tick that the cursor names.
    pub(super) fn throttled(mut self, options: ThrottleOptions, has_tick: bool) -> Session {
        let known = Some(self.cursor).filter(|_| self.cursor_is_id && has_tick);
        self.throttle = Some(Box::new(Throttle::new(self.view.view(), options, known)));
        if options.changes && known.is_some() {
            // The client has the prices of the tick that the cursor names. The throttle needs these prices, so this
            // tick is read first.
            (self.cursor, self.cursor_is_id) = (self.cursor.before(), false);
        }
        self
    }

    /// Returns the next action. Call it when all bytes of the last step have been sent.
    pub fn step(&mut self, hub: &Hub, now: Instant) -> Step {
        self.mark_sent();
        if let Some(extras) = &mut self.extras {
            if let Some(ended) = extras.access.as_ref().and_then(KeyedStream::ended) {
                return Step::Close(ended.into());
            }
            if let Some(hello) = extras.hello.take() {
                return Step::Send(vec![hello]);
            }
        }
        // The window has no audits, so every entry, also a live one, is read as a part of the history.
        let audits = self.view.view().has_inputs();
        if audits && self.cursor < hub.head() {
            if self.is_too_far_behind(now) {
                return Step::Close(CloseReason::TooSlow);
            }
            return Step::Load { after: self.cursor, until: hub.head(), audits };
        }
        for _ in 0..MAX_READS_PER_STEP {
            let read = if audits { Read::Nothing } else { self.read(hub) };
            if matches!(read, Read::Older { .. })
                && let Some(page) = self.shared_page(now)
            {
                let ThinnedPage { bytes, last, throttle } = page;
                self.throttle = Some(Box::new(throttle));
                self.move_to(last);
                if !bytes.is_empty() {
                    self.count(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
                    return Step::Send(bytes);
                }
                continue;
            }
            match read {
                // If the store has returned nothing, it is asked again only if more entries have left the window since
                // then.
                Read::Older { before } if self.extras().empty_until < before.prev => {
                    self.extras().requested_until = before.prev;
                    return Step::Load { after: self.cursor, until: before.prev, audits: false };
                }
                // The store no longer has these entries, so the gap is sent, and the session continues where the window
                // begins.
                Read::Older { before } => {
                    let mut bytes = Vec::new();
                    self.push_gap_before(&before, &mut bytes);
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
                    // The client needs an id after which it can resume. A cursor that is a moment and not an id may be
                    // later than the head. In that case, the head is sent.
                    let id = self.resume_id().unwrap_or_else(|| self.cursor.min(hub.head()));
                    return Step::Send(self.view.view().synced(id).into_iter().collect());
                }
                Read::Batch { items: bytes, last, count, .. } => {
                    if self.is_too_far_behind(now) {
                        return Step::Close(CloseReason::TooSlow);
                    }
                    self.move_to(last);
                    // Entries without a message in this view are skipped.
                    if !bytes.is_empty() {
                        self.count(count);
                        return Step::Send(bytes);
                    }
                }
            }
        }
        Step::Again
    }

    /// Accepts the entries that [`Step::Load`] asked for, and returns the bytes to send.
    pub fn loaded(&mut self, entries: &[Arc<Entry>]) -> Vec<Bytes> {
        let (view, mut bytes, start) = (self.view.clone(), Vec::new(), self.page_start());
        for entry in entries {
            self.push_gap_before(entry, &mut bytes);
            match &mut self.throttle {
                None => bytes.push(view.entry(entry)),
                Some(throttle) => {
                    let next = Examined { entry, skipped_after: None, bytes: &|| view.entry(entry) };
                    throttle.push(&next, &mut bytes);
                }
            }
            self.move_to(entry.id);
        }
        bytes.retain(|bytes| !bytes.is_empty());
        if entries.is_empty() {
            let extras = self.extras();
            extras.empty_until = extras.requested_until;
        } else if let (Some((start, pages)), Some(throttle)) = (start, &self.throttle) {
            let page = ThinnedPage { bytes: bytes.clone(), last: self.cursor, throttle: Throttle::clone(throttle) };
            pages.add(start, page, Instant::now());
        }
        self.count(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        bytes
    }

    fn count(&mut self, updates: u32) {
        self.counts.updates = self.counts.updates.saturating_add(updates);
        if !self.synced {
            self.counts.replayed = self.counts.replayed.saturating_add(updates);
        }
    }

    /// Returns the numbers of entries that were returned since the last call.
    pub(crate) fn take_counts(&mut self) -> Counts {
        std::mem::take(&mut self.counts)
    }

    /// Returns the transport for which the view is made.
    pub(crate) fn transport(&self) -> StreamTransport {
        StreamTransport::of(self.view.view().framing)
    }

    /// Returns the result of the page after the cursor, if another client in the same state has read it.
    fn shared_page(&self, now: Instant) -> Option<ThinnedPage> {
        let (start, pages) = self.page_start()?;
        pages.get(&start, now)
    }

    /// Returns the state before a page, if other clients can share the page. A page with audits is not shared. A page
    /// that begins with the gap in `skipped` is not shared either, because other clients may not get this gap.
    fn page_start(&self) -> Option<(PageStart, Arc<ThinnedPages>)> {
        let (throttle, extras) = (self.throttle.as_ref()?, self.extras.as_ref()?);
        let can_share = extras.skipped.is_none() && !self.view.view().has_inputs();
        let pages = extras.pages.as_ref().filter(|_| can_share)?;
        let (cursor, cursor_is_id, throttle) = (self.cursor, self.cursor_is_id, throttle.position());
        Some((PageStart { cursor, cursor_is_id, throttle }, pages.clone()))
    }

    /// Returns the last id that was sent, skipped or held back.
    pub fn cursor(&self) -> TickId {
        self.cursor
    }

    /// Takes the bookmark, to close it together with the session. The bookmark is at the last step that was marked as
    /// sent, because the transport may drop the bytes of a later step.
    pub fn take_bookmark(&mut self) -> Option<Bookmark> {
        self.extras.as_mut().and_then(|extras| extras.bookmark.take())
    }

    /// Moves the bookmark. Call it only when the bytes of all steps so far have been sent. [`step`](Self::step) does
    /// this, too, so only a transport that ends without another step has to call it.
    pub fn mark_sent(&self) {
        let bookmark = self.extras.as_ref().and_then(|extras| extras.bookmark.as_ref());
        if let (Some(bookmark), Some(id)) = (bookmark, self.resume_id()) {
            bookmark.move_to(id);
        }
    }

    /// Returns the id after which the client can resume. It is before the tick that the throttle holds, if there is
    /// one. Returns `None` as long as the client has no entry.
    pub(super) fn resume_id(&self) -> Option<TickId> {
        let throttled = self.throttle.as_ref().map(|throttle| throttle.resume_id(self.cursor));
        let has_known = self.throttle.as_ref().is_some_and(|throttle| throttle.known_id() > TickId::ZERO);
        (self.cursor_is_id || has_known).then(|| throttled.unwrap_or(self.cursor))
    }

    /// Reads the entries after the cursor, without those that the throttle drops. A gap before them comes first.
    fn read(&mut self, hub: &Hub) -> Read {
        if self.throttle.is_none() {
            let mut read = hub.read(&self.view, self.cursor);
            if let Read::Batch { first, items, .. } = &mut read
                && let Some(gap) = self.gap_before(first)
            {
                items.insert(0, gap);
            }
            return read;
        }
        let (view, cursor, mut wanted) = (self.view.clone(), self.cursor, Vec::new());
        let mut is_first = true;
        let mut read = hub.examine(&view, cursor, &mut |next| {
            if std::mem::take(&mut is_first) {
                self.push_gap_before(next.entry, &mut wanted);
            }
            let throttle = self.throttle.as_mut()?;
            throttle.push(&next, &mut wanted);
            throttle.skip(next.entry)
        });
        if let Read::Batch { items, count, .. } = &mut read {
            wanted.retain(|bytes| !bytes.is_empty());
            *count = u32::try_from(wanted.len()).unwrap_or(u32::MAX);
            *items = wanted;
        }
        read
    }

    /// Returns the step of a session at the head. If the tick that the throttle holds is due, the step sends it.
    /// Otherwise the step waits until the tick is due or the head moves.
    fn wait(&mut self) -> Step {
        match self.throttle.as_mut().and_then(|throttle| throttle.due_in(TickId::now())) {
            Some(Duration::ZERO) => {
                let tick = self.throttle.as_mut().and_then(|throttle| throttle.release());
                self.count(u32::from(tick.is_some()));
                Step::Send(tick.into_iter().collect())
            }
            due_in => Step::Wait(due_in),
        }
    }

    fn move_to(&mut self, id: TickId) {
        self.cursor = id;
        self.cursor_is_id = true;
    }

    /// Returns whether the client is too slow. A client in its replay is never too slow, because it has asked for old
    /// entries. A client that gets many entries at once has `max_lag` to read them.
    fn is_too_far_behind(&mut self, now: Instant) -> bool {
        let since = *self.behind_since.get_or_insert(now);
        self.synced && now.saturating_duration_since(since) > Duration::from_millis(self.max_lag_ms.into())
    }

    /// Pushes the gap before `entry`, if there is one. The tick that the throttle holds is older than the gap, so it is
    /// pushed first.
    fn push_gap_before(&mut self, entry: &Entry, bytes: &mut Vec<Bytes>) {
        if let Some(gap) = self.gap_before(entry) {
            bytes.extend(self.throttle.as_mut().and_then(|throttle| throttle.release()));
            bytes.push(gap);
        }
    }

    /// Returns the gap between the cursor and `entry`, if there is one and the view shows gaps.
    fn gap_before(&mut self, entry: &Entry) -> Option<Bytes> {
        if let Some((after, reason)) = self.extras.as_mut().and_then(|extras| extras.skipped.take()) {
            // Nothing is before the first entry of a feed.
            let is_first = entry.prev == TickId::ZERO;
            return if is_first { None } else { self.gap(&Gap { after, before: entry.id, reason, only: None }) };
        }
        // `throttled` moved the cursor back to read the tick that the client has. If that tick no longer exists, the
        // gap begins after its id.
        let known = self.throttle.as_ref().map(|throttle| throttle.known_id());
        if let Some(id) = known.filter(|id| (self.cursor..entry.id).contains(id)) {
            (self.cursor, self.cursor_is_id) = (id, true);
        }
        self.gap(&entry.gap_after(self.cursor, self.cursor_is_id)?)
    }

    fn gap(&self, gap: &Gap) -> Option<Bytes> {
        self.view.view().gap(gap).inspect(|_| GAPS.counter(gap.reason.as_str()).increment(1))
    }
}

#[cfg(test)]
mod tests;
