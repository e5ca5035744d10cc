//! The content of a file as a whole.

use super::Disk;
use super::feed_file::FeedFile;
use crate::store::contract::{Lease, Result, Store, StoreError};
use crate::store::portable::{Portable, Summary};
use crate::tick::TickId;
use async_trait::async_trait;

impl Disk {
    /// Runs a read of the file, which must be open.
    async fn read_open<T: Send + 'static>(
        &self,
        read: impl FnOnce(&FeedFile) -> anyhow::Result<T> + Send + 'static,
    ) -> Result<T> {
        let not_open = || StoreError::Unavailable("the file of the feed is not open".to_owned());
        self.read(read).await?.ok_or_else(not_open)
    }
}

#[async_trait]
impl Portable for Disk {
    async fn summary(&self) -> Result<Summary> {
        let bytes = self.saver.file_size();
        let (entries, oldest, newest) = self.read_open(FeedFile::extent).await?;
        Ok(Summary { entries, oldest, newest, bytes })
    }

    async fn bookmarks(&self) -> Result<Vec<(String, TickId)>> {
        self.read_open(FeedFile::clients).await
    }

    async fn clear(&self, lease: &Lease) -> Result<()> {
        self.renew(lease).await?;
        self.read_open(FeedFile::clear).await?;
        self.saver.pending().cleared();
        Ok(())
    }
}
