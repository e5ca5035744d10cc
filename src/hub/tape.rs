//! A tape: what the window's entries are in one view, as bytes that every session shares.
//!
//! The entries stand in blocks, and each block is one piece of memory. So an update is a slice of the newest block, a
//! replay of hundreds of entries is a few large slices, and neither is made for one client. A block is made when a session
//! first needs it. Where entries have come since, it is made anew with what was there copied: a few microseconds once a
//! tick, however many the clients; those who are still sending keep the old one.

use crate::feed::Entry;
use crate::view::View;
use bytes::Bytes;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// Entries in one block.
const BLOCK_ENTRIES: u64 = 256;

/// The entries of a window, each with its number: how many stood before it since the hub began.
#[derive(Clone, Copy)]
pub(super) struct Numbered<'a> {
    pub(super) first: u64,
    pub(super) entries: &'a VecDeque<Arc<Entry>>,
}

impl<'a> Numbered<'a> {
    /// The number that the next entry will have.
    pub(super) fn end(self) -> u64 {
        self.first + self.entries.len() as u64
    }

    pub(super) fn get(self, number: u64) -> Option<&'a Arc<Entry>> {
        self.entries.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }
}

#[derive(Default)]
pub(super) struct Tape {
    /// How many blocks were dropped at the front since the beginning.
    first_block: u64,
    blocks: VecDeque<Block>,
}

/// The bytes of consecutive entries, as far as they have come.
#[derive(Default)]
struct Block {
    bytes: Bytes,
    /// Where each entry ends.
    ends: Vec<usize>,
}

impl Tape {
    /// The bytes of the entries with these numbers, a piece for each block.
    pub(super) fn read(&mut self, view: View, window: Numbered<'_>, numbers: Range<u64>) -> Vec<Bytes> {
        let mut pieces = Vec::with_capacity(1);
        let mut number = numbers.start;
        while number < numbers.end {
            let start = number - number % BLOCK_ENTRIES;
            let end = numbers.end.min(start + BLOCK_ENTRIES);
            let piece = self.block(view, window, start).slice(number - start..end - start);
            if !piece.is_empty() {
                pieces.push(piece);
            }
            number = end;
        }
        pieces
    }

    /// The bytes of one entry.
    pub(super) fn entry(&mut self, view: View, window: Numbered<'_>, number: u64) -> Bytes {
        let place = number % BLOCK_ENTRIES;
        self.block(view, window, number - place).slice(place..place + 1)
    }

    /// The block that begins with the entry `start`, with everything that the window has of it.
    fn block(&mut self, view: View, window: Numbered<'_>, start: u64) -> &Block {
        self.drop_before(window.first);
        let place = usize::try_from(start / BLOCK_ENTRIES - self.first_block).unwrap_or(usize::MAX);
        if place >= self.blocks.len() {
            self.blocks.resize_with(place + 1, Block::default);
        }
        let block = &mut self.blocks[place];
        block.extend(view, window, start);
        block
    }

    /// Drops the blocks all of whose entries have left the window, which begins with the entry `first`.
    pub(super) fn drop_before(&mut self, first: u64) {
        let first_block = first / BLOCK_ENTRIES;
        while self.first_block < first_block && self.blocks.pop_front().is_some() {
            self.first_block += 1;
        }
        self.first_block = first_block;
    }
}

impl Block {
    fn extend(&mut self, view: View, window: Numbered<'_>, start: u64) {
        let (have, end) = (start + self.ends.len() as u64, window.end().min(start + BLOCK_ENTRIES));
        if have >= end {
            return;
        }
        let mut bytes = Vec::from(&self.bytes[..]);
        for number in have..end {
            // One that has left the window is asked for by nobody.
            if let Some(entry) = window.get(number) {
                view.write_entry(entry, &mut bytes);
            }
            self.ends.push(bytes.len());
        }
        self.bytes = Bytes::from(bytes);
    }

    /// The bytes of the entries at these places.
    fn slice(&self, places: Range<u64>) -> Bytes {
        let end_of = |count: u64| {
            let last = count.checked_sub(1).and_then(|place| usize::try_from(place).ok());
            last.map_or(0, |place| self.ends[place])
        };
        self.bytes.slice(end_of(places.start)..end_of(places.end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::{Event, State, Status};
    use crate::tick::{Currencies, TickId};
    use crate::view::{Format, Framing};

    const VIEW: View = View { format: Format::Full, currencies: Currencies::NONE, framing: Framing::Line };

    fn entry(number: u64) -> Arc<Entry> {
        let status = Status { state: State::Live, since: TickId::from_ms(number), reason: String::new() };
        let (id, prev) = (TickId::from_ms(number + 1), TickId::from_ms(number));
        Arc::new(Entry { id, prev, event: Event::Status(status) })
    }

    fn expected(numbers: Range<u64>) -> Vec<u8> {
        let mut bytes = Vec::new();
        numbers.for_each(|number| VIEW.write_entry(&entry(number), &mut bytes));
        bytes
    }

    #[test]
    fn whatever_part_is_read_is_there_and_nothing_else() {
        let entries: VecDeque<_> = (100..1000).map(entry).collect();
        let window = Numbered { first: 100, entries: &entries };
        let mut tape = Tape::default();
        for numbers in [100..101, 100..1000, 255..257, 256..512, 300..300, 511..1000, 999..1000, 101..900] {
            assert_eq!(tape.read(VIEW, window, numbers.clone()).concat(), expected(numbers.clone()), "{numbers:?}");
        }
        assert_eq!(tape.entry(VIEW, window, 511)[..], expected(511..512)[..]);
        assert_eq!(tape.read(VIEW, window, 100..1000).len(), 4, "a piece for each block");
    }

    #[test]
    fn a_block_that_grows_is_the_same_for_those_who_have_it() {
        let mut entries: VecDeque<_> = (0..10).map(entry).collect();
        let mut tape = Tape::default();
        let early = tape.read(VIEW, Numbered { first: 0, entries: &entries }, 0..10).concat();
        for number in 10..2000 {
            entries.push_back(entry(number));
            let first = number.saturating_sub(299);
            entries.drain(..entries.len().saturating_sub(300));
            let window = Numbered { first, entries: &entries };
            assert_eq!(tape.read(VIEW, window, number..number + 1).concat(), expected(number..number + 1));
            assert_eq!(tape.read(VIEW, window, first..number + 1).concat(), expected(first..number + 1));
        }
        assert_eq!(early, expected(0..10));
        assert!(tape.blocks.len() <= 3, "what has left the window is dropped");
    }

    #[test]
    fn a_tape_that_nobody_read_for_long_goes_on_where_the_window_is() {
        let entries: VecDeque<_> = (5000..5010).map(entry).collect();
        let mut tape = Tape::default();
        let few: VecDeque<_> = (0..10).map(entry).collect();
        tape.read(VIEW, Numbered { first: 0, entries: &few }, 0..10);
        let window = Numbered { first: 5000, entries: &entries };
        assert_eq!(tape.read(VIEW, window, 5000..5010).concat(), expected(5000..5010));
        assert_eq!(tape.blocks.len(), 1);
    }
}
