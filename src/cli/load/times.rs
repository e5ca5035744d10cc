//! How long something took, many times over: a histogram (`HdrHistogram`), which keeps three digits of each time, however many there
//! are.

use hdrhistogram::Histogram;
use serde::Serialize;
use std::time::Duration;

/// What is told of them, and its name for people.
pub(super) const SHARES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];

/// The longest time that is kept; longer ones count as this. In microseconds it is below 2^32.
const LONGEST: Duration = Duration::from_secs(3600);

/// Times, in microseconds.
#[derive(Debug)]
pub(super) struct Times(Histogram<u64>);

/// What a program is told of times, in milliseconds.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    count: u64,
    p50: f64,
    p90: f64,
    p99: f64,
    p99_9: f64,
    max: f64,
}

impl Times {
    pub(super) fn new() -> Times {
        let longest = u64::try_from(LONGEST.as_micros()).unwrap_or(u64::MAX);
        Times(Histogram::new_with_bounds(1, longest, 3).expect("the bounds are far enough apart"))
    }

    pub(super) fn record(&mut self, time: Duration) {
        self.0.saturating_record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The time that this share of all did not exceed.
    pub(super) fn within(&self, share: f64) -> Duration {
        Duration::from_micros(self.0.value_at_quantile(share))
    }

    pub(super) fn longest(&self) -> Duration {
        Duration::from_micros(self.0.max())
    }

    /// Nothing, where nothing was timed.
    pub(super) fn summary(&self) -> Option<Summary> {
        let [p50, p90, p99, p99_9] = SHARES.map(|(_, share)| ms(self.within(share)));
        let summary = Summary { count: self.0.len(), p50, p90, p99, p99_9, max: ms(self.longest()) };
        Some(summary).filter(|_| !self.is_empty())
    }
}

fn ms(time: Duration) -> f64 {
    // Of a whole number of microseconds, so that it is written with three decimals at most.
    f64::from(u32::try_from(time.as_micros()).unwrap_or(u32::MAX)) / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_of_each_time_are_kept() {
        let mut times = Times::new();
        assert!(times.summary().is_none());
        (1..=1000).for_each(|ms| times.record(Duration::from_millis(ms)));
        let Summary { count, p50, p99, max, .. } = times.summary().unwrap();
        assert_eq!(count, 1000);
        assert!((499.0..=501.0).contains(&p50) && (989.0..=991.0).contains(&p99), "{p50} {p99}");
        assert!((999.0..=1001.0).contains(&max), "{max}");
    }

    #[test]
    fn what_took_no_time_or_a_day_counts_as_well() {
        let mut times = Times::new();
        times.record(Duration::ZERO);
        assert_eq!(times.longest(), Duration::ZERO);
        times.record(Duration::from_secs(86400));
        assert!(times.longest() >= LONGEST && times.longest() < LONGEST * 2);
    }
}
