//! The window: the newest entries in order, and their bytes in each view that is in use.
//!
//! A reader names the last id that it has and gets the entries after it, so replay and live updates are the same read.

use super::encoded_log::{Numbered, SharedView};
use crate::encode::View;
use crate::feed::Entry;
use crate::tick::TickId;
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// The most entries in one read of bytes alone.
const READ_ENTRIES: usize = 1024;
/// The most entries in one read of bytes with their entries, which the reader examines one by one.
const EXAMINE_ENTRIES: usize = 64;

/// The entries after a session's cursor.
#[derive(Debug)]
pub enum Read<T = Bytes> {
    /// No entry: the cursor is at the head.
    Nothing,
    /// Entries that have left the window. The store may still have them.
    Older {
        /// The first entry of the window.
        before: Arc<Entry>,
    },
    /// Consecutive entries without a gap.
    Batch {
        /// The first entry.
        first: Arc<Entry>,
        /// The entries, encoded in the view.
        items: Vec<T>,
        /// The id of the last entry.
        last: TickId,
        /// The number of entries.
        count: u32,
    },
}

/// The newest entries of the feed.
pub(super) struct Window {
    entries: VecDeque<Arc<Entry>>,
    /// Number of the first entry. It equals the number of entries that have been dropped.
    first_number: u64,
    /// Numbers of the entries that do not continue the entry before them. They are rare.
    breaks: VecDeque<u64>,
    /// The newest status among the entries. Every client that asks for `hello` gets it.
    status: Option<Arc<Entry>>,
    capacity: usize,
    retention: Duration,
    /// True if the store has no entry older than the window.
    complete: bool,
    /// The views that are in use, with the encoded entries.
    views: BTreeMap<View, Arc<SharedView>>,
}

impl Window {
    pub(super) fn new(capacity: usize, retention: Duration) -> Window {
        let (entries, breaks, views) = (VecDeque::new(), VecDeque::new(), BTreeMap::new());
        Window { entries, first_number: 0, breaks, status: None, capacity, retention, complete: true, views }
    }

    pub(super) fn set_complete(&mut self, complete: bool) {
        self.complete = complete;
    }

    pub(super) fn head(&self) -> TickId {
        self.entries.back().map_or(TickId::ZERO, |entry| entry.id)
    }

    /// Adds an entry at the end, unless its id is not above the head, and drops entries over the capacity or the retention.
    pub(super) fn push(&mut self, entry: Entry) {
        if entry.id <= self.head() {
            return;
        }
        let oldest_kept = entry.id.minus(self.retention);
        let entry = Arc::new(entry);
        if entry.status().is_some() {
            self.status = Some(entry.clone());
        }
        if self.entries.back().is_some_and(|last| last.id != entry.prev) {
            self.breaks.push_back(self.first_number + self.entries.len() as u64);
        }
        self.entries.push_back(entry);
        while self.entries.front().is_some_and(|first| first.id < oldest_kept) {
            self.drop_first();
        }
        while self.entries.len() > self.capacity {
            self.drop_first();
            self.complete = false;
        }
    }

    /// Drops the encoded bytes of entries that have left the window, and views that are no longer used and have none left.
    pub(super) fn trim(&mut self) {
        self.views.retain(|_, shared| {
            let mut log = shared.log();
            log.drop_before(self.first_number);
            Arc::strong_count(shared) > 1 || !log.is_empty()
        });
    }

    /// Returns a view that is in use.
    pub(super) fn view(&self, view: View) -> Option<Arc<SharedView>> {
        self.views.get(&view).cloned()
    }

    /// Returns a view, which is in use from now on.
    pub(super) fn add_view(&mut self, view: View) -> Arc<SharedView> {
        self.views.entry(view).or_insert_with(|| Arc::new(SharedView::new(view))).clone()
    }

    fn drop_first(&mut self) {
        let dropped = self.entries.pop_front();
        if self.status.as_ref().map(|status| status.id) == dropped.map(|entry| entry.id) {
            self.status = None;
        }
        self.first_number += 1;
        while self.breaks.front().is_some_and(|number| *number <= self.first_number) {
            self.breaks.pop_front();
        }
    }

    /// Returns the index of the first entry after `id`.
    fn index_after(&self, id: TickId) -> usize {
        if id >= self.head() { self.entries.len() } else { self.entries.partition_point(|entry| entry.id <= id) }
    }

    /// Returns the first entry if the store may have entries between `id` and it.
    fn starts_too_late(&self, id: TickId) -> Option<&Arc<Entry>> {
        self.entries.front().filter(|first| !self.complete && first.prev > id)
    }

    /// Returns the entries after `cursor` as bytes in a view, in slices of many entries.
    pub(super) fn read(&self, shared: &SharedView, cursor: TickId) -> Read {
        self.run_after(cursor, READ_ENTRIES, |numbers| shared.log().read(shared.view(), self.numbered(), numbers))
    }

    /// Returns each entry after `cursor` with its bytes in a view.
    pub(super) fn read_entries(&self, shared: &SharedView, cursor: TickId) -> Read<(Arc<Entry>, Bytes)> {
        self.run_after(cursor, EXAMINE_ENTRIES, |numbers| {
            let (view, mut log, window) = (shared.view(), shared.log(), self.numbered());
            let with_bytes = |number| Some((window.get(number)?.clone(), log.entry(view, window, number)));
            numbers.filter_map(with_bytes).collect()
        })
    }

    /// Reads at most `most` consecutive entries after `cursor`, up to a break in the chain. The next read starts after
    /// the break. Its reader detects the break, because the first entry does not continue its cursor.
    fn run_after<T>(&self, cursor: TickId, most: usize, items: impl FnOnce(Range<u64>) -> Vec<T>) -> Read<T> {
        if let Some(before) = self.starts_too_late(cursor) {
            return Read::Older { before: before.clone() };
        }
        let index = self.index_after(cursor);
        let Some(first) = self.entries.get(index) else { return Read::Nothing };
        let (window, start) = (self.numbered(), self.first_number + index as u64);
        let broken = self.breaks.iter().copied().find(|number| *number > start);
        let end = broken.unwrap_or(window.end()).min(start + most as u64);
        let last = window.get(end - 1).map_or(first.id, |last| last.id);
        let count = u32::try_from(end - start).unwrap_or(u32::MAX);
        Read::Batch { first: first.clone(), items: items(start..end), last, count }
    }

    fn numbered(&self) -> Numbered<'_> {
        Numbered { first: self.first_number, entries: &self.entries }
    }

    /// Returns the entries with `after < id <= until`, at most `limit`, or `None` if the store may have earlier ones.
    pub(super) fn range(&self, after: TickId, until: TickId, limit: usize) -> Option<Vec<Arc<Entry>>> {
        if self.starts_too_late(after).is_some() {
            return None;
        }
        Some(self.held(after, until, limit))
    }

    /// Returns true if the store has no entry after `id` that has left the window.
    pub(super) fn reaches(&self, id: TickId) -> bool {
        self.starts_too_late(id).is_none()
    }

    /// Returns the id of the `n`th entry here with `after < id <= until`, counted from one, if there are that many.
    pub(super) fn nth(&self, after: TickId, until: TickId, n: usize) -> Option<TickId> {
        let found = self.entries.get(self.index_after(after) + n - 1).map(|entry| entry.id);
        found.filter(|id| *id <= until)
    }

    /// Returns the entries here with `after < id <= until`, at most `limit`.
    pub(super) fn held(&self, after: TickId, until: TickId, limit: usize) -> Vec<Arc<Entry>> {
        let entries = self.entries.range(self.index_after(after)..);
        entries.take_while(|entry| entry.id <= until).take(limit).cloned().collect()
    }

    /// Returns the last id up to `until` if the window has an unbroken chain from `after` to it.
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

    pub(super) fn status(&self) -> Option<Arc<Entry>> {
        self.status.clone()
    }

    /// Returns the id before the newest `count` entries that are `wanted`, if there are that many here.
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
mod tests {
    use super::*;
    use crate::encode::{Format, Framing};
    use crate::feed::{Event, FeedState, Status};
    use crate::tick::Currencies;

    const VIEW: View = View { format: Format::Full, currencies: Currencies::NONE, framing: Framing::Line };

    fn entry(id: u64, prev: u64) -> Entry {
        let status = Status { state: FeedState::Live, since: TickId::from_ms(id), reason: String::new() };
        Entry { id: TickId::from_ms(id), prev: TickId::from_ms(prev), event: Event::Status(status) }
    }

    fn window(capacity: usize, ids: std::ops::RangeInclusive<u64>) -> Window {
        let mut window = Window::new(capacity, Duration::from_secs(3600));
        ids.for_each(|id| window.push(entry(id * 10, (id - 1) * 10)));
        window
    }

    fn lines(items: &[Bytes]) -> usize {
        items.concat().split(|byte| *byte == b'\n').count() - 1
    }

    fn batch(window: &Window, cursor: u64) -> (u64, usize, u64) {
        match window.read(&SharedView::new(VIEW), TickId::from_ms(cursor)) {
            Read::Batch { first, items, last, .. } => (first.id.ms(), lines(&items), last.ms()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn read_starts_after_the_cursor() {
        let window = window(100, 1..=10);
        assert_eq!(batch(&window, 0), (10, 10, 100));
        assert_eq!(batch(&window, 70), (80, 3, 100));
        assert_eq!(batch(&window, 75), (80, 3, 100));
        assert!(matches!(window.read(&SharedView::new(VIEW), TickId::from_ms(100)), Read::Nothing));
    }

    #[test]
    fn long_replay_is_read_in_parts() {
        let window = window(2000, 1..=2000);
        let (_, entries, last) = batch(&window, 0);
        assert_eq!((entries, last), (READ_ENTRIES, READ_ENTRIES as u64 * 10));
        match window.read_entries(&SharedView::new(VIEW), TickId::from_ms(1000)) {
            Read::Batch { items, last, .. } => {
                assert_eq!((items.len(), last.ms()), (EXAMINE_ENTRIES, 1000 + EXAMINE_ENTRIES as u64 * 10));
                assert!(items.iter().all(|(entry, bytes)| VIEW.entry(entry) == *bytes));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn all_readers_share_the_same_bytes() {
        let (window, view) = (window(100, 1..=10), SharedView::new(VIEW));
        let read = || match window.read(&view, TickId::ZERO) {
            Read::Batch { items, .. } => items.iter().map(|bytes| bytes.as_ptr()).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        };
        assert_eq!(read(), read());
    }

    #[test]
    fn view_lives_as_long_as_it_is_used() {
        let mut window = window(1000, 1..=10);
        let view = window.add_view(VIEW);
        assert!(Arc::ptr_eq(&window.view(VIEW).unwrap(), &view));
        window.trim();
        assert!(window.view(VIEW).is_some(), "a session has it");
        window.read(&view, TickId::ZERO);
        drop(view);
        window.trim();
        assert!(window.view(VIEW).is_some(), "its bytes may be read again");
        (11..=2000).for_each(|id| window.push(entry(id * 10, (id - 1) * 10)));
        window.trim();
        assert!(window.view(VIEW).is_none());
    }

    #[test]
    fn cursor_before_the_window_reads_older() {
        let mut window = window(5, 1..=10);
        let Read::Older { before } = window.read(&SharedView::new(VIEW), TickId::from_ms(20)) else { panic!("older") };
        assert_eq!((before.prev.ms(), before.id.ms()), (50, 60));
        assert_eq!(batch(&window, 50), (60, 5, 100));
        window.push(entry(110, 100));
        assert_eq!(batch(&window, 60), (70, 5, 110));
    }

    #[test]
    fn newest_status_is_kept_until_it_leaves() {
        let tick = |id| {
            let tick = crate::tick::Tick { prices: [].into(), sources: [].into() };
            let event = Event::Tick { tick, outages: vec![] };
            Entry { id: TickId::from_ms(id), prev: TickId::from_ms(id - 10), event }
        };
        let mut window = window(3, 1..=2);
        window.push(tick(30));
        assert_eq!(window.status().unwrap().id.ms(), 20);
        window.push(tick(40));
        assert_eq!(window.status().unwrap().id.ms(), 20, "the first entry has left, the status has not");
        window.push(tick(50));
        assert!(window.status().is_none());
    }

    #[test]
    fn complete_window_has_no_older_entries() {
        let mut window = window(100, 1..=10);
        window.push(entry(3_600_095, 100));
        assert_eq!(batch(&window, 0), (100, 2, 3_600_095));
    }

    #[test]
    fn batch_ends_at_a_break_in_the_chain() {
        let mut window = window(100, 1..=3);
        window.push(entry(50, 40));
        assert_eq!(batch(&window, 10), (20, 2, 30));
        assert_eq!(batch(&window, 30), (50, 1, 50));
    }

    #[test]
    fn chained_requires_the_whole_part() {
        let mut window = window(5, 1..=10);
        assert_eq!(window.chained(TickId::from_ms(20), TickId::from_ms(40)), None, "the part lies before the window");
        window.push(entry(150, 140));
        let chained = |after, until| window.chained(TickId::from_ms(after), TickId::from_ms(until)).map(TickId::ms);
        assert_eq!((chained(60, 100), chained(60, 95), chained(100, 100)), (Some(100), Some(90), Some(100)));
        assert_eq!((chained(50, 100), chained(60, 150), chained(65, 90)), (None, None, None));
    }
}
