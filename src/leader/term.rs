//! A term: the time in which a replica leads.

use crate::store::Lease;
use crate::tick::TickId;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The time in which a replica leads. It may span several leases, because one may expire while the store is
/// unavailable.
pub(super) struct Term {
    /// The lease, and the newest id: the head of the feed when the term began, or the last id that this term wrote.
    state: Mutex<(Lease, TickId)>,
}

/// The reason why a term ends.
pub(super) enum TermEnd {
    /// This replica stops.
    Stopped,
    /// This replica gets no prices, cannot follow the feed or has a wrong clock, so another one should lead.
    Yielded(Yielding),
    /// Another replica holds records that must be written before those of this one. Contains the other replica's name.
    Claimed(String),
    /// Another replica has written, or has something that the store lacks. Contains a lease if this replica has
    /// acquired a new one.
    Overtaken(Option<Lease>),
}

/// The reason why another replica should lead.
#[derive(Debug)]
pub(super) struct Yielding {
    /// The reason, for the log.
    pub(super) why: &'static str,
    /// The time for which this replica does not try to lead.
    pub(super) pause: Duration,
}

/// The newest tick with a price in a currency.
#[derive(Clone, Copy, Debug)]
pub(super) struct LastPrice {
    /// The tick's id.
    pub(super) id: TickId,
    /// The tick's moment on this process's monotonic clock.
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

    /// Returns the last id that this term wrote, or the head of the feed when the term began.
    pub(super) fn newest(&self) -> TickId {
        self.state().1
    }

    /// Notes that this term wrote the entry `id`.
    pub(super) fn set_newest(&self, id: TickId) {
        self.state().1 = id;
    }
}
