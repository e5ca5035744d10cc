//! How long to wait before the next try: exponential backoff with full jitter. A server that went down with ten thousand
//! clients must not get them all back in the same moment.

use std::time::Duration;

/// The longest that a server's `Retry-After` or `retry:` is followed: it may be wrong, or somebody else's.
const LONGEST_ASKED: Duration = Duration::from_secs(600);

/// The pauses between tries.
#[derive(Clone, Debug)]
pub(super) struct Backoff {
    base: Duration,
    cap: Duration,
    /// What the server asked for with `retry:`.
    least: Duration,
    /// Tries since the last success.
    tries: u32,
}

impl Backoff {
    pub(super) fn new(base: Duration, cap: Duration) -> Backoff {
        Backoff { base, cap: cap.max(base), least: Duration::ZERO, tries: 0 }
    }

    /// The pause before the next try: what the server asked for, and anything up to a bound that doubles with every try, up
    /// to the cap.
    pub(super) fn next(&mut self, asked: Option<Duration>) -> Duration {
        let bound = self.base.saturating_mul(2_u32.saturating_pow(self.tries)).min(self.cap);
        self.tries = self.tries.saturating_add(1);
        asked.unwrap_or_default().min(LONGEST_ASKED).max(self.least) + bound.mul_f64(fastrand::f64())
    }

    /// The server asks for at least this long a pause, from now on.
    pub(super) fn at_least(&mut self, asked: Duration) {
        self.least = asked.min(LONGEST_ASKED);
    }

    /// It worked.
    pub(super) fn reset(&mut self) {
        self.tries = 0;
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
    fn a_pause_is_below_a_bound_that_doubles_up_to_the_cap() {
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
    fn pauses_are_spread_over_the_whole_of_it() {
        let eighth: Vec<_> = (0..400).map(|_| pauses(8)[7]).collect();
        for quarter in 0..4 {
            let within = 2500 * quarter * MS..2500 * (quarter + 1) * MS;
            let count = eighth.iter().filter(|pause| within.contains(pause)).count();
            assert!((50..=150).contains(&count), "{count} of 400 pauses in {within:?}");
        }
    }

    #[test]
    fn a_success_begins_anew_and_what_the_server_asks_is_added_to() {
        let mut backoff = Backoff::new(100 * MS, 10_000 * MS);
        for _ in 0..10 {
            backoff.next(None);
        }
        backoff.reset();
        assert!(backoff.next(None) <= 100 * MS);
        let pause = backoff.next(Some(5000 * MS));
        assert!((5000 * MS..=5200 * MS).contains(&pause), "{pause:?}");
        assert!(
            backoff.next(Some(Duration::from_secs(99_999))) <= LONGEST_ASKED + 10_000 * MS,
            "an absurd wish is cut"
        );
        backoff.at_least(3000 * MS);
        backoff.reset();
        assert!((3000 * MS..=3100 * MS).contains(&backoff.next(None)));
    }
}
