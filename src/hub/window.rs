//! The window: the newest entries in order, and their bytes in each view that is in use.
//!
//! A reader gives the last id that it has, and gets the entries after it. So replayed and live entries are read in the
//! same way.

use super::encoded_log::{NumberedEntries, SharedView};
use super::marks::{Marks, Skip};
use crate::encode::View;
use crate::feed::Entry;
use crate::tick::TickId;
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// The maximum number of entries in one read that returns only bytes.
const READ_ENTRIES: usize = 1024;
/// If more time than this lies between two entries, the clock may have been wrong.
const JUMP: Duration = Duration::from_secs(3600);
/// The maximum number of holes (ranges of missing entries) that are searched at once.
const HOLES: usize = 8;
/// The maximum number of entries that a reader examines in one read.
const EXAMINE_ENTRIES: usize = 64;

/// The entries after a session's cursor.
#[derive(Debug)]
pub enum Read {
    /// There is no entry, because the cursor is at the head or after it.
    Nothing,
    /// The entries have left the window. The store may still have them.
    Older {
        /// The first entry of the window.
        before: Arc<Entry>,
    },
    /// Consecutive entries without a gap.
    Batch {
        /// The first entry.
        first: Arc<Entry>,
        /// The entries, encoded in the view. Empty after [`Hub::examine`](super::Hub::examine).
        items: Vec<Bytes>,
        /// The id of the last entry.
        last: TickId,
        /// The number of entries, or zero after [`Hub::examine`](super::Hub::examine).
        count: u32,
    },
}

/// An entry that a reader examines.
pub struct Examined<'a> {
    /// The entry.
    pub entry: &'a Arc<Entry>,
    /// If entries before this one were skipped, the last id before those.
    pub skipped_after: Option<TickId>,
    /// The bytes of the entry in the view. This is a function, so that an entry that the reader does not want is not
    /// encoded.
    pub bytes: &'a dyn Fn() -> Bytes,
}

/// The newest entries of the feed.
pub(super) struct Window {
    entries: VecDeque<Arc<Entry>>,
    /// The marks of the entries.
    marks: Marks,
    /// The number of the first entry, as in [`NumberedEntries`].
    first_number: u64,
    /// The numbers of the entries that do not continue the entry before them. There are few of them.
    breaks: VecDeque<u64>,
    /// The newest status that was in the window. It holds until the next one. The message `hello` contains it.
    status: Option<Arc<Entry>>,
    capacity: usize,
    retention: Duration,
    /// True if the store has no entry before the window, except entries that are older than the retention.
    complete: bool,
    /// The views that are in use or still have bytes, with the encoded entries.
    views: BTreeMap<View, Arc<SharedView>>,
}

impl Window {
    pub(super) fn new(capacity: usize, retention: Duration) -> Window {
        let (entries, breaks, views) = (VecDeque::new(), VecDeque::new(), BTreeMap::new());
        let marks = Marks::default();
        Window { entries, marks, first_number: 0, breaks, status: None, capacity, retention, complete: true, views }
    }

    pub(super) fn set_complete(&mut self, complete: bool) {
        self.complete = complete;
    }

    pub(super) fn head(&self) -> TickId {
        self.entries.back().map_or(TickId::ZERO, |entry| entry.id)
    }

    /// Adds an entry at the end, if its id is greater than the head. Drops entries that are older than the retention or
    /// exceed the capacity.
    pub(super) fn push(&mut self, entry: Entry) {
        self.push_shared(Arc::new(entry));
    }

    fn push_shared(&mut self, entry: Arc<Entry>) {
        if entry.id <= self.head() {
            return;
        }
        let oldest_kept = entry.id.minus(self.retention);
        let is_jump = entry.id.since(self.head()) > JUMP;
        if entry.status().is_some() {
            self.status = Some(entry.clone());
        }
        let is_next = self.entries.back().is_none_or(|last| last.id == entry.prev);
        if !is_next {
            self.breaks.push_back(self.first_number + self.entries.len() as u64);
        }
        self.marks.push(&entry, is_next);
        self.entries.push_back(entry);
        let len = self.entries.len();
        while self.entries.front().is_some_and(|first| first.id < oldest_kept) {
            self.drop_first();
        }
        // If the jump comes from a wrong clock, the store may keep entries that the window has just dropped.
        if is_jump && self.entries.len() + 1 < len {
            self.complete = false;
        }
        while self.entries.len() > self.capacity {
            self.drop_first();
            self.complete = false;
        }
    }

    /// Returns the ranges of ids in which entries are missing, newest first: the id before each range, and its last id.
    pub(super) fn holes(&self) -> Vec<(TickId, TickId)> {
        let hole = |number: &u64| {
            let index = usize::try_from(number - self.first_number).ok()?;
            let (before, after) = (self.entries.get(index.checked_sub(1)?)?, self.entries.get(index)?);
            // If `after.prev` is older than `before`, `after` begins another chain, and nothing is missing here.
            (after.prev > before.id).then_some((before.id, after.prev))
        };
        self.breaks.iter().rev().filter_map(hole).take(HOLES).collect()
    }

    /// Adds entries that were missing inside the window. All entries get new numbers, so they are encoded again when
    /// they are read.
    pub(super) fn fill(&mut self, missing: Vec<Entry>) {
        let mut entries: Vec<_> = self.entries.drain(..).collect();
        self.first_number += entries.len() as u64;
        entries.extend(missing.into_iter().map(Arc::new));
        entries.sort_by_key(|entry| entry.id);
        let known = self.status.take();
        (self.marks, self.breaks) = (Marks::default(), VecDeque::new());
        for entry in entries {
            self.push_shared(entry);
        }
        self.status = self.status.take().or(known);
        self.trim();
    }

    /// Drops the encoded bytes of entries that have left the window, and then the views that have no bytes and are not
    /// used any more.
    pub(super) fn trim(&mut self) {
        self.views.retain(|_, shared| {
            let mut log = shared.log();
            log.drop_before(self.first_number);
            Arc::strong_count(shared) > 1 || !log.is_empty()
        });
    }

    /// Returns the shared view, if it is in use or still has bytes.
    pub(super) fn view(&self, view: View) -> Option<Arc<SharedView>> {
        self.views.get(&view).cloned()
    }

    /// Returns a view, and adds it to the views that are in use.
    pub(super) fn add_view(&mut self, view: View) -> Arc<SharedView> {
        self.views.entry(view).or_insert_with(|| Arc::new(SharedView::new(view))).clone()
    }

    fn drop_first(&mut self) {
        self.entries.pop_front();
        self.marks.pop_front();
        self.first_number += 1;
        while self.breaks.front().is_some_and(|number| *number <= self.first_number) {
            self.breaks.pop_front();
        }
    }

    /// Returns the index of the first entry after `id`.
    fn index_after(&self, id: TickId) -> usize {
        if id >= self.head() { self.entries.len() } else { self.entries.partition_point(|entry| entry.id <= id) }
    }

    /// Returns the first entry of the window, if the store may have entries between `id` and this entry.
    fn first_if_incomplete(&self, id: TickId) -> Option<&Arc<Entry>> {
        self.entries.front().filter(|first| !self.complete && first.prev > id)
    }

    /// Returns the entries after `cursor` as bytes in a view, in slices of many entries.
    pub(super) fn read(&self, shared: &SharedView, cursor: TickId) -> Read {
        let (begin, end) = match self.consecutive_after(cursor) {
            Ok((begin, end)) => (begin, end.min(begin + READ_ENTRIES)),
            Err(read) => return read,
        };
        let numbers = self.first_number + begin as u64..self.first_number + end as u64;
        let items = shared.log().read(shared.view(), self.numbered(), numbers);
        let count = u32::try_from(end - begin).unwrap_or(u32::MAX);
        Read::Batch { first: self.entries[begin].clone(), items, last: self.entries[end - 1].id, count }
    }

    /// Passes the entries after `cursor` to `examine`. If `examine` returns a condition, the entries that follow and
    /// meet it are skipped, except the last one of them, which is passed next. The returned batch has no items, and its
    /// count is zero.
    pub(super) fn examine(
        &self,
        shared: &SharedView,
        cursor: TickId,
        examine: &mut dyn FnMut(Examined<'_>) -> Option<Skip>,
    ) -> Read {
        let (begin, end) = match self.consecutive_after(cursor) {
            Ok(run) => run,
            Err(read) => return read,
        };
        let (mut index, mut last, mut skipped_after) = (begin, begin, None);
        for _ in 0..EXAMINE_ENTRIES {
            let Some(entry) = self.entries.get(index).filter(|_| index < end) else { break };
            // If entries before this one were skipped, it is encoded alone, because the shared log would encode its
            // whole segment.
            let bytes = || match skipped_after {
                Some(_) => shared.view().entry(entry),
                None => shared.log().entry(shared.view(), self.numbered(), self.first_number + index as u64),
            };
            let skip = examine(Examined { entry, skipped_after, bytes: &bytes });
            let last_skipped = skip.map_or(index, |skip| self.marks.last_skipped(&self.entries, index, skip));
            last = index;
            index = last_skipped.max(index + 1);
            skipped_after = (index > last + 1).then_some(entry.id);
        }
        Read::Batch { first: self.entries[begin].clone(), items: Vec::new(), last: self.entries[last].id, count: 0 }
    }

    /// Returns the range of indices of the consecutive entries after `cursor`, up to the next break in the chain. The
    /// next read starts with the first entry after the break. That entry does not continue the cursor, so the reader
    /// detects the break. If the window cannot give such a range, the error is what the read returns instead.
    fn consecutive_after(&self, cursor: TickId) -> Result<(usize, usize), Read> {
        if let Some(before) = self.first_if_incomplete(cursor) {
            return Err(Read::Older { before: before.clone() });
        }
        let index = self.index_after(cursor);
        if index >= self.entries.len() {
            return Err(Read::Nothing);
        }
        let start = self.first_number + index as u64;
        let broken = self.breaks.iter().copied().find(|number| *number > start);
        let len = broken.and_then(|number| usize::try_from(number - start).ok());
        Ok((index, len.map_or(self.entries.len(), |len| index + len)))
    }

    fn numbered(&self) -> NumberedEntries<'_> {
        NumberedEntries { first: self.first_number, entries: &self.entries }
    }

    /// Returns the entries with `after < id <= until`, at most `limit`. Returns `None` if the store may have more of
    /// them.
    pub(super) fn range(&self, after: TickId, until: TickId, limit: usize) -> Option<Vec<Arc<Entry>>> {
        if self.first_if_incomplete(after).is_some() {
            return None;
        }
        Some(self.entries_between(after, until, limit))
    }

    /// Returns true if the window has all entries after `id` that the store has.
    pub(super) fn reaches(&self, id: TickId) -> bool {
        self.first_if_incomplete(id).is_none()
    }

    /// Returns the id of the `n`th entry of the window with `after < id <= until`, counted from one, if there are that
    /// many.
    pub(super) fn nth(&self, after: TickId, until: TickId, n: usize) -> Option<TickId> {
        let found = self.entries.get(self.index_after(after) + n - 1).map(|entry| entry.id);
        found.filter(|id| *id <= until)
    }

    /// Returns the id of the `n`th newest entry of the window with `id <= until`, counted from one, if there are that
    /// many.
    pub(super) fn nth_newest(&self, until: TickId, n: usize) -> Option<TickId> {
        let index = self.index_after(until).checked_sub(n)?;
        self.entries.get(index).map(|entry| entry.id)
    }

    /// Returns the entries of the window with `after < id <= until`, at most `limit`.
    pub(super) fn entries_between(&self, after: TickId, until: TickId, limit: usize) -> Vec<Arc<Entry>> {
        let entries = self.entries.range(self.index_after(after)..);
        entries.take_while(|entry| entry.id <= until).take(limit).cloned().collect()
    }

    /// Returns the id of the last entry up to `until` if the window has an unbroken chain from `after` to it.
    pub(super) fn chained(&self, after: TickId, until: TickId) -> Option<TickId> {
        let mut part = self.entries.range(self.index_after(after)..).take_while(|entry| entry.id <= until);
        if !self.reaches(after) {
            return None;
        }
        part.try_fold(after, |last, entry| (entry.prev == last).then_some(entry.id))
    }

    pub(super) fn after(&self, id: TickId) -> Vec<Arc<Entry>> {
        self.entries.range(self.index_after(id)..).cloned().collect()
    }

    pub(super) fn extent(&self) -> Option<(TickId, TickId, usize)> {
        Some((self.entries.front()?.id, self.head(), self.entries.len()))
    }

    pub(super) fn status(&self) -> Option<Arc<Entry>> {
        self.status.clone()
    }

    /// Returns the id before the newest `count` entries that are `wanted`, if the window has that many.
    pub(super) fn before_newest(&self, count: usize, wanted: &dyn Fn(&Entry) -> bool) -> Option<TickId> {
        self.entries.iter().rev().filter(|entry| wanted(entry)).nth(count.checked_sub(1)?).map(|entry| entry.prev)
    }

    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    pub(super) fn newest(&self, wanted: &dyn Fn(&Entry) -> bool) -> Option<Arc<Entry>> {
        self.entries.iter().rev().find(|entry| wanted(entry)).cloned()
    }
}

#[cfg(test)]
mod tests;
