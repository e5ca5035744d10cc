//! The embedded store: the feed of one process, kept in its memory only.

use super::contract::{EntryStream, Lease, Members, Options, Record, ReplicaBeat, Result, Store, StoreError};
use crate::feed::Entry;
use crate::tick::TickId;
use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::broadcast;

/// A feed in this process's memory.
pub struct Memory {
    options: Options,
    /// A std mutex, held for a few map operations and never across an await.
    kept: Mutex<Kept>,
    live: broadcast::Sender<Entry>,
}

#[derive(Default)]
struct Kept {
    entries: BTreeMap<TickId, Entry>,
    lease: Option<(Lease, Instant)>,
    /// The number of the newest record, and the id that it got.
    record: (u64, TickId),
    /// The last id that each client was sent, and when it was saved.
    clients: HashMap<String, (TickId, Instant)>,
}

/// The maximum number of clients whose last ids are kept. If there are more, the older half is dropped.
const MAX_CLIENTS: usize = 100_000;

/// The number of entries that a subscriber may lag behind. If it lags more, its stream ends.
const LIVE_BUFFER: usize = 1024;

impl Memory {
    /// An empty feed.
    pub fn new(options: Options) -> Memory {
        Memory { options, kept: Mutex::default(), live: broadcast::Sender::new(LIVE_BUFFER) }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks the feed for a writer, if `lease` is still valid.
    fn writable(&self, lease: &Lease) -> Result<MutexGuard<'_, Kept>> {
        let kept = self.kept();
        match &kept.lease {
            Some((holder, until)) if holder == lease && Instant::now() < *until => Ok(kept),
            _ => Err(StoreError::NotLeader),
        }
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
        let mut kept = self.kept();
        let now = Instant::now();
        if kept.lease.as_ref().is_some_and(|(_, until)| now < *until) {
            return Ok(None);
        }
        let lease = Lease::new(holder);
        kept.lease = Some((lease.clone(), now + self.options.lease_ttl));
        Ok(Some(lease))
    }

    async fn beat(&self, replica: &ReplicaBeat) -> Result<Members> {
        let kept = self.kept();
        let valid = kept.lease.as_ref().filter(|(_, until)| Instant::now() < *until);
        let leader = valid.and_then(|(lease, _)| Lease::holder(&lease.token));
        // No other replica can use this store.
        Ok(Members { leader, replicas: vec![replica.clone()] })
    }

    async fn renew(&self, lease: &Lease) -> Result<()> {
        self.writable(lease)?.lease = Some((lease.clone(), Instant::now() + self.options.lease_ttl));
        Ok(())
    }

    async fn release(&self, lease: &Lease) -> Result<()> {
        if let Ok(mut kept) = self.writable(lease) {
            kept.lease = None;
        }
        Ok(())
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
        let id = TickId::now().minus(record.at.elapsed()).max(prev.next());
        let entry = Entry { id, prev, event: record.event.clone() };
        kept.entries.insert(id, entry.clone());
        kept.record = (record.number, id);
        kept.entries = kept.entries.split_off(&id.minus(self.options.retention));
        // This is done under the lock, so that subscribers get entries in the order of their ids. It fails only if
        // there is no subscriber, which is not an error.
        self.live.send(entry.clone()).ok();
        Ok(entry)
    }

    async fn restore(&self, lease: &Lease, entries: &[Arc<Entry>]) -> Result<()> {
        let mut kept = self.writable(lease)?;
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

    async fn newest(&self, limit: usize) -> Result<Vec<Entry>> {
        let mut newest: Vec<_> = self.kept().entries.values().rev().take(limit).cloned().collect();
        newest.reverse();
        Ok(newest)
    }

    async fn remember(&self, sent: &[(String, TickId)]) -> Result<()> {
        let now = Instant::now();
        let mut kept = self.kept();
        kept.clients.extend(sent.iter().map(|(client, id)| (client.clone(), (*id, now))));
        if kept.clients.len() > MAX_CLIENTS {
            let mut times: Vec<_> = kept.clients.values().map(|(_, saved_at)| *saved_at).collect();
            let (_, middle, _) = times.select_nth_unstable(MAX_CLIENTS / 2);
            let middle = *middle;
            kept.clients.retain(|_, (_, saved_at)| *saved_at > middle);
        }
        Ok(())
    }

    async fn recall(&self, client: &str) -> Result<Option<TickId>> {
        let last = self.kept().clients.get(client).copied();
        Ok(last.filter(|(_, saved_at)| saved_at.elapsed() < self.options.retention).map(|(id, _)| id))
    }

    async fn subscribe(&self) -> Result<EntryStream> {
        let receiver = self.live.subscribe();
        // A subscriber that lagged behind the buffer has missed entries, so its stream ends.
        let next = |mut receiver: broadcast::Receiver<Entry>| async {
            let entry = receiver.recv().await.ok()?;
            Some((Ok(entry), receiver))
        };
        Ok(stream::unfold(receiver, next).boxed())
    }
}
