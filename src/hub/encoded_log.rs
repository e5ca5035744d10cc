//! The window's entries in one view, as bytes that all sessions share.
//!
//! Entries are grouped in segments, and the bytes of a segment are one buffer. A live update is a slice of the newest
//! segment, and a replay of hundreds of entries is a few large slices.
//!
//! The entries of a segment are encoded when a session first reads them. When there are new entries, the next read
//! copies the old bytes and encodes the new entries into a new buffer. This takes a few microseconds for each tick,
//! however many clients there are. A session that still sends the old buffer holds a reference to it.

use crate::encode::View;
use crate::feed::Entry;
use crate::tick::TickId;
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The number of entries in one segment.
const SEGMENT_ENTRIES: u64 = 256;
/// The maximum number of entries with audits whose bytes a view keeps. These bytes are long, and only the newest
/// entries have many readers at the same time.
const AUDITED_ENTRIES: usize = 4;

/// The entries of a window with their numbers. The number of an entry is the number of entries that were added to the
/// window before it.
#[derive(Clone, Copy)]
pub(super) struct NumberedEntries<'a> {
    pub(super) first: u64,
    pub(super) entries: &'a VecDeque<Arc<Entry>>,
}

impl<'a> NumberedEntries<'a> {
    /// Returns the number that the next entry will get.
    pub(super) fn end(self) -> u64 {
        self.first + self.entries.len() as u64
    }

    pub(super) fn get(self, number: u64) -> Option<&'a Arc<Entry>> {
        self.entries.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }
}

/// A view of a hub's window that all its sessions share, so that the entries are encoded once for all of them.
pub struct SharedView {
    view: View,
    log: Mutex<EncodedLog>,
    /// The newest entries with audits, by id and `prev`.
    audited: Mutex<BTreeMap<(TickId, TickId), Bytes>>,
}

impl SharedView {
    pub(super) fn new(view: View) -> SharedView {
        SharedView { view, log: Mutex::default(), audited: Mutex::default() }
    }

    /// Returns the view.
    pub fn view(&self) -> View {
        self.view
    }

    /// Returns the bytes of an entry that was read from the store. If the view has audits, the bytes of the newest
    /// entries are kept for all sessions.
    pub fn entry(&self, entry: &Entry) -> Bytes {
        if !self.view.has_inputs() {
            return self.view.entry(entry);
        }
        let audited = || self.audited.lock().unwrap_or_else(PoisonError::into_inner);
        let place = (entry.id, entry.prev);
        if let Some(bytes) = audited().get(&place) {
            return bytes.clone();
        }
        // No lock is held while the entry is encoded, so that a long replay does not delay live updates.
        let bytes = self.view.entry(entry);
        let mut audited = audited();
        audited.insert(place, bytes.clone());
        if audited.len() > AUDITED_ENTRIES {
            audited.pop_first();
        }
        bytes
    }

    pub(super) fn log(&self) -> MutexGuard<'_, EncodedLog> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Formats the view without its entries.
impl fmt::Debug for SharedView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view.fmt(f)
    }
}

/// The encoded entries of a window in one view.
#[derive(Default)]
pub(super) struct EncodedLog {
    /// The number of the first segment. Segment 0 begins with the entry that has the number 0.
    first_segment: u64,
    segments: VecDeque<Segment>,
}

/// The bytes of up to [`SEGMENT_ENTRIES`] consecutive entries.
#[derive(Default)]
struct Segment {
    bytes: Bytes,
    /// The offset at which each entry ends.
    ends: Vec<usize>,
}

impl EncodedLog {
    /// Returns the bytes of the entries with these numbers, one slice for each segment.
    pub(super) fn read(&mut self, view: View, window: NumberedEntries<'_>, numbers: Range<u64>) -> Vec<Bytes> {
        let mut slices = Vec::with_capacity(1);
        let mut number = numbers.start;
        while number < numbers.end {
            let start = number - number % SEGMENT_ENTRIES;
            let end = numbers.end.min(start + SEGMENT_ENTRIES);
            let slice = self.segment(view, window, start).slice(number - start..end - start);
            if !slice.is_empty() {
                slices.push(slice);
            }
            number = end;
        }
        slices
    }

    /// Returns the bytes of one entry.
    pub(super) fn entry(&mut self, view: View, window: NumberedEntries<'_>, number: u64) -> Bytes {
        let index = number % SEGMENT_ENTRIES;
        self.segment(view, window, number - index).slice(index..index + 1)
    }

    /// Returns the segment whose first entry has the number `start`, after encoding all of its entries that the window
    /// has.
    fn segment(&mut self, view: View, window: NumberedEntries<'_>, start: u64) -> &Segment {
        self.drop_before(window.first);
        let index = usize::try_from(start / SEGMENT_ENTRIES - self.first_segment).unwrap_or(usize::MAX);
        if index >= self.segments.len() {
            self.segments.resize_with(index + 1, Segment::default);
        }
        let segment = &mut self.segments[index];
        segment.extend(view, window, start);
        segment
    }

    /// Drops the segments that have no entry in the window any more. `first` is the number of the window's first entry.
    pub(super) fn drop_before(&mut self, first: u64) {
        let first_segment = first / SEGMENT_ENTRIES;
        while self.first_segment < first_segment && self.segments.pop_front().is_some() {
            self.first_segment += 1;
        }
        self.first_segment = first_segment;
    }

    /// Returns true if no bytes are kept.
    pub(super) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }
}

impl Segment {
    /// Encodes the entries of the window that this segment does not have yet. `start` is the number of the segment's
    /// first entry.
    fn extend(&mut self, view: View, window: NumberedEntries<'_>, start: u64) {
        let (next, end) = (start + self.ends.len() as u64, window.end().min(start + SEGMENT_ENTRIES));
        if next >= end {
            return;
        }
        let mut bytes = Vec::from(&self.bytes[..]);
        for number in next..end {
            // An entry that has left the window is not encoded, because no session reads it.
            if let Some(entry) = window.get(number) {
                view.write_entry(entry, &mut bytes);
            }
            self.ends.push(bytes.len());
        }
        self.bytes = Bytes::from(bytes);
    }

    /// Returns the bytes of the entries with these indices in the segment.
    fn slice(&self, indices: Range<u64>) -> Bytes {
        let end_of = |count: u64| {
            let last = count.checked_sub(1).and_then(|index| usize::try_from(index).ok());
            last.map_or(0, |index| self.ends[index])
        };
        self.bytes.slice(end_of(indices.start)..end_of(indices.end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::{Format, Framing};
    use crate::feed::{Event, FeedState, Status};
    use crate::tick::{Currencies, TickId};

    const VIEW: View = View::new(Format::Full, Currencies::NONE, Framing::Line);

    fn entry(number: u64) -> Arc<Entry> {
        let status = Status { state: FeedState::Live, since: TickId::from_ms(number), reason: String::new() };
        let (id, prev) = (TickId::from_ms(number + 1), TickId::from_ms(number));
        Arc::new(Entry { id, prev, event: Event::Status(status) })
    }

    fn expected(numbers: Range<u64>) -> Vec<u8> {
        let mut bytes = Vec::new();
        numbers.for_each(|number| VIEW.write_entry(&entry(number), &mut bytes));
        bytes
    }

    #[test]
    fn read_returns_exactly_the_asked_entries() {
        let entries: VecDeque<_> = (100..1000).map(entry).collect();
        let window = NumberedEntries { first: 100, entries: &entries };
        let mut log = EncodedLog::default();
        for numbers in [100..101, 100..1000, 255..257, 256..512, 300..300, 511..1000, 999..1000, 101..900] {
            assert_eq!(log.read(VIEW, window, numbers.clone()).concat(), expected(numbers.clone()), "{numbers:?}");
        }
        assert_eq!(log.entry(VIEW, window, 511)[..], expected(511..512)[..]);
        assert_eq!(log.read(VIEW, window, 100..1000).len(), 4, "one slice for each segment");
    }

    #[test]
    fn growing_segment_keeps_the_slices_read_before() {
        let mut entries: VecDeque<_> = (0..10).map(entry).collect();
        let mut log = EncodedLog::default();
        let early = log.read(VIEW, NumberedEntries { first: 0, entries: &entries }, 0..10);
        for number in 10..2000 {
            entries.push_back(entry(number));
            let first = number.saturating_sub(299);
            entries.drain(..entries.len().saturating_sub(300));
            let window = NumberedEntries { first, entries: &entries };
            assert_eq!(log.read(VIEW, window, number..number + 1).concat(), expected(number..number + 1));
            assert_eq!(log.read(VIEW, window, first..number + 1).concat(), expected(first..number + 1));
        }
        assert_eq!(early.concat(), expected(0..10));
        assert!(log.segments.len() <= 3, "segments that have left the window are dropped");
    }

    #[test]
    fn unread_log_resumes_at_the_window() {
        let entries: VecDeque<_> = (5000..5010).map(entry).collect();
        let mut log = EncodedLog::default();
        let few: VecDeque<_> = (0..10).map(entry).collect();
        log.read(VIEW, NumberedEntries { first: 0, entries: &few }, 0..10);
        let window = NumberedEntries { first: 5000, entries: &entries };
        assert_eq!(log.read(VIEW, window, 5000..5010).concat(), expected(5000..5010));
        assert_eq!(log.segments.len(), 1);
    }
}
