//! Merges several lines to one feed. A line is a connection that is opened again after it ends. The first copy of each
//! entry is returned, and the others are dropped.
//!
//! The `prev` of each entry names the one before it. An entry that does not continue the last one waits until another
//! line or the history has closed the hole before it. A gap that one line reports does not close a hole, because
//! another line or the history may have what this line lacks.

use super::cursor::Cursor;
use super::received::Received;
use super::update::{GapCause, GapUpdate, Update};
use crate::tick::TickId;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use tokio::time::Instant;

/// The maximum time that a line may lag behind another one. A line that lags longer is replaced.
const MAX_LAG: Duration = Duration::from_secs(5);
/// The feed counts as restored from a backup if no new entry has come for this time, and if the newest id on each line
/// is less than the last id that was returned.
const REWIND_AFTER: Duration = Duration::from_secs(10);

/// The maximum number of waiting entries.
const MAX_WAITING: usize = 10_000;

/// What a merge knows about a line. Each connection begins with a new `LinePosition`.
#[derive(Debug, Default)]
pub(super) struct LinePosition {
    /// The newest id that has come over this connection.
    newest: Option<TickId>,
    /// An id that the line had not reached yet, and the time at which this was noticed.
    behind: Option<(TickId, Instant)>,
    /// The gaps that have come since the last entry.
    gaps: Vec<GapUpdate>,
    /// True after the replay is over.
    is_live: bool,
}

/// Entries that no line has sent: those after one id and up to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hole {
    pub(super) after: TickId,
    pub(super) until: TickId,
}

/// The entries of several lines in one order.
#[derive(Debug)]
pub(super) struct Merge {
    /// Entries behind a hole.
    waiting: BTreeMap<TickId, Waiting>,
    /// Gaps that the history has reported and that have not been used yet.
    gaps: Vec<GapUpdate>,
    /// The number of entries that were returned from the history.
    healed: u64,
    /// The number of entries that were returned from each address.
    taken: Vec<u64>,
    moved_at: Instant,
}

#[derive(Debug)]
struct Waiting {
    entry: Received,
    prev: TickId,
    gaps: Vec<GapUpdate>,
    /// The number of the address that sent it, or `None` for the history.
    address: Option<usize>,
}

impl Merge {
    pub(super) fn new(addresses: usize, now: Instant) -> Merge {
        Merge { waiting: BTreeMap::new(), gaps: Vec::new(), healed: 0, taken: vec![0; addresses], moved_at: now }
    }

    /// Returns the number of entries that were returned from the history.
    pub(super) fn healed(&self) -> u64 {
        self.healed
    }

    /// Returns the number of entries that were returned from each address.
    pub(super) fn taken(&self) -> &[u64] {
        &self.taken
    }

    /// Counts an entry from `address` that was returned without a merge, because there is only one line.
    pub(super) fn count(&mut self, address: usize) {
        self.taken[address] += 1;
    }

    /// Returns the hole before the first waiting entry.
    pub(super) fn hole(&self, cursor: &Cursor) -> Option<Hole> {
        let first = self.waiting.values().next()?;
        Some(Hole { after: cursor.last()?, until: first.prev })
    }

    /// Returns true if a line has not come to the end of the hole yet, and so may still send the missing entries. A
    /// connection that has sent no id yet does not count.
    pub(super) fn is_awaited(&self, lines: &[LinePosition]) -> bool {
        let Some(first) = self.waiting.values().next() else { return false };
        lines.iter().any(|line| line.newest.is_some_and(|newest| newest < first.prev))
    }

    /// Returns true if this line must not be read, because it is ahead of the hole and too many entries wait.
    pub(super) fn is_full_for(&self, line: &LinePosition) -> bool {
        let is_ahead = |first: &Waiting| line.newest > Some(first.prev);
        self.waiting.len() >= MAX_WAITING && self.waiting.values().next().is_some_and(is_ahead)
    }

    /// Processes a message of the line with the number `line`, which is connected to `address`, and appends its updates
    /// to `out`.
    pub(super) fn receive(
        &mut self,
        cursor: &mut Cursor,
        lines: &mut [LinePosition],
        (line, address): (usize, usize),
        message: Received,
        now: Instant,
        out: &mut VecDeque<Update>,
    ) {
        let position = &mut lines[line];
        match message {
            Received::Tick(_) | Received::Status(_) => {
                let Some((id, prev)) = place(&message) else { return };
                position.newest = Some(id);
                if position.behind.is_some_and(|(behind, _)| behind <= id) {
                    position.behind = None;
                }
                let gaps = std::mem::take(&mut position.gaps);
                self.entry(cursor, id, Waiting { entry: message, prev, gaps, address: Some(address) }, now, out);
            }
            Received::Gap(gap) => position.gaps.push(gap),
            Received::Synced(id) => {
                position.newest = position.newest.max(Some(id));
                position.is_live = true;
                for gap in std::mem::take(&mut position.gaps) {
                    cursor.receive(Received::Gap(gap), out);
                }
                self.synced(cursor, lines, id, now, out);
            }
            _ => {
                cursor.receive(message, out);
                self.drain(cursor, now, out);
            }
        }
    }

    /// Processes a message of the history. A gap is kept until the entry after it is returned. It does not close a
    /// hole, because the history of another address may have what this one lacks.
    pub(super) fn heal(&mut self, cursor: &mut Cursor, message: Received, now: Instant, out: &mut VecDeque<Update>) {
        if let Some((id, prev)) = place(&message) {
            let gaps = self.take_gaps(cursor, id);
            if !cursor.knows(id) && !self.waiting.contains_key(&id) {
                self.add(cursor, id, Waiting { entry: message, prev, gaps, address: None }, now, out);
            }
            return;
        }
        match message {
            Received::Gap(gap) => self.gaps.push(gap),
            other => {
                cursor.receive(other, out);
                self.drain(cursor, now, out);
            }
        }
    }

    /// Returns the entry after the hole, with a gap before it, because nothing can close the hole.
    pub(super) fn give_up(&mut self, cursor: &mut Cursor, now: Instant, out: &mut VecDeque<Update>) {
        if let Some((id, mut first)) = self.waiting.pop_first() {
            let is_explained = first.gaps.iter().any(explains);
            let found = self.take_gaps(cursor, id);
            first.gaps.extend(found.into_iter().filter(|gap| !(is_explained && explains(gap))));
            self.deliver(cursor, first, now, out);
            self.drain(cursor, now, out);
        }
    }

    /// Takes the gaps of the history that end at this entry or before. Several addresses may explain the same hole, so
    /// only the last explanation is kept.
    fn take_gaps(&mut self, cursor: &Cursor, id: TickId) -> Vec<GapUpdate> {
        let mut found: Vec<_> = self.gaps.extract_if(.., |gap| gap.before <= id).collect();
        found.retain(|gap| !cursor.knows(gap.before));
        let best = found.iter().rposition(explains);
        let mut number = 0..;
        found.retain(|gap| number.next() == best || !explains(gap));
        found
    }

    /// Returns the numbers of the lines that are so late that they are to be replaced. If all lines are late, returns
    /// no number.
    pub(super) fn late(cursor: &Cursor, lines: &mut [LinePosition], now: Instant) -> Vec<usize> {
        let Some(last) = cursor.last() else { return Vec::new() };
        let is_late = |line: &mut LinePosition| {
            line.is_live && line.newest < Some(last) && now - line.behind.get_or_insert((last, now)).1 > MAX_LAG
        };
        let late: Vec<_> =
            lines.iter_mut().map(is_late).enumerate().filter(|(_, late)| *late).map(|(n, _)| n).collect();
        if late.len() < lines.len() { late } else { Vec::new() }
    }

    fn entry(&mut self, cursor: &mut Cursor, id: TickId, waiting: Waiting, now: Instant, out: &mut VecDeque<Update>) {
        if cursor.knows(id) || self.waiting.contains_key(&id) {
            cursor.count_duplicate();
        } else {
            self.add(cursor, id, waiting, now, out);
        }
    }

    /// Returns an entry, or adds it to the waiting ones.
    fn add(&mut self, cursor: &mut Cursor, id: TickId, waiting: Waiting, now: Instant, out: &mut VecDeque<Update>) {
        if cursor.continues(id, waiting.prev) {
            self.deliver(cursor, waiting, now, out);
            self.drain(cursor, now, out);
        } else {
            self.waiting.insert(id, waiting);
        }
    }

    fn deliver(&mut self, cursor: &mut Cursor, waiting: Waiting, now: Instant, out: &mut VecDeque<Update>) {
        self.moved_at = now;
        let is_next = cursor.last() == Some(waiting.prev);
        for gap in waiting.gaps {
            // What one line lacks is not missing if another line had it.
            let lacks_entries =
                matches!(gap.reason, GapCause::HistoryExpired | GapCause::HistoryLost | GapCause::ReplayLimit);
            if !(is_next && lacks_entries) {
                cursor.receive(Received::Gap(gap), out);
            }
        }
        cursor.receive(waiting.entry, out);
        match waiting.address {
            Some(address) => self.taken[address] += 1,
            None => self.healed += 1,
        }
    }

    /// Returns the waiting entries that the hole no longer holds back.
    fn drain(&mut self, cursor: &mut Cursor, now: Instant, out: &mut VecDeque<Update>) {
        while let Some(first) = self.waiting.first_entry() {
            let is_known = cursor.knows(*first.key());
            if !is_known && !cursor.continues(*first.key(), first.get().prev) {
                break;
            }
            let first = first.remove();
            if !is_known {
                self.deliver(cursor, first, now, out);
            }
        }
        if self.waiting.is_empty() {
            self.gaps.clear();
        }
    }

    /// Processes the end of a line's replay, at `id`. If `id` is before the cursor, this line usually only lags a
    /// little behind another one. So the cursor goes back to `id` only if every line is before the cursor and no new
    /// entry has come for [`REWIND_AFTER`]. If no entry has come at all, the cursor always goes back.
    fn synced(
        &self,
        cursor: &mut Cursor,
        lines: &[LinePosition],
        id: TickId,
        now: Instant,
        out: &mut VecDeque<Update>,
    ) {
        let is_before = |last| {
            let is_quiet = now - self.moved_at > REWIND_AFTER;
            let all_are = lines.iter().all(|line| line.newest.is_some_and(|newest| newest < last));
            id < last && cursor.has_moved() && !(is_quiet && all_are)
        };
        if cursor.last().is_some_and(is_before) {
            out.push_back(Update::Synced { id });
        } else {
            cursor.receive(Received::Synced(id), out);
        }
    }
}

/// Returns true if a gap may be the reason why entries are missing.
fn explains(gap: &GapUpdate) -> bool {
    !matches!(gap.reason, GapCause::SourceOutage | GapCause::HeldTooLong)
}

/// Returns the id and the `prev` of an entry.
fn place(message: &Received) -> Option<(TickId, TickId)> {
    match message {
        Received::Tick(tick) => Some((tick.id, tick.prev)),
        Received::Status(status) => Some((status.id, status.prev)),
        _ => None,
    }
}
