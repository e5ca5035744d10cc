//! Limits of a client's session.

use std::time::Duration;

/// Limits of a client's session.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Maximum time that a client that was in sync may stay behind the head.
    pub max_lag: Duration,
    /// Maximum time for which a write may make no progress.
    pub write_stall: Duration,
    /// Time between two pings, and timeout of a pong.
    pub ping_every: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_lag: Duration::from_secs(30),
            write_stall: Duration::from_secs(10),
            ping_every: Duration::from_secs(20),
        }
    }
}
