//! Proof that both sides of a connection are still there: something is sent periodically, and if the protocol has an
//! answer to it, the answer must arrive in time.

use super::context::Context;
use super::stream_protocol::StreamProtocol;
use std::time::{Duration, Instant};

/// Grid of the due times: those of different clients that are close together are sent together.
const GRAIN_MS: u64 = 250;

/// State of a connection's heartbeat.
#[derive(Clone, Copy)]
pub(crate) enum Heartbeat {
    /// The next one is due at this time.
    SendAt(Instant),
    /// It was sent, and the answer is due by this time.
    AnswerBy(Instant),
}

impl Heartbeat {
    /// Returns the heartbeat that follows `now`.
    pub(super) fn after(now: Instant, protocol: &StreamProtocol, context: &Context) -> Heartbeat {
        let every = if protocol.answers_heartbeats() { context.sessions.limits.ping_every } else { context.heartbeat };
        let since = u64::try_from((now + every - context.epoch).as_millis()).unwrap_or(u64::MAX);
        Heartbeat::SendAt(context.epoch + Duration::from_millis(since.next_multiple_of(GRAIN_MS)))
    }

    /// Returns the time at which there is something to do.
    pub(crate) fn due(self) -> Instant {
        let (Heartbeat::SendAt(at) | Heartbeat::AnswerBy(at)) = self;
        at
    }
}
