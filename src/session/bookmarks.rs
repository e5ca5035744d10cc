//! Where clients were that cannot remember it themselves: the last id that each `client_id` was sent.
//!
//! A session moves its bookmark in memory. Whatever moved is written to the store in one go: every few seconds, when a client
//! is new, and when a session ends, never tick by tick. So after a goodbye the bookmark is where everything had been sent for
//! the last time; after a replica was killed it is at most [`WRITE_EVERY`] old, and the client gets what it was sent since once
//! more.

use crate::store::{Result, Store};
use crate::tick::TickId;
use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// How old a bookmark in the store may be while its session goes on.
const WRITE_EVERY: Duration = Duration::from_secs(5);
/// How long those that end at the same time are gathered for one write.
const GATHER: Duration = Duration::from_millis(10);
/// How long a goodbye waits for its bookmark.
const WRITE_DEADLINE: Duration = Duration::from_secs(1);
/// The most bookmarks in one write.
const BATCH: usize = 1000;
/// The most places that are kept while the store is away.
const MOST: usize = 100_000;

/// The name under which a client is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientId(Arc<str>);

/// A text that cannot name a client.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid client_id {0:?}: expected 1 to 64 letters, digits, dots, dashes and underscores")]
pub struct BadClientId(pub String);

impl FromStr for ClientId {
    type Err = BadClientId;

    fn from_str(text: &str) -> std::result::Result<ClientId, BadClientId> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let good = (1..=64).contains(&text.len()) && text.bytes().all(allowed);
        if good { Ok(ClientId(text.into())) } else { Err(BadClientId(text.to_owned())) }
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The bookmarks of this replica's sessions.
pub struct Bookmarks {
    store: Arc<dyn Store>,
    /// Each client's newest session here. A std mutex: it is held for a look or a walk and never across an await.
    open: Mutex<HashMap<ClientId, Arc<Place>>>,
    /// Told when something is to be written at once.
    due: Arc<Notify>,
    /// How many writes have been made.
    writes: watch::Sender<u64>,
}

/// One client's place: what it was sent, and what of that the store knows. Zero is nothing.
#[derive(Debug)]
struct Place {
    sent: AtomicU64,
    written: AtomicU64,
}

impl Place {
    fn sent(&self) -> TickId {
        TickId::from_ms(self.sent.load(Ordering::Relaxed))
    }

    fn is_written(&self) -> bool {
        let sent = self.sent.load(Ordering::Relaxed);
        sent == 0 || sent == self.written.load(Ordering::Relaxed)
    }

    fn is_new(&self) -> bool {
        self.written.load(Ordering::Relaxed) == 0
    }
}

/// A session's hold on its place, which is written soon after it lets go.
#[derive(Debug)]
pub struct Bookmark {
    client: ClientId,
    place: Arc<Place>,
    due: Arc<Notify>,
}

impl Bookmark {
    /// The client was sent everything up to `id`.
    pub(super) fn move_to(&self, id: TickId) {
        let before = self.place.sent.swap(id.ms(), Ordering::Relaxed);
        // Nobody knows of this client yet, so a replica that is killed now would leave it nowhere.
        if before == 0 && self.place.is_new() {
            self.due.notify_one();
        }
    }
}

#[cfg(test)]
impl Bookmark {
    pub(super) fn place(&self) -> TickId {
        self.place.sent()
    }
}

impl Drop for Bookmark {
    fn drop(&mut self) {
        self.due.notify_one();
    }
}

impl Bookmarks {
    /// Bookmarks that are kept in `store`.
    pub fn new(store: Arc<dyn Store>) -> Bookmarks {
        Bookmarks { store, open: Mutex::default(), due: Arc::default(), writes: watch::Sender::new(0) }
    }

    /// Where `client` was, if anybody knows.
    ///
    /// # Errors
    /// If the store is away: whether the client was here before cannot be told then.
    pub async fn recall(&self, client: &ClientId) -> Result<Option<TickId>> {
        // A session that ended here a moment ago may not be written yet.
        let here = self.open().get(client).filter(|place| !place.is_written()).map(|place| place.sent());
        match here {
            Some(id) => Ok(Some(id)),
            None => self.store.recall(&client.0).await,
        }
    }

    /// A bookmark for a session of `client` that begins after the entry `id`, if it begins after one; `recalled` is what the
    /// store said, if it was asked. It takes the place of any other session that the client has here: that one may be a line
    /// that is dead and not noticed yet.
    pub(super) fn open_at(&self, client: &ClientId, id: Option<TickId>, recalled: Option<TickId>) -> Bookmark {
        let mut open = self.open();
        let known = open.get(client).map(|old| old.written.load(Ordering::Relaxed));
        let written = known.or(recalled.map(TickId::ms)).unwrap_or_default();
        let sent = id.map(TickId::ms).unwrap_or_default();
        let place = Arc::new(Place { sent: AtomicU64::new(sent), written: AtomicU64::new(written) });
        if !place.is_written() {
            self.due.notify_one();
        }
        open.insert(client.clone(), place.clone());
        Bookmark { client: client.clone(), place, due: self.due.clone() }
    }

    /// Lets go of a bookmark, and waits until it is written, though not for long.
    pub async fn close(&self, bookmark: Bookmark) {
        let (client, place) = (bookmark.client.clone(), bookmark.place.clone());
        let mut writes = self.writes.subscribe();
        drop(bookmark);
        // One that was taken over by a newer session is never written.
        let is_newest = || self.open().get(&client).is_some_and(|newest| Arc::ptr_eq(newest, &place));
        let written = async { while !place.is_written() && is_newest() && writes.changed().await.is_ok() {} };
        timeout(WRITE_DEADLINE, written).await.ok();
    }

    /// Writes until `end`, and once more then.
    pub async fn run(&self, end: CancellationToken) {
        let mut told = false;
        while !end.is_cancelled() {
            // Every arm is cancel-safe: time passes, a notice that nobody took is kept.
            tokio::select! {
                () = end.cancelled() => {}
                () = sleep(WRITE_EVERY) => {}
                () = self.due.notified() => sleep(GATHER).await,
            }
            match self.write().await {
                Ok(()) => told = false,
                Err(error) if !told => {
                    warn!(%error, "where clients with a client_id are cannot be written, trying on");
                    told = true;
                }
                Err(_) => {}
            }
        }
        // What moved during the last write.
        if let Err(error) = self.write().await {
            warn!(%error, "where clients with a client_id were is not written");
        }
    }

    /// Writes what has moved, and forgets the places that nobody holds and that are written.
    pub(super) async fn write(&self) -> Result<()> {
        let moved: Vec<_> = {
            let open = self.open();
            let moved = open.iter().filter(|(_, place)| !place.is_written());
            moved.map(|(client, place)| (client.clone(), place.clone())).collect()
        };
        let mut result = Ok(());
        for batch in moved.chunks(BATCH) {
            let sent: Vec<_> = batch.iter().map(|(client, place)| (client.to_string(), place.sent())).collect();
            match self.store.remember(&sent).await {
                Ok(()) => {
                    for ((_, place), (_, id)) in batch.iter().zip(&sent) {
                        place.written.store(id.ms(), Ordering::Relaxed);
                    }
                }
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        drop(moved);
        let mut open = self.open();
        let has_room = open.len() < MOST;
        open.retain(|_, place| Arc::strong_count(place) > 1 || (has_room && !place.is_written()));
        drop(open);
        self.writes.send_modify(|writes| *writes += 1);
        result
    }

    fn open(&self) -> MutexGuard<'_, HashMap<ClientId, Arc<Place>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
