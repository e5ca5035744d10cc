//! The thread that writes a feed to its file, and what it shares with the callers of the store.
//!
//! If the file cannot be written, the thread tries again until it can. In the meantime the entries are in memory.

use super::data_dir::{DataDir, DirError};
use super::feed_file::{Batch, FeedFile};
use super::pending::Pending;
use crate::feed::Entry;
use crate::store::contract::{Options, Result, StoreError};
use crate::store::kind;
use crate::store::local::Live;
use crate::telemetry::FaultLog;
use crate::telemetry::metrics::{STORE_ERRORS, STORE_SECONDS, STORE_UNSAVED};
use crate::tick::TickId;
use anyhow::anyhow;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tracing::{info, warn};

/// The setting that the error of [`kind::refusal`] names: with another value, this process writes a separate feed.
pub(super) const OTHER_PLACE: &str = "another BTCFEED_DATA";
/// The name of the file in the data directory.
const FILE: &str = "feed.redb";
/// The time between two attempts to write a file that cannot be written.
const RETRY: Duration = Duration::from_secs(1);
/// The maximum number of entries, and of bookmarks, in one write.
const BATCH: usize = 1000;

/// The progress of the writes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SaveProgress {
    /// The newest id that is on the disk.
    pub(super) saved: TickId,
    /// True while there is a fault: the file cannot be written, or a write takes too long. Appends then do not wait for
    /// the disk.
    pub(super) failing: bool,
}

/// The writer of a feed's file: the state that its thread and the callers of the store share.
pub(super) struct Saver {
    path: PathBuf,
    pub(super) options: Options,
    files: RwLock<OpenFiles>,
    /// Held during each write of entries, so that a write with an old floor does not delete entries that are being
    /// restored.
    writing: Mutex<()>,
    /// A std mutex, held for a few operations in memory and never across an await or a write.
    pending: Mutex<Pending>,
    /// Notified when there is something to write, and when the thread must end or has ended.
    work: Condvar,
    pub(super) progress: watch::Sender<SaveProgress>,
    pub(super) live: Live,
    log: Mutex<FaultLog>,
}

/// The directory and the file, if they are open. Reads and writes hold the read lock, opening and closing hold the
/// write lock.
#[derive(Default)]
struct OpenFiles {
    file: Option<FeedFile>,
    directory: Option<DataDir>,
    /// True if the file was open at some time, so it may have entries that are not in memory.
    was_open: bool,
}

/// Returns the error of a request to a file that is not open.
pub(super) fn not_open() -> StoreError {
    StoreError::Unavailable("the file of the feed is not open".to_owned())
}

impl Saver {
    pub(super) fn new(path: PathBuf, options: Options) -> Saver {
        Saver {
            path,
            options,
            files: RwLock::default(),
            writing: Mutex::default(),
            pending: Mutex::default(),
            work: Condvar::new(),
            progress: watch::Sender::default(),
            live: Live::new(),
            log: Mutex::default(),
        }
    }

    /// Locks the state in memory.
    pub(super) fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the thread.
    pub(super) fn wake(&self) {
        self.work.notify_all();
    }

    /// Tells the thread to write what is pending and then to end. Waits at most `limit` until it has ended.
    pub(super) fn stop(&self, limit: Duration) {
        self.pending().stopping = true;
        self.wake();
        drop(self.work.wait_timeout_while(self.pending(), limit, |pending| !pending.ended));
    }

    /// Opens the directory and the file, if they are not open.
    pub(super) fn open(&self) -> std::result::Result<(), DirError> {
        // Without this check, each write would wait for the end of all reads.
        if self.files.read().unwrap_or_else(PoisonError::into_inner).file.is_some() {
            return Ok(());
        }
        let mut files = self.files.write().unwrap_or_else(PoisonError::into_inner);
        let OpenFiles { file, directory, was_open } = &mut *files;
        let directory = match directory {
            Some(directory) => directory,
            None => directory.insert(DataDir::open(&self.path)?),
        };
        let opened = FeedFile::open(&directory.file(FILE))?;
        directory.sync().map_err(anyhow::Error::new)?;
        if !*was_open {
            self.check_kind(&opened)?;
        }
        let (_, _, oldest, head) = opened.extent()?;
        let retention = self.options.retention;
        let shortened = opened.retention()?.unwrap_or_default().saturating_sub(retention);
        *file = Some(opened);
        *was_open = true;
        self.pending().opened(oldest, head, retention, shortened);
        Ok(())
    }

    /// Checks that this process writes prices of the same kind as those in the file. Skips the check if the process has
    /// neither the lease nor unsaved entries.
    fn check_kind(&self, file: &FeedFile) -> anyhow::Result<()> {
        let own = {
            let pending = self.pending();
            pending.kind.filter(|_| pending.unsaved() > 0 || pending.lease.is_granted())
        };
        match (own, own.and(file.kind()?)) {
            (Some(own), Some(kept)) if own != kept => Err(anyhow!(kind::refusal(kept.as_str(), OTHER_PLACE))),
            _ => Ok(()),
        }
    }

    fn close(&self) {
        let file = self.files.write().unwrap_or_else(PoisonError::into_inner).file.take();
        file.into_iter().for_each(FeedFile::close);
    }

    /// Returns the size of the file in bytes.
    pub(super) fn file_size(&self) -> Option<u64> {
        std::fs::metadata(self.path.join(FILE)).ok().map(|file| file.len())
    }

    /// Runs a request to the file. Blocks. Returns `None` if no file has been open yet.
    pub(super) fn request<T>(&self, request: impl FnOnce(&FeedFile) -> anyhow::Result<T>) -> Result<Option<T>> {
        let files = self.files.read().unwrap_or_else(PoisonError::into_inner);
        match &files.file {
            Some(file) => match request(file) {
                Ok(found) => Ok(Some(found)),
                Err(error) => Err(StoreError::Unavailable(format!("cannot use the file of the feed: {error:#}"))),
            },
            None if files.was_open => Err(not_open()),
            None => Ok(None),
        }
    }

    /// Writes entries that the file has lost. Blocks. The caller has lowered the floor. Waits for the end of a write
    /// that began with the old floor, because that write would delete these entries.
    pub(super) fn restore(&self, entries: &[Arc<Entry>]) -> Result<()> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.request(|file| file.restore(entries))?.ok_or_else(not_open)
    }

    /// Writes what is pending, until the store is dropped.
    pub(super) fn run(&self) {
        while let Some(mut batch) = self.next_batch() {
            let started = Instant::now();
            let saved = self.save(&mut batch);
            STORE_SECONDS.histogram("").record(started.elapsed());
            match saved {
                Ok(()) => self.note_saved(&batch),
                Err(error) => {
                    STORE_ERRORS.counter("").increment(1);
                    self.note_fault(&error);
                    let (pending, _) = self
                        .work
                        .wait_timeout_while(self.pending(), RETRY, |pending| !pending.stopping)
                        .unwrap_or_else(PoisonError::into_inner);
                    if pending.stopping {
                        break;
                    }
                }
            }
        }
        let lost = self.pending().unsaved();
        if lost > 0 {
            warn!(lost, "stopping with entries that could not be saved");
        }
        // Closing the file writes to the disk, so this thread closes it.
        self.close();
        self.files.write().unwrap_or_else(PoisonError::into_inner).directory = None;
        self.pending().ended = true;
        self.wake();
    }

    /// Waits for something to write. Returns `None` if the store was dropped and everything is written. While there is
    /// a fault, also returns empty batches, whose writes show whether the file can be written again.
    fn next_batch(&self) -> Option<Batch> {
        let mut pending = self.pending();
        while pending.unsaved() == 0 && pending.clients.is_empty() && pending.fault.is_none() {
            if pending.stopping {
                return None;
            }
            pending = self.work.wait(pending).unwrap_or_else(PoisonError::into_inner);
        }
        let clients = pending.clients.iter().take(BATCH).map(|(client, id)| (client.clone(), *id)).collect();
        let entries = pending.first_unsaved(BATCH);
        let audits = entries.last().map_or_else(Vec::new, |last| pending.unsaved_audits(last.id));
        let retention = Some(self.options.retention);
        Some(Batch { entries, audits, clients, now: pending.time(), floor: pending.floor, retention })
    }

    fn save(&self, batch: &mut Batch) -> std::result::Result<(), DirError> {
        self.open()?;
        let saved = {
            let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
            // The file may have just been opened, or entries may have been restored, so the floor may be lower now.
            batch.floor = self.pending().floor;
            let files = self.files.read().unwrap_or_else(PoisonError::into_inner);
            let file = files.file.as_ref().ok_or_else(|| anyhow::anyhow!("the file is not open"))?;
            file.save(batch)
        };
        if saved.is_err() {
            // After an error the database rejects every request until it is opened again.
            self.close();
            self.open().ok();
        }
        Ok(saved?)
    }

    fn note_saved(&self, batch: &Batch) {
        let mut pending = self.pending();
        if let Some(last) = batch.entries.last() {
            pending.saved(last.id);
        }
        for (client, id) in &batch.clients {
            if pending.clients.get(client) == Some(id) {
                pending.clients.remove(client);
            }
        }
        STORE_UNSAVED.gauge("").set(u32::try_from(pending.unsaved()).unwrap_or(u32::MAX));
        let is_mended = pending.unsaved() <= BATCH && pending.fault.take().is_some();
        let dropped = if is_mended { std::mem::take(&mut pending.dropped) } else { 0 };
        let failing = pending.fault.is_some();
        self.progress.send_modify(|progress| {
            progress.saved = progress.saved.max(batch.entries.last().map_or(TickId::ZERO, |last| last.id));
            progress.failing = failing;
        });
        drop(pending);
        if is_mended {
            self.log.lock().unwrap_or_else(PoisonError::into_inner).clear();
            info!(dropped, path = %self.path.display(), "the feed is saved to the disk again");
        }
    }

    /// Records that the file cannot be written, and logs it at most once a minute.
    pub(super) fn note_fault(&self, error: &DirError) {
        // Clients read the short reason, which has no path.
        let reason = match error {
            DirError::InUse(_) => "another process uses the data directory".to_owned(),
            DirError::Failed(error) => error.root_cause().to_string(),
        };
        let reason = reason.strip_prefix("I/O error: ").unwrap_or(&reason);
        self.set_fault(reason.to_owned(), &error.to_string());
    }

    /// Records that a write takes too long.
    pub(super) fn note_delay(&self, waited: Duration) {
        let reason = format!("a write to the disk takes longer than {waited:?}");
        self.set_fault(reason.clone(), &reason);
    }

    fn set_fault(&self, reason: String, error: &str) {
        let mut pending = self.pending();
        let (unsaved, dropped) = (pending.unsaved(), pending.dropped);
        pending.fault = Some(reason);
        STORE_UNSAVED.gauge("").set(u32::try_from(unsaved).unwrap_or(u32::MAX));
        self.progress.send_modify(|progress| progress.failing = true);
        drop(pending);
        // If nothing is pending, the thread must still find out that the file can be written.
        self.wake();
        if self.log.lock().unwrap_or_else(PoisonError::into_inner).is_due() {
            warn!(
                error,
                path = %self.path.display(),
                unsaved,
                dropped,
                "cannot save the feed to the disk, keeping it in memory and retrying every second"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn until(what: &str, condition: impl Fn() -> bool) {
        let started = Instant::now();
        while !condition() {
            assert!(started.elapsed() < Duration::from_secs(30), "waited for {what}");
            thread::park_timeout(Duration::from_millis(5));
        }
    }

    fn saver(directory: &tempfile::TempDir) -> Arc<Saver> {
        let options = Options { retention: DAY, lease_ttl: Duration::from_secs(60) };
        let saver = Arc::new(Saver::new(directory.path().to_owned(), options));
        saver.open().unwrap();
        saver
    }

    #[test]
    fn late_report_of_a_delay_is_no_lasting_fault() {
        let directory = tempfile::tempdir().unwrap();
        let saver = saver(&directory);
        let thread = thread::spawn({
            let saver = saver.clone();
            move || saver.run()
        });
        // This bookmark is the delayed write. It ends before its delay is reported below. Then the thread has nothing
        // to write.
        saver.pending().clients.insert("a".to_owned(), TickId::FIRST_DAY);
        saver.wake();
        until("the bookmark", || saver.pending().clients.is_empty());
        thread::park_timeout(Duration::from_millis(50));
        saver.note_delay(RETRY);
        until("a write", || saver.pending().fault.is_none() && !saver.progress.borrow().failing);
        saver.stop(DAY);
        thread.join().unwrap();
    }

    #[test]
    fn restoring_waits_for_a_write_with_old_floor() {
        let directory = tempfile::tempdir().unwrap();
        let saver = saver(&directory);
        let writing = saver.writing.lock().unwrap();
        let (started, is_started) = std::sync::mpsc::channel();
        let restoring = thread::spawn({
            let saver = saver.clone();
            move || {
                started.send(()).unwrap();
                saver.restore(&[]).unwrap();
            }
        });
        is_started.recv().unwrap();
        thread::park_timeout(Duration::from_millis(50));
        assert!(!restoring.is_finished());
        drop(writing);
        restoring.join().unwrap();
    }
}
