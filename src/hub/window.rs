//! The window: the newest entries in order, and for each view that somebody uses a tape of their bytes.
//!
//! A reader names the id it has and gets what stands after it, so replay and live are one and the same read.

use super::tape::{Numbered, Tape};
use crate::feed::Entry;
use crate::tick::TickId;
use crate::view::View;
use bytes::Bytes;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The most entries in one read: of bytes that are handed out as they stand, and of entries that somebody looks at.
const READ_ENTRIES: usize = 1024;
const LOOK_ENTRIES: usize = 64;

/// What a session finds after its cursor.
#[derive(Debug)]
pub enum Read<T = Bytes> {
    /// Nothing: it is at the head.
    Nothing,
    /// Entries that were in the feed but no longer in the window; the store may have them.
    Older {
        /// The window's first entry.
        before: Arc<Entry>,
    },
    /// Entries that follow on each other without a gap.
    Batch {
        /// The first of them.
        first: Arc<Entry>,
        /// What they are in this view.
        items: Vec<T>,
        /// The id of the last of them.
        last: TickId,
    },
}

pub(super) struct Window {
    entries: VecDeque<Arc<Entry>>,
    /// How many entries were dropped at the front since the beginning: the number of the first one.
    first_number: u64,
    /// The numbers of the entries that do not follow on the one before them here. There are next to none.
    breaks: VecDeque<u64>,
    /// The newest status among them: every client that says hello is told it.
    status: Option<Arc<Entry>>,
    capacity: usize,
    retention: Duration,
    /// Whether the store has nothing older than the window.
    complete: bool,
    tapes: Box<[Mutex<Tape>]>,
}

impl Window {
    pub(super) fn new(capacity: usize, retention: Duration) -> Window {
        let tapes = (0..View::COUNT).map(|_| Mutex::default()).collect();
        let (entries, breaks) = (VecDeque::new(), VecDeque::new());
        Window { entries, first_number: 0, breaks, status: None, capacity, retention, complete: true, tapes }
    }

    pub(super) fn set_complete(&mut self, complete: bool) {
        self.complete = complete;
    }

    pub(super) fn head(&self) -> TickId {
        self.entries.back().map_or(TickId::ZERO, |entry| entry.id)
    }

    /// Adds an entry at the end, unless it or a later one is known, and drops what is too many or too old.
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

    /// Has the tapes drop what has left the window, also those that nobody reads any more.
    pub(super) fn trim(&mut self) {
        for tape in &mut self.tapes {
            tape.get_mut().unwrap_or_else(PoisonError::into_inner).drop_before(self.first_number);
        }
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

    /// The place of the first entry after `id`.
    fn place_after(&self, id: TickId) -> usize {
        if id >= self.head() { self.entries.len() } else { self.entries.partition_point(|entry| entry.id <= id) }
    }

    /// Whether entries between `id` and the window's first may be in the store.
    fn begins_too_late(&self, id: TickId) -> Option<&Arc<Entry>> {
        self.entries.front().filter(|first| !self.complete && first.prev > id)
    }

    /// What stands after `cursor`: the bytes in `view`, in pieces of many entries.
    pub(super) fn read(&self, view: View, cursor: TickId) -> Read {
        self.run_after(cursor, READ_ENTRIES, |numbers| self.tape(view).read(view, self.numbered(), numbers))
    }

    /// What stands after `cursor`: every entry with its bytes in `view`.
    pub(super) fn read_entries(&self, view: View, cursor: TickId) -> Read<(Arc<Entry>, Bytes)> {
        self.run_after(cursor, LOOK_ENTRIES, |numbers| {
            let (mut tape, window) = (self.tape(view), self.numbered());
            let with_bytes = |number| Some((window.get(number)?.clone(), tape.entry(view, window, number)));
            numbers.filter_map(with_bytes).collect()
        })
    }

    /// Reads entries after `cursor` that follow on each other, `most` of them. A chain that is broken behind them is for the
    /// next read, whose reader compares its cursor with the first entry.
    fn run_after<T>(&self, cursor: TickId, most: usize, items: impl FnOnce(Range<u64>) -> Vec<T>) -> Read<T> {
        if let Some(before) = self.begins_too_late(cursor) {
            return Read::Older { before: before.clone() };
        }
        let place = self.place_after(cursor);
        let Some(first) = self.entries.get(place) else { return Read::Nothing };
        let (window, start) = (self.numbered(), self.first_number + place as u64);
        let broken = self.breaks.iter().copied().find(|number| *number > start);
        let end = broken.unwrap_or(window.end()).min(start + most as u64);
        let last = window.get(end - 1).map_or(first.id, |last| last.id);
        Read::Batch { first: first.clone(), items: items(start..end), last }
    }

    fn numbered(&self) -> Numbered<'_> {
        Numbered { first: self.first_number, entries: &self.entries }
    }

    fn tape(&self, view: View) -> MutexGuard<'_, Tape> {
        self.tapes[view.index()].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The entries with `after < id <= until`, at most `limit`; `None` if the window begins too late to tell.
    pub(super) fn range(&self, after: TickId, until: TickId, limit: usize) -> Option<Vec<Arc<Entry>>> {
        if self.begins_too_late(after).is_some() {
            return None;
        }
        Some(self.held(after, until, limit))
    }

    /// Whether everything after `id` is here, as far as it is anywhere.
    pub(super) fn reaches(&self, id: TickId) -> bool {
        self.begins_too_late(id).is_none()
    }

    /// The id of the `n`th entry here with `after < id <= until`, if there are so many.
    pub(super) fn nth(&self, after: TickId, until: TickId, n: usize) -> Option<TickId> {
        let found = self.entries.get(self.place_after(after) + n - 1).map(|entry| entry.id);
        found.filter(|id| *id <= until)
    }

    /// The entries with `after < id <= until` that are here, at most `limit`.
    pub(super) fn held(&self, after: TickId, until: TickId, limit: usize) -> Vec<Arc<Entry>> {
        let entries = self.entries.range(self.place_after(after)..);
        entries.take_while(|entry| entry.id <= until).take(limit).cloned().collect()
    }

    /// The last entry up to `until`, if all between `after` and it are here and follow on each other.
    pub(super) fn chained(&self, after: TickId, until: TickId) -> Option<TickId> {
        let mut part = self.entries.range(self.place_after(after)..).take_while(|entry| entry.id <= until);
        if !self.reaches(after) {
            return None;
        }
        part.try_fold(after, |last, entry| (entry.prev == last).then_some(entry.id))
    }

    pub(super) fn after(&self, id: TickId) -> Vec<Arc<Entry>> {
        self.entries.range(self.place_after(id)..).cloned().collect()
    }

    pub(super) fn status(&self) -> Option<Arc<Entry>> {
        self.status.clone()
    }

    /// The id before the newest `count` entries that are `wanted`, if there are as many here.
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
    use crate::feed::{Event, State, Status};
    use crate::tick::Currencies;
    use crate::view::{Format, Framing};

    const VIEW: View = View { format: Format::Full, currencies: Currencies::NONE, framing: Framing::Line };

    fn entry(id: u64, prev: u64) -> Entry {
        let status = Status { state: State::Live, since: TickId::from_ms(id), reason: String::new() };
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
        match window.read(VIEW, TickId::from_ms(cursor)) {
            Read::Batch { first, items, last } => (first.id.ms(), lines(&items), last.ms()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_read_begins_after_the_cursor_and_goes_on_to_the_head() {
        let window = window(100, 1..=10);
        assert_eq!(batch(&window, 0), (10, 10, 100));
        assert_eq!(batch(&window, 70), (80, 3, 100));
        assert_eq!(batch(&window, 75), (80, 3, 100));
        assert!(matches!(window.read(VIEW, TickId::from_ms(100)), Read::Nothing));
    }

    #[test]
    fn a_long_replay_is_read_in_parts() {
        let window = window(2000, 1..=2000);
        let (_, entries, last) = batch(&window, 0);
        assert_eq!((entries, last), (READ_ENTRIES, READ_ENTRIES as u64 * 10));
        match window.read_entries(VIEW, TickId::from_ms(1000)) {
            Read::Batch { items, last, .. } => {
                assert_eq!((items.len(), last.ms()), (LOOK_ENTRIES, 1000 + LOOK_ENTRIES as u64 * 10));
                assert!(items.iter().all(|(entry, bytes)| VIEW.entry(entry) == *bytes));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn everybody_gets_the_same_bytes() {
        let window = window(100, 1..=10);
        let read = || match window.read(VIEW, TickId::ZERO) {
            Read::Batch { items, .. } => items.iter().map(|bytes| bytes.as_ptr()).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        };
        assert_eq!(read(), read());
    }

    #[test]
    fn a_window_that_dropped_entries_says_that_the_store_may_have_them() {
        let mut window = window(5, 1..=10);
        let Read::Older { before } = window.read(VIEW, TickId::from_ms(20)) else { panic!("older") };
        assert_eq!((before.prev.ms(), before.id.ms()), (50, 60));
        assert_eq!(batch(&window, 50), (60, 5, 100));
        window.push(entry(110, 100));
        assert_eq!(batch(&window, 60), (70, 5, 110));
    }

    #[test]
    fn the_newest_status_is_known_until_it_leaves_the_window() {
        let tick = |id| {
            let tick = crate::tick::Tick { prices: [].into(), sources: [].into() };
            let event = Event::Tick { tick, outages: vec![] };
            Entry { id: TickId::from_ms(id), prev: TickId::from_ms(id - 10), event }
        };
        let mut window = window(3, 1..=2);
        window.push(tick(30));
        assert_eq!(window.status().unwrap().id.ms(), 20);
        window.push(tick(40));
        assert_eq!(window.status().unwrap().id.ms(), 20, "the older one has gone, this one is there");
        window.push(tick(50));
        assert!(window.status().is_none());
    }

    #[test]
    fn a_window_that_is_complete_begins_where_it_begins() {
        let mut window = window(100, 1..=10);
        window.push(entry(3_600_095, 100));
        assert_eq!(batch(&window, 0), (100, 2, 3_600_095));
    }

    #[test]
    fn a_batch_ends_where_the_chain_is_broken() {
        let mut window = window(100, 1..=3);
        window.push(entry(50, 40));
        assert_eq!(batch(&window, 10), (20, 2, 30));
        assert_eq!(batch(&window, 30), (50, 1, 50));
    }

    #[test]
    fn a_part_is_chained_only_if_all_of_it_is_here() {
        let mut window = window(5, 1..=10);
        assert_eq!(window.chained(TickId::from_ms(20), TickId::from_ms(40)), None, "all of it is before the window");
        window.push(entry(150, 140));
        let chained = |after, until| window.chained(TickId::from_ms(after), TickId::from_ms(until)).map(TickId::ms);
        assert_eq!((chained(60, 100), chained(60, 95), chained(100, 100)), (Some(100), Some(90), Some(100)));
        assert_eq!((chained(50, 100), chained(60, 150), chained(65, 90)), (None, None, None));
    }
}
