//! The parts that `Memory` and `Disk` have in common: the lease, the stream of live entries, and the bound on
//! bookmarks.

use super::contract::{EntryStream, Lease, Members, ReplicaBeat, Result, StoreError};
use crate::feed::Entry;
use futures_util::{StreamExt, stream};
use std::cmp::Reverse;
use std::mem;
use std::time::{Duration, Instant};
use tokio::sync::broadcast;

/// The maximum number of clients whose bookmarks are kept. If there are more, the oldest are dropped.
pub(super) const MAX_CLIENTS: usize = 100_000;

/// Drops the older half of the bookmarks if there are more than [`MAX_CLIENTS`]. `time` returns the time of a bookmark.
pub(super) fn drop_old_clients<M, V, T: Ord>(clients: &mut M, count: usize, time: impl Fn(&V) -> T)
where
    M: Default + IntoIterator<Item = (String, V)> + FromIterator<(String, V)>,
{
    if count > MAX_CLIENTS {
        let mut newer: Vec<_> = mem::take(clients).into_iter().collect();
        newer.select_nth_unstable_by_key(MAX_CLIENTS / 2, |(_, bookmark)| Reverse(time(bookmark)));
        newer.truncate(MAX_CLIENTS / 2);
        *clients = newer.into_iter().collect();
    }
}

/// The number of entries that a subscriber may lag behind. If it lags more, its stream ends.
const LIVE_BUFFER: usize = 1024;

/// The lease of a feed that only one process can use, with the time at which it expires.
#[derive(Default)]
pub(super) struct LocalLease(Option<(Lease, Instant)>);

impl LocalLease {
    /// Grants a lease for the time `ttl`, if no other lease is valid.
    pub(super) fn acquire(&mut self, holder: &str, ttl: Duration) -> Option<Lease> {
        if self.valid().is_some() {
            return None;
        }
        let lease = Lease::new(holder);
        self.0 = Some((lease.clone(), Instant::now() + ttl));
        Some(lease)
    }

    /// Checks that `lease` is the valid one.
    pub(super) fn check(&self, lease: &Lease) -> Result<()> {
        if self.valid() == Some(lease) { Ok(()) } else { Err(StoreError::NotLeader) }
    }

    /// Extends the lease to the time `ttl` from now.
    pub(super) fn renew(&mut self, lease: &Lease, ttl: Duration) -> Result<()> {
        self.check(lease)?;
        self.0 = Some((lease.clone(), Instant::now() + ttl));
        Ok(())
    }

    /// Frees the lease, if it is still valid.
    pub(super) fn release(&mut self, lease: &Lease) {
        if self.check(lease).is_ok() {
            self.0 = None;
        }
    }

    /// Returns the only replica, and the leader if there is one.
    pub(super) fn members(&self, replica: &ReplicaBeat) -> Members {
        let leader = self.valid().and_then(|lease| Lease::holder(&lease.token));
        let now = Instant::now();
        let lease_ttl = self.0.as_ref().filter(|(_, until)| now < *until).map(|(_, until)| *until - now);
        Members { leader, lease_ttl, replicas: vec![replica.clone()] }
    }

    /// Returns true if a lease was granted and not released.
    pub(super) fn is_granted(&self) -> bool {
        self.0.is_some()
    }

    fn valid(&self) -> Option<&Lease> {
        self.0.as_ref().filter(|(_, until)| Instant::now() < *until).map(|(lease, _)| lease)
    }
}

/// Sends each new entry to the subscribers of this process.
pub(super) struct Live(broadcast::Sender<Entry>);

impl Live {
    /// A sender without subscribers.
    pub(super) fn new() -> Live {
        Live(broadcast::Sender::new(LIVE_BUFFER))
    }

    /// Sends an entry. If there is no subscriber, does nothing.
    pub(super) fn send(&self, entry: Entry) {
        self.0.send(entry).ok();
    }

    /// Returns a stream of all later entries. It ends if the subscriber has missed one.
    pub(super) fn subscribe(&self) -> EntryStream {
        let next = |mut receiver: broadcast::Receiver<Entry>| async {
            let entry = receiver.recv().await.ok()?;
            Some((Ok(entry), receiver))
        };
        stream::unfold(self.0.subscribe(), next).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn newest_bookmarks_stay_if_there_are_too_many() {
        let mut clients: BTreeMap<_, _> = (0..=MAX_CLIENTS).map(|id| (id.to_string(), id)).collect();
        drop_old_clients(&mut clients, MAX_CLIENTS, |id| *id);
        assert_eq!(clients.len(), MAX_CLIENTS + 1);
        let count = clients.len();
        drop_old_clients(&mut clients, count, |id| *id);
        assert_eq!(clients.len(), MAX_CLIENTS / 2);
        assert!(clients.values().all(|id| *id > MAX_CLIENTS / 2));
        let mut equal: BTreeMap<_, _> = (0..=MAX_CLIENTS).map(|id| (id.to_string(), 7)).collect();
        drop_old_clients(&mut equal, count, |id| *id);
        assert_eq!(equal.len(), MAX_CLIENTS / 2);
    }
}
