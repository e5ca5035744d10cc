//! The time of a record as its leader counts it.
//!
//! The clock of a store may be wrong by days. Ids are times of this clock, and the history is trimmed by ids, so a
//! single second with a wrong clock could delete the history. Therefore a leader counts the time on its monotonic clock
//! and sends it with each record. The store uses this time if its own clock differs too much.

use crate::tick::TickId;
use std::time::{Duration, Instant};

/// The maximum difference between the store's clock and the leader's count. If it is greater, the leader's count is the
/// time of the entry.
pub const MAX_CLOCK_ERROR: Duration = Duration::from_secs(2);

/// The time of a record as its leader counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reckoning {
    /// The moment of the record.
    pub moment: TickId,
    /// The time since the newest entry, on the monotonic clock. An append drops at most that much of the history, plus
    /// the time by which the retention was shortened. `None` if the sources confirm the moment. Then everything that is
    /// older than the retention is dropped.
    pub passed: Option<Duration>,
}

impl Reckoning {
    /// Returns the time of the entry: `moment`, which the store's clock gives, or the leader's count if the two differ
    /// too much.
    pub(super) fn correct(self, moment: TickId) -> TickId {
        if moment.differs(self.moment) > MAX_CLOCK_ERROR { self.moment } else { moment }
    }
}

impl TickId {
    /// Returns the time between two moments.
    pub(crate) fn differs(self, other: TickId) -> Duration {
        self.since(other).max(other.since(self))
    }
}

/// Returns the time of the feed at the moment `at`, if it is `id` at the moment `reference`.
pub(crate) fn moment_at(at: Instant, (id, reference): (TickId, Instant)) -> TickId {
    match at.checked_duration_since(reference) {
        Some(later) => id.plus(later),
        None => id.minus(reference.saturating_duration_since(at)),
    }
}
