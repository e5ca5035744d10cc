//! Bound on the memory that clients occupy by not reading the responses that they asked for. Each response that hyper
//! sends and each WebSocket over HTTP/2 has an [`Account`] with the number of bytes that wait for its client. A stream
//! of the reactor has one while it sends a part of the history from the store, and one while it holds at least
//! [`MIN_BYTES`] of TLS records. If the sum of all accounts exceeds the budget, the responses and streams whose clients
//! have read nothing for the longest time are ended.

use crate::telemetry::FaultLog;
use crate::telemetry::metrics::{CLIENT_MEMORY, CLIENT_MEMORY_RESETS};
use crate::telemetry::to_f64;
use slab::Slab;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tracing::warn;

/// Minimum number of bytes in an account. Fewer bytes count as none, because counting them would cost time for each
/// client and tick.
pub(crate) const MIN_BYTES: usize = 4096;

/// Memory that clients occupy.
#[derive(Debug)]
pub(crate) struct ClientMemory {
    /// Maximum number of bytes.
    budget: usize,
    used: AtomicUsize,
    accounts: Mutex<Slab<Arc<Shared>>>,
    /// Limits the log lines about resets.
    fault: Mutex<FaultLog>,
}

/// Number of bytes that wait for one client. They no longer count when the account is dropped.
#[derive(Debug)]
pub(crate) struct Account {
    memory: Arc<ClientMemory>,
    key: usize,
    shared: Arc<Shared>,
}

struct Shared {
    bytes: AtomicUsize,
    is_reset: AtomicBool,
    /// Time at which the client last read or asked for data. A std lock, held only to read or to set the time.
    since: Mutex<Instant>,
    reset: Box<dyn Fn() + Send + Sync>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl ClientMemory {
    /// Creates a budget of this number of bytes.
    pub(crate) fn new(budget: usize) -> Arc<ClientMemory> {
        Arc::new(ClientMemory {
            budget,
            used: AtomicUsize::new(0),
            accounts: Mutex::default(),
            fault: Mutex::default(),
        })
    }

    /// Opens an account. `reset` must make the owner of the account drop the account and the bytes.
    pub(crate) fn open(self: &Arc<Self>, reset: impl Fn() + Send + Sync + 'static) -> Account {
        let (bytes, is_reset, since) = (AtomicUsize::new(0), AtomicBool::new(false), Mutex::new(Instant::now()));
        let shared = Arc::new(Shared { bytes, is_reset, since, reset: Box::new(reset) });
        let key = self.accounts().insert(shared.clone());
        Account { memory: self.clone(), key, shared }
    }

    /// Resets the accounts that have waited longest, until a tenth of the budget is free. If less were freed, the next
    /// search, which visits all accounts, would soon be necessary.
    fn make_room(&self) {
        let mut waiting: Vec<_> = self.accounts().iter().map(|(_, account)| account.clone()).collect();
        waiting.retain(|account| account.bytes.load(Ordering::Relaxed) > 0);
        waiting.sort_by_cached_key(|account| *account.since());
        for account in waiting {
            if self.used.load(Ordering::Relaxed) <= self.budget - self.budget / 10 {
                break;
            }
            account.is_reset.store(true, Ordering::Relaxed);
            let bytes = account.bytes.swap(0, Ordering::Relaxed);
            self.count(0, bytes);
            CLIENT_MEMORY_RESETS.counter("").increment(1);
            (account.reset)();
        }
        if self.fault.lock().unwrap_or_else(PoisonError::into_inner).is_due() {
            warn!(
                budget_bytes = self.budget,
                "the memory for unread responses is used up, resetting those that were unread for the longest time"
            );
        }
    }

    /// Adds bytes of an account, and subtracts those that it had before.
    fn count(&self, added: usize, before: usize) {
        self.used.fetch_add(added, Ordering::Relaxed);
        self.used.fetch_sub(before, Ordering::Relaxed);
    }

    /// Sets the metric. It is not set with each change, because a tick changes the accounts of many clients.
    pub(crate) fn report(&self) {
        CLIENT_MEMORY.gauge("").set(to_f64(self.used.load(Ordering::Relaxed) as u64));
    }

    #[cfg(test)]
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn accounts(&self) -> MutexGuard<'_, Slab<Arc<Shared>>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn since(&self) -> MutexGuard<'_, Instant> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Account {
    /// Sets the number of bytes that wait for the client. Call it when the client has read data or asked for data.
    pub(crate) fn set(&self, bytes: usize) {
        if bytes >= MIN_BYTES || self.shared.bytes.load(Ordering::Relaxed) > 0 {
            *self.shared.since() = Instant::now();
        }
        self.adjust(bytes);
    }

    /// Sets the number of bytes when the client has neither read data nor asked for data.
    pub(crate) fn adjust(&self, bytes: usize) {
        let bytes = if bytes < MIN_BYTES || self.is_reset() { 0 } else { bytes };
        let before = self.shared.bytes.swap(bytes, Ordering::Relaxed);
        if bytes == before {
            return;
        }
        self.memory.count(bytes, before);
        if self.memory.used.load(Ordering::Relaxed) > self.memory.budget {
            self.memory.make_room();
        }
    }

    /// Returns true if the account was reset, so that its response or stream must end.
    pub(crate) fn is_reset(&self) -> bool {
        self.shared.is_reset.load(Ordering::Relaxed)
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.memory.accounts().remove(self.key);
        let bytes = self.shared.bytes.swap(0, Ordering::Relaxed);
        if bytes > 0 {
            self.memory.count(0, bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longest_unread_is_reset_first() {
        let memory = ClientMemory::new(100_000);
        let resets: Arc<Mutex<Vec<u32>>> = Arc::default();
        let open = |name: u32| {
            let resets = resets.clone();
            memory.open(move || resets.lock().unwrap().push(name))
        };
        let accounts: Vec<_> = (0..5).map(open).collect();
        for account in &accounts {
            account.set(20_000);
        }
        assert!(resets.lock().unwrap().is_empty(), "the budget is not exceeded");
        accounts[0].set(20_000);
        accounts[4].set(30_000);
        assert_eq!(*resets.lock().unwrap(), [1], "the first one has just been read");
        assert!(accounts[1].is_reset() && !accounts[2].is_reset());
        accounts[1].set(50_000);
        assert_eq!(memory.used.load(Ordering::Relaxed), 90_000, "what is reset is not counted again");
        drop(accounts);
        assert_eq!((memory.used.load(Ordering::Relaxed), memory.accounts().len()), (0, 0));
    }

    #[test]
    fn few_bytes_are_not_counted() {
        let memory = ClientMemory::new(0);
        let account = memory.open(|| panic!("reset"));
        account.set(MIN_BYTES - 1);
        assert_eq!(memory.used.load(Ordering::Relaxed), 0);
    }
}
