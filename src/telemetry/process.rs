//! Metrics of the process, under the names that Prometheus's client libraries use. They are read at each scrape. On a
//! system without `/proc`, those that are read from there stay zero.

use super::metrics::{MAX_FDS, OPEN_FDS, RESIDENT_MEMORY};
use rustix::param::page_size;
use rustix::process::{Resource, getrlimit};
use std::fs;

/// Reads the metrics of the process.
pub(super) fn measure() {
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // One of them is the folder that is being read.
        OPEN_FDS.gauge("").set(to_f64(open.count().saturating_sub(1) as u64));
    }
    if let Some(limit) = getrlimit(Resource::Nofile).current {
        MAX_FDS.gauge("").set(to_f64(limit));
    }
    let pages = fs::read_to_string("/proc/self/statm").ok();
    if let Some(pages) = pages.and_then(|fields| fields.split(' ').nth(1)?.parse::<u64>().ok()) {
        RESIDENT_MEMORY.gauge("").set(to_f64(pages * page_size() as u64));
    }
}

/// Converts a number for a gauge.
#[expect(clippy::cast_precision_loss, reason = "these numbers are far below 2^52")]
pub(crate) fn to_f64(number: u64) -> f64 {
    number as f64
}
