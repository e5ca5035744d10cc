//! One client: it reads the feed through every disconnect, and writes down in the tally what it gets.

use super::crowd::Shared;
use crate::client::{Update, Updates};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Where a client is with its connection.
enum Line {
    /// It was never connected; since when it tries to be.
    New(Instant),
    Open,
    /// Since when it has none.
    Lost(Instant),
}

/// Reads until it is stopped, or the server wants this client no more.
pub(super) async fn read(number: usize, mut updates: Updates, tally: Shared, stop: CancellationToken) {
    stop.run_until_cancelled(read_on(number, &mut updates, &tally)).await;
    tally.lock().doubled += updates.duplicates();
}

async fn read_on(number: usize, updates: &mut Updates, tally: &Shared) {
    let begun = Instant::now();
    let (mut line, mut in_sync) = (Line::New(begun), false);
    while let Some(update) = updates.next().await {
        let mut tally = tally.lock();
        match update {
            Ok(Update::Tick(tick)) => tally.entry(number, tick.id),
            Ok(Update::Status(status)) => tally.entry(number, status.id),
            Ok(Update::Gap(gap)) => tally.gap(&gap),
            Ok(Update::Connected(_)) => match std::mem::replace(&mut line, Line::Open) {
                Line::New(since) => tally.connects(number, since.elapsed()),
                Line::Lost(since) => tally.reconnects(since.elapsed()),
                Line::Open => {}
            },
            Ok(Update::Synced { id }) => {
                tally.reaches(number, id);
                if !std::mem::replace(&mut in_sync, true) {
                    tally.syncs(begun.elapsed());
                }
            }
            Ok(Update::Disconnected { why, .. }) => tally.fails(&why, line.lose()),
            Err(error) => tally.is_refused(error, line.lose()),
        }
    }
}

impl Line {
    /// The connection is over, or was not made. Whether there was one.
    fn lose(&mut self) -> bool {
        let was_open = matches!(self, Line::Open);
        if was_open {
            *self = Line::Lost(Instant::now());
        }
        was_open
    }
}
