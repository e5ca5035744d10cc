//! The position of a subscriber in the feed. It tells which entries the subscriber has, which are missing, and where
//! the next connection begins.
//!
//! The gap rule is that of the [`feed`](crate::feed): each entry names the one before it. The subscriber gets no entry
//! twice or out of order, unless the feed itself goes back to an older id (`Cursor::synced`). If the subscription is
//! for every entry, the subscriber gets a gap where entries are missing.

use super::received::{Position, Received};
use super::update::{GapCause, GapUpdate, Update};
use crate::feed::{Continuity, Start};
use crate::tick::TickId;
use std::collections::VecDeque;

/// The maximum number of gaps to remember. Before an entry, a server sends at most one for each currency, and few
/// others.
const MAX_REPORTED: usize = 16;

/// A position in the feed.
#[derive(Debug)]
pub(super) struct Cursor {
    start: Start,
    /// The id to continue after: the id of the last entry, or an id that the caller or `synced` gave.
    last: Option<TickId>,
    /// True after an entry has come from the feed. Before that, `last` is the id that the caller or `synced` gave.
    moved: bool,
    /// True if the server sends every entry, so that each must continue the one before.
    chained: bool,
    /// The gaps that were reported and whose end has not come yet.
    reported: Vec<GapUpdate>,
    /// True if a message since the last entry may have been an entry that this version cannot read.
    opaque: bool,
    /// The number of known entries that came again.
    duplicates: u64,
}

impl Cursor {
    /// Creates a cursor at `start`. A `chained` cursor compares the `prev` of each entry with the id of the previous
    /// entry.
    pub(super) fn new(start: Start, chained: bool) -> Cursor {
        let last = match start {
            Start::After(id) => Some(id),
            Start::Latest | Start::Since(_) => None,
        };
        Cursor { start, last, moved: false, chained, reported: Vec::new(), opaque: false, duplicates: 0 }
    }

    /// Returns the place where the next connection must start so that no entry is missing.
    pub(super) fn start(&self) -> Start {
        self.last.map_or(self.start, Start::After)
    }

    /// Returns the id to continue after.
    pub(super) fn last(&self) -> Option<TickId> {
        self.last
    }

    /// Returns true if an entry has come from the feed.
    pub(super) fn has_moved(&self) -> bool {
        self.moved
    }

    /// Returns the number of entries that were dropped because they were known.
    pub(super) fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// Counts an entry that was dropped because it is known.
    pub(super) fn count_duplicate(&mut self) {
        self.duplicates += 1;
    }

    /// Returns true if the entry with this id was received, or is before the last one.
    pub(super) fn knows(&self, id: TickId) -> bool {
        self.last.is_some_and(|last| id <= last)
    }

    /// Returns true if no entry is missing between the last one and this one, or if a reported gap explains what is
    /// missing.
    pub(super) fn continues(&self, id: TickId, prev: TickId) -> bool {
        self.last.is_none_or(|last| prev <= last) || self.is_explained(id)
    }

    /// Processes a message and appends its updates to `out`. Returns true if the cursor has moved forward to an entry.
    pub(super) fn receive(&mut self, message: Received, out: &mut VecDeque<Update>) -> bool {
        match message {
            Received::Tick(tick) => self.entry(tick.id, tick.prev, Update::Tick(tick), out),
            Received::Status(status) => self.entry(status.id, status.prev, Update::Status(status), out),
            Received::Gap(gap) => {
                out.extend(self.gap(gap));
                false
            }
            Received::Synced(id) => {
                out.extend(self.synced(id));
                out.push_back(Update::Synced { id });
                false
            }
            Received::Unknown(Some(Position { id, prev })) => {
                // An entry of a new type continues the chain. Other messages may have an `id` and a `prev` by chance.
                let next = self.last.is_some_and(|last| Continuity::of(id, prev, last) == Continuity::Next);
                if next {
                    self.move_to(id);
                }
                next
            }
            Received::Opaque => {
                self.opaque = true;
                false
            }
            Received::Unknown(None) | Received::Hello(_) | Received::Goodbye(_) => false,
        }
    }

    fn entry(&mut self, id: TickId, prev: TickId, update: Update, out: &mut VecDeque<Update>) -> bool {
        match self.last.map(|last| (last, Continuity::of(id, prev, last))) {
            Some((_, Continuity::Known)) => {
                self.duplicates += 1;
                return false;
            }
            Some((after, Continuity::Missed | Continuity::Lost))
                if self.chained && !self.opaque && !self.is_explained(id) =>
            {
                let gap = GapUpdate { after, before: id, reason: GapCause::Unexplained, currencies: None };
                out.push_back(Update::Gap(gap));
            }
            _ => {}
        }
        self.move_to(id);
        out.push_back(update);
        true
    }

    /// Returns true if a reported gap explains why entries before `id` are missing. Two reasons do not explain that,
    /// because they are about ticks that the feed never had: there was no price, or the tick could not be written.
    fn is_explained(&self, id: TickId) -> bool {
        let never_written = |reason: &GapCause| matches!(reason, GapCause::SourceOutage | GapCause::HeldTooLong);
        self.reported.iter().any(|gap| gap.before == id && !never_written(&gap.reason))
    }

    /// Returns the gap, unless it was reported already. The server sends a gap again if the connection ended between
    /// the gap and the entry after it.
    fn gap(&mut self, gap: GapUpdate) -> Option<Update> {
        if self.last.is_some_and(|last| gap.before <= last) || self.reported.contains(&gap) {
            return None;
        }
        if self.reported.len() == MAX_REPORTED {
            self.reported.remove(0);
        }
        self.reported.push(gap.clone());
        Some(Update::Gap(gap))
    }

    /// Processes the end of the replay, which gives an id to a subscriber that has none. If the id is less than the
    /// cursor's, the cursor is in the future of the feed. It moves back to the id, because it would otherwise drop the
    /// next entries as known.
    fn synced(&mut self, id: TickId) -> Option<Update> {
        let Some(last) = self.last else {
            self.last = Some(id);
            return None;
        };
        // If the server leaves out ticks, its `synced` may have a lower id than the last entry that it has sent.
        if id >= last || self.moved && !self.chained {
            return None;
        }
        self.last = Some(id);
        self.reported.clear();
        let gap = GapUpdate { after: last, before: id, reason: GapCause::Unexplained, currencies: None };
        self.moved.then_some(Update::Gap(gap))
    }

    fn move_to(&mut self, id: TickId) {
        self.last = Some(id);
        self.moved = true;
        self.opaque = false;
        self.reported.retain(|gap| gap.before > id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write;

    fn message(text: &str) -> Received {
        Received::read(text).unwrap()
    }

    fn tick(id: u64, prev: u64) -> Received {
        message(&format!(r#"{{"type":"tick","id":{id},"prev":{prev},"prices":{{}}}}"#))
    }

    fn gap(after: u64, before: u64, reason: &str) -> Received {
        message(&format!(r#"{{"type":"gap","after":{after},"before":{before},"reason":"{reason}"}}"#))
    }

    fn synced(id: u64) -> Received {
        Received::Synced(TickId::from_ms(id))
    }

    /// Returns the updates as text: ticks as their ids, gaps as `after..before reason`.
    fn updates(cursor: &mut Cursor, messages: impl IntoIterator<Item = Received>) -> String {
        let mut out = VecDeque::new();
        for message in messages {
            cursor.receive(message, &mut out);
        }
        out.iter().fold(String::new(), |mut text, update| {
            match update {
                Update::Tick(tick) => write!(text, "{} ", tick.id),
                Update::Gap(GapUpdate { after, before, reason, .. }) => write!(text, "{after}..{before} {reason} "),
                Update::Synced { id } => write!(text, "synced {id} "),
                other => panic!("{other:?}"),
            }
            .unwrap();
            text
        })
    }

    fn at(start: Start) -> Cursor {
        Cursor::new(start, true)
    }

    const AFTER_10: Start = Start::After(TickId::from_ms(10));

    #[test]
    fn known_entries_are_dropped() {
        let mut cursor = at(Start::Latest);
        assert_eq!(updates(&mut cursor, [tick(20, 10), synced(20), tick(30, 20)]), "20 synced 20 30 ");
        assert_eq!(updates(&mut cursor, [tick(20, 10), tick(30, 20), tick(40, 30)]), "40 ");
        assert_eq!(cursor.start(), Start::After(TickId::from_ms(40)));
        assert_eq!(cursor.duplicates(), 2);
    }

    #[test]
    fn missing_entries_become_a_gap_unless_explained() {
        assert_eq!(updates(&mut at(AFTER_10), [tick(30, 20)]), "10..30 unexplained 30 ");
        assert_eq!(
            updates(&mut at(AFTER_10), [gap(10, 30, "history_expired"), tick(30, 20)]),
            "10..30 history_expired 30 "
        );
        for reason in ["source_outage", "held_too_long"] {
            let outage = [gap(10, 30, reason), tick(30, 20)];
            assert_eq!(updates(&mut at(AFTER_10), outage), format!("10..30 {reason} 10..30 unexplained 30 "));
        }
        let outage = [gap(10, 30, "source_outage"), tick(30, 10)];
        assert_eq!(updates(&mut at(AFTER_10), outage), "10..30 source_outage 30 ");
        let sampled = &mut Cursor::new(AFTER_10, false);
        assert_eq!(updates(sampled, [tick(30, 20), tick(90, 80)]), "30 90 ");
    }

    #[test]
    fn repeated_gap_is_reported_once() {
        let mut cursor = at(AFTER_10);
        assert_eq!(updates(&mut cursor, [gap(10, 30, "history_expired")]), "10..30 history_expired ");
        assert_eq!(updates(&mut cursor, [gap(10, 30, "history_expired"), tick(30, 20)]), "30 ");
        assert_eq!(updates(&mut cursor, [gap(10, 30, "history_expired")]), "");
        let many = (0..100).map(|end| gap(30, 1000 + end, "new"));
        updates(&mut cursor, many);
        assert_eq!(cursor.reported.len(), MAX_REPORTED, "it is bounded");
    }

    #[test]
    fn end_of_replay_gives_the_first_cursor() {
        let mut cursor = at(Start::Latest);
        assert_eq!(cursor.start(), Start::Latest);
        assert_eq!(updates(&mut cursor, [synced(0)]), "synced 0 ");
        assert_eq!(cursor.start(), Start::After(TickId::ZERO));
        let since = Start::Since(TickId::from_ms(5));
        let mut cursor = at(since);
        assert_eq!(cursor.start(), since);
        assert_eq!(updates(&mut cursor, [gap(4, 30, "history_expired"), tick(30, 20)]), "4..30 history_expired 30 ");
    }

    #[test]
    fn cursor_from_the_future_follows_the_feed() {
        let mut cursor = at(Start::After(TickId::from_ms(9999)));
        assert_eq!(updates(&mut cursor, [synced(20), tick(30, 20)]), "synced 20 30 ");
        assert_eq!(updates(&mut cursor, [synced(5), tick(6, 5)]), "30..5 unexplained synced 5 6 ");
        let sampled = &mut Cursor::new(AFTER_10, false);
        assert_eq!(updates(sampled, [tick(30, 20), synced(29), tick(30, 20)]), "30 synced 29 ");
    }

    #[test]
    fn entry_of_a_new_type_continues_the_chain() {
        let mut cursor = at(AFTER_10);
        let new = [
            message(r#"{"type":"note","id":20,"prev":10}"#),
            message(r#"{"type":"advert","id":7000,"prev":1}"#),
            message(r#"{"type":"weather"}"#),
            tick(30, 20),
        ];
        assert_eq!(updates(&mut cursor, new), "30 ");
        assert_eq!(updates(&mut cursor, [Received::Opaque, tick(50, 40), tick(70, 60)]), "50 50..70 unexplained 70 ");
    }
}
