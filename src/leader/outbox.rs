//! What was fetched and is not in the store yet, in order.

use crate::feed::{Event, Status};
use crate::store::Record;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tracing::warn;

/// The most records that are held: an hour and a half of ticks at one every five seconds. Beyond it the oldest go.
const MOST_HELD: usize = 1000;

/// A bounded queue with one writer and one reader, which reads the first record as often as it must.
#[derive(Default)]
pub(super) struct Outbox {
    held: Mutex<VecDeque<Record>>,
    pushed: Notify,
}

impl Outbox {
    fn held(&self) -> MutexGuard<'_, VecDeque<Record>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many are held.
    pub(super) fn len(&self) -> usize {
        self.held().len()
    }

    /// Adds a record at the end.
    pub(super) fn push(&self, record: Record) {
        let mut held = self.held();
        if held.len() == MOST_HELD {
            warn!(most = MOST_HELD, "too many ticks are held, dropping the oldest");
            held.pop_front();
        }
        held.push_back(record);
        self.pushed.notify_one();
    }

    /// The first record, as soon as there is one.
    pub(super) async fn first(&self) -> Record {
        loop {
            if let Some(record) = self.held().front() {
                return record.clone();
            }
            self.pushed.notified().await;
        }
    }

    /// The newest status that is held.
    pub(super) fn last_status(&self) -> Option<Status> {
        let held = self.held();
        held.iter().rev().find_map(|record| match &record.event {
            Event::Status(status) => Some(status.clone()),
            Event::Tick { .. } => None,
        })
    }

    /// Takes out the first records for which `covered` is true, and returns how many.
    pub(super) fn drop_while(&self, covered: impl Fn(&Record) -> bool) -> usize {
        let mut held = self.held();
        let dropped = held.iter().take_while(|record| covered(record)).count();
        held.drain(..dropped);
        dropped
    }

    /// Takes `record` out: it is written, or will never be.
    pub(super) fn done(&self, record: &Record) {
        self.held().retain(|held| held.number != record.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::State;
    use crate::tick::TickId;

    fn record(since: u64) -> Record {
        let status = Status { state: State::Live, since: TickId::from_ms(since), reason: String::new() };
        Record::now(Event::Status(status))
    }

    #[tokio::test]
    async fn the_first_stays_until_it_is_done_and_a_full_outbox_drops_the_oldest() {
        let outbox = Outbox::default();
        for since in 0..=MOST_HELD as u64 {
            outbox.push(record(since));
        }
        assert_eq!(outbox.len(), MOST_HELD);
        let first = outbox.first().await;
        assert_eq!(first.event, record(1).event);
        assert_eq!(outbox.first().await.number, first.number);
        outbox.done(&first);
        assert_eq!(outbox.first().await.event, record(2).event);
    }
}
