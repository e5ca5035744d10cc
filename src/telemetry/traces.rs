//! Traces of ticks: one trace follows a tick from the poll, with a span for each source, to the store and to the hub of
//! each replica.
//!
//! The ids of a trace and of its main spans are computed from the name of the feed and the id of the tick. So each
//! replica knows them without a message from the leader, and the format in the store has no field for them. A span is
//! made when its step has ended. If traces are off, a step costs only the reading of a flag.

#[cfg(feature = "otlp")]
mod ids;
#[cfg(feature = "otlp")]
mod otlp;
#[cfg(not(feature = "otlp"))]
#[path = "traces/no_otlp.rs"]
mod otlp;
mod step;

pub use otlp::{finish, start};
pub use step::{Options, Stopwatch, TraceStep};

/// Records that the leader has appended the tick `id` after these steps.
pub fn appended(id: u64, poll: Option<&TraceStep>, append: Stopwatch) {
    let (Some(poll), Some(append)) = (poll, append.stop("append")) else { return };
    otlp::appended(id, poll, &append);
}

/// Records that the hub of this replica has received the tick `id`.
pub fn received(id: u64, hub: Stopwatch) {
    let Some(hub) = hub.stop("hub") else { return };
    otlp::received(id, &hub);
}
