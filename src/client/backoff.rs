//! Pauses between attempts: exponential backoff with full jitter. The clients of a server that has stopped must not all
//! reconnect at the same moment.

use std::time::Duration;

/// The maximum pause that a server can ask for, because its `Retry-After` or `retry:` may be wrong.
const MAX_ASKED: Duration = Duration::from_secs(600);

/// The pauses between attempts.
#[derive(Clone, Debug)]
pub(super) struct Backoff {
    base: Duration,
    cap: Duration,
    /// The minimum pause that the server asked for with `retry:`.
    min: Duration,
    /// The number of attempts since the last success.
    attempts: u32,
}

impl Backoff {
    pub(super) fn new(base: Duration, cap: Duration) -> Backoff {
        Backoff { base, cap: cap.max(base), min: Duration::ZERO, attempts: 0 }
    }

    /// Returns the pause before the next attempt: the time that the server asked for, plus a random time. The bound of
    /// the random time doubles with each attempt, up to the cap.
    pub(super) fn next(&mut self, asked: Option<Duration>) -> Duration {
        let bound = self.base.saturating_mul(2_u32.saturating_pow(self.attempts)).min(self.cap);
        self.attempts = self.attempts.saturating_add(1);
        asked.unwrap_or_default().min(MAX_ASKED).max(self.min) + bound.mul_f64(fastrand::f64())
    }

    /// Sets the minimum that the server asked for. It applies to all later pauses.
    pub(super) fn at_least(&mut self, asked: Duration) {
        self.min = asked.min(MAX_ASKED);
    }

    /// Starts again with the shortest pauses, because an attempt has succeeded.
    pub(super) fn reset(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn pauses(count: usize) -> Vec<Duration> {
        let mut backoff = Backoff::new(100 * MS, 10_000 * MS);
        (0..count).map(|_| backoff.next(None)).collect()
    }

    #[test]
    fn pause_is_below_a_bound_that_doubles() {
        for _ in 0..200 {
            for (pause, bound) in pauses(40)
                .into_iter()
                .zip([100, 200, 400, 800, 1600, 3200, 6400].into_iter().chain(std::iter::repeat(10_000)))
            {
                assert!(pause <= bound * MS, "{pause:?} is more than {bound} ms");
            }
        }
    }

    #[test]
    fn pauses_are_spread_over_their_range() {
        let eighth: Vec<_> = (0..400).map(|_| pauses(8)[7]).collect();
        for quarter in 0..4 {
            let within = 2500 * quarter * MS..2500 * (quarter + 1) * MS;
            let count = eighth.iter().filter(|pause| within.contains(*pause)).count();
            assert!((50..=150).contains(&count), "{count} of 400 pauses in {within:?}");
        }
    }

    #[test]
    fn success_resets_and_asked_pause_is_a_minimum() {
        let mut backoff = Backoff::new(100 * MS, 10_000 * MS);
        for _ in 0..10 {
            backoff.next(None);
        }
        backoff.reset();
        assert!(backoff.next(None) <= 100 * MS);
        let pause = backoff.next(Some(5000 * MS));
        assert!((5000 * MS..=5200 * MS).contains(&pause), "{pause:?}");
        assert!(backoff.next(Some(Duration::from_secs(99_999))) <= MAX_ASKED + 10_000 * MS, "an absurd pause is cut");
        backoff.at_least(3000 * MS);
        backoff.reset();
        assert!((3000 * MS..=3100 * MS).contains(&backoff.next(None)));
    }
}
