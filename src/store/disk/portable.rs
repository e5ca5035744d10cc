//! The functions for `btcfeed store`: summary, audits, bookmarks and deletion of a feed in a file.

use super::Disk;
use super::feed_file::{Batch, FeedFile};
use super::saver::not_open;
use crate::feed::EntryAudit;
use crate::store::contract::{Lease, Result, Store};
use crate::store::local::MAX_CLIENTS;
use crate::store::portable::{Portable, Summary};
use crate::tick::TickId;
use async_trait::async_trait;
use std::sync::Arc;

impl Disk {
    /// Runs a function on the file, which must be open.
    async fn use_file<T: Send + 'static>(
        &self,
        work: impl FnOnce(&FeedFile) -> anyhow::Result<T> + Send + 'static,
    ) -> Result<T> {
        self.request(work).await?.ok_or_else(not_open)
    }
}

#[async_trait]
impl Portable for Disk {
    async fn summary(&self) -> Result<Summary> {
        let bytes = self.saver.file_size();
        let (entries, audits, oldest, newest) = self.use_file(FeedFile::extent).await?;
        Ok(Summary { entries, audits, oldest, newest, bytes })
    }

    async fn restore_audits(&self, lease: &Lease, audits: &[EntryAudit]) -> Result<()> {
        self.renew(lease).await?;
        let text = |of: &EntryAudit| Some((of.id, Arc::from(serde_json::to_string(&of.audit).ok()?)));
        let audits: Vec<_> = audits.iter().filter_map(text).collect();
        self.use_file(move |file| file.restore_audits(&audits)).await
    }

    async fn bookmarks(&self) -> Result<Vec<(String, TickId)>> {
        self.use_file(FeedFile::clients).await
    }

    fn max_bookmarks(&self) -> usize {
        MAX_CLIENTS
    }

    async fn restore_bookmarks(&self, lease: &Lease, bookmarks: &[(String, TickId)]) -> Result<()> {
        self.renew(lease).await?;
        let batch = Batch { clients: bookmarks.to_vec(), now: self.saver.pending().head(), ..Batch::default() };
        self.use_file(move |file| file.save(&batch)).await
    }

    async fn remove(&self, lease: &Lease, ids: &[TickId]) -> Result<()> {
        self.renew(lease).await?;
        let ids = ids.to_vec();
        self.use_file(move |file| file.remove(&ids)).await
    }

    async fn clear(&self, lease: &Lease) -> Result<()> {
        self.renew(lease).await?;
        self.use_file(FeedFile::clear).await?;
        self.saver.pending().cleared();
        Ok(())
    }
}
