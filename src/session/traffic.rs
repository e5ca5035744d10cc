//! Counts of the updates and bytes sent to clients, by transport. A shard adds up plain numbers and reports them once
//! for each of its rounds.

use crate::encode::Framing;
use crate::telemetry::metrics::{BYTES_SENT, CLIENTS, REPLAYED, UPDATES_SENT};
use metrics::{Counter, Gauge};
use std::sync::LazyLock;

/// Transport of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StreamTransport {
    WebSocket,
    Events,
    #[cfg_attr(not(feature = "grpc"), expect(dead_code, reason = "no client uses it"))]
    Grpc,
}

/// Handles of one transport's series.
struct Series {
    clients: Gauge,
    updates: Counter,
    replayed: Counter,
    bytes: Counter,
}

static SERIES: LazyLock<[Series; 3]> = LazyLock::new(|| {
    ["websocket", "events", "grpc"].map(|transport| Series {
        clients: CLIENTS.gauge(transport),
        updates: UPDATES_SENT.counter(transport),
        replayed: REPLAYED.counter(transport),
        bytes: BYTES_SENT.counter(transport),
    })
});

impl StreamTransport {
    /// Returns the transport that uses a framing.
    pub(crate) fn of(framing: Framing) -> StreamTransport {
        match framing {
            Framing::WebSocket => StreamTransport::WebSocket,
            Framing::Event | Framing::Line | Framing::Row => StreamTransport::Events,
            #[cfg(feature = "grpc")]
            Framing::Grpc => StreamTransport::Grpc,
        }
    }

    /// Adds to the series of the transport.
    pub(crate) fn report(self, updates: u64, replayed: u64, bytes: u64) {
        let series = &SERIES[self as usize];
        for (counter, count) in [(&series.updates, updates), (&series.replayed, replayed), (&series.bytes, bytes)] {
            if count > 0 {
                counter.increment(count);
            }
        }
    }
}

/// Numbers of entries that a session has returned to its transport.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// All of them.
    pub(crate) updates: u32,
    /// Those that were returned before the client was in sync.
    pub(crate) replayed: u32,
}

/// Guard of an open stream.
#[derive(Debug)]
pub(crate) struct ClientGuard(StreamTransport);

impl ClientGuard {
    /// Counts a stream until the guard is dropped.
    pub(crate) fn new(transport: StreamTransport) -> ClientGuard {
        SERIES[transport as usize].clients.increment(1);
        ClientGuard(transport)
    }
}

impl Drop for ClientGuard {
    fn drop(&mut self) {
        SERIES[self.0 as usize].clients.decrement(1);
    }
}
