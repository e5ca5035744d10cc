//! State that all shards share.

use crate::session::Sessions;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// State that all shards and their connections share.
pub(super) struct Context {
    pub(super) sessions: Arc<Sessions>,
    /// Time between two comments on an event stream.
    pub(super) heartbeat: Duration,
    /// Moment from which the times of heartbeats are counted (see [`Heartbeat`](super::heartbeat::Heartbeat)).
    pub(super) epoch: Instant,
    draining: AtomicBool,
}

impl Context {
    pub(super) fn new(sessions: Arc<Sessions>, heartbeat: Duration) -> Context {
        Context { sessions, heartbeat, epoch: Instant::now(), draining: AtomicBool::new(false) }
    }

    /// Returns whether all connections are being closed.
    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub(super) fn start_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }
}
