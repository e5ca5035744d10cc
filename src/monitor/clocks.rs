//! The clocks as a replica sees them: the time by which the age of a tick is measured, and warnings.

use crate::leader::FeedClock;
use crate::store::MAX_CLOCK_ERROR;
use crate::telemetry::metrics::CLOCK_AHEAD;
use crate::text::format_duration;
use crate::tick::TickId;
use std::time::{Duration, Instant};

/// The maximum time by which this machine's clock may be ahead of the sources without a warning, because the times that
/// sources give may be this old.
const TRADE_AGE: Duration = Duration::from_secs(60);

/// The newest tick, and the moment at which it arrived.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Arrival {
    id: TickId,
    /// `None` for the first tick that this replica gets, because that tick may be older than this process.
    at: Option<Instant>,
}

impl Arrival {
    /// Notes the newest tick.
    pub(super) fn note(&mut self, id: TickId, now: Instant) {
        if id > self.id {
            *self = Arrival { id, at: (self.id != TickId::ZERO).then_some(now) };
        }
    }

    /// Returns the current time. Each clock may be wrong, so it is the median of three times: this machine's clock, the
    /// store's clock, and the sum of the newest tick's id and the time since that tick arrived. If the store has no
    /// clock of its own, this sum counts. Until a second tick has arrived, this machine's clock counts.
    pub(super) fn time(&self, own: TickId, store: Option<TickId>, now: Instant) -> TickId {
        let tick = self.at.map(|at| self.id.plus(now.saturating_duration_since(at)));
        match (store, tick) {
            (Some(store), Some(tick)) => own.max(store).min(own.min(store).max(tick)),
            (None, Some(tick)) => tick,
            (_, None) => own,
        }
    }
}

/// Measures the clocks, and returns what is wrong with them, as texts for people. `store` is the time of the store's
/// clock, or `None` if the store has no clock of its own.
pub(super) fn warnings(store: Option<TickId>, clock: &FeedClock) -> Vec<String> {
    let (own, sources) = (TickId::now(), clock.sources_time());
    let mut warnings = Vec::new();
    for (name, words, time, lag) in [
        ("store", "the clock of the store", store, MAX_CLOCK_ERROR),
        ("sources", "the times of the sources", sources, TRADE_AGE),
    ] {
        let Some(time) = time else { continue };
        let (ahead, behind) = (own.since(time), time.since(own));
        CLOCK_AHEAD.gauge(name).set(ahead.as_secs_f64() - behind.as_secs_f64());
        if ahead > lag {
            warnings.push(format!("this machine's clock is {} ahead of {words}", seconds(ahead)));
        } else if behind > MAX_CLOCK_ERROR {
            warnings.push(format!("this machine's clock is {} behind {words}", seconds(behind)));
        }
    }
    warnings.extend(clock.fault());
    warnings
}

/// Formats a duration in whole seconds.
fn seconds(duration: Duration) -> String {
    format_duration(Duration::from_secs(duration.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_wrong_clock_does_not_change_the_time() {
        let (id, now, hour) = (TickId::from_ms(1_795_166_431_075), Instant::now(), Duration::from_secs(3600));
        let mut arrival = Arrival::default();
        arrival.note(id.before(), now);
        assert_eq!(arrival.time(id.plus(hour), None, now), id.plus(hour), "nothing else is known");
        arrival.note(id, now);
        let later = now + Duration::from_secs(5);
        let truth = id.plus(Duration::from_secs(5));
        for wrong in [truth.plus(hour), truth.minus(hour)] {
            assert_eq!(arrival.time(wrong, Some(truth), later), truth);
            assert_eq!(arrival.time(truth, Some(wrong), later), truth);
            assert_eq!(arrival.time(wrong, None, later), truth);
        }
        // The store was unavailable, so the tick is an hour old when it arrives.
        let after = truth.plus(hour);
        assert_eq!(arrival.time(after, Some(after), later), after);
    }
}
