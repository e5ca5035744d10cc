//! One client: it reads the feed, reconnects after each disconnect, and records what it gets.

use super::stats::SharedStats;
use crate::client::{Update, Updates};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The state of a client's connection.
enum ConnectionState {
    /// The client has never been connected. It has tried to connect since this moment.
    New(Instant),
    Open,
    /// The connection was lost at this moment.
    Lost(Instant),
}

/// Reads until `stop` is cancelled or the server rejects this client.
pub(super) async fn read(client: usize, mut updates: Updates, stats: SharedStats, stop: CancellationToken) {
    stop.run_until_cancelled(read_all(client, &mut updates, &stats)).await;
    stats.lock().doubled += updates.duplicates();
}

async fn read_all(client: usize, updates: &mut Updates, stats: &SharedStats) {
    let started_at = Instant::now();
    let (mut connection, mut in_sync) = (ConnectionState::New(started_at), false);
    while let Some(update) = updates.next().await {
        let mut stats = stats.lock();
        match update {
            Ok(Update::Tick(tick)) => stats.record_entry(client, tick.id),
            Ok(Update::Status(status)) => stats.record_entry(client, status.id),
            Ok(Update::Gap(gap)) => stats.record_gap(&gap),
            Ok(Update::Connected(_)) => match std::mem::replace(&mut connection, ConnectionState::Open) {
                ConnectionState::New(since) => stats.record_connect(client, since.elapsed()),
                ConnectionState::Lost(since) => stats.record_reconnect(since.elapsed()),
                ConnectionState::Open => {}
            },
            Ok(Update::Synced { id }) => {
                stats.record_reached(client, id);
                if !std::mem::replace(&mut in_sync, true) {
                    stats.record_sync(started_at.elapsed());
                }
            }
            Ok(Update::Disconnected { why, .. }) => stats.record_failure(&why, connection.lose()),
            Err(error) => stats.record_rejection(error, connection.lose()),
        }
    }
}

impl ConnectionState {
    /// Marks the connection as lost. Returns true if it was open.
    fn lose(&mut self) -> bool {
        let was_open = matches!(self, ConnectionState::Open);
        if was_open {
            *self = ConnectionState::Lost(Instant::now());
        }
        was_open
    }
}
