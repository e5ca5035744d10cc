//! The records that are not in the store yet, in order.

use crate::feed::{Event, Status};
use crate::store::Record;
use crate::telemetry::FaultLog;
use crate::telemetry::metrics::{DROPPED_RECORDS, HELD_RECORDS};
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tracing::warn;

/// The period for which an outbox can hold all ticks. If they exceed [`MAX_BYTES`], it holds fewer.
const HOLDS: Duration = Duration::from_secs(3600);
/// The minimum of the limit on the number of records. It applies if [`HOLDS`] has fewer ticks than this.
const MIN_RECORDS: usize = 1000;
/// The maximum estimated size of all records in bytes, without their audits.
const MAX_BYTES: usize = 64 << 20;
/// The maximum size of all audits in bytes. If there is no room for the audit of a tick, the tick is held without it.
const MAX_AUDIT_BYTES: usize = 32 << 20;
/// The estimated size of a record in bytes, without its text.
const RECORD_BYTES: usize = 512;

/// A bounded queue with one producer and one consumer. The consumer may read the first record several times before
/// removing that record. A record that does not fit replaces the oldest one.
pub(super) struct Outbox {
    held: Mutex<Held>,
    max_records: usize,
    max_bytes: usize,
    pushed: Notify,
}

#[derive(Default)]
struct Held {
    /// The records, each with its estimated size in bytes.
    records: VecDeque<(Record, usize)>,
    bytes: usize,
    /// The size of all audits in bytes.
    audit_bytes: usize,
    /// The number of dropped ticks that no tick in the store reports yet. All of them are older than the first record.
    dropped: u64,
    log: FaultLog,
}

impl Outbox {
    /// Creates an outbox with room for the ticks of an hour, one in each `interval`, unless they exceed [`MAX_BYTES`].
    pub(super) fn new(interval: Duration) -> Outbox {
        let ticks = HOLDS.as_millis() / interval.as_millis().max(1);
        Outbox::bounded(usize::try_from(ticks).unwrap_or(usize::MAX).max(MIN_RECORDS), MAX_BYTES)
    }

    fn bounded(max_records: usize, max_bytes: usize) -> Outbox {
        Outbox { held: Mutex::default(), max_records, max_bytes, pushed: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the number of records.
    pub(super) fn len(&self) -> usize {
        self.lock().records.len()
    }

    /// Returns the number of dropped ticks that no tick in the store reports yet.
    pub(super) fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// Adds a record at the end.
    pub(super) fn push(&self, mut record: Record) {
        let text = serde_json::to_string(&record.event).map_or(0, |text| text.len());
        let mut held = self.lock();
        // Audits do not count in `bytes`, so that they replace no record.
        if held.audit_bytes + audit_bytes(&record) > MAX_AUDIT_BYTES {
            record.audit = None;
        }
        held.bytes += text + RECORD_BYTES;
        held.audit_bytes += audit_bytes(&record);
        held.records.push_back((record, text + RECORD_BYTES));
        while held.records.len() > self.max_records || held.bytes > self.max_bytes {
            let Some(dropped) = held.take(0) else { break };
            held.dropped += u64::from(is_tick(&dropped));
            DROPPED_RECORDS.counter("").increment(1);
            if held.log.is_due() {
                warn!(held = held.records.len(), dropped = held.dropped, "holding too many ticks, dropping the oldest");
            }
        }
        held.measure();
        self.pushed.notify_one();
    }

    /// Waits until there is a first record, and returns a copy of it.
    pub(super) async fn first(&self) -> Record {
        loop {
            if let Some((record, _)) = self.lock().records.front() {
                return record.clone();
            }
            self.pushed.notified().await;
        }
    }

    /// Returns the newest status in the outbox for which `wanted` is true.
    pub(super) fn newest_status(&self, wanted: &dyn Fn(&Status) -> bool) -> Option<Status> {
        let held = self.lock();
        held.records.iter().rev().find_map(|(record, _)| match &record.event {
            Event::Status(status) => wanted(status).then(|| status.clone()),
            Event::Tick { .. } => None,
        })
    }

    /// Removes records from the front while `covered` returns true for them. Returns the number of removed records.
    pub(super) fn drop_while(&self, covered: impl Fn(&Record) -> bool) -> usize {
        let mut held = self.lock();
        let mut count = 0;
        while held.records.front().is_some_and(|(record, _)| covered(record)) {
            held.take(0);
            count += 1;
        }
        if count > 0 {
            // The ticks that a full outbox has dropped are older than these records, so they are covered, too.
            held.dropped = 0;
        }
        held.measure();
        count
    }

    /// Removes `record` after it was written. If it is a tick, it has reported `reported` dropped ticks.
    pub(super) fn remove(&self, record: &Record, reported: u64) {
        let mut held = self.lock();
        let place = held.records.iter().position(|(other, _)| other.number == record.number);
        if let Some(place) = place {
            held.take(place);
        }
        if is_tick(record) {
            // A record that was dropped while it was being written is not lost.
            held.dropped = held.dropped.saturating_sub(reported + u64::from(place.is_none()));
            if held.dropped == 0 {
                held.log.clear();
            }
        }
        held.measure();
    }
}

/// Returns the size of a record's audit.
fn audit_bytes(record: &Record) -> usize {
    record.audit.as_ref().map_or(0, |audit| audit.len())
}

impl Held {
    /// Removes a record and returns it.
    fn take(&mut self, place: usize) -> Option<Record> {
        let (record, bytes) = self.records.remove(place)?;
        self.bytes -= bytes;
        self.audit_bytes -= audit_bytes(&record);
        Some(record)
    }

    fn measure(&self) {
        HELD_RECORDS.gauge("").set(u32::try_from(self.records.len()).unwrap_or(u32::MAX));
    }
}

fn is_tick(record: &Record) -> bool {
    matches!(record.event, Event::Tick { .. })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::FeedState;
    use crate::tick::{Audit, Tick, TickId};

    fn record(since: u64) -> Record {
        let status = Status { state: FeedState::Live, since: TickId::from_ms(since), reason: String::new() };
        Record::now(Event::Status(status))
    }

    fn tick() -> Record {
        Record::now(Event::Tick { tick: Tick::default(), outages: vec![] })
    }

    #[tokio::test]
    async fn full_outbox_drops_the_oldest_record() {
        let outbox = Outbox::bounded(10, MAX_BYTES);
        outbox.push(tick());
        for since in 0..=10 {
            outbox.push(record(since));
        }
        assert_eq!((outbox.len(), outbox.dropped()), (10, 1), "a dropped status does not count");
        let first = outbox.first().await;
        assert_eq!(first.event, record(1).event);
        assert_eq!(outbox.first().await.number, first.number);
        outbox.remove(&first, 1);
        assert_eq!(outbox.first().await.event, record(2).event);
        assert_eq!(outbox.dropped(), 1, "a status does not report it");
        let tick = tick();
        outbox.push(tick.clone());
        outbox.remove(&tick, 1);
        assert_eq!(outbox.dropped(), 0);
    }

    #[tokio::test]
    async fn drops_during_an_append_are_reported_later() {
        let outbox = Outbox::bounded(2, MAX_BYTES);
        (0..2).for_each(|_| outbox.push(tick()));
        let (first, reported) = (outbox.first().await, outbox.dropped());
        // While the first tick is written, it and the next one are dropped.
        (0..2).for_each(|_| outbox.push(tick()));
        outbox.remove(&first, reported);
        assert_eq!(outbox.dropped(), 1, "the first one was written, the second one is lost");
        let (next, reported) = (outbox.first().await, outbox.dropped());
        outbox.remove(&next, reported);
        assert_eq!(outbox.dropped(), 0);
    }

    #[test]
    fn outbox_is_bounded_in_bytes() {
        let outbox = Outbox::bounded(1000, RECORD_BYTES * 10);
        let audited = |since| record(since).with_audit(&Audit::default());
        (0..100).for_each(|since| outbox.push(audited(since)));
        assert!((5..10).contains(&outbox.len()), "{}", outbox.len());
        let (len, audits) = (outbox.len(), outbox.lock().audit_bytes);
        assert_eq!(audits, len * audit_bytes(&audited(0)));
        assert_eq!(outbox.drop_while(|_| true), len);
        let held = outbox.lock();
        assert_eq!((held.records.len(), held.bytes, held.audit_bytes, held.dropped), (0, 0, 0, 0));
    }

    #[test]
    fn outbox_has_room_for_an_hour() {
        let limit = |ms| Outbox::new(Duration::from_millis(ms)).max_records;
        assert_eq!([limit(5000), limit(1000), limit(100)], [1000, 3600, 36_000]);
    }
}
