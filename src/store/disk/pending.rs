//! The state that the store of a file keeps in memory: the lease, and the entries and bookmarks that are not saved or
//! not published yet.

use crate::feed::Entry;
use crate::store::contract::{Lease, Record, Result, StoreError};
use crate::store::kind::PriceKind;
use crate::store::local::LocalLease;
use crate::tick::TickId;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// The maximum number of entries that are kept while the file cannot be written: more than five days at the default
/// interval.
const MAX_UNSAVED: usize = 100_000;
/// The maximum number of audits that are kept while the file cannot be written. They are larger than entries.
const MAX_UNSAVED_AUDITS: usize = 5000;

/// The state in memory.
#[derive(Default)]
pub(super) struct Pending {
    pub(super) lease: LocalLease,
    /// The number of the newest record, and its entry.
    record: Option<(u64, Entry)>,
    /// The newest id that was assigned. The entry may not be published yet.
    assigned: TickId,
    /// The newest id that was published. Readers see a later entry only if it is already in the file.
    published: TickId,
    /// Entries that are not in the file yet, in the order of their ids.
    unsaved: VecDeque<Entry>,
    /// Audits that are not in the file yet, as JSON, in the order of their ids.
    audits: VecDeque<(TickId, Arc<str>)>,
    /// Entries that are not published yet, in the order of their ids.
    unpublished: VecDeque<Entry>,
    /// Bookmarks that are not in the file yet.
    pub(super) clients: BTreeMap<String, TickId>,
    /// The oldest id that is kept.
    pub(super) floor: TickId,
    /// True if the file was open at some time.
    was_opened: bool,
    /// The kind of the prices that this process writes. `None` if it writes none.
    pub(super) kind: Option<PriceKind>,
    /// The number of entries that were dropped since the file could last be written, because too many were unsaved.
    pub(super) dropped: u64,
    /// The reason why the file cannot be written.
    pub(super) fault: Option<String>,
    /// The reason why this process may not write into this feed.
    pub(super) refusal: Option<String>,
    /// True if the saver must write what is left and end.
    pub(super) stopping: bool,
    /// True if the saver has ended.
    pub(super) ended: bool,
}

impl Pending {
    /// Takes over the newest id of a file that has just been opened, if it is higher than ours. The file's oldest id
    /// becomes the floor. If the retention is shorter than it was before, the floor may be later than that id, by at
    /// most `shortened`, the difference. With a floor that depends on the newest id alone, a wrong clock could make the
    /// whole history expire.
    pub(super) fn opened(&mut self, oldest: TickId, head: TickId, retention: Duration, shortened: Duration) {
        self.assigned = self.assigned.max(head);
        self.published = self.published.max(head);
        let floor = oldest.max(oldest.plus(shortened).min(head.minus(retention)));
        // Before the file was first opened, the floor came only from entries in memory. The file may have older
        // entries.
        self.floor = if self.was_opened { self.floor.max(floor) } else { floor };
        self.was_opened = true;
    }

    /// Assigns an id to a record and keeps the entry until it is saved and published. If an earlier attempt has
    /// appended the same record, returns that entry. `seen` is the newest id that the leader knows.
    ///
    /// # Errors
    /// `NotLeader` if the lease is not valid or a newer record was appended, and `Behind` if the file lacks entries up
    /// to `seen`.
    pub(super) fn append(
        &mut self,
        lease: &Lease,
        record: &Record,
        seen: TickId,
        retention: Duration,
    ) -> Result<Entry> {
        self.lease.check(lease)?;
        if let Some((newest, entry)) = &self.record
            && record.number <= *newest
        {
            return if record.number == *newest { Ok(entry.clone()) } else { Err(StoreError::NotLeader) };
        }
        let prev = self.assigned;
        if seen > prev {
            return Err(StoreError::Behind(prev));
        }
        let id = record.moment(TickId::now()).max(prev.next());
        let entry = Entry { id, prev, event: record.event.clone() };
        self.assigned = id;
        self.record = Some((record.number, entry.clone()));
        self.unsaved.push_back(entry.clone());
        self.unpublished.push_back(entry.clone());
        self.audits.extend(record.audit.clone().map(|audit| (id, audit)));
        if self.audits.len() > MAX_UNSAVED_AUDITS {
            self.audits.pop_front();
        }
        if self.unsaved.len() > MAX_UNSAVED {
            self.unsaved.pop_front();
            self.dropped += 1;
        }
        // Without a file, or with a new one, nothing is older than this entry.
        let oldest = if self.floor == TickId::ZERO { id } else { self.floor };
        self.floor = self.floor.max(record.floor(id, retention, oldest));
        Ok(entry)
    }

    /// Removes and returns the entries up to `id` that are not published yet, and makes them visible to readers.
    pub(super) fn publish(&mut self, id: TickId) -> Vec<Entry> {
        let count = self.unpublished.iter().take_while(|entry| entry.id <= id).count();
        self.published = self.published.max(id);
        self.unpublished.drain(..count).collect()
    }

    /// Lowers the floor to `oldest`, because entries from this one on will be restored to the file.
    pub(super) fn keep_from(&mut self, oldest: TickId) {
        self.floor = if self.floor == TickId::ZERO { oldest } else { self.floor.min(oldest) };
    }

    /// Records that entries up to `newest` were restored to the file.
    pub(super) fn restored(&mut self, newest: TickId) {
        self.assigned = self.assigned.max(newest);
        self.published = self.published.max(newest);
    }

    /// Records that the file was cleared. New ids are still greater than the old ones.
    pub(super) fn cleared(&mut self) {
        self.published = TickId::ZERO;
        self.clients.clear();
    }

    /// Returns the feed's time: the newest id that was assigned.
    pub(super) fn time(&self) -> TickId {
        self.assigned
    }

    /// Returns the newest id that was published.
    pub(super) fn head(&self) -> TickId {
        self.published
    }

    /// Returns the number of entries that are not saved.
    pub(super) fn unsaved(&self) -> usize {
        self.unsaved.len()
    }

    /// Returns the oldest `limit` entries that are not saved.
    pub(super) fn first_unsaved(&self, limit: usize) -> Vec<Entry> {
        self.unsaved.iter().take(limit).cloned().collect()
    }

    /// Returns the audits up to `id` that are not saved.
    pub(super) fn unsaved_audits(&self, id: TickId) -> Vec<(TickId, Arc<str>)> {
        self.audits.iter().take_while(|(of, _)| *of <= id).cloned().collect()
    }

    /// Removes the entries up to `id` and their audits, which have been saved.
    pub(super) fn saved(&mut self, id: TickId) {
        let count = self.unsaved.iter().take_while(|entry| entry.id <= id).count();
        self.unsaved.drain(..count);
        let count = self.audits.iter().take_while(|(of, _)| *of <= id).count();
        self.audits.drain(..count);
    }

    /// Returns the published entries with `after < id <= until` that are perhaps not in the file yet.
    pub(super) fn visible(&self, after: TickId, until: TickId) -> Vec<Entry> {
        let until = until.min(self.published);
        let later = self.unsaved.iter().rev().take_while(|entry| entry.id > after);
        let mut entries: Vec<_> = later.filter(|entry| entry.id <= until).cloned().collect();
        entries.reverse();
        entries
    }
}
