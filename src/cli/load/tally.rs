//! What all clients together have seen, and when.
//!
//! One lock is around it. A client takes it for a fraction of a microsecond an update, and the order in which clients take it
//! is the order of arrival, which the spread needs.
//!
//! What is measured is a part of the feed, not of time: the entries after the newest that anybody had when measuring began, up to
//! the newest that anybody had when it ended. So a client that replays, or is late, is measured by the same entries as every other.

use super::times::Times;
use crate::client::{Error, Gap, GapReason};
use crate::tick::TickId;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// The most entries of which it is kept when the first client had them.
const KEPT: usize = 10_000;
/// The most different reasons that are counted apart: a server may make up a new one each time.
const REASONS: usize = 32;
const OTHER_REASONS: &str = "other reasons";

/// What happened.
#[derive(Debug)]
pub(super) struct Tally {
    /// For each client the newest id that it has. `None` before it was ever connected.
    reached: Vec<Option<TickId>>,
    /// The newest of them.
    newest: TickId,
    /// What is measured: the entries after one id, and up to another once that is known.
    after: Option<TickId>,
    until: Option<TickId>,
    /// When anybody first had each entry that is measured, in the order of the ids.
    firsts: VecDeque<(TickId, Instant)>,
    /// How many clients are connected now, have read all of their first replay, are given up by the server.
    pub(super) connected: usize,
    pub(super) in_sync: usize,
    pub(super) refused: usize,
    /// Why the first of them was.
    pub(super) refusal: Option<Error>,
    /// Of the measured part: how many entries there were, and how many arrived at all clients together.
    pub(super) entries: u64,
    pub(super) updates: u64,
    /// Gaps that nothing explains or that the store lost, and entries that came again.
    pub(super) lost: u64,
    pub(super) doubled: u64,
    /// Every gap, by its reason.
    pub(super) gaps: BTreeMap<String, u64>,
    pub(super) reconnects: u64,
    /// Connections that were lost or not made, by what was said about it.
    pub(super) failures: BTreeMap<String, u64>,
    /// From an entry's id to its arrival.
    pub(super) age: Times,
    /// From an entry's arrival at the first client to that at each other.
    pub(super) spread: Times,
    /// From a client's beginning to its first message, and to the end of its first replay.
    pub(super) connect: Times,
    pub(super) sync: Times,
    /// From the loss of a connection to the first message of the next.
    pub(super) reconnect: Times,
}

impl Tally {
    /// Of so many clients that have seen nothing.
    pub(super) fn new(clients: usize) -> Tally {
        Tally {
            reached: vec![None; clients],
            newest: TickId::ZERO,
            after: None,
            until: None,
            firsts: VecDeque::new(),
            connected: 0,
            in_sync: 0,
            refused: 0,
            refusal: None,
            entries: 0,
            updates: 0,
            lost: 0,
            doubled: 0,
            gaps: BTreeMap::new(),
            reconnects: 0,
            failures: BTreeMap::new(),
            age: Times::new(),
            spread: Times::new(),
            connect: Times::new(),
            sync: Times::new(),
            reconnect: Times::new(),
        }
    }

    /// A client has its first message, so long after its beginning.
    pub(super) fn connects(&mut self, client: usize, after: Duration) {
        self.connected += 1;
        self.connect.record(after);
        self.reaches(client, TickId::ZERO);
    }

    /// A client has a message again, so long after it lost its connection.
    pub(super) fn reconnects(&mut self, after: Duration) {
        self.connected += 1;
        self.reconnects += 1;
        self.reconnect.record(after);
    }

    /// A client has read its first replay, so long after its beginning.
    pub(super) fn syncs(&mut self, after: Duration) {
        self.in_sync += 1;
        self.sync.record(after);
    }

    /// A connection is over, or was not made.
    pub(super) fn fails(&mut self, why: &str, was_connected: bool) {
        self.connected -= usize::from(was_connected);
        count(&mut self.failures, why);
    }

    /// The server wants a client no more.
    pub(super) fn is_refused(&mut self, error: Error, was_connected: bool) {
        self.fails(&error.to_string(), was_connected);
        self.refused += 1;
        self.refusal.get_or_insert(error);
    }

    pub(super) fn gap(&mut self, gap: &Gap) {
        self.lost += u64::from(matches!(gap.reason, GapReason::Unexplained | GapReason::HistoryLost));
        count(&mut self.gaps, gap.reason.as_str());
    }

    /// A client has everything up to this id.
    pub(super) fn reaches(&mut self, client: usize, id: TickId) {
        let reached = self.reached[client].get_or_insert(id);
        *reached = id.max(*reached);
        self.newest = id.max(self.newest);
    }

    /// An entry has arrived at a client, now.
    pub(super) fn entry(&mut self, client: usize, id: TickId) {
        self.reaches(client, id);
        if self.after.is_none_or(|after| id <= after) || self.until.is_some_and(|until| id > until) {
            return;
        }
        self.updates += 1;
        self.age.record(age(id));
        let now = Instant::now();
        if let Some(first) = self.first(id, now) {
            self.spread.record(now - first);
        }
    }

    /// When the first client had this entry; `None` if it is this one, or nobody knows any more.
    fn first(&mut self, id: TickId, now: Instant) -> Option<Instant> {
        let at = self.firsts.partition_point(|(known, _)| *known < id);
        match self.firsts.get(at) {
            Some((known, first)) if *known == id => return Some(*first),
            Some(_) if at == 0 && self.firsts.len() == KEPT => return None,
            _ => {}
        }
        self.firsts.insert(at, (id, now));
        self.entries += 1;
        if self.firsts.len() > KEPT {
            self.firsts.pop_front();
        }
        None
    }

    /// Measures from the next entry on.
    pub(super) fn begin(&mut self) {
        self.after = Some(self.newest);
    }

    /// Measures only what somebody has already, from now on.
    pub(super) fn end(&mut self) {
        self.until = Some(self.newest);
    }

    /// How many connections were lost or not made.
    pub(super) fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// How many clients were ever connected.
    pub(super) fn ever_connected(&self) -> usize {
        self.reached.iter().flatten().count()
    }

    /// The newest entry of what is measured.
    pub(super) fn newest(&self) -> TickId {
        self.until.unwrap_or(self.newest)
    }

    /// How many clients have it.
    pub(super) fn at_newest(&self) -> usize {
        self.reached.iter().flatten().filter(|reached| **reached >= self.newest()).count()
    }
}

/// The time since an id by this machine's clock; none if it is ahead of it.
fn age(id: TickId) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(Duration::from_millis(id.ms()))
}

fn count(counts: &mut BTreeMap<String, u64>, what: &str) {
    let what = if counts.len() < REASONS || counts.contains_key(what) { what } else { OTHER_REASONS };
    *counts.entry(what.to_owned()).or_default() += 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn id(ms: u64) -> TickId {
        TickId::from_ms(ms)
    }

    #[test]
    fn what_is_measured_are_the_same_entries_for_everybody() {
        let mut tally = Tally::new(3);
        (0..3).for_each(|client| tally.connects(client, Duration::ZERO));
        tally.entry(0, id(10));
        tally.begin();
        for (client, entry) in [(1, 10), (0, 20), (1, 20), (0, 30), (2, 20)] {
            tally.entry(client, id(entry));
        }
        tally.end();
        assert_eq!((tally.newest(), tally.at_newest()), (id(30), 1));
        for (client, entry) in [(0, 40), (1, 30), (1, 40)] {
            tally.entry(client, id(entry));
        }
        assert_eq!((tally.entries, tally.updates), (2, 5), "two for two, one for the third");
        assert_eq!(tally.spread.summary().map(|_| tally.updates - tally.entries), Some(3));
        assert_eq!((tally.newest(), tally.at_newest()), (id(30), 2), "what came later is not asked for");
    }

    #[test]
    fn who_was_never_connected_has_nothing_not_even_of_an_empty_feed() {
        let mut tally = Tally::new(3);
        tally.connects(1, Duration::ZERO);
        tally.fails("cut", true);
        assert_eq!((tally.connected, tally.ever_connected(), tally.at_newest()), (0, 1, 1));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut tally = Tally::new(1);
        tally.begin();
        (1..=KEPT as u64 + 5).for_each(|entry| tally.entry(0, id(entry)));
        assert_eq!((tally.firsts.len(), tally.entries), (KEPT, KEPT as u64 + 5));
        tally.entry(0, id(1));
        assert_eq!((tally.firsts.len(), tally.entries), (KEPT, KEPT as u64 + 5), "it is not taken for a new one");
        (0..99).for_each(|number| tally.fails(&format!("reason {number}"), false));
        assert_eq!((tally.failures.len(), tally.failures[OTHER_REASONS]), (REASONS + 1, 99 - REASONS as u64));
    }
}
