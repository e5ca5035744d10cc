//! Limits of handshakes.
//!
//! A handshake counts as one of the connections that the port admits, costs about as much processor time as thousands
//! of updates, and can be delayed by its client. So there are two limits. One is on the number of unfinished
//! handshakes: if there are too many, the oldest one ends. The other is on the number of signatures that are made
//! concurrently.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::available_parallelism;
use tokio::sync::{Semaphore, SemaphorePermit, oneshot};

/// Maximum number of unfinished handshakes.
const MAX_PENDING: usize = 1024;

/// The unfinished handshakes of a port.
#[derive(Debug)]
pub(super) struct Handshakes {
    pending: Arc<Mutex<Pending>>,
    max: usize,
    signatures: Semaphore,
}

#[derive(Debug, Default)]
struct Pending {
    next: u64,
    /// Handshakes by their numbers, the oldest one first. A handshake ends when its sender is dropped.
    by_age: BTreeMap<u64, oneshot::Sender<()>>,
}

/// An unfinished handshake. It is removed from the list when it is dropped.
#[derive(Debug)]
pub(super) struct Handshake {
    number: u64,
    pending: Arc<Mutex<Pending>>,
    evicted: oneshot::Receiver<()>,
}

impl Handshakes {
    /// Creates the limits of a port that admits at most `max_clients` connections. At most an eighth of them, and at
    /// most `MAX_PENDING`, may be unfinished handshakes. One is always allowed.
    pub(super) fn new(max_clients: usize) -> Handshakes {
        let threads = available_parallelism().map_or(1, usize::from);
        let max = (max_clients / 8).clamp(1, MAX_PENDING);
        Handshakes { pending: Arc::default(), max, signatures: Semaphore::new((threads / 2).max(1)) }
    }

    /// Starts a handshake. If there are too many, the oldest one ends.
    pub(super) fn begin(&self) -> Handshake {
        let (sender, evicted) = oneshot::channel();
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if pending.by_age.len() >= self.max {
            pending.by_age.pop_first();
        }
        let number = pending.next;
        pending.next += 1;
        pending.by_age.insert(number, sender);
        Handshake { number, pending: self.pending.clone(), evicted }
    }

    /// Waits for the permit to make a signature. At most half of the processors make signatures, or one if there is
    /// only one. Drop the permit before waiting for the client.
    pub(super) async fn signature(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed.
        self.signatures.acquire().await.ok()
    }
}

impl Handshake {
    /// Waits until this handshake has to end.
    pub(super) async fn evicted(&mut self) {
        (&mut self.evicted).await.unwrap_or_default();
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).by_age.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn oldest_handshake_ends_when_there_are_too_many() {
        let handshakes = Handshakes::new(16);
        let (mut first, mut second) = (handshakes.begin(), handshakes.begin());
        assert!(first.evicted().now_or_never().is_none());
        let third = handshakes.begin();
        assert!(first.evicted().now_or_never().is_some());
        assert!(second.evicted().now_or_never().is_none());
        drop(third);
        let mut fourth = handshakes.begin();
        assert!(second.evicted().now_or_never().is_none(), "the third handshake has ended");
        drop((first, second));
        let _others = (handshakes.begin(), handshakes.begin());
        assert!(fourth.evicted().now_or_never().is_some());
    }
}
