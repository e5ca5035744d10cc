//! The start of the metrics, and what a scrape is answered.

use super::{metric, metrics, process};
use std::time::{SystemTime, UNIX_EPOCH};

/// Registers every metric of the table, so that each appears before its first value.
pub fn start() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    metrics::start(now.as_secs_f64());
}

/// Returns all series in the text format of Prometheus. Metrics of the process are read now.
pub fn render() -> String {
    process::measure();
    metric::render()
}

/// Moves what was recorded into the histograms. Call it every few seconds: without it, values would need memory until the
/// next scrape.
pub fn run_upkeep() {
    metric::run_upkeep();
}
