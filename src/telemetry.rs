//! Logs: a message with fields, to standard error, as text for people or JSON for machines.

use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// What is logged, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directives of `RUST_LOG`.
    pub filter: String,
    /// JSON, one object a line, in place of text.
    pub json: bool,
}

/// Whether a filter can be read.
///
/// # Errors
/// If it cannot.
pub fn check_filter(filter: &str) -> Result<(), ParseError> {
    EnvFilter::builder().parse(filter).map(drop)
}

/// Starts logging. To be called once.
pub fn init(options: &Options) {
    let filter = EnvFilter::builder().parse_lossy(&options.filter);
    // A line that cannot be written, because whoever read the log is gone, is dropped: to complain about it on standard error
    // would panic, in whatever task was about to say something.
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).log_internal_errors(false);
    if options.json {
        log.json().flatten_event(true).init();
    } else {
        log.with_ansi(std::io::stderr().is_terminal()).with_target(false).init();
    }
}
