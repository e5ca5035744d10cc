//! The reason why Redis does not accept writes at the moment, if it does not.
//!
//! A Redis that answers reads may still reject writes: it is a replica, its memory is full, its disk fails, too few of
//! its own replicas are connected, or a permission is missing. So only the answers to writes count here.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The time for which an error counts. A writer normally repeats a failed write at shorter intervals, so the error of a
/// lasting fault remains. The error of a leader that has stood down is not repeated, and stops counting.
const FRESH: Duration = Duration::from_secs(5);

/// The kinds of writes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Write {
    /// Appending or restoring entries.
    Entries,
    /// Acquiring, claiming, renewing or releasing the lease.
    Lease,
    /// Noting that a replica is alive.
    Beat,
    /// Acquiring the lease, if it is rejected because of the settings of this replica or the kind of its prices.
    Settings,
    /// Copying entries to enough replicas of Redis.
    Acks,
}

/// The last error of each kind of write, and the time of the error.
#[derive(Debug, Default)]
pub(super) struct WriteFaults([Mutex<Option<(String, Instant)>>; 5]);

impl WriteFaults {
    /// Notes the result of a write. `error` is the reason that clients are shown, or `None` after a success.
    pub(super) fn note(&self, write: Write, error: Option<String>) {
        let fault = error.map(|reason| (reason, Instant::now()));
        *self.0[write as usize].lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    /// Returns the reason of the first kind of write that fails.
    pub(super) fn current(&self) -> Option<String> {
        self.0.iter().find_map(|fault| {
            let fault = fault.lock().unwrap_or_else(PoisonError::into_inner);
            fault.as_ref().filter(|(_, at)| at.elapsed() < FRESH).map(|(reason, _)| reason.clone())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_failing_kind_is_the_fault() {
        let faults = WriteFaults::default();
        assert_eq!(faults.current(), None);
        faults.note(Write::Beat, Some("beat".to_owned()));
        faults.note(Write::Entries, Some("entries".to_owned()));
        assert_eq!(faults.current().as_deref(), Some("entries"));
        faults.note(Write::Entries, None);
        assert_eq!(faults.current().as_deref(), Some("beat"));
        faults.note(Write::Beat, None);
        assert_eq!(faults.current(), None);
    }
}
