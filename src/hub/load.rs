//! Reads of the history for one client of a stream.

use super::Hub;
use super::history::{AUDIT_ENTRIES, LOAD_ENTRIES};
use crate::feed::Entry;
use crate::shutdown::Tasks;
use crate::telemetry::FaultLog;
use crate::tick::TickId;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio::time::sleep;
use tracing::warn;

/// The pause after a failed read.
const RETRY: Duration = Duration::from_secs(1);
/// The time for which the reads for a stream may fail before a line is logged. Shortly after a restart, so many clients
/// read the history that some reads fail at first.
const LOG_AFTER: Duration = Duration::from_secs(3);

impl Hub {
    /// Reads the oldest [`LOAD_ENTRIES`] entries with `after < id <= until`, or [`AUDIT_ENTRIES`] with their audits,
    /// sends them to `to` and calls `done`. Retries while the store is unavailable, until the receiver is dropped.
    ///
    /// The read holds one of a few permits, so a slow client must not delay it. Therefore it runs in a task of its own.
    pub fn load(
        self: &Arc<Hub>,
        tasks: &Tasks,
        after: TickId,
        until: TickId,
        audits: bool,
        mut to: oneshot::Sender<Vec<Arc<Entry>>>,
        done: impl FnOnce() + Send + 'static,
    ) {
        let hub = self.clone();
        let began = Instant::now();
        let read = async move {
            loop {
                let limit = if audits { AUDIT_ENTRIES } else { LOAD_ENTRIES };
                match hub.page(after, until, limit, audits).await {
                    Ok(entries) => {
                        if began.elapsed() >= LOG_AFTER {
                            hub.load_log().clear();
                        }
                        return entries;
                    }
                    Err(error) => {
                        if began.elapsed() >= LOG_AFTER && hub.load_log().is_due() {
                            warn!(%error, "streams wait for the history, retrying");
                        }
                        sleep(RETRY).await;
                    }
                }
            }
        };
        tasks.spawn(async move {
            // Cancel-safe: a client that has disconnected needs no history.
            tokio::select! {
                () = to.closed() => {}
                entries = read => {
                    to.send(entries).ok();
                    done();
                }
            }
        });
    }

    fn load_log(&self) -> MutexGuard<'_, FaultLog> {
        self.load_log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
