//! The store of a feed that is kept in a file: one process, and a history that survives its restarts.
//!
//! A thread of its own writes new entries to the file, so that the disk delays neither the leader's polls nor a client.
//! An entry is published only when it is on the disk. So if the process is killed at any moment, the file has every
//! entry that a client was sent.
//!
//! The exception is a file that cannot be written: the disk is full, the directory is read-only, the file is damaged,
//! or a write hangs. Then new entries are published from memory, and written when the file can be written again.
//! [`Store::fault`] has the reason. A second process with the same directory does not start.

mod audit_table;
mod client_table;
mod data_dir;
mod feed_file;
mod hour_tables;
mod pending;
mod portable;
mod saver;

pub use data_dir::InUse;

use super::contract::{EntryStream, Lease, Members, Options, Record, ReplicaBeat, Result, Store, StoreError};
use super::entry::{audit_with_id, decode_audit};
use super::kind::{self, PriceKind};
use super::local::drop_old_clients;
use crate::candle::Detail;
use crate::feed::{Entry, EntryAudit};
use crate::tick::TickId;
use async_trait::async_trait;
use data_dir::DirError;
use feed_file::FeedFile;
use saver::{OTHER_PLACE, Saver};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::timeout;

/// The time that an append waits for the disk. After that the entry is published from memory.
const SAVE_DEADLINE: Duration = Duration::from_secs(2);
/// The time that a stop waits for the last write.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

/// A feed in a file.
pub struct Disk {
    saver: Arc<Saver>,
    /// The kind of the prices in the feed, if it is known. It does not change, because only this process can write the
    /// feed.
    kept_kind: OnceLock<PriceKind>,
}

impl Disk {
    /// Opens the feed in the directory `path`, and creates the directory if it does not exist. Until the directory can
    /// be used, the feed is kept in memory.
    ///
    /// # Errors
    /// If another process uses the directory.
    pub fn open(path: &Path, options: Options) -> std::result::Result<Disk, InUse> {
        let saver = Arc::new(Saver::new(path.to_owned(), options));
        match saver.open() {
            Ok(()) => {}
            Err(DirError::InUse(in_use)) => return Err(in_use),
            Err(error) => saver.note_fault(&error),
        }
        Ok(Disk::start(saver))
    }

    /// Opens the feed in the directory `path` for a tool. If the file cannot be opened, a tool gets an error, because
    /// it has no use for a feed in memory.
    ///
    /// # Errors
    /// If the directory or the file cannot be used.
    pub fn open_file(path: &Path, options: Options) -> anyhow::Result<Disk> {
        let saver = Arc::new(Saver::new(path.to_owned(), options));
        saver.open()?;
        Ok(Disk::start(saver))
    }

    /// The same feed for a process that writes prices of this kind.
    #[must_use]
    pub fn for_prices(self, kind: PriceKind) -> Disk {
        self.saver.pending().kind = Some(kind);
        self
    }

    /// Returns the kind of the prices in the feed, if it differs from the kind that this process writes.
    async fn other_kind(&self) -> Result<Option<PriceKind>> {
        let Some(own) = self.saver.pending().kind else { return Ok(None) };
        if self.kept_kind.get().is_none()
            && let Some(kept) = self.request(FeedFile::kind).await?.flatten()
        {
            self.kept_kind.set(kept).ok();
        }
        Ok(self.kept_kind.get().copied().filter(|kept| *kept != own))
    }

    /// Returns true if this process must not write, because the feed has prices of the other kind.
    async fn is_refused(&self) -> Result<bool> {
        let other = self.other_kind().await?;
        self.saver.pending().refusal = other.map(|kept| kind::refusal(kept.as_str(), OTHER_PLACE));
        Ok(other.is_some())
    }

    /// Starts the thread that writes the file.
    fn start(saver: Arc<Saver>) -> Disk {
        let writer = saver.clone();
        if let Err(error) = thread::Builder::new().name("disk".to_owned()).spawn(move || writer.run()) {
            saver.note_fault(&DirError::Failed(error.into()));
            saver.pending().ended = true;
        }
        Disk { saver, kept_kind: OnceLock::new() }
    }

    /// Runs a request to the file on a thread that may block. Returns `None` if no file has been open yet.
    async fn request<T: Send + 'static>(
        &self,
        request: impl FnOnce(&FeedFile) -> anyhow::Result<T> + Send + 'static,
    ) -> Result<Option<T>> {
        let saver = self.saver.clone();
        spawn_blocking(move || saver.request(request)).await.map_err(|error| unavailable(&error))?
    }

    /// Returns the id before the oldest id that is kept, or `after` if that is later.
    fn unexpired(&self, after: TickId) -> TickId {
        after.max(self.saver.pending().floor.before())
    }
}

fn unavailable(error: &JoinError) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.saver.stop(STOP_DEADLINE);
    }
}

#[async_trait]
impl Store for Disk {
    async fn acquire(&self, holder: &str) -> Result<Option<Lease>> {
        if self.is_refused().await? {
            return Ok(None);
        }
        let lease = self.saver.pending().lease.acquire(holder, self.saver.options.lease_ttl);
        let Some(granted) = &lease else { return Ok(None) };
        // The file may have been opened since then. From now on, the saver compares the kinds when it opens the file.
        let refused = self.is_refused().await;
        let mut pending = self.saver.pending();
        if !matches!(refused, Ok(false)) {
            pending.lease.release(granted);
            return refused.map(|_| None);
        }
        if let Some(own) = pending.kind {
            self.kept_kind.set(own).ok();
        }
        Ok(lease)
    }

    async fn renew(&self, lease: &Lease) -> Result<()> {
        self.saver.pending().lease.renew(lease, self.saver.options.lease_ttl)
    }

    async fn release(&self, lease: &Lease) -> Result<()> {
        self.saver.pending().lease.release(lease);
        Ok(())
    }

    async fn beat(&self, replica: &ReplicaBeat) -> Result<Members> {
        Ok(self.saver.pending().lease.members(replica))
    }

    fn fault(&self) -> Option<String> {
        let pending = self.saver.pending();
        pending.fault.as_ref().or(pending.refusal.as_ref()).cloned()
    }

    async fn append(&self, lease: &Lease, record: &Record, seen: TickId) -> Result<Entry> {
        let retention = self.saver.options.retention;
        let entry = self.saver.pending().append(lease, record, seen, retention)?;
        self.saver.wake();
        let mut progress = self.saver.progress.subscribe();
        let saved = progress.wait_for(|progress| progress.failing || progress.saved >= entry.id);
        if timeout(SAVE_DEADLINE, saved).await.is_err() {
            self.saver.note_delay(SAVE_DEADLINE);
        }
        // Entries are sent under the lock, so that subscribers get them in the order of their ids.
        let mut pending = self.saver.pending();
        for entry in pending.publish(entry.id) {
            self.saver.live.send(entry);
        }
        Ok(entry)
    }

    async fn restore(&self, lease: &Lease, entries: &[Arc<Entry>]) -> Result<()> {
        self.saver.pending().lease.check(lease)?;
        let Some((oldest, newest)) = entries.first().zip(entries.last()) else { return Ok(()) };
        // The saver deletes entries before the floor whenever it writes. So the floor is lowered before the entries are
        // written.
        self.saver.pending().keep_from(oldest.id);
        let lost = entries.to_vec();
        let saver = self.saver.clone();
        spawn_blocking(move || saver.restore(&lost)).await.map_err(|error| unavailable(&error))??;
        self.saver.pending().restored(newest.id);
        Ok(())
    }

    async fn now(&self) -> Result<TickId> {
        Ok(TickId::now())
    }

    async fn head(&self) -> Result<TickId> {
        Ok(self.saver.pending().head())
    }

    async fn range(&self, after: TickId, until: TickId, limit: usize) -> Result<Vec<Entry>> {
        let after = self.unexpired(after);
        // The entries in memory are read first. Otherwise an entry that is saved between the two reads would be missed.
        let unsaved = self.saver.pending().visible(after, until);
        let mut entries = self.request(move |file| file.range(after, until, limit)).await?.unwrap_or_default();
        let last = entries.last().map_or(after, |entry| entry.id);
        let left = limit - entries.len();
        entries.extend(unsaved.into_iter().filter(|entry| entry.id > last).take(left));
        Ok(entries)
    }

    async fn nth(&self, after: TickId, until: TickId, n: usize) -> Result<Option<TickId>> {
        let after = self.unexpired(after);
        let unsaved = self.saver.pending().visible(after, until);
        if !unsaved.is_empty() {
            return Ok(self.range(after, until, n).await?.get(n - 1).map(|entry| entry.id));
        }
        let found = self.request(move |file| file.nth(after, until, n, false)).await?;
        Ok(found.flatten())
    }

    async fn nth_newest(&self, after: TickId, until: TickId, n: usize) -> Result<Option<TickId>> {
        let after = self.unexpired(after);
        let unsaved = self.saver.pending().visible(after, until);
        if n <= unsaved.len() {
            return Ok(Some(unsaved[unsaved.len() - n].id));
        }
        // The file is searched only before the first unsaved entry. So an entry that is saved between the two reads
        // does not count twice.
        let (until, n) = (unsaved.first().map_or(until, |first| first.id.before()), n - unsaved.len());
        let found = self.request(move |file| file.nth(after, until, n, true)).await?;
        Ok(found.flatten())
    }

    async fn newest(&self, limit: usize) -> Result<Vec<Entry>> {
        let after = self.unexpired(TickId::ZERO);
        let unsaved = self.saver.pending().visible(after, TickId::from_ms(u64::MAX));
        let mut entries = self.request(move |file| file.newest(after.next(), limit)).await?.unwrap_or_default();
        let last = entries.last().map_or(after, |entry| entry.id);
        entries.extend(unsaved.into_iter().filter(|entry| entry.id > last));
        Ok(entries.split_off(entries.len().saturating_sub(limit)))
    }

    async fn audits(&self, after: TickId, until: TickId, limit: usize) -> Result<Vec<EntryAudit>> {
        let after = self.unexpired(after);
        let until = until.min(self.saver.pending().head());
        let unsaved = self.saver.pending().unsaved_audits(until);
        let mut audits = self.request(move |file| file.audits(after, until, limit)).await?.unwrap_or_default();
        let last = audits.last().map_or(after, |audit| audit.id);
        let later = unsaved.into_iter().filter(|(id, _)| *id > last).take(limit - audits.len());
        audits.extend(later.filter_map(|(id, text)| decode_audit(&audit_with_id(id, &text))));
        Ok(audits)
    }

    async fn remember(&self, sent: &[(String, TickId)]) -> Result<()> {
        let mut pending = self.saver.pending();
        pending.clients.extend(sent.iter().cloned());
        let count = pending.clients.len();
        drop_old_clients(&mut pending.clients, count, |id| *id);
        drop(pending);
        self.saver.wake();
        Ok(())
    }

    async fn recall(&self, client: &str) -> Result<Option<TickId>> {
        let unsaved = self.saver.pending().clients.get(client).copied();
        if unsaved.is_some() {
            return Ok(unsaved);
        }
        let (client, floor) = (client.to_owned(), self.saver.pending().floor);
        Ok(self.request(move |file| file.client(&client, floor)).await?.flatten())
    }

    async fn kept_hours(&self, detail: Detail) -> Result<Option<Vec<TickId>>> {
        self.request(move |file| file.hours(detail)).await
    }

    async fn read_hours(&self, detail: Detail, starts: &[TickId]) -> Result<Vec<Option<String>>> {
        let (starts, none) = (starts.to_vec(), vec![None; starts.len()]);
        Ok(self.request(move |file| file.read_hours(detail, &starts)).await?.unwrap_or(none))
    }

    async fn keep_hours(&self, detail: Detail, hours: &[(TickId, String)], expired: &[TickId]) -> Result<()> {
        let (hours, expired) = (hours.to_vec(), expired.to_vec());
        self.request(move |file| file.keep_hours(detail, &hours, &expired)).await.map(drop)
    }

    async fn subscribe(&self) -> Result<EntryStream> {
        Ok(self.saver.live.subscribe())
    }
}
