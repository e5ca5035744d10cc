//! Logs for people, and metrics for Prometheus.

mod logs;
mod metric;
pub mod metrics;
mod process;
pub mod scrape;

pub use logs::{FILTERS, FaultLog, Options, check_filter, init};
