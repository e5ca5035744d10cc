//! Limits of a client's session.

use std::time::Duration;

/// What a session allows its client.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long a client that was in sync may be behind the head without ever reaching it.
    pub max_lag: Duration,
    /// How long a write may make no progress.
    pub write_stall: Duration,
    /// How often a client is pinged, and how long its pong may take.
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
