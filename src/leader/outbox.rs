//! The records that are not in the store yet, in order.

use crate::feed::{Event, Status};
use crate::store::Record;
use crate::telemetry::FaultLog;
use crate::telemetry::metrics::HELD_RECORDS;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tracing::warn;

/// Most records that are held: 83 minutes of ticks at one every five seconds. If there are more, the oldest is dropped.
const MOST_HELD: usize = 1000;

/// A bounded queue with one producer and one consumer. The consumer may read the first record several times before it
/// removes it.
#[derive(Default)]
pub(super) struct Outbox {
    held: Mutex<VecDeque<Record>>,
    overflow: Mutex<FaultLog>,
    pushed: Notify,
}

impl Outbox {
    fn held(&self) -> MutexGuard<'_, VecDeque<Record>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns how many records are held.
    pub(super) fn len(&self) -> usize {
        self.held().len()
    }

    /// Adds a record at the end.
    pub(super) fn push(&self, record: Record) {
        let mut held = self.held();
        if held.len() == MOST_HELD {
            held.pop_front();
            if self.overflow.lock().unwrap_or_else(PoisonError::into_inner).is_due() {
                warn!(most = MOST_HELD, "the outbox is full, dropping the oldest records");
            }
        }
        held.push_back(record);
        measure(&held);
        self.pushed.notify_one();
    }

    /// Waits for the first record and returns a copy.
    pub(super) async fn first(&self) -> Record {
        loop {
            if let Some(record) = self.held().front() {
                return record.clone();
            }
            self.pushed.notified().await;
        }
    }

    /// Returns the newest status that is held.
    pub(super) fn last_status(&self) -> Option<Status> {
        let held = self.held();
        held.iter().rev().find_map(|record| match &record.event {
            Event::Status(status) => Some(status.clone()),
            Event::Tick { .. } => None,
        })
    }

    /// Removes records from the front while `covered` is true, and returns how many.
    pub(super) fn drop_while(&self, covered: impl Fn(&Record) -> bool) -> usize {
        let mut held = self.held();
        let dropped = held.iter().take_while(|record| covered(record)).count();
        held.drain(..dropped);
        measure(&held);
        dropped
    }

    /// Removes `record` after it was written.
    pub(super) fn remove(&self, record: &Record) {
        let mut held = self.held();
        held.retain(|held| held.number != record.number);
        measure(&held);
    }
}

fn measure(held: &VecDeque<Record>) {
    HELD_RECORDS.gauge("").set(u32::try_from(held.len()).unwrap_or(u32::MAX));
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
        for since in 0..=MOST_HELD as u64 {
            outbox.push(record(since));
        }
        assert_eq!(outbox.len(), MOST_HELD);
        let first = outbox.first().await;
        assert_eq!(first.event, record(1).event);
        assert_eq!(outbox.first().await.number, first.number);
        outbox.remove(&first);
        assert_eq!(outbox.first().await.event, record(2).event);
    }
}
