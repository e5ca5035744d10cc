//! A histogram of durations (`HdrHistogram`), with three significant digits and a constant size.

use hdrhistogram::Histogram;
use serde::Serialize;
use std::time::Duration;

/// The reported quantiles with their names.
pub(super) const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];

/// The maximum duration. A longer one is recorded as this one. In microseconds it is less than 2^32.
const MAX: Duration = Duration::from_secs(3600);

/// Durations in microseconds.
#[derive(Debug)]
pub(super) struct Latencies(Histogram<u64>);

/// A summary for the JSON report. The quantiles and the maximum are in milliseconds.
#[derive(Debug, Serialize)]
pub(super) struct LatencySummary {
    count: u64,
    p50: f64,
    p90: f64,
    p99: f64,
    p99_9: f64,
    max: f64,
}

impl Latencies {
    pub(super) fn new() -> Latencies {
        Latencies(Histogram::new_with_bounds(1, micros(MAX), 3).expect("the bounds are far enough apart"))
    }

    pub(super) fn record(&mut self, time: Duration) {
        self.0.saturating_record(micros(time.min(MAX)));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the duration at or below which this share of all durations lies.
    pub(super) fn quantile(&self, share: f64) -> Duration {
        Duration::from_micros(self.0.value_at_quantile(share))
    }

    /// Returns the longest duration.
    pub(super) fn max(&self) -> Duration {
        Duration::from_micros(self.0.max())
    }

    /// Returns the quantiles, if there is any duration.
    pub(super) fn summary(&self) -> Option<LatencySummary> {
        let [p50, p90, p99, p99_9] = QUANTILES.map(|(_, share)| ms(self.quantile(share)));
        let summary = LatencySummary { count: self.0.len(), p50, p90, p99, p99_9, max: ms(self.max()) };
        Some(summary).filter(|_| !self.is_empty())
    }
}

fn ms(time: Duration) -> f64 {
    // Converted from whole microseconds, so that the result has three decimals at most.
    f64::from(u32::try_from(time.as_micros()).unwrap_or(u32::MAX)) / 1000.0
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_keep_three_digits() {
        let mut latencies = Latencies::new();
        assert!(latencies.summary().is_none());
        (1..=1000).for_each(|ms| latencies.record(Duration::from_millis(ms)));
        let LatencySummary { count, p50, p99, max, .. } = latencies.summary().unwrap();
        assert_eq!(count, 1000);
        assert!((499.0..=501.0).contains(&p50) && (989.0..=991.0).contains(&p99), "{p50} {p99}");
        assert!((999.0..=1001.0).contains(&max), "{max}");
    }

    #[test]
    fn zero_and_very_long_durations_are_recorded() {
        let mut latencies = Latencies::new();
        latencies.record(Duration::ZERO);
        assert_eq!(latencies.max(), Duration::ZERO);
        for time in [Duration::from_secs(4200), Duration::from_secs(86400)] {
            latencies.record(time);
            // Three digits are kept.
            assert!((MAX..MAX.mul_f64(1.001)).contains(&latencies.max()), "{time:?}: {:?}", latencies.max());
        }
    }
}
