//! What shows that both sides of a connection are still there: something is sent every so often, and where the wire has an
//! answer to it, that must come in time.

use super::{Shared, Wire};
use std::time::{Duration, Instant};

/// Those of different clients that are due at nearly the same time are sent together.
const GRAIN_MS: u64 = 250;

#[derive(Clone, Copy)]
pub(in crate::server) enum Heartbeat {
    /// The next one is due then.
    SendAt(Instant),
    /// It was sent, and is to be answered by then.
    AnswerBy(Instant),
}

impl Heartbeat {
    /// The one after `now`.
    pub(super) fn after(now: Instant, wire: &Wire, shared: &Shared) -> Heartbeat {
        let every = if wire.is_answered() { shared.sessions.limits.ping_every } else { shared.heartbeat };
        let since = u64::try_from((now + every - shared.began).as_millis()).unwrap_or(u64::MAX);
        Heartbeat::SendAt(shared.began + Duration::from_millis(since.next_multiple_of(GRAIN_MS)))
    }

    /// When there is something to do about it.
    pub(in crate::server) fn due(self) -> Instant {
        let (Heartbeat::SendAt(at) | Heartbeat::AnswerBy(at)) = self;
        at
    }
}
