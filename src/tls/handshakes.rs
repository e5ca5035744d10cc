//! Bound on handshakes.
//!
//! A handshake holds the place of a client, costs about as much as thousands of updates, and may wait for its client as long as
//! that likes. So there are two bounds: on the number of handshakes that are not finished, of which the oldest ends for each
//! that exceeds it, and on the signatures that are made at one time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::available_parallelism;
use tokio::sync::{Semaphore, SemaphorePermit, oneshot};

/// Most handshakes that are not finished.
const MAX_PENDING: usize = 1024;

/// Handshakes that are not finished.
#[derive(Debug)]
pub(super) struct Handshakes {
    pending: Arc<Mutex<Pending>>,
    max: usize,
    signatures: Semaphore,
}

#[derive(Debug, Default)]
struct Pending {
    next: u64,
    /// Handshakes in the order of their begin. One ends when its sender is dropped.
    by_age: BTreeMap<u64, oneshot::Sender<()>>,
}

/// A handshake that is not finished. It leaves the list when it is dropped.
#[derive(Debug)]
pub(super) struct Handshake {
    number: u64,
    pending: Arc<Mutex<Pending>>,
    evicted: oneshot::Receiver<()>,
}

impl Handshakes {
    /// Creates the bounds for a port with `max_clients` places. Handshakes take at most an eighth of them.
    pub(super) fn new(max_clients: usize) -> Handshakes {
        let threads = available_parallelism().map_or(1, usize::from);
        let max = (max_clients / 8).clamp(1, MAX_PENDING);
        Handshakes { pending: Arc::default(), max, signatures: Semaphore::new((threads / 2).max(1)) }
    }

    /// Begins a handshake. If there are too many, the oldest ends.
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

    /// Waits for the turn to make a signature. Signatures take at most half of the processors. The permit must not be held while
    /// the client is waited for.
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
        assert!(second.evicted().now_or_never().is_none(), "the third has left");
        drop((first, second));
        let _others = (handshakes.begin(), handshakes.begin());
        assert!(fourth.evicted().now_or_never().is_some());
    }
}
