//! Where a subscriber is in the feed: what it has already, what is missing, and where the next connection begins.
//!
//! The gap rule is the feed's own (see [`feed`](crate::feed)): each entry names the one before it. Whatever the server does,
//! nothing is handed out twice, nothing out of order, and nothing is missing without a word.

use super::Start;
use super::message::Message;
use super::update::{Gap, GapReason, Update};
use crate::feed::Continuity;
use crate::tick::TickId;
use std::collections::VecDeque;

/// The most gaps that are remembered as told. There is one for each currency at most.
const TOLD: usize = 16;

/// A place in the feed.
#[derive(Debug)]
pub(super) struct Cursor {
    start: Start,
    /// The newest id that was handed out, passed over, or given as the start.
    last: Option<TickId>,
    /// Whether something has come from the feed. Before, `last` is the caller's word.
    moved: bool,
    /// Whether every entry is shown, so that each must follow on the one before.
    chained: bool,
    /// The gaps that were told and whose end has not come yet.
    told: Vec<Gap>,
    /// Whether something came since the last entry that may have been one.
    hidden: bool,
    /// How many entries came that were known already.
    duplicates: u64,
}

impl Cursor {
    /// A cursor that stands at `start`. With `chained` the `prev` of every entry is compared.
    pub(super) fn new(start: Start, chained: bool) -> Cursor {
        let last = match start {
            Start::After(id) => Some(id),
            Start::Latest | Start::Since(_) => None,
        };
        Cursor { start, last, moved: false, chained, told: Vec::new(), hidden: false, duplicates: 0 }
    }

    /// Where to begin so that nothing is missed.
    pub(super) fn start(&self) -> Start {
        self.last.map_or(self.start, Start::After)
    }

    /// The id to go on after.
    pub(super) fn last(&self) -> Option<TickId> {
        self.last
    }

    /// Whether anything has come from the feed.
    pub(super) fn has_moved(&self) -> bool {
        self.moved
    }

    /// How many entries were dropped because they were known.
    pub(super) fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// Takes in a message, and puts what it brings at the end of `out`. Whether it moved the cursor.
    pub(super) fn take(&mut self, message: Message, out: &mut VecDeque<Update>) -> bool {
        match message {
            Message::Tick(tick) => self.entry(tick.id, tick.prev, Update::Tick(tick), out),
            Message::Status(status) => self.entry(status.id, status.prev, Update::Status(status), out),
            Message::Gap(gap) => {
                out.extend(self.gap(gap));
                false
            }
            Message::Synced(id) => {
                out.extend(self.synced(id));
                out.push_back(Update::Synced { id });
                false
            }
            Message::Unknown(Some((id, prev))) => {
                // An entry of a new kind has its place in the chain; what only happens to have such fields has not.
                let next = self.last.is_some_and(|last| Continuity::of(id, prev, last) == Continuity::Next);
                if next {
                    self.move_to(id);
                }
                next
            }
            Message::Hidden => {
                self.hidden = true;
                false
            }
            Message::Unknown(None) | Message::Hello(_) | Message::CloseReason { .. } => false,
        }
    }

    fn entry(&mut self, id: TickId, prev: TickId, update: Update, out: &mut VecDeque<Update>) -> bool {
        match self.last.map(|last| (last, Continuity::of(id, prev, last))) {
            Some((_, Continuity::Known)) => {
                self.duplicates += 1;
                return false;
            }
            Some((after, Continuity::Missed | Continuity::Lost))
                if self.chained && !self.hidden && !self.was_explained(id) =>
            {
                let gap = Gap { after, before: id, reason: GapReason::Unexplained, currencies: None };
                out.push_back(Update::Gap(gap));
            }
            _ => {}
        }
        self.move_to(id);
        out.push_back(update);
        true
    }

    /// An outage explains why there are no prices, not why an entry is missing.
    fn was_explained(&self, id: TickId) -> bool {
        self.told.iter().any(|gap| gap.before == id && gap.reason != GapReason::SourceOutage)
    }

    /// A gap that was not told yet. A connection that is cut between a gap and its end brings it again.
    fn gap(&mut self, gap: Gap) -> Option<Update> {
        if self.last.is_some_and(|last| gap.before <= last) || self.told.contains(&gap) {
            return None;
        }
        if self.told.len() == TOLD {
            self.told.remove(0);
        }
        self.told.push(gap.clone());
        Some(Update::Gap(gap))
    }

    /// The end of replay gives a cursor to those who have none. One before ours tells that the feed takes ours for one from
    /// the future: what comes next would be smaller, and must not be taken for known.
    fn synced(&mut self, id: TickId) -> Option<Update> {
        let Some(last) = self.last else {
            self.last = Some(id);
            return None;
        };
        // Where not every entry is shown, the server may be at one before the last that it has sent.
        if id >= last || self.moved && !self.chained {
            return None;
        }
        self.last = Some(id);
        self.told.clear();
        let gap = Gap { after: last, before: id, reason: GapReason::Unexplained, currencies: None };
        self.moved.then_some(Update::Gap(gap))
    }

    fn move_to(&mut self, id: TickId) {
        self.last = Some(id);
        self.moved = true;
        self.hidden = false;
        self.told.retain(|gap| gap.before > id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write;

    fn message(text: &str) -> Message {
        Message::read(text).unwrap()
    }

    fn tick(id: u64, prev: u64) -> Message {
        message(&format!(r#"{{"type":"tick","id":{id},"prev":{prev},"prices":{{}}}}"#))
    }

    fn gap(after: u64, before: u64, reason: &str) -> Message {
        message(&format!(r#"{{"type":"gap","after":{after},"before":{before},"reason":"{reason}"}}"#))
    }

    fn synced(id: u64) -> Message {
        Message::Synced(TickId::from_ms(id))
    }

    /// What comes out: ticks as their ids, gaps as `after..before reason`.
    fn told(cursor: &mut Cursor, messages: impl IntoIterator<Item = Message>) -> String {
        let mut out = VecDeque::new();
        for message in messages {
            cursor.take(message, &mut out);
        }
        out.iter().fold(String::new(), |mut text, update| {
            match update {
                Update::Tick(tick) => write!(text, "{} ", tick.id),
                Update::Gap(Gap { after, before, reason, .. }) => write!(text, "{after}..{before} {reason} "),
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
    fn what_is_known_is_dropped_and_what_follows_is_passed_on() {
        let mut cursor = at(Start::Latest);
        assert_eq!(told(&mut cursor, [tick(20, 10), synced(20), tick(30, 20)]), "20 synced 20 30 ");
        assert_eq!(told(&mut cursor, [tick(20, 10), tick(30, 20), tick(40, 30)]), "40 ");
        assert_eq!(cursor.start(), Start::After(TickId::from_ms(40)));
        assert_eq!(cursor.duplicates(), 2);
    }

    #[test]
    fn what_does_not_follow_is_told_as_a_gap_unless_the_server_told_it() {
        assert_eq!(told(&mut at(AFTER_10), [tick(30, 20)]), "10..30 unexplained 30 ");
        assert_eq!(
            told(&mut at(AFTER_10), [gap(10, 30, "history_expired"), tick(30, 20)]),
            "10..30 history_expired 30 "
        );
        let outage = [gap(10, 30, "source_outage"), tick(30, 20)];
        assert_eq!(told(&mut at(AFTER_10), outage), "10..30 source_outage 10..30 unexplained 30 ");
        let outage = [gap(10, 30, "source_outage"), tick(30, 10)];
        assert_eq!(told(&mut at(AFTER_10), outage), "10..30 source_outage 30 ");
        let sampled = &mut Cursor::new(AFTER_10, false);
        assert_eq!(told(sampled, [tick(30, 20), tick(90, 80)]), "30 90 ");
    }

    #[test]
    fn a_gap_that_comes_again_after_a_cut_is_told_once() {
        let mut cursor = at(AFTER_10);
        assert_eq!(told(&mut cursor, [gap(10, 30, "history_expired")]), "10..30 history_expired ");
        assert_eq!(told(&mut cursor, [gap(10, 30, "history_expired"), tick(30, 20)]), "30 ");
        assert_eq!(told(&mut cursor, [gap(10, 30, "history_expired")]), "");
        let many = (0..100).map(|end| gap(30, 1000 + end, "new"));
        told(&mut cursor, many);
        assert_eq!(cursor.told.len(), TOLD, "it is bounded");
    }

    #[test]
    fn without_a_cursor_the_end_of_replay_gives_one() {
        let mut cursor = at(Start::Latest);
        assert_eq!(cursor.start(), Start::Latest);
        assert_eq!(told(&mut cursor, [synced(0)]), "synced 0 ");
        assert_eq!(cursor.start(), Start::After(TickId::ZERO));
        let since = Start::Since(TickId::from_ms(5));
        let mut cursor = at(since);
        assert_eq!(cursor.start(), since);
        assert_eq!(told(&mut cursor, [gap(4, 30, "history_expired"), tick(30, 20)]), "4..30 history_expired 30 ");
    }

    #[test]
    fn a_cursor_from_the_future_goes_on_where_the_feed_is() {
        let mut cursor = at(Start::After(TickId::from_ms(9999)));
        assert_eq!(told(&mut cursor, [synced(20), tick(30, 20)]), "synced 20 30 ");
        assert_eq!(told(&mut cursor, [synced(5), tick(6, 5)]), "30..5 unexplained synced 5 6 ");
        let sampled = &mut Cursor::new(AFTER_10, false);
        assert_eq!(told(sampled, [tick(30, 20), synced(29), tick(30, 20)]), "30 synced 29 ");
    }

    #[test]
    fn an_entry_of_a_new_kind_keeps_its_place_and_other_news_is_passed_over() {
        let mut cursor = at(AFTER_10);
        let new = [
            message(r#"{"type":"note","id":20,"prev":10}"#),
            message(r#"{"type":"advert","id":7000,"prev":1}"#),
            message(r#"{"type":"weather"}"#),
            tick(30, 20),
        ];
        assert_eq!(told(&mut cursor, new), "30 ");
        assert_eq!(told(&mut cursor, [Message::Hidden, tick(50, 40), tick(70, 60)]), "50 50..70 unexplained 70 ");
    }
}
