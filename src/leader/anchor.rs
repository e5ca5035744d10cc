//! The anchor of a leader. It computes times of the feed from moments of the monotonic clock.

use super::clock::FeedClock;
use crate::store::moment_at;
use crate::tick::TickId;
use std::time::Instant;

/// An id with its moment on the monotonic clock. It gives the records in the outbox the times that they would have in
/// the feed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Anchor {
    pub(super) id: TickId,
    pub(super) at: Instant,
    /// True if the feed runs at half speed, because it is ahead of the true time.
    pub(super) is_slow: bool,
}

impl Anchor {
    /// Creates an anchor with the speed at which the feed runs now.
    pub(super) fn of(id: TickId, at: Instant, clock: &FeedClock) -> Anchor {
        Anchor { id, at, is_slow: clock.is_slow() }
    }

    /// Returns the feed's time at a moment.
    pub(super) fn moment(self, at: Instant) -> TickId {
        if !self.is_slow {
            return moment_at(at, (self.id, self.at));
        }
        match at.checked_duration_since(self.at) {
            Some(later) => self.id.plus(later / 2),
            None => self.id.minus(self.at.saturating_duration_since(at) / 2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn slow_feed_passes_half_of_the_time() {
        let (id, at) = (TickId::from_ms(1_795_166_431_075), Instant::now() + Duration::from_secs(100));
        let minute = Duration::from_secs(60);
        for (is_slow, passed) in [(false, minute), (true, minute / 2)] {
            let anchor = Anchor { id, at, is_slow };
            assert_eq!(anchor.moment(at + minute), id.plus(passed), "{is_slow}");
            assert_eq!(anchor.moment(at.checked_sub(minute).unwrap()), id.minus(passed), "{is_slow}");
        }
    }
}
