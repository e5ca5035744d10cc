//! The circuit breaker of a source: it stops requests to a failing source, for a longer time after each further
//! failure.

use crate::source::{Answer, SourceError};
use crate::telemetry::FaultLog;
use std::time::Duration;
use tokio::time::Instant;
use tracing::{info, warn};

/// The number of consecutive failures that opens the breaker.
const MAX_FAILURES: u32 = 3;
/// The pause when the breaker opens. Each further failure doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
/// The maximum pause after failures.
const MAX_PAUSE: Duration = Duration::from_secs(300);

/// The circuit breaker of one source.
#[derive(Default)]
pub(super) struct CircuitBreaker {
    /// The number of consecutive polls in which the source gave no price.
    failures: u32,
    /// The end of the pause after failures. This pause is ignored if too few sources are available.
    open_until: Option<Instant>,
    /// The end of the pause that the source asked for. This pause is always respected.
    banned_until: Option<Instant>,
    /// Limits the log lines about failures to one a minute. A recovery does not reset it, so a source that repeatedly
    /// recovers and fails does not fill the log.
    log: FaultLog,
    /// True if a failure since the last recovery was logged. The next recovery is then logged, too.
    is_logged: bool,
}

impl CircuitBreaker {
    /// Returns true during a pause after failures, and during a pause that the source asked for.
    pub(super) fn is_open(&self, now: Instant) -> bool {
        self.open_until.is_some_and(|until| now < until) || self.is_banned(now)
    }

    /// Returns true during a pause that the source asked for.
    pub(super) fn is_banned(&self, now: Instant) -> bool {
        self.banned_until.is_some_and(|until| now < until)
    }

    /// Returns the time until both pauses have ended.
    pub(super) fn time_left(&self, now: Instant) -> Duration {
        self.open_until.max(self.banned_until).map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }

    /// Records the answers of `source` to a poll that started at `now`.
    pub(super) fn record(&mut self, source: &str, now: Instant, answers: &[Answer]) {
        let mut errors = answers.iter().flat_map(|answer| &answer.errors);
        let pause = errors.clone().filter_map(|error| error.retry_after).max();
        self.banned_until = pause.map(|pause| now + pause).or(self.banned_until);
        if answers.iter().any(Answer::is_useful) {
            if self.is_logged {
                info!(source, failures = self.failures, "source recovered");
            }
            (self.failures, self.open_until, self.is_logged) = (0, None, false);
            return;
        }
        self.failures += 1;
        if self.failures >= MAX_FAILURES {
            let doublings = (self.failures - MAX_FAILURES).min(10);
            let pause = (FIRST_PAUSE * 2_u32.pow(doublings)).min(MAX_PAUSE);
            self.open_until = Some(now + pause);
        }
        if self.log.is_due() {
            self.is_logged = true;
            let cause = errors.next().map_or("no answer", SourceError::for_operators);
            warn!(source, cause, failures = self.failures, next = self.next_step(now), "source failed");
        }
    }

    /// Returns what happens next, for the log.
    fn next_step(&self, now: Instant) -> String {
        let seconds = self.time_left(now).as_secs();
        if let Some(banned) = self.banned_until.filter(|until| now < *until) {
            format!("paused for {} s, because the source asks for a pause", banned.duration_since(now).as_secs())
        } else if self.is_open(now) {
            format!("paused for {seconds} s, unless too few sources are left")
        } else {
            "asked again with the next poll".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Observation;
    use crate::tick::{Currencies, Currency};

    fn failure(retry_after: Option<Duration>) -> [Answer; 1] {
        let error = SourceError { retry_after, ..SourceError::new(Currencies::all(), "HTTP 500".into()) };
        [Answer::failed(error, Duration::ZERO)]
    }

    fn success() -> Answer {
        let (currency, last) = (Currency::Usd, "1".parse().ok());
        let seen = Observation { currency, bid: None, ask: None, last, volume: None, time: None, trade_time: None };
        Answer::new(vec![seen], Vec::new(), Duration::ZERO)
    }

    #[test]
    fn breaker_opens_for_longer_after_each_failure() {
        let (mut breaker, now) = (CircuitBreaker::default(), Instant::now());
        breaker.record("a", now, &failure(None));
        breaker.record("a", now, &failure(None));
        assert!(!breaker.is_open(now));
        let mut pauses = Vec::new();
        for _ in 0..8 {
            breaker.record("a", now, &failure(None));
            assert!(breaker.is_open(now) && !breaker.is_banned(now));
            pauses.push(breaker.time_left(now).as_secs());
        }
        assert_eq!(pauses, [10, 20, 40, 80, 160, 300, 300, 300]);
        assert!(!breaker.is_open(now + MAX_PAUSE), "the source is asked again");
        breaker.record("a", now, &[success()]);
        assert!(!breaker.is_open(now));
    }

    #[test]
    fn pause_that_a_source_asks_for_is_respected() {
        let (mut breaker, now) = (CircuitBreaker::default(), Instant::now());
        breaker.record("a", now, &failure(Some(Duration::from_secs(120))));
        assert!(breaker.is_banned(now + Duration::from_secs(119)) && !breaker.is_open(now + Duration::from_secs(120)));
    }
}
