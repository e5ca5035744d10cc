//! Replacement of the exporter in a program without the feature `otlp`.

use super::step::{Options, TraceStep};

/// Fails, because this program cannot send traces.
///
/// # Errors
/// Always.
pub fn start(_options: &Options) -> anyhow::Result<()> {
    anyhow::bail!("this program was built without the feature `otlp`")
}

/// Does nothing, because there are no spans to send.
pub fn finish() {}

pub(super) fn appended(_id: u64, _poll: &TraceStep, _append: &TraceStep) {}

pub(super) fn received(_id: u64, _hub: &TraceStep) {}
