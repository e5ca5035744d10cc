//! The records that are not in the store yet, in order.

use crate::feed::{Event, Status};
use crate::store::Record;
use crate::telemetry::FaultLog;
use crate::telemetry::metrics::HELD_RECORDS;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tracing::warn;

/// Maximum number of records. It is enough for the ticks of 83 minutes, at one every five seconds. A further record
/// replaces the oldest one.
const MAX_RECORDS: usize = 1000;

/// A bounded queue with one producer and one consumer. The consumer may read the first record several times before
/// removing that record.
#[derive(Default)]
pub(super) struct Outbox {
    records: Mutex<VecDeque<Record>>,
    overflow: Mutex<FaultLog>,
    pushed: Notify,
}

impl Outbox {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the number of records.
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Adds a record at the end.
    pub(super) fn push(&self, record: Record) {
        let mut records = self.lock();
        if records.len() == MAX_RECORDS {
            records.pop_front();
            if self.overflow.lock().unwrap_or_else(PoisonError::into_inner).is_due() {
                warn!(limit = MAX_RECORDS, "the outbox is full, dropping the oldest records");
            }
        }
        records.push_back(record);
        measure(&records);
        self.pushed.notify_one();
    }

    /// Waits until there is a first record, and returns a copy of it.
    pub(super) async fn first(&self) -> Record {
        loop {
            if let Some(record) = self.lock().front() {
                return record.clone();
            }
            self.pushed.notified().await;
        }
    }

    /// Returns the newest status in the outbox.
    pub(super) fn last_status(&self) -> Option<Status> {
        let records = self.lock();
        records.iter().rev().find_map(|record| match &record.event {
            Event::Status(status) => Some(status.clone()),
            Event::Tick { .. } => None,
        })
    }

    /// Removes records from the front while `covered` returns true for them. Returns the number of removed records.
    pub(super) fn drop_while(&self, covered: impl Fn(&Record) -> bool) -> usize {
        let mut records = self.lock();
        let dropped = records.iter().take_while(|record| covered(record)).count();
        records.drain(..dropped);
        measure(&records);
        dropped
    }

    /// Removes `record` after it was written.
    pub(super) fn remove(&self, record: &Record) {
        let mut records = self.lock();
        records.retain(|other| other.number != record.number);
        measure(&records);
    }
}

fn measure(records: &VecDeque<Record>) {
    HELD_RECORDS.gauge("").set(u32::try_from(records.len()).unwrap_or(u32::MAX));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::FeedState;
    use crate::tick::TickId;

    fn record(since: u64) -> Record {
        let status = Status { state: FeedState::Live, since: TickId::from_ms(since), reason: String::new() };
        Record::now(Event::Status(status))
    }

    #[tokio::test]
    async fn full_outbox_drops_the_oldest_record() {
        let outbox = Outbox::default();
        for since in 0..=MAX_RECORDS as u64 {
            outbox.push(record(since));
        }
        assert_eq!(outbox.len(), MAX_RECORDS);
        let first = outbox.first().await;
        assert_eq!(first.event, record(1).event);
        assert_eq!(outbox.first().await.number, first.number);
        outbox.remove(&first);
        assert_eq!(outbox.first().await.event, record(2).event);
    }
}
