//! Copies a feed from one store to another, and compares the two.

use super::place::Place;
use crate::feed::Entry;
use crate::store::{Lease, Portable, Result};
use crate::tick::TickId;
use anyhow::{Context, ensure};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// The number of entries, and of bookmarks, in one read or write.
pub(super) const PAGE: usize = 1000;
/// The name of the holder of a tool's lease.
const HOLDER: &str = "btcfeed store";
/// The time within which a store must have written bookmarks, and the time between two looks.
const DEADLINE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);
/// An upper bound of all ids.
const EVERYTHING: TickId = TickId::from_ms(u64::MAX);

/// A store that no replica writes while this value has its lease.
pub(super) struct Writable<'a> {
    place: &'a Place,
    lease: Lease,
}

/// The numbers of entries and bookmarks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Copied {
    pub(super) entries: u64,
    pub(super) bookmarks: u64,
}

impl fmt::Display for Copied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} entries and {} bookmarks", self.entries, self.bookmarks)
    }
}

impl<'a> Writable<'a> {
    /// Acquires the lease of a store. Unless `filled` is true, the store must be empty.
    pub(super) async fn acquire(place: &'a Place, filled: bool) -> anyhow::Result<Writable<'a>> {
        let acquired = place.store.acquire(HOLDER).await.with_context(|| format!("cannot use {}", place.name))?;
        let lease =
            acquired.with_context(|| format!("a replica leads the feed in {}: stop all replicas", place.name))?;
        let writable = Writable { place, lease };
        let entries = place.store.summary().await?.entries;
        if entries > 0 && !filled {
            writable.release().await;
            anyhow::bail!("{} already has {entries} entries: clear it first, or add --merge", place.name);
        }
        Ok(writable)
    }

    pub(super) fn store(&self) -> &dyn Portable {
        &*self.place.store
    }

    /// Renews the lease.
    async fn renew(&self) -> Result<()> {
        self.store().renew(&self.lease).await
    }

    /// Writes entries that the store does not have, and renews the lease.
    pub(super) async fn restore(&self, entries: &[Arc<Entry>]) -> Result<()> {
        self.renew().await?;
        self.store().restore(&self.lease, entries).await
    }

    /// Writes bookmarks, and waits until the store has them.
    pub(super) async fn remember(&self, bookmarks: &[(String, TickId)]) -> anyhow::Result<()> {
        for page in bookmarks.chunks(PAGE) {
            self.renew().await?;
            self.store().remember(page).await?;
        }
        let written = async {
            loop {
                let found: HashMap<_, _> = self.store().bookmarks().await?.into_iter().collect();
                if bookmarks.iter().all(|(client, id)| found.get(client) == Some(id)) {
                    return Ok(());
                }
                sleep(POLL).await;
            }
        };
        timeout(DEADLINE, written).await.context("the store has not written all bookmarks in time")?
    }

    /// Deletes everything.
    pub(super) async fn clear(&self) -> anyhow::Result<()> {
        Ok(self.store().clear(&self.lease).await?)
    }

    /// Releases the lease.
    pub(super) async fn release(&self) {
        // If this fails, the lease expires.
        self.store().release(&self.lease).await.ok();
    }
}

/// The entries of a store, page by page.
pub(super) struct Pages<'a> {
    store: &'a dyn Portable,
    after: TickId,
}

impl<'a> Pages<'a> {
    pub(super) fn of(store: &'a dyn Portable) -> Pages<'a> {
        Pages { store, after: TickId::ZERO }
    }

    /// Returns the next page, or `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Arc<Entry>>>> {
        let page = self.store.range(self.after, EVERYTHING, PAGE).await?;
        let Some(last) = page.last() else { return Ok(None) };
        self.after = last.id;
        Ok(Some(page.into_iter().map(Arc::new).collect()))
    }
}

/// Copies everything, and compares both stores afterwards.
///
/// # Errors
/// If a store fails, or if an entry is not the same in both.
pub(super) async fn copy(source: &Writable<'_>, target: &Writable<'_>) -> anyhow::Result<Copied> {
    let mut copied = Copied::default();
    let mut pages = Pages::of(source.store());
    while let Some(page) = pages.next().await? {
        target.restore(&page).await?;
        source.renew().await?;
        copied.entries += page.len() as u64;
    }
    check_count(source.store(), copied.entries).await?;
    let bookmarks = source.store().bookmarks().await?;
    target.remember(&bookmarks).await?;
    copied.bookmarks = bookmarks.len() as u64;
    compare(source, target).await?;
    Ok(copied)
}

/// Checks that all entries of a store were read.
pub(super) async fn check_count(store: &dyn Portable, read: u64) -> anyhow::Result<()> {
    let entries = store.summary().await?.entries;
    ensure!(entries == read, "only {read} of {entries} entries can be decoded: use the version that wrote them");
    Ok(())
}

/// Checks that the target has each entry of the source.
async fn compare(source: &Writable<'_>, target: &Writable<'_>) -> anyhow::Result<()> {
    let mut pages = Pages::of(source.store());
    while let Some(page) = pages.next().await? {
        let (first, last) = (&page[0], &page[page.len() - 1]);
        // With --merge, the target may have other entries in between.
        let mut found = target.store().range(first.id.before(), last.id, usize::MAX >> 1).await?.into_iter();
        for entry in &page {
            let same = found.find(|other| other.id >= entry.id);
            ensure!(same.as_ref() == Some(&**entry), "the entry {} differs after the copy", entry.id);
        }
        target.renew().await?;
        source.renew().await?;
    }
    Ok(())
}
