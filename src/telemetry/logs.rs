//! Logs: messages with fields on standard error, as text for people or as JSON for machines.

use std::io::IsTerminal;
use std::time::{Duration, Instant};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// The settings of the logs.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directives, as in `RUST_LOG`.
    pub filter: String,
    /// True for JSON, one object a line; false for text.
    pub json: bool,
}

/// The accepted form of a filter. The levels are in order of increasing detail.
pub const FILTERS: &str = "a level (off, error, warn, info, debug, trace), or target=level pairs separated by commas";
/// The first segment of this program's own targets.
const OWN: &str = "btcfeed";

/// Checks that a filter is valid and has a level for this program's own targets. The library accepts any word as a
/// target, so `warning` would silence the log.
///
/// # Errors
/// The rejected part in quotes, and the expected form. The caller adds the name of the setting in front.
pub fn check_filter(filter: &str) -> Result<(), String> {
    let expected = format!("expected {FILTERS}");
    let mut own_target = false;
    for directive in filter.split(',').map(str::trim).filter(|directive| !directive.is_empty()) {
        let (target, level) = match directive.rsplit_once('=') {
            Some((target, level)) => (target, level),
            None => ("", directive),
        };
        if level.is_empty() || level.parse::<LevelFilter>().is_err() {
            return Err(format!("{directive:?}: {expected}"));
        }
        let target = target.split('[').next().unwrap_or_default();
        own_target |= OWN.starts_with(target) || target.strip_prefix(OWN).is_some_and(|rest| rest.starts_with("::"));
    }
    if !own_target {
        return Err(format!("{filter:?}: {expected}, one of them for {OWN} itself (info,h2=debug)"));
    }
    EnvFilter::builder().parse(filter).map(drop).map_err(|_| format!("{filter:?}: {expected}"))
}

/// Starts logging. Call it once.
pub fn init(options: &Options) {
    let filter = EnvFilter::builder().parse_lossy(&options.filter);
    // A line that cannot be written is dropped, for example if the reader of the log has exited. By default, the
    // library would report this failure, also on standard error. Writing the report would fail, too, and panic in the
    // task that logs.
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).log_internal_errors(false);
    if options.json {
        log.json().flatten_event(true).init();
    } else {
        log.with_ansi(std::io::stderr().is_terminal()).with_target(false).init();
    }
}

/// The time between two log lines about a lasting fault.
const REPEAT_EVERY: Duration = Duration::from_secs(60);

/// Limits what is logged about a lasting fault: one line when it starts and one a minute while it lasts.
#[derive(Debug, Default)]
pub struct FaultLog {
    /// The time of the last line, if there is a fault.
    logged: Option<Instant>,
}

impl FaultLog {
    /// A log without a fault.
    pub const fn new() -> FaultLog {
        FaultLog { logged: None }
    }

    /// Returns true if the fault is to be logged now.
    pub fn is_due(&mut self) -> bool {
        self.is_due_at(Instant::now())
    }

    /// Ends the fault: the next one is logged immediately.
    pub fn clear(&mut self) {
        self.logged = None;
    }

    fn is_due_at(&mut self, now: Instant) -> bool {
        let due = self.logged.is_none_or(|logged| now.duration_since(logged) >= REPEAT_EVERY);
        if due {
            self.logged = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lasting_fault_is_logged_once_a_minute() {
        let (start, mut fault) = (Instant::now(), FaultLog::default());
        let mut due = |second| fault.is_due_at(start + Duration::from_secs(second));
        assert_eq!([0, 1, 59, 60, 61, 120].map(&mut due), [true, false, false, true, false, true]);
        fault.clear();
        assert!(fault.is_due_at(start + Duration::from_secs(121)), "a new fault");
    }

    #[test]
    fn filter_without_own_targets_is_rejected() {
        for filter in
            ["info", "off", "WARN", "warn,btcfeed::aggregate=off", "btcfeed=debug,h2=trace", "btcfeed::hub[x]=trace"]
        {
            assert_eq!(check_filter(filter), Ok(()), "{filter}");
        }
        let expected = format!("expected {FILTERS}");
        let own = ", one of them for btcfeed itself (info,h2=debug)";
        for (filter, rejected, rest) in [
            ("warning", "warning", ""),
            ("info,verbose", "verbose", ""),
            ("btcfeed=loud", "btcfeed=loud", ""),
            ("btcfeed=", "btcfeed=", ""),
            ("btcfed=debug", "btcfed=debug", own),
            ("btcfeeds=debug", "btcfeeds=debug", own),
            (",", ",", own),
        ] {
            assert_eq!(check_filter(filter), Err(format!("{rejected:?}: {expected}{rest}")), "{filter}");
        }
        assert!(check_filter("btcfeed[x=info").is_err());
    }
}
