//! The reasons why the server closes a stream, in one table for every transport.

use crate::access::Ended;
use crate::encode::View;
use crate::message::GoodbyeReason;
use crate::wire::sse;
use bytes::Bytes;
use std::ops::Range;
use std::time::Duration;

/// Timeout for closing a stream while the replica stops. It includes the wait for the client's answer. At other times,
/// the timeout is the longer of this and [`Limits::write_stall`](super::Limits::write_stall). Requests that are still
/// open this long after the end of the drain are aborted.
pub const CLOSE_DEADLINE: Duration = Duration::from_secs(3);

/// Reconnection time of clients of an event stream, in milliseconds. It is random, so that the clients of a replica
/// that stops do not all reconnect at the same moment.
pub(crate) const RETRY_MS: Range<u32> = 500..2000;

/// Reason why the server closes a stream. Close code 1001 and those from 4000 to 4499 mean "reconnect with your
/// cursor". Those from 4500 to 4999 mean "do not reconnect".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// This replica is stopping. The client can resume from its cursor on another replica.
    Draining,
    /// The client was behind the head, or read nothing, for too long.
    TooSlow,
    /// The client did not answer a ping in time.
    NoPong,
    /// The API key of the client is no longer valid.
    KeyRevoked,
    /// The API key of the client has expired.
    KeyExpired,
}

impl From<Ended> for CloseReason {
    fn from(ended: Ended) -> CloseReason {
        match ended {
            Ended::Revoked => CloseReason::KeyRevoked,
            Ended::Expired => CloseReason::KeyExpired,
        }
    }
}

impl CloseReason {
    /// All reasons.
    pub const ALL: [CloseReason; 5] = [
        CloseReason::Draining,
        CloseReason::TooSlow,
        CloseReason::NoPong,
        CloseReason::KeyRevoked,
        CloseReason::KeyExpired,
    ];

    /// Returns the WebSocket close code (RFC 6455 §7.4).
    pub const fn websocket_code(self) -> u16 {
        match self {
            CloseReason::Draining => 1001,
            CloseReason::TooSlow | CloseReason::NoPong => 4408,
            CloseReason::KeyRevoked | CloseReason::KeyExpired => 4501,
        }
    }

    /// Returns the gRPC status code (`google.rpc.Code`).
    pub const fn grpc_code(self) -> i32 {
        match self {
            CloseReason::Draining => 14,                             // UNAVAILABLE
            CloseReason::TooSlow | CloseReason::NoPong => 8,         // RESOURCE_EXHAUSTED
            CloseReason::KeyRevoked | CloseReason::KeyExpired => 16, // UNAUTHENTICATED
        }
    }

    /// Returns the reason in the message `goodbye` of an event stream. Event streams have no pongs.
    pub const fn goodbye(self) -> GoodbyeReason {
        match self {
            CloseReason::Draining => GoodbyeReason::Draining,
            CloseReason::TooSlow | CloseReason::NoPong => GoodbyeReason::TooSlow,
            CloseReason::KeyRevoked | CloseReason::KeyExpired => GoodbyeReason::Unauthorized,
        }
    }

    /// Returns the last bytes of an event stream: a reconnection time and the event `goodbye`.
    pub(crate) fn last_event(self) -> Bytes {
        [sse::retry(fastrand::u32(RETRY_MS)), View::goodbye(self.goodbye(), self.message())].concat().into()
    }

    /// Returns the name of the reason in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            CloseReason::Draining => "draining",
            CloseReason::TooSlow => "too_slow",
            CloseReason::NoPong => "no_pong",
            CloseReason::KeyRevoked => "key_revoked",
            CloseReason::KeyExpired => "key_expired",
        }
    }

    /// Returns the message for people. It fits into a close frame, which has room for 123 bytes.
    pub const fn message(self) -> &'static str {
        match self {
            CloseReason::Draining => "this replica is stopping: reconnect with your last id",
            CloseReason::TooSlow => "too slow: reconnect with your last id",
            CloseReason::NoPong => "no pong in time: reconnect with your last id",
            CloseReason::KeyRevoked => "this API key was revoked",
            CloseReason::KeyExpired => "this API key has expired",
        }
    }
}
