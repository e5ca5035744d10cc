//! Permission that a key gives, and the streams that use it.

use super::key::{KeyLine, KeyName};
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// The reason why a permission has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The key is no longer in the file.
    Revoked,
    /// The key has expired.
    Expired,
}

/// Permission that a key gives.
#[derive(Debug)]
pub(crate) struct Permission {
    /// A std lock, held only to read or to replace the line.
    line: RwLock<KeyLine>,
    /// Zero, or the code of the reason for the end. It is atomic because the sessions of all shards read it for each
    /// tick.
    ended: AtomicU8,
    /// Cancelled when the permission ends, to wake the tasks that wait for that.
    end: CancellationToken,
    /// The number of open streams.
    streams: AtomicUsize,
}

/// A stream that uses a permission.
#[derive(Debug)]
pub(crate) struct KeyedStream(Arc<Permission>);

impl Permission {
    pub(super) fn new(line: KeyLine) -> Permission {
        let (ended, streams) = (AtomicU8::new(0), AtomicUsize::new(0));
        Permission { line: RwLock::new(line), ended, end: CancellationToken::new(), streams }
    }

    pub(super) fn update(&self, line: KeyLine) {
        *self.line.write().unwrap_or_else(PoisonError::into_inner) = line;
    }

    pub(super) fn is_expired(&self, now: SystemTime) -> bool {
        self.line.read().unwrap_or_else(PoisonError::into_inner).is_expired(now)
    }

    /// Ends the permission. Returns false if it had already ended.
    pub(super) fn end(&self, reason: Ended) -> bool {
        let code = match reason {
            Ended::Revoked => 1,
            Ended::Expired => 2,
        };
        let is_first = self.ended.compare_exchange(0, code, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        self.end.cancel();
        is_first
    }

    /// Returns the reason why the permission has ended, if it has.
    pub(crate) fn ended(&self) -> Option<Ended> {
        match self.ended.load(Ordering::Relaxed) {
            0 => None,
            1 => Some(Ended::Revoked),
            _ => Some(Ended::Expired),
        }
    }

    /// Returns the name of the key.
    pub(crate) fn name(&self) -> KeyName {
        self.line.read().unwrap_or_else(PoisonError::into_inner).name.clone()
    }

    /// Counts a stream until the returned value is dropped. Returns `None` if the key has reached its limit of streams.
    pub(crate) fn open_stream(self: &Arc<Permission>) -> Option<KeyedStream> {
        let max = self.line.read().unwrap_or_else(PoisonError::into_inner).streams.unwrap_or(usize::MAX);
        let count = |streams| (streams < max).then_some(streams + 1);
        self.streams.fetch_update(Ordering::Relaxed, Ordering::Relaxed, count).ok()?;
        Some(KeyedStream(self.clone()))
    }
}

impl KeyedStream {
    /// Returns the reason why the permission of the stream has ended, if it has.
    pub(crate) fn ended(&self) -> Option<Ended> {
        self.0.ended()
    }

    /// Waits until the permission ends.
    pub(crate) fn wait_for_end(&self) -> WaitForCancellationFutureOwned {
        self.0.end.clone().cancelled_owned()
    }
}

impl Drop for KeyedStream {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}
