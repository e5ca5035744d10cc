//! A term: the time in which a replica leads.

use crate::store::Lease;
use crate::tick::TickId;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The time in which a replica leads. It may span several leases, because one may expire while the store is unavailable.
pub(super) struct Term {
    /// The lease, and the newest id that the feed had when the term began or that this term wrote.
    state: Mutex<(Lease, TickId)>,
}

/// The reason why a term ends.
pub(super) enum TermEnd {
    /// This replica stops.
    Stopped,
    /// This replica gets no prices and lets another one try.
    Yielded,
    /// Another replica has written. It may be gone again, in which case this replica has a new lease.
    Overtaken(Option<Lease>),
}

/// The newest price of a currency, as far as the feed shows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct LastPrice {
    /// The tick that has it.
    pub(super) id: TickId,
    /// Its moment on this process's monotonic clock.
    pub(super) at: Instant,
}

impl Term {
    /// A term with this lease, over a feed whose newest id is `head`.
    pub(super) fn new(lease: Lease, head: TickId) -> Term {
        Term { state: Mutex::new((lease, head)) }
    }

    fn state(&self) -> MutexGuard<'_, (Lease, TickId)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the current lease.
    pub(super) fn lease(&self) -> Lease {
        self.state().0.clone()
    }

    /// Replaces a lease that has expired.
    pub(super) fn set_lease(&self, lease: Lease) {
        self.state().0 = lease;
    }

    /// Returns the newest id that the feed had when the term began or that this term wrote.
    pub(super) fn newest(&self) -> TickId {
        self.state().1
    }

    /// Records that this term wrote `id`.
    pub(super) fn set_newest(&self, id: TickId) {
        self.state().1 = id;
    }
}
