//! Logs for people, metrics for Prometheus, and traces for OpenTelemetry.

mod logs;
mod metric;
pub mod metrics;
mod process;
pub mod scrape;
pub mod traces;

pub use logs::{FILTERS, FaultLog, Options, check_filter, init};
pub(crate) use process::to_f64;
