//! The store of a feed that is kept in the memory of one process only.

use super::contract::{EntryStream, Lease, Members, Options, Record, ReplicaBeat, Result, Store, StoreError};
use super::entry::{audit_with_id, decode_audit};
use super::local::{Live, LocalLease, drop_old_clients};
use crate::feed::{Entry, EntryAudit};
use crate::tick::TickId;
use async_trait::async_trait;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// A feed in this process's memory.
pub struct Memory {
    options: Options,
    /// A std mutex, held for a few map operations and never across an await.
    kept: Mutex<Kept>,
    live: Live,
}

#[derive(Default)]
struct Kept {
    entries: BTreeMap<TickId, Entry>,
    /// The audits of entries, as JSON.
    audits: BTreeMap<TickId, Arc<str>>,
    lease: LocalLease,
    /// The number of the newest record, and the id that it got.
    record: (u64, TickId),
    /// The lower bound of the ids that are kept. `None` before the first append.
    floor: Option<TickId>,
    /// The last id that each client was sent, and when it was saved.
    clients: HashMap<String, (TickId, Instant)>,
}

impl Memory {
    /// An empty feed.
    pub fn new(options: Options) -> Memory {
        Memory { options, kept: Mutex::default(), live: Live::new() }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks the feed for a writer, if `lease` is still valid.
    fn writable(&self, lease: &Lease) -> Result<MutexGuard<'_, Kept>> {
        let kept = self.kept();
        kept.lease.check(lease)?;
        Ok(kept)
    }
}

impl Kept {
    fn head(&self) -> TickId {
        self.entries.last_key_value().map_or(TickId::ZERO, |(id, _)| *id)
    }
}

#[async_trait]
impl Store for Memory {
    async fn acquire(&self, holder: &str) -> Result<Option<Lease>> {
        Ok(self.kept().lease.acquire(holder, self.options.lease_ttl))
    }

    async fn renew(&self, lease: &Lease) -> Result<()> {
        self.kept().lease.renew(lease, self.options.lease_ttl)
    }

    async fn release(&self, lease: &Lease) -> Result<()> {
        self.kept().lease.release(lease);
        Ok(())
    }

    async fn beat(&self, replica: &ReplicaBeat) -> Result<Members> {
        Ok(self.kept().lease.members(replica))
    }

    async fn append(&self, lease: &Lease, record: &Record, seen: TickId) -> Result<Entry> {
        let mut kept = self.writable(lease)?;
        let prev = kept.head();
        let (newest, id) = kept.record;
        if record.number <= newest {
            let done = kept.entries.get(&id).filter(|_| record.number == newest);
            return done.cloned().ok_or(StoreError::NotLeader);
        }
        if seen > prev {
            return Err(StoreError::Behind(prev));
        }
        let id = record.moment(TickId::now()).max(prev.next());
        let entry = Entry { id, prev, event: record.event.clone() };
        kept.entries.insert(id, entry.clone());
        kept.audits.extend(record.audit.clone().map(|audit| (id, audit)));
        kept.record = (record.number, id);
        let oldest = kept.floor.or_else(|| kept.entries.first_key_value().map(|(oldest, _)| *oldest));
        let floor = record.floor(id, self.options.retention, oldest.unwrap_or(id));
        kept.floor = Some(floor);
        kept.entries = kept.entries.split_off(&floor);
        kept.audits = kept.audits.split_off(&floor);
        // This is done under the lock, so that subscribers get entries in the order of their ids.
        self.live.send(entry.clone());
        Ok(entry)
    }

    async fn restore(&self, lease: &Lease, entries: &[Arc<Entry>]) -> Result<()> {
        let mut kept = self.writable(lease)?;
        kept.floor = kept.floor.map(|floor| entries.iter().fold(floor, |floor, entry| floor.min(entry.id)));
        for entry in entries {
            kept.entries.entry(entry.id).or_insert_with(|| Entry::clone(entry));
        }
        Ok(())
    }

    async fn now(&self) -> Result<TickId> {
        Ok(TickId::now())
    }

    async fn head(&self) -> Result<TickId> {
        Ok(self.kept().head())
    }

    async fn range(&self, after: TickId, until: TickId, limit: usize) -> Result<Vec<Entry>> {
        if after >= until {
            return Ok(Vec::new());
        }
        Ok(self.kept().entries.range(after.next()..=until).take(limit).map(|(_, entry)| entry.clone()).collect())
    }

    async fn nth(&self, after: TickId, until: TickId, n: usize) -> Result<Option<TickId>> {
        if after >= until {
            return Ok(None);
        }
        Ok(self.kept().entries.range(after.next()..=until).nth(n - 1).map(|(id, _)| *id))
    }

    async fn nth_newest(&self, after: TickId, until: TickId, n: usize) -> Result<Option<TickId>> {
        if after >= until {
            return Ok(None);
        }
        Ok(self.kept().entries.range(after.next()..=until).rev().nth(n - 1).map(|(id, _)| *id))
    }

    async fn newest(&self, limit: usize) -> Result<Vec<Entry>> {
        let mut newest: Vec<_> = self.kept().entries.values().rev().take(limit).cloned().collect();
        newest.reverse();
        Ok(newest)
    }

    async fn audits(&self, after: TickId, until: TickId, limit: usize) -> Result<Vec<EntryAudit>> {
        if after >= until {
            return Ok(Vec::new());
        }
        let kept = self.kept();
        let texts = kept.audits.range(after.next()..=until);
        Ok(texts.filter_map(|(id, text)| decode_audit(&audit_with_id(*id, text))).take(limit).collect())
    }

    async fn remember(&self, sent: &[(String, TickId)]) -> Result<()> {
        let now = Instant::now();
        let mut kept = self.kept();
        kept.clients.extend(sent.iter().map(|(client, id)| (client.clone(), (*id, now))));
        let count = kept.clients.len();
        drop_old_clients(&mut kept.clients, count, |(_, saved_at)| *saved_at);
        Ok(())
    }

    async fn recall(&self, client: &str) -> Result<Option<TickId>> {
        let last = self.kept().clients.get(client).copied();
        Ok(last.filter(|(_, saved_at)| saved_at.elapsed() < self.options.retention).map(|(id, _)| id))
    }

    async fn subscribe(&self) -> Result<EntryStream> {
        Ok(self.live.subscribe())
    }
}
