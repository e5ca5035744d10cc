//! Why the server closes a stream: one table for every transport.

use std::time::Duration;

/// Time that a close may take when the replica stops, including the client's answer, and whatever else is in flight.
pub const CLOSE_DEADLINE: Duration = Duration::from_secs(3);

/// Why the server closes a stream. Close codes 4000–4499 mean "reconnect with your cursor", 4500–4999 "do not reconnect".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// This replica is stopping; another one continues from the same cursor.
    Draining,
    /// The client was behind for too long, or read nothing for too long.
    TooSlow,
    /// The client did not answer a ping in time.
    NoPong,
}

impl CloseReason {
    /// Returns the WebSocket close code (RFC 6455 §7.4).
    pub const fn websocket_code(self) -> u16 {
        match self {
            CloseReason::Draining => 1001,
            CloseReason::TooSlow | CloseReason::NoPong => 4408,
        }
    }

    /// Returns the gRPC status code (`google.rpc.Code`).
    pub const fn grpc_code(self) -> i32 {
        match self {
            CloseReason::Draining => 14,                     // UNAVAILABLE
            CloseReason::TooSlow | CloseReason::NoPong => 8, // RESOURCE_EXHAUSTED
        }
    }

    /// Returns its name in an event stream.
    pub const fn name(self) -> &'static str {
        match self {
            CloseReason::Draining => "draining",
            CloseReason::TooSlow => "too_slow",
            CloseReason::NoPong => "no_pong",
        }
    }

    /// Returns the message for people, below the 123 bytes that a close frame has room for.
    pub const fn message(self) -> &'static str {
        match self {
            CloseReason::Draining => "this replica is stopping, come back with your last id",
            CloseReason::TooSlow => "too slow, come back with your last id",
            CloseReason::NoPong => "no pong in time, come back with your last id",
        }
    }
}
