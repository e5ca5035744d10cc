//! Bookmarks: the last id that was sent to each `client_id`, for clients that cannot store a cursor themselves.
//!
//! A session moves its bookmark in memory. All bookmarks that have moved are written to the store in batches: every few
//! seconds, when a client is new, and when a session ends, but not for every tick. After a regular close, the stored
//! bookmark is the last id that was sent. After a replica was killed, the stored bookmark is up to [`WRITE_EVERY`] old,
//! so the client gets the entries since then a second time.
//!
//! A store may lose bookmarks. Those of sessions that are open on this replica are put back. If the store has no
//! bookmark of a client, the client may be new, or its bookmark may be lost, so its session begins with a gap.

use crate::store::{Result, Store};
use crate::telemetry::metrics::PUT_BACK_BOOKMARKS;
use crate::tick::TickId;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Time between two regular writes.
const WRITE_EVERY: Duration = Duration::from_secs(5);
/// Delay before a write that does not wait for the next regular one. Sessions that end during the delay share this
/// write.
const BATCH_DELAY: Duration = Duration::from_millis(10);
/// Maximum time that a close waits for its bookmark to be written.
const WRITE_DEADLINE: Duration = Duration::from_secs(1);
/// Maximum number of bookmarks in one write.
const MAX_BATCH: usize = 1000;
/// While the store is unavailable, bookmarks of ended sessions are kept only if there are fewer bookmarks than this.
const MAX_BOOKMARKS: usize = 100_000;

/// Allowed number of characters of a [`ClientId`]. 22 random characters have the 128 bits of a UUID.
const ID_CHARACTERS: RangeInclusive<usize> = 22..=64;
/// Minimum number of different characters of a [`ClientId`]. Of thirty million random UUIDs without hyphens, about one
/// has fewer.
const MIN_DIFFERENT: usize = 8;

/// Secret name of a client, chosen by the client. Everybody who knows it can move the bookmark, so it must be hard to
/// guess, and is never shown, not even in debug output.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ClientId(Arc<str>);

/// Error for a text that is not a valid [`ClientId`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid client_id {0:?}: expected a random name of 22 to 64 letters, digits and ._- (at least 8 different), such as a UUID"
)]
pub struct BadClientId(pub String);

impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientId")
    }
}

impl FromStr for ClientId {
    type Err = BadClientId;

    fn from_str(text: &str) -> std::result::Result<ClientId, BadClientId> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let different = text.bytes().collect::<HashSet<_>>().len();
        let good = ID_CHARACTERS.contains(&text.len()) && text.bytes().all(allowed) && different >= MIN_DIFFERENT;
        if good { Ok(ClientId(text.into())) } else { Err(BadClientId(text.to_owned())) }
    }
}

impl ClientId {
    /// Returns the name under which the bookmark of a client with an API key is kept, so that no other key has access
    /// to it.
    pub(crate) fn owned_by(&self, owner: &impl fmt::Display) -> ClientId {
        // A name that a client chooses cannot contain a colon.
        ClientId(format!("{owner}:{}", self.0).into())
    }
}

/// Bookmarks of this replica's sessions.
pub struct Bookmarks {
    store: Arc<dyn Store>,
    /// Position of each client's newest session on this replica. A std mutex, because it is never held across an await.
    open: Mutex<HashMap<ClientId, Arc<Position>>>,
    /// Notified if a bookmark must be written at once.
    due: Arc<Notify>,
    /// Number of writes so far.
    writes: watch::Sender<u64>,
}

/// Position of one client: the last id that was sent to it, and the last id that was written to the store. Zero means
/// none.
#[derive(Debug)]
struct Position {
    sent: AtomicU64,
    written: AtomicU64,
}

impl Position {
    fn sent(&self) -> TickId {
        TickId::from_ms(self.sent.load(Ordering::Relaxed))
    }

    /// Returns the last id that the client was sent, if it was sent any.
    fn last(&self) -> Option<TickId> {
        Some(self.sent()).filter(|id| *id > TickId::ZERO)
    }

    fn is_written(&self) -> bool {
        let sent = self.sent.load(Ordering::Relaxed);
        sent == 0 || sent == self.written.load(Ordering::Relaxed)
    }

    fn is_new(&self) -> bool {
        self.written.load(Ordering::Relaxed) == 0
    }
}

/// Bookmark of an open session. It is written soon after it is dropped.
#[derive(Debug)]
pub struct Bookmark {
    client: ClientId,
    position: Arc<Position>,
    due: Arc<Notify>,
}

impl Bookmark {
    /// Moves the bookmark to `id`. The client was sent all entries up to this id.
    pub(super) fn move_to(&self, id: TickId) {
        let before = self.position.sent.swap(id.ms(), Ordering::Relaxed);
        // The store has no bookmark of a new client yet. It is written at once, so that it is not lost if the replica
        // is killed before the next regular write.
        if before == 0 && self.position.is_new() {
            self.due.notify_one();
        }
    }
}

#[cfg(test)]
impl Bookmark {
    pub(super) fn position(&self) -> TickId {
        self.position.sent()
    }
}

impl Drop for Bookmark {
    fn drop(&mut self) {
        self.due.notify_one();
    }
}

impl Bookmarks {
    /// Creates bookmarks that are kept in `store`.
    pub fn new(store: Arc<dyn Store>) -> Bookmarks {
        Bookmarks { store, open: Mutex::default(), due: Arc::default(), writes: watch::Sender::new(0) }
    }

    /// Returns the bookmark of `client`, or `None` for a client that is new or whose bookmark was lost.
    ///
    /// # Errors
    /// If the store is unavailable, because then a known client cannot be distinguished from a new one.
    pub async fn recall(&self, client: &ClientId) -> Result<Option<TickId>> {
        let (own, is_written) =
            self.open().get(client).map_or_else(Default::default, |own| (own.last(), own.is_written()));
        // The bookmark of a session that has just ended on this replica may not be in the store yet.
        if own.is_some() && !is_written {
            return Ok(own);
        }
        // Another replica may have written a newer bookmark. If the store has lost the bookmark, `own` is what is left.
        Ok(self.store.recall(&client.0).await?.or(own))
    }

    /// Opens a bookmark for a session of `client`. `id` is the entry after which the session begins, if there is one.
    /// `recalled` is the result of [`recall`](Self::recall). The new bookmark replaces that of any other session of the
    /// client on this replica. The connection of that session may be dead without the server knowing it yet.
    pub(super) fn open_at(&self, client: &ClientId, id: Option<TickId>, recalled: Option<TickId>) -> Bookmark {
        let mut open = self.open();
        let known = open.get(client).map(|old| old.written.load(Ordering::Relaxed));
        let written = known.or(recalled.map(TickId::ms)).unwrap_or_default();
        let sent = id.map(TickId::ms).unwrap_or_default();
        let position = Arc::new(Position { sent: AtomicU64::new(sent), written: AtomicU64::new(written) });
        if !position.is_written() {
            self.due.notify_one();
        }
        open.insert(client.clone(), position.clone());
        Bookmark { client: client.clone(), position, due: self.due.clone() }
    }

    /// Closes a bookmark, and waits until it is written, for at most `WRITE_DEADLINE`.
    pub async fn close(&self, bookmark: Bookmark) {
        let (client, position) = (bookmark.client.clone(), bookmark.position.clone());
        let mut writes = self.writes.subscribe();
        drop(bookmark);
        // A bookmark that a newer session has replaced is never written.
        let is_newest = || self.open().get(&client).is_some_and(|newest| Arc::ptr_eq(newest, &position));
        let written = async { while !position.is_written() && is_newest() && writes.changed().await.is_ok() {} };
        timeout(WRITE_DEADLINE, written).await.ok();
    }

    /// Writes bookmarks until `end` is cancelled, and once more after that.
    pub async fn run(&self, end: CancellationToken) {
        let (mut is_failing, mut next) = (false, Instant::now() + WRITE_EVERY);
        while !end.is_cancelled() {
            // Every arm is cancel-safe: `Notify` keeps a notification that nobody has received.
            let is_due = tokio::select! {
                () = end.cancelled() => true,
                () = sleep_until(next) => false,
                () = self.due.notified() => {
                    sleep(BATCH_DELAY).await;
                    true
                }
            };
            if !is_due {
                next = Instant::now() + WRITE_EVERY;
            }
            match self.write(!is_due).await {
                Ok(()) => is_failing = false,
                Err(error) if !is_failing => {
                    warn!(%error, next = "trying again within 5 s", "cannot write bookmarks of clients with a client_id");
                    is_failing = true;
                }
                Err(_) => {}
            }
        }
        // Bookmarks may have moved during the last write.
        if let Err(error) = self.write(false).await {
            warn!(%error, "bookmarks of clients with a client_id are lost");
        }
    }

    /// Writes all positions that have moved. Then removes the positions of ended sessions from memory. If a position
    /// could not be written, it stays in memory while there are fewer than `MAX_BOOKMARKS`. Positions that have not
    /// moved are put back if the store has lost them: all of them if `all` is true, otherwise only those that are about
    /// to be removed.
    pub(super) async fn write(&self, all: bool) -> Result<()> {
        let (moved, kept): (Vec<_>, Vec<_>) = {
            let open = self.open();
            let is_ended = |position: &Arc<Position>| Arc::strong_count(position) == 1;
            let due = open.iter().filter(|(_, position)| all || !position.is_written() || is_ended(position));
            let due = due.filter(|(_, position)| position.last().is_some());
            due.map(|(client, position)| (client.clone(), position.clone())).partition(|(_, own)| !own.is_written())
        };
        let mut result = Ok(());
        for batch in moved.chunks(MAX_BATCH) {
            let sent = last_ids(batch);
            if let Err(error) = self.store.remember(&sent).await {
                result = Err(error);
                break;
            }
            for ((_, position), (_, id)) in batch.iter().zip(&sent) {
                position.written.store(id.ms(), Ordering::Relaxed);
            }
        }
        let mut lost = 0;
        for batch in kept.chunks(MAX_BATCH) {
            if result.is_ok() {
                let count = self.store.put_back_bookmarks(&last_ids(batch)).await;
                result = count.map(|count| lost += count);
            }
        }
        if lost > 0 {
            PUT_BACK_BOOKMARKS.counter("").increment(lost as u64);
            warn!(bookmarks = lost, "put bookmarks back that the store had lost");
        }
        drop((moved, kept));
        let mut open = self.open();
        let has_room = open.len() < MAX_BOOKMARKS;
        open.retain(|_, position| Arc::strong_count(position) > 1 || (has_room && !position.is_written()));
        drop(open);
        self.writes.send_modify(|writes| *writes += 1);
        result
    }

    fn open(&self) -> MutexGuard<'_, HashMap<ClientId, Arc<Position>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the last id of each of these clients.
fn last_ids(clients: &[(ClientId, Arc<Position>)]) -> Vec<(String, TickId)> {
    clients.iter().map(|(client, position)| (client.0.to_string(), position.sent())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_id_is_unguessable_and_not_printed() {
        for id in ["0192f2a4-7c1e-7d3a-9b60-5f8e2c4d1a07", "Zk3_q8RtY0-uVbN1.xPwQ2", &"0123456789abcdef".repeat(4)] {
            assert_eq!(format!("{:?}", id.parse::<ClientId>().unwrap()), "ClientId");
        }
        for id in ["", "shop-7", "Zk3_q8RtY0-uVbN1.xPwQ", "shop-0000000000000000000007", "a b".repeat(8).as_str()] {
            assert_eq!(id.parse::<ClientId>(), Err(BadClientId(id.to_owned())));
        }
        assert!("0123456789abcdef".repeat(5).parse::<ClientId>().is_err());
    }
}
