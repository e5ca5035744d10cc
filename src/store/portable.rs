//! The functions of a store that only the tools of an operator use.

use super::contract::{Lease, ReplicaBeat, Result, Store};
use crate::feed::EntryAudit;
use crate::tick::TickId;
use async_trait::async_trait;

/// The content of a store in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// The number of entries, including those that this version cannot decode and, in Redis, members that are not
    /// entries.
    pub entries: u64,
    /// The number of entries with an audit.
    pub audits: u64,
    /// The oldest id, or zero if there is no entry.
    pub oldest: TickId,
    /// The newest id, or zero if there is no entry.
    pub newest: TickId,
    /// The size of the file in bytes, if the feed is in one.
    pub bytes: Option<u64>,
}

/// A store whose content can be read and deleted as a whole.
#[async_trait]
pub trait Portable: Store {
    /// Returns the replicas that have reported that they are alive, each with the time until which its last report
    /// counts. The default is an empty list, because a store that is not shared cannot be open in a replica while a
    /// tool uses it.
    async fn reports(&self) -> Result<Vec<(ReplicaBeat, TickId)>> {
        Ok(Vec::new())
    }

    /// Returns the content of the store in numbers.
    async fn summary(&self) -> Result<Summary>;

    /// Writes audits. An entry that already has one keeps it.
    async fn restore_audits(&self, lease: &Lease, audits: &[EntryAudit]) -> Result<()>;

    /// Counts what other programs have written among the entries. Reads everything.
    async fn count_garbage(&self) -> Result<u64> {
        Ok(0)
    }

    /// Returns the bookmarks of all clients.
    async fn bookmarks(&self) -> Result<Vec<(String, TickId)>>;

    /// The maximum number of bookmarks that the store keeps.
    fn max_bookmarks(&self) -> usize {
        usize::MAX
    }

    /// Writes bookmarks. When this returns, the store has them.
    async fn restore_bookmarks(&self, lease: &Lease, bookmarks: &[(String, TickId)]) -> Result<()>;

    /// Deletes these entries and their audits.
    async fn remove(&self, lease: &Lease, ids: &[TickId]) -> Result<()>;

    /// Deletes all entries, their audits, all candles, and all bookmarks.
    async fn clear(&self, lease: &Lease) -> Result<()>;
}
