//! Leaves a failing source alone for a growing while.

use crate::source::Answer;
use std::time::Duration;
use tokio::time::Instant;
use tracing::{info, warn};

/// Failures in a row before a source is rested.
const PATIENCE: u32 = 3;
/// The first rest; each further failure doubles it.
const FIRST_REST: Duration = Duration::from_secs(10);
/// The longest rest.
const LONGEST_REST: Duration = Duration::from_secs(300);

/// What one source's last answers say of its health.
#[derive(Default)]
pub(super) struct Breaker {
    /// Polls in a row without any price.
    failures: u32,
    /// Rested until then, unless nobody else is left.
    resting: Option<Instant>,
    /// It asked to be left alone until then, which is obeyed in any case.
    banned: Option<Instant>,
}

impl Breaker {
    /// Whether it is better not to ask now.
    pub(super) fn rests(&self, now: Instant) -> bool {
        self.resting.is_some_and(|until| now < until) || self.banned(now)
    }

    /// Whether it must not be asked now.
    pub(super) fn banned(&self, now: Instant) -> bool {
        self.banned.is_some_and(|until| now < until)
    }

    /// How long the rest still takes.
    pub(super) fn rest_left(&self, now: Instant) -> Duration {
        self.resting.max(self.banned).map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }

    /// Learns from what `source` answered to a poll that began at `now`.
    pub(super) fn learn(&mut self, source: &str, now: Instant, answers: &[Answer]) {
        let asked_rest = answers.iter().filter_map(|answer| answer.as_ref().err()?.retry_after).max();
        if let Some(rest) = asked_rest {
            warn!(source, rest_s = rest.as_secs(), "the source asks to be left alone");
            self.banned = Some(now + rest);
        }
        if answers.iter().any(Result::is_ok) {
            if self.failures > 0 {
                info!(source, failures = self.failures, "the source answers again");
            }
            (self.failures, self.resting) = (0, None);
            return;
        }
        let reason =
            answers.iter().find_map(|answer| Some(answer.as_ref().err()?.reason.as_str())).unwrap_or("no answer");
        self.failures += 1;
        if self.failures == 1 {
            warn!(source, reason, "the source fails");
        }
        if self.failures >= PATIENCE {
            let doublings = (self.failures - PATIENCE).min(10);
            let rest = (FIRST_REST * 2_u32.pow(doublings)).min(LONGEST_REST);
            self.resting = Some(now + rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Failure;
    use crate::tick::Currencies;

    fn failure(retry_after: Option<Duration>) -> [Answer; 1] {
        [Err(Failure { currencies: Currencies::all(), reason: "HTTP 500".into(), retry_after })]
    }

    #[test]
    fn a_source_rests_after_three_failures_longer_each_time_and_not_for_ever() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        breaker.learn("a", now, &failure(None));
        breaker.learn("a", now, &failure(None));
        assert!(!breaker.rests(now));
        let mut rests = Vec::new();
        for _ in 0..8 {
            breaker.learn("a", now, &failure(None));
            assert!(breaker.rests(now) && !breaker.banned(now));
            rests.push(breaker.rest_left(now).as_secs());
        }
        assert_eq!(rests, [10, 20, 40, 80, 160, 300, 300, 300]);
        assert!(!breaker.rests(now + LONGEST_REST), "it is tried again");
        breaker.learn("a", now, &[Ok(vec![])]);
        assert!(!breaker.rests(now));
    }

    #[test]
    fn a_source_that_asks_to_be_left_alone_is() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        breaker.learn("a", now, &failure(Some(Duration::from_secs(120))));
        assert!(breaker.banned(now + Duration::from_secs(119)) && !breaker.rests(now + Duration::from_secs(120)));
    }
}
