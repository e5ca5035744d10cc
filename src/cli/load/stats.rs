//! The statistics of all clients together.
//!
//! One lock protects them. A client holds it for a fraction of a microsecond for each update. The order in which
//! clients take the lock is the order of arrival, from which the spread is computed.
//!
//! A part of the feed is measured, not a period of time. It begins after the newest entry that any client had when the
//! measurement started, and ends with the newest entry that any client had when the measurement ended. So clients that
//! replay or lag are measured by the same entries as all others.

use super::latencies::Latencies;
use crate::client::{Error, GapCause, GapUpdate};
use crate::tick::TickId;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// The maximum number of entries whose first arrival is kept.
const MAX_ARRIVALS: usize = 10_000;
/// The maximum number of reasons that are counted separately. Further reasons share one count. A server may send a new
/// reason each time, so the memory must have a bound.
const MAX_REASONS: usize = 32;
const OTHER_REASONS: &str = "other reasons";

/// The statistics.
#[derive(Debug)]
pub(super) struct Stats {
    /// The newest id that each client has. `None` if the client was never connected.
    reached: Vec<Option<TickId>>,
    /// The newest id that any client has.
    newest: TickId,
    /// The id before the measured entries. `None` before the measurement.
    after: Option<TickId>,
    /// The last measured id. `None` until the measurement ends.
    until: Option<TickId>,
    /// The first arrival of each measured entry, in the order of the ids.
    first_arrivals: VecDeque<(TickId, Instant)>,
    /// The number of clients that are connected now.
    pub(super) connected: usize,
    /// The number of clients that have read all of their first replay.
    pub(super) in_sync: usize,
    /// The number of clients that the server rejected.
    pub(super) rejected: usize,
    /// The first error of a rejected client.
    pub(super) rejection: Option<Error>,
    /// The number of measured entries.
    pub(super) entries: u64,
    /// The number of arrivals of measured entries at all clients together.
    pub(super) updates: u64,
    /// The number of gaps that have no reason, or whose reason is that the store lost entries.
    pub(super) lost: u64,
    /// The number of entries that a client received twice.
    pub(super) doubled: u64,
    /// The number of gaps for each reason.
    pub(super) gaps: BTreeMap<String, u64>,
    pub(super) reconnects: u64,
    /// The number of connections that were lost or could not be opened, for each reason.
    pub(super) failures: BTreeMap<String, u64>,
    /// The time from an entry's id to its arrival.
    pub(super) age: Latencies,
    /// The time from an entry's arrival at the first client to its arrival at each other client.
    pub(super) spread: Latencies,
    /// The time from a client's start to its first message.
    pub(super) connect: Latencies,
    /// The time from a client's start to the end of its first replay.
    pub(super) sync: Latencies,
    /// The time from the loss of a connection to the first message of the next connection.
    pub(super) reconnect: Latencies,
}

/// The statistics, shared by all clients.
#[derive(Clone)]
pub(super) struct SharedStats(Arc<Mutex<Stats>>);

impl SharedStats {
    pub(super) fn new(stats: Stats) -> SharedStats {
        SharedStats(Arc::new(Mutex::new(stats)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Stats> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stats {
    /// Creates empty statistics of a number of clients.
    pub(super) fn new(clients: usize) -> Stats {
        Stats {
            reached: vec![None; clients],
            newest: TickId::ZERO,
            after: None,
            until: None,
            first_arrivals: VecDeque::new(),
            connected: 0,
            in_sync: 0,
            rejected: 0,
            rejection: None,
            entries: 0,
            updates: 0,
            lost: 0,
            doubled: 0,
            gaps: BTreeMap::new(),
            reconnects: 0,
            failures: BTreeMap::new(),
            age: Latencies::new(),
            spread: Latencies::new(),
            connect: Latencies::new(),
            sync: Latencies::new(),
            reconnect: Latencies::new(),
        }
    }

    /// Records the first message of a client, and the time since its start.
    pub(super) fn record_connect(&mut self, client: usize, after: Duration) {
        self.connected += 1;
        self.connect.record(after);
        self.record_reached(client, TickId::ZERO);
    }

    /// Records the first message after a reconnect, and the time since the connection was lost.
    pub(super) fn record_reconnect(&mut self, after: Duration) {
        self.connected += 1;
        self.reconnects += 1;
        self.reconnect.record(after);
    }

    /// Records the end of a client's first replay, and the time since its start.
    pub(super) fn record_sync(&mut self, after: Duration) {
        self.in_sync += 1;
        self.sync.record(after);
    }

    /// Records a connection that was lost or could not be opened.
    pub(super) fn record_failure(&mut self, why: &str, was_connected: bool) {
        self.connected -= usize::from(was_connected);
        count(&mut self.failures, why);
    }

    /// Records that the server rejected a client.
    pub(super) fn record_rejection(&mut self, error: Error, was_connected: bool) {
        self.record_failure(&error.to_string(), was_connected);
        self.rejected += 1;
        self.rejection.get_or_insert(error);
    }

    pub(super) fn record_gap(&mut self, gap: &GapUpdate) {
        self.lost += u64::from(matches!(gap.reason, GapCause::Unexplained | GapCause::HistoryLost));
        count(&mut self.gaps, gap.reason.as_str());
    }

    /// Records that a client has all entries up to this id.
    pub(super) fn record_reached(&mut self, client: usize, id: TickId) {
        let reached = self.reached[client].get_or_insert(id);
        *reached = id.max(*reached);
        self.newest = id.max(self.newest);
    }

    /// Records that an entry arrives at a client now.
    pub(super) fn record_entry(&mut self, client: usize, id: TickId) {
        self.record_reached(client, id);
        if self.after.is_none_or(|after| id <= after) || self.until.is_some_and(|until| id > until) {
            return;
        }
        self.updates += 1;
        self.age.record(age(id));
        let now = Instant::now();
        if let Some(first) = self.first_arrival(id, now) {
            self.spread.record(now - first);
        }
    }

    /// Returns the time at which an entry arrived at the first client. If this is the first client, records `now` and
    /// returns `None`. Also returns `None` if the time is no longer known.
    fn first_arrival(&mut self, id: TickId, now: Instant) -> Option<Instant> {
        let at = self.first_arrivals.partition_point(|(known, _)| *known < id);
        match self.first_arrivals.get(at) {
            Some((known, first)) if *known == id => return Some(*first),
            Some(_) if at == 0 && self.first_arrivals.len() == MAX_ARRIVALS => return None,
            _ => {}
        }
        self.first_arrivals.insert(at, (id, now));
        self.entries += 1;
        if self.first_arrivals.len() > MAX_ARRIVALS {
            self.first_arrivals.pop_front();
        }
        None
    }

    /// Begins the measurement with the next entry.
    pub(super) fn begin(&mut self) {
        self.after = Some(self.newest);
    }

    /// Ends the measurement with the newest entry that any client has.
    pub(super) fn end(&mut self) {
        self.until = Some(self.newest);
    }

    /// Returns the number of connections that were lost or could not be opened.
    pub(super) fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// Returns the number of clients that were ever connected.
    pub(super) fn ever_connected(&self) -> usize {
        self.reached.iter().flatten().count()
    }

    /// Returns the id of the newest measured entry, or of the newest entry if the measurement has not ended.
    pub(super) fn newest(&self) -> TickId {
        self.until.unwrap_or(self.newest)
    }

    /// Returns the number of clients that have the newest measured entry.
    pub(super) fn at_newest(&self) -> usize {
        self.reached.iter().flatten().filter(|reached| **reached >= self.newest()).count()
    }
}

/// Returns the time since an id by the clock of this machine, or zero if the id is in the future.
fn age(id: TickId) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(Duration::from_millis(id.ms()))
}

fn count(counts: &mut BTreeMap<String, u64>, reason: &str) {
    let reason = if counts.len() < MAX_REASONS || counts.contains_key(reason) { reason } else { OTHER_REASONS };
    *counts.entry(reason.to_owned()).or_default() += 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn id(ms: u64) -> TickId {
        TickId::from_ms(ms)
    }

    #[test]
    fn all_clients_are_measured_by_the_same_entries() {
        let mut stats = Stats::new(3);
        (0..3).for_each(|client| stats.record_connect(client, Duration::ZERO));
        stats.record_entry(0, id(10));
        stats.begin();
        for (client, entry) in [(1, 10), (0, 20), (1, 20), (0, 30), (2, 20)] {
            stats.record_entry(client, id(entry));
        }
        stats.end();
        assert_eq!((stats.newest(), stats.at_newest()), (id(30), 1));
        for (client, entry) in [(0, 40), (1, 30), (1, 40)] {
            stats.record_entry(client, id(entry));
        }
        assert_eq!((stats.entries, stats.updates), (2, 5), "two clients got two entries, and one client one");
        assert_eq!(stats.spread.summary().map(|_| stats.updates - stats.entries), Some(3));
        assert_eq!((stats.newest(), stats.at_newest()), (id(30), 2), "later entries do not count");
    }

    #[test]
    fn unconnected_client_is_behind_an_empty_feed() {
        let mut stats = Stats::new(3);
        stats.record_connect(1, Duration::ZERO);
        stats.record_failure("cut", true);
        assert_eq!((stats.connected, stats.ever_connected(), stats.at_newest()), (0, 1, 1));
    }

    #[test]
    fn memory_of_the_statistics_is_bounded() {
        let mut stats = Stats::new(1);
        stats.begin();
        (1..=MAX_ARRIVALS as u64 + 5).for_each(|entry| stats.record_entry(0, id(entry)));
        assert_eq!((stats.first_arrivals.len(), stats.entries), (MAX_ARRIVALS, MAX_ARRIVALS as u64 + 5));
        stats.record_entry(0, id(1));
        assert_eq!(
            (stats.first_arrivals.len(), stats.entries),
            (MAX_ARRIVALS, MAX_ARRIVALS as u64 + 5),
            "an old entry is not taken for a new one"
        );
        (0..99).for_each(|number| stats.record_failure(&format!("reason {number}"), false));
        assert_eq!((stats.failures.len(), stats.failures[OTHER_REASONS]), (MAX_REASONS + 1, 99 - MAX_REASONS as u64));
    }
}
