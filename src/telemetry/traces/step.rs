//! A step in the processing of a tick, and its time.

use secrecy::SecretString;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

/// True if traces are sent.
pub(super) static ON: AtomicBool = AtomicBool::new(false);

/// The settings of the traces. The environment variables of OpenTelemetry set everything else.
#[derive(Clone, Debug)]
pub struct Options {
    /// The base URL of the collector.
    pub endpoint: SecretString,
    /// The name of the replica.
    pub replica: String,
    /// The name of the feed, which distinguishes its ticks from those of other feeds.
    pub feed: String,
}

/// A step that has ended.
#[derive(Clone, Debug)]
#[cfg_attr(not(feature = "otlp"), allow(dead_code, reason = "only spans need the fields"))]
pub struct TraceStep {
    pub(super) name: &'static str,
    pub(super) start: SystemTime,
    pub(super) end: SystemTime,
    pub(super) source: Option<&'static str>,
    pub(super) error: Option<String>,
    pub(super) steps: Vec<TraceStep>,
}

/// The start of a step that has not ended. `None` if traces are off.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Option<SystemTime>);

impl Stopwatch {
    /// Starts a step.
    pub fn start() -> Stopwatch {
        Stopwatch(ON.load(Ordering::Relaxed).then(SystemTime::now))
    }

    /// Ends a step.
    pub fn stop(self, name: &'static str) -> Option<TraceStep> {
        // The clock may have been set back.
        let end = self.0.map(|start| SystemTime::now().max(start));
        let (start, end) = (self.0?, end?);
        Some(TraceStep { name, start, end, source: None, error: None, steps: Vec::new() })
    }
}

impl TraceStep {
    /// Adds the source that was asked, and the error if it gave no price.
    pub fn with_source(self, source: &'static str, error: Option<String>) -> TraceStep {
        TraceStep { source: Some(source), error, ..self }
    }

    /// Adds the parts of the step.
    pub fn with_steps(self, steps: Vec<TraceStep>) -> TraceStep {
        TraceStep { steps, ..self }
    }
}
