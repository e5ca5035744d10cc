//! Counts of a shard in plain numbers. They are reported once for each round of the shard, so that a broadcast to
//! thousands of clients changes a shared counter only a few times.

use crate::session::{Counts, StreamTransport};
use crate::telemetry::metrics::PUBLISH_TO_SOCKET;
use crate::tick::TickId;
use metrics::Histogram;

/// The latency is measured for one of this many clients.
const TIMED_EVERY: u32 = 64;

/// Counts of a shard since its last report.
pub(super) struct ShardCounts {
    /// Updates, replayed updates and bytes, by transport. A shard has no gRPC streams.
    sent: [[u64; 3]; 2],
    latency: Histogram,
    untimed: u32,
}

impl ShardCounts {
    pub(super) fn new() -> ShardCounts {
        ShardCounts { sent: [[0; 3]; 2], latency: PUBLISH_TO_SOCKET.histogram(""), untimed: 0 }
    }

    /// Adds the counts of a connection.
    pub(super) fn add(&mut self, (transport, counts, bytes): (StreamTransport, Counts, u64)) {
        let sent = &mut self.sent[usize::from(transport == StreamTransport::Events)];
        sent[0] += u64::from(counts.updates);
        sent[1] += u64::from(counts.replayed);
        sent[2] += bytes;
    }

    /// Notes that a client got the entry `head` live, and measures the latency of some of these clients.
    pub(super) fn note_live(&mut self, head: TickId) {
        self.untimed += 1;
        if self.untimed >= TIMED_EVERY {
            self.end_broadcast(head);
        }
    }

    /// Measures the latency of the last client of a broadcast, unless `note_live` has measured it.
    pub(super) fn end_broadcast(&mut self, head: TickId) {
        if std::mem::take(&mut self.untimed) > 0 {
            self.latency.record(TickId::now().since(head));
        }
    }

    /// Adds the counts to the metrics.
    pub(super) fn report(&mut self) {
        for (transport, sent) in [StreamTransport::WebSocket, StreamTransport::Events].into_iter().zip(&mut self.sent) {
            let [updates, replayed, bytes] = std::mem::take(sent);
            transport.report(updates, replayed, bytes);
        }
    }
}
