//! Reads of the history on behalf of one client.

use super::Hub;
use crate::feed::Entry;
use crate::shutdown::Tasks;
use crate::tick::TickId;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::sleep;

/// Most entries of one read.
pub const LOAD_ENTRIES: usize = 500;
/// Pause before the store is asked again for history that it could not return.
const RETRY: Duration = Duration::from_secs(1);

/// Reads the oldest [`LOAD_ENTRIES`] entries after `after` and up to `until`, however long the store is away, sends them to
/// `to` and calls `done`. It is a task of its own, because a reader that has a place among those of the store must go on
/// whatever its client does. It ends with its client.
pub fn load_history(
    tasks: &Tasks,
    hub: &Arc<Hub>,
    after: TickId,
    until: TickId,
    mut to: oneshot::Sender<Vec<Arc<Entry>>>,
    done: impl FnOnce() + Send + 'static,
) {
    let hub = hub.clone();
    let read = async move {
        loop {
            match hub.history(after, until, LOAD_ENTRIES).await {
                Ok(entries) => return entries,
                Err(_) => sleep(RETRY).await,
            }
        }
    };
    tasks.spawn(async move {
        // Cancel-safe: a client that is gone needs no history.
        tokio::select! {
            () = to.closed() => {}
            entries = read => {
                to.send(entries).ok();
                done();
            }
        }
    });
}
