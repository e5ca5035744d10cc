//! The file of a feed: a redb database with the entries, their audits, the candles of hours, and the bookmarks of
//! clients.
//!
//! Each write is one transaction, which is on the disk when the call returns. If the process is killed during a write,
//! or the machine loses power, the file has all of the write or nothing of it. Each transaction also saves the map of
//! free pages (redb's quick repair), so that opening a file after a crash takes no longer than after a regular stop.
//!
//! All functions block. Nothing here knows the lease or the subscribers.

use super::{audit_table, client_table, hour_tables};
use crate::candle::Detail;
use crate::feed::{Entry, EntryAudit};
use crate::store::entry::decode_or_skip;
use crate::store::kind::PriceKind;
use crate::tick::TickId;
use anyhow::{Context, anyhow, ensure};
use redb::backends::FileBackend;
use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, ReadableTableMetadata, StorageError,
    TableDefinition, TableError, WriteTransaction,
};
use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::iter;
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The entries by id, as JSON.
const ENTRIES: TableDefinition<'_, u64, &str> = TableDefinition::new("entries");
/// Facts about the file.
const ABOUT: TableDefinition<'_, &str, u64> = TableDefinition::new("about");
/// The key of [`ABOUT`] for the version of the tables.
const VERSION: &str = "version";
/// The key of [`ABOUT`] for the retention, in milliseconds, of the last write that left no expired entry in the file.
const RETENTION: &str = "retention_ms";
/// The version of the tables that this program reads and writes.
const CURRENT_VERSION: u64 = 1;

/// The memory for pages of the file. The newest entries are in the hub's window, so few reads come here.
const CACHE_BYTES: usize = 16 << 20;
/// The number of the newest entries that are searched for a tick, which tells the kind of the prices.
const KIND_ENTRIES: usize = 1000;
/// The maximum number of expired entries that one write deletes. The same limit applies to audits. For bookmarks, the
/// limit is this number plus the number of bookmarks that the write contains. If the retention is shortened, many
/// entries expire at once. Without a limit, one write would then take too long.
const TRIM: usize = 500;

/// An open file.
pub(super) struct FeedFile {
    database: Database,
}

/// The content of one write.
#[derive(Default)]
pub(super) struct Batch {
    /// New entries in the order of their ids.
    pub(super) entries: Vec<Entry>,
    /// The audits of entries, as JSON.
    pub(super) audits: Vec<(TickId, Arc<str>)>,
    /// The last id that each of these clients was sent.
    pub(super) clients: Vec<(String, TickId)>,
    /// The feed's time at this write. Bookmarks expire by the time at which they were written.
    pub(super) now: TickId,
    /// The oldest id that is kept. Bookmarks that were written before it expire, too.
    pub(super) floor: TickId,
    /// The retention from which `floor` comes. `None` if nothing expires.
    pub(super) retention: Option<Duration>,
}

impl FeedFile {
    /// Opens the file at `path`, or creates it.
    pub(super) fn open(path: &Path) -> anyhow::Result<FeedFile> {
        if !path.try_exists().with_context(|| format!("cannot look for {}", path.display()))? {
            // The file is created under another name and then renamed, because a file whose creation was interrupted
            // cannot be opened.
            let new = path.with_extension("new");
            let created = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new);
            created.with_context(|| format!("cannot create {}", new.display()))?;
            Self::open_existing(&new)?.close();
            fs::rename(&new, path).with_context(|| format!("cannot rename {}", new.display()))?;
        }
        Self::open_existing(path)
    }

    fn open_existing(path: &Path) -> anyhow::Result<FeedFile> {
        let opened = OpenOptions::new().read(true).write(true).open(path);
        let file = opened.with_context(|| format!("cannot open {}", path.display()))?;
        Self::with(|builder| builder.create_with_backend(FileBackend::new(file)?))
            .with_context(|| format!("cannot use {}, restore a backup of it or move it away", path.display()))
    }

    /// Opens a database in a storage that is not a file.
    #[cfg(test)]
    fn open_storage(storage: impl redb::StorageBackend) -> anyhow::Result<FeedFile> {
        Self::with(|builder| builder.create_with_backend(storage))
    }

    fn with(open: impl FnOnce(&Builder) -> std::result::Result<Database, DatabaseError>) -> anyhow::Result<FeedFile> {
        let mut builder = Builder::new();
        builder.set_cache_size(CACHE_BYTES);
        let file = FeedFile { database: guard(|| open(&builder).map_err(explain))? };
        guard(|| file.create_tables())?;
        Ok(file)
    }

    /// Creates the tables that the file lacks, and checks its version.
    fn create_tables(&self) -> anyhow::Result<()> {
        let reading = self.database.begin_read()?;
        let version = match reading.open_table(ABOUT) {
            Ok(about) => about.get(VERSION)?.map(|version| version.value()),
            Err(TableError::TableDoesNotExist(_)) => None,
            Err(error) => return Err(error.into()),
        };
        if let Some(version) = version {
            ensure!(
                version == CURRENT_VERSION,
                "it has version {version}, and this program expects version {CURRENT_VERSION}: use a newer btcfeed"
            );
            if !audit_table::exists(&reading)? || !hour_tables::exist(&reading)? {
                let writing = self.begin_write()?;
                audit_table::create(&writing)?;
                hour_tables::create(&writing)?;
                writing.commit()?;
            }
            return Ok(());
        }
        let writing = self.begin_write()?;
        audit_table::create(&writing)?;
        writing.open_table(ABOUT)?.insert(VERSION, CURRENT_VERSION)?;
        writing.open_table(ENTRIES)?;
        client_table::create(&writing)?;
        hour_tables::create(&writing)?;
        Ok(writing.commit()?)
    }

    fn begin_write(&self) -> anyhow::Result<WriteTransaction> {
        let mut writing = self.database.begin_write()?;
        writing.set_quick_repair(true);
        Ok(writing)
    }

    /// Writes a batch, and deletes some of what has expired. When this returns, the batch is on the disk.
    pub(super) fn save(&self, batch: &Batch) -> anyhow::Result<()> {
        guard(|| {
            let writing = self.begin_write()?;
            {
                let mut entries = writing.open_table(ENTRIES)?;
                for entry in &batch.entries {
                    entries.insert(entry.id.ms(), serde_json::to_string(entry)?.as_str())?;
                }
                for _ in 0..TRIM {
                    if entries.first()?.is_none_or(|(id, _)| id.value() >= batch.floor.ms()) {
                        break;
                    }
                    entries.pop_first()?;
                }
                if let Some(retention) = batch.retention
                    && entries.first()?.is_none_or(|(id, _)| id.value() >= batch.floor.ms())
                {
                    note_retention(&writing, retention)?;
                }
            }
            audit_table::save(&writing, &batch.audits)?;
            audit_table::trim(&writing, batch.floor, TRIM)?;
            client_table::save(&writing, &batch.clients, batch.now, batch.floor, TRIM)?;
            Ok(writing.commit()?)
        })
    }

    /// Writes the entries whose ids the file does not have.
    pub(super) fn restore(&self, lost: &[Arc<Entry>]) -> anyhow::Result<()> {
        guard(|| {
            let writing = self.begin_write()?;
            let mut entries = writing.open_table(ENTRIES)?;
            for entry in lost {
                if entries.get(entry.id.ms())?.is_none() {
                    entries.insert(entry.id.ms(), serde_json::to_string(&**entry)?.as_str())?;
                }
            }
            drop(entries);
            Ok(writing.commit()?)
        })
    }

    /// Writes audits. An entry that already has one keeps it.
    pub(super) fn restore_audits(&self, audits: &[(TickId, Arc<str>)]) -> anyhow::Result<()> {
        guard(|| {
            let writing = self.begin_write()?;
            audit_table::save(&writing, audits)?;
            Ok(writing.commit()?)
        })
    }

    /// Returns the oldest `limit` audits with `after < id <= until`, oldest first.
    pub(super) fn audits(&self, after: TickId, until: TickId, limit: usize) -> anyhow::Result<Vec<EntryAudit>> {
        guard(|| audit_table::range(&self.database.begin_read()?, after, until, limit))
    }

    /// Closes the file.
    pub(super) fn close(self) {
        guard(|| {
            drop(self.database);
            Ok(())
        })
        .ok();
    }

    /// Returns the oldest `limit` entries with `after < id <= until`, oldest first.
    pub(super) fn range(&self, after: TickId, until: TickId, limit: usize) -> anyhow::Result<Vec<Entry>> {
        guard(|| {
            let entries = self.database.begin_read()?.open_table(ENTRIES)?;
            let mut found = Vec::new();
            if after >= until {
                return Ok(found);
            }
            for row in entries.range(after.next().ms()..=until.ms())? {
                if found.len() == limit {
                    break;
                }
                found.extend(decode_or_skip(row?.1.value()));
            }
            Ok(found)
        })
    }

    /// Returns the id of the `n`th entry with `after < id <= until`, counted from one, and from the end if `newest` is
    /// true. If that entry cannot be decoded, returns the id of the next one that can be decoded.
    pub(super) fn nth(&self, after: TickId, until: TickId, n: usize, newest: bool) -> anyhow::Result<Option<TickId>> {
        guard(|| {
            let entries = self.database.begin_read()?.open_table(ENTRIES)?;
            if after >= until {
                return Ok(None);
            }
            let mut rows = entries.range(after.next().ms()..=until.ms())?;
            let rows = iter::from_fn(|| if newest { rows.next_back() } else { rows.next() });
            for row in rows.skip(n - 1) {
                let (id, json) = row?;
                if decode_or_skip(json.value()).is_some() {
                    return Ok(Some(TickId::from_ms(id.value())));
                }
            }
            Ok(None)
        })
    }

    /// Returns the newest `limit` entries with `id >= floor`, oldest first.
    pub(super) fn newest(&self, floor: TickId, limit: usize) -> anyhow::Result<Vec<Entry>> {
        guard(|| {
            let entries = self.database.begin_read()?.open_table(ENTRIES)?;
            let mut found = Vec::new();
            for row in entries.range(floor.ms()..)?.rev() {
                if found.len() == limit {
                    break;
                }
                found.extend(decode_or_skip(row?.1.value()));
            }
            found.reverse();
            Ok(found)
        })
    }

    /// Returns the number of entries, the number of audits, the oldest id and the newest id.
    pub(super) fn extent(&self) -> anyhow::Result<(u64, u64, TickId, TickId)> {
        guard(|| {
            let reading = self.database.begin_read()?;
            let (entries, audits) = (reading.open_table(ENTRIES)?, audit_table::len(&reading)?);
            let oldest = entries.first()?.map_or(0, |(id, _)| id.value());
            let newest = entries.last()?.map_or(0, |(id, _)| id.value());
            Ok((entries.len()?, audits, TickId::from_ms(oldest), TickId::from_ms(newest)))
        })
    }

    /// Returns the starts of the hours whose candles the file has in this detail, oldest first.
    pub(super) fn hours(&self, detail: Detail) -> anyhow::Result<Vec<TickId>> {
        guard(|| hour_tables::starts(&self.database.begin_read()?, detail))
    }

    /// Returns the candles of these hours.
    pub(super) fn read_hours(&self, detail: Detail, starts: &[TickId]) -> anyhow::Result<Vec<Option<String>>> {
        guard(|| hour_tables::texts(&self.database.begin_read()?, detail, starts))
    }

    /// Deletes the candles of the hours that begin at the times `expired`. Then writes the candles of the `hours` that
    /// the file does not have.
    pub(super) fn keep_hours(
        &self,
        detail: Detail,
        hours: &[(TickId, String)],
        expired: &[TickId],
    ) -> anyhow::Result<()> {
        guard(|| {
            let writing = self.begin_write()?;
            hour_tables::keep(&writing, detail, hours, expired)?;
            Ok(writing.commit()?)
        })
    }

    /// Returns all bookmarks.
    pub(super) fn clients(&self) -> anyhow::Result<Vec<(String, TickId)>> {
        guard(|| client_table::all(&self.database.begin_read()?))
    }

    /// Returns the retention of the last write that left no expired entry in the file. `None` if that is not known.
    pub(super) fn retention(&self) -> anyhow::Result<Option<Duration>> {
        guard(|| {
            let about = self.database.begin_read()?.open_table(ABOUT)?;
            Ok(about.get(RETENTION)?.map(|retention| Duration::from_millis(retention.value())))
        })
    }

    /// Returns the kind of the prices in the file, if one of the newest [`KIND_ENTRIES`] entries shows it.
    pub(super) fn kind(&self) -> anyhow::Result<Option<PriceKind>> {
        // Nearly always, one of the ten newest entries is a tick.
        for count in [10, KIND_ENTRIES] {
            let kept = self.newest(TickId::ZERO, count)?.iter().rev().find_map(PriceKind::of_entry);
            if kept.is_some() {
                return Ok(kept);
            }
        }
        Ok(None)
    }

    /// Deletes these entries and their audits.
    pub(super) fn remove(&self, ids: &[TickId]) -> anyhow::Result<()> {
        guard(|| {
            let writing = self.begin_write()?;
            let mut entries = writing.open_table(ENTRIES)?;
            for id in ids {
                entries.remove(id.ms())?;
            }
            drop(entries);
            audit_table::remove(&writing, ids)?;
            Ok(writing.commit()?)
        })
    }

    /// Deletes all entries, their audits, all candles, and all bookmarks.
    pub(super) fn clear(&self) -> anyhow::Result<()> {
        guard(|| {
            let writing = self.begin_write()?;
            writing.delete_table(ENTRIES)?;
            audit_table::clear(&writing)?;
            client_table::clear(&writing)?;
            hour_tables::clear(&writing)?;
            writing.open_table(ENTRIES)?;
            Ok(writing.commit()?)
        })
    }

    /// Returns a client's bookmark, if it was written at `floor` or later.
    pub(super) fn client(&self, client: &str, floor: TickId) -> anyhow::Result<Option<TickId>> {
        guard(|| client_table::find(&self.database.begin_read()?, client, floor))
    }
}

/// Notes the retention, if it is another one than before.
fn note_retention(writing: &WriteTransaction, retention: Duration) -> anyhow::Result<()> {
    let mut about = writing.open_table(ABOUT)?;
    let retention = u64::try_from(retention.as_millis()).unwrap_or(u64::MAX);
    if about.get(RETENTION)?.is_none_or(|known| known.value() != retention) {
        about.insert(RETENTION, retention)?;
    }
    Ok(())
}

/// Names the most likely reason of a failure to open a file.
fn explain(error: DatabaseError) -> anyhow::Error {
    match error {
        DatabaseError::Storage(StorageError::Io(error))
            if matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof) =>
        {
            anyhow!("the file is damaged, or it is not a file of btcfeed")
        }
        DatabaseError::Storage(StorageError::Corrupted(reason)) => anyhow!("the file is damaged: {reason}"),
        error => error.into(),
    }
}

/// Runs `work`, and turns a panic into an error: the database panics if its pages contradict each other, for example in
/// a damaged file.
fn guard<T>(work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(anyhow!("the file is damaged")))
}

#[cfg(test)]
mod tests;
