//! The start of the metrics, and the answer to a scrape.

use super::{metric, metrics, process};
use std::time::{SystemTime, UNIX_EPOCH};

/// Registers every metric of the table, with the series that are known at the start. A scrape then shows these series
/// before they have a value.
pub fn start() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    metrics::start(now.as_secs_f64());
}

/// Returns all series in the text format of Prometheus. Measures the process first.
pub fn render() -> String {
    process::measure();
    metric::render()
}

/// Moves recorded values into the buckets of the histograms. Call it every few seconds. Otherwise the values would use
/// more and more memory until the next scrape.
pub fn run_upkeep() {
    metric::run_upkeep();
}
