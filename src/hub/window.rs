//! The window: the newest entries in order, and for each view that somebody uses a tape of their bytes.
//!
//! A tape is filled when a session first needs an entry in that view; every other session takes the same bytes. A reader
//! names the id it has and gets what stands after it, so replay and live are one and the same read.

use crate::feed::Entry;
use crate::tick::TickId;
use crate::view::View;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The most entries in one read: as many pieces as one gathering write takes.
const READ_ENTRIES: usize = 64;
/// The most bytes in one read, give or take an entry.
const READ_BYTES: usize = 64 * 1024;

/// What a session finds after its cursor.
#[derive(Debug)]
pub enum Read {
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
        /// Their bytes, those that are nothing in this view left out.
        bytes: Vec<Bytes>,
        /// The id of the last of them.
        last: TickId,
    },
}

pub(super) struct Window {
    entries: VecDeque<Arc<Entry>>,
    /// How many entries were dropped at the front since the beginning: the number of the first one.
    first_number: u64,
    capacity: usize,
    retention: Duration,
    /// Whether the store has nothing older than the window.
    complete: bool,
    tapes: Box<[Mutex<Tape>]>,
}

/// The bytes of entries in one view, for the entries that were asked for.
#[derive(Default)]
struct Tape {
    first_number: u64,
    encoded: VecDeque<Option<Bytes>>,
}

impl Window {
    pub(super) fn new(capacity: usize, retention: Duration) -> Window {
        let tapes = (0..View::COUNT).map(|_| Mutex::default()).collect();
        Window { entries: VecDeque::new(), first_number: 0, capacity, retention, complete: true, tapes }
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
        self.entries.push_back(Arc::new(entry));
        while self.entries.front().is_some_and(|first| first.id < oldest_kept) {
            self.drop_first();
        }
        while self.entries.len() > self.capacity {
            self.drop_first();
            self.complete = false;
        }
    }

    fn drop_first(&mut self) {
        self.entries.pop_front();
        self.first_number += 1;
    }

    /// The place of the first entry after `id`.
    fn place_after(&self, id: TickId) -> usize {
        if id >= self.head() { self.entries.len() } else { self.entries.partition_point(|entry| entry.id <= id) }
    }

    /// Whether entries between `id` and the window's first may be in the store.
    fn begins_too_late(&self, id: TickId) -> Option<&Arc<Entry>> {
        self.entries.front().filter(|first| !self.complete && first.prev > id)
    }

    pub(super) fn read(&self, view: View, cursor: TickId) -> Read {
        if let Some(before) = self.begins_too_late(cursor) {
            return Read::Older { before: before.clone() };
        }
        let place = self.place_after(cursor);
        let Some(first) = self.entries.get(place) else { return Read::Nothing };
        let mut tape = self.tapes[view.index()].lock().unwrap_or_else(PoisonError::into_inner);
        tape.align(self.first_number, self.entries.len());
        let (mut bytes, mut size, mut last) = (Vec::new(), 0, first.prev);
        for (entry, encoded) in self.entries.range(place..).zip(tape.encoded.range_mut(place..)).take(READ_ENTRIES) {
            // A chain that is broken here is for the next read, whose reader compares its cursor with the first entry.
            if entry.prev != last || size > READ_BYTES {
                break;
            }
            let encoded = encoded.get_or_insert_with(|| view.entry(entry));
            if !encoded.is_empty() {
                size += encoded.len();
                bytes.push(encoded.clone());
            }
            last = entry.id;
        }
        Read::Batch { first: first.clone(), bytes, last }
    }

    /// The entries with `after < id <= until`, at most `limit`; `None` if the window begins too late to tell.
    pub(super) fn range(&self, after: TickId, until: TickId, limit: usize) -> Option<Vec<Arc<Entry>>> {
        if self.begins_too_late(after).is_some() {
            return None;
        }
        let entries = self.entries.range(self.place_after(after)..);
        Some(entries.take_while(|entry| entry.id <= until).take(limit).cloned().collect())
    }

    pub(super) fn after(&self, id: TickId) -> Vec<Arc<Entry>> {
        self.entries.range(self.place_after(id)..).cloned().collect()
    }

    pub(super) fn newest(&self, wanted: &dyn Fn(&Entry) -> bool) -> Option<Arc<Entry>> {
        self.entries.iter().rev().find(|entry| wanted(entry)).cloned()
    }
}

impl Tape {
    /// Makes the tape as long as the window, and begin where it begins.
    fn align(&mut self, first_number: u64, len: usize) {
        let dropped = usize::try_from(first_number - self.first_number).unwrap_or(usize::MAX);
        self.encoded.drain(..dropped.min(self.encoded.len()));
        self.first_number = first_number;
        self.encoded.resize(len, None);
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

    fn batch(window: &Window, cursor: u64) -> (u64, usize, u64) {
        match window.read(VIEW, TickId::from_ms(cursor)) {
            Read::Batch { first, bytes, last } => (first.id.ms(), bytes.len(), last.ms()),
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
        let window = window(1000, 1..=100);
        let (_, entries, last) = batch(&window, 0);
        assert_eq!((entries, last), (READ_ENTRIES, READ_ENTRIES as u64 * 10));
    }

    #[test]
    fn everybody_gets_the_same_bytes() {
        let window = window(100, 1..=10);
        let read = || match window.read(VIEW, TickId::ZERO) {
            Read::Batch { bytes, .. } => bytes.iter().map(|bytes| bytes.as_ptr()).collect::<Vec<_>>(),
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
}
