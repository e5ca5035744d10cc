//! Why a client is let go: one table for every transport.

/// Why a client is let go. Codes 4000–4499 mean "come back with your cursor", 4500–4999 "do not".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goodbye {
    /// This replica is stopping; another one goes on from the same cursor.
    Draining,
    /// The client was behind for too long, or took nothing for too long.
    TooSlow,
    /// The client did not answer a ping in time.
    NoPong,
}

impl Goodbye {
    /// The WebSocket close code (RFC 6455 §7.4).
    pub const fn websocket_code(self) -> u16 {
        match self {
            Goodbye::Draining => 1001,
            Goodbye::TooSlow | Goodbye::NoPong => 4408,
        }
    }

    /// The gRPC status code (`google.rpc.Code`).
    pub const fn grpc_code(self) -> i32 {
        match self {
            Goodbye::Draining => 14,                 // UNAVAILABLE
            Goodbye::TooSlow | Goodbye::NoPong => 8, // RESOURCE_EXHAUSTED
        }
    }

    /// The word for it in an event stream.
    pub const fn name(self) -> &'static str {
        match self {
            Goodbye::Draining => "draining",
            Goodbye::TooSlow => "too_slow",
            Goodbye::NoPong => "no_pong",
        }
    }

    /// What is said with it, below the 123 bytes that a close frame has room for.
    pub const fn reason(self) -> &'static str {
        match self {
            Goodbye::Draining => "this replica is stopping, come back with your last id",
            Goodbye::TooSlow => "too slow, come back with your last id",
            Goodbye::NoPong => "no pong in time, come back with your last id",
        }
    }
}
