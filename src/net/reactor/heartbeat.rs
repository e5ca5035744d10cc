//! Heartbeats, which show that both sides of a connection are alive. If the protocol has an answer to a heartbeat, the
//! answer must arrive in time.

use super::context::Context;
use super::stream_protocol::StreamProtocol;
use std::time::{Duration, Instant};

/// Heartbeats are due at multiples of this time, so that a shard wakes up once for many clients.
const GRID_MS: u64 = 250;

/// State of a connection's heartbeat.
#[derive(Clone, Copy)]
pub(crate) enum Heartbeat {
    /// The next heartbeat is due at this time.
    SendAt(Instant),
    /// A heartbeat was sent, and its answer is due by this time.
    AnswerBy(Instant),
}

impl Heartbeat {
    /// Returns the state in which the next heartbeat is due one period after `now`, rounded up to a multiple of
    /// `GRID_MS`.
    pub(super) fn after(now: Instant, protocol: &StreamProtocol, context: &Context) -> Heartbeat {
        let every = if protocol.answers_heartbeats() { context.sessions.limits.ping_every } else { context.heartbeat };
        let since = u64::try_from((now + every - context.epoch).as_millis()).unwrap_or(u64::MAX);
        Heartbeat::SendAt(context.epoch + Duration::from_millis(since.next_multiple_of(GRID_MS)))
    }

    /// Returns the time at which a heartbeat or its answer is due.
    pub(crate) fn due(self) -> Instant {
        let (Heartbeat::SendAt(at) | Heartbeat::AnswerBy(at)) = self;
        at
    }
}
