//! Copies a feed from one store to another, and compares the two.

use super::place::{LEASE_TTL, Place};
use super::running::{check_alone, reported};
use crate::candle::{Detail, Interval, KeptHour, PAGE_HOURS};
use crate::feed::{Entry, EntryAudit};
use crate::store::{Lease, Portable, PriceKind, Result, StoreError};
use crate::tick::TickId;
use anyhow::{Context, bail, ensure};
use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use tokio::time::sleep;

/// The number of entries, audits or bookmarks in one read or write.
pub(super) const PAGE: usize = 1000;
/// The name under which a tool holds the lease.
const HOLDER: &str = "btcfeed store";
/// An upper bound of all ids.
const EVERYTHING: TickId = TickId::from_ms(u64::MAX);

/// A store and its lease. While the lease lasts, no replica writes to the store.
pub(super) struct Writable<'a> {
    place: &'a Place,
    lease: Lease,
}

/// The numbers of what was copied, and of what was not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Copied {
    pub(super) entries: u64,
    /// The number of entries with an audit.
    pub(super) audits: u64,
    /// The number of hours with candles.
    pub(super) hours: usize,
    pub(super) bookmarks: usize,
    /// The number of members of the sorted set in Redis that are not entries.
    pub(super) skipped: u64,
    /// The number of hours whose candles this version cannot decode.
    pub(super) unknown_hours: usize,
    /// The number of bookmarks for which the store has no room.
    pub(super) left_out: usize,
}

impl fmt::Display for Copied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} entries ({} with inputs)", self.entries, self.audits)?;
        if self.hours > 0 {
            write!(f, ", the candles of {} {}", self.hours, if self.hours == 1 { "hour" } else { "hours" })?;
        }
        write!(f, " and {} bookmarks", self.bookmarks)?;
        if self.skipped > 0 {
            write!(f, " (without {} members of the set in Redis that are not entries)", self.skipped)?;
        }
        if self.unknown_hours > 0 {
            write!(f, " (without the candles of hours that this version cannot read: {})", self.unknown_hours)?;
        }
        if self.left_out > 0 {
            write!(f, " (without the {} oldest bookmarks, for which there is no room)", self.left_out)?;
        }
        Ok(())
    }
}

impl<'a> Writable<'a> {
    /// Acquires the lease of a store that no running replica uses. Unless `filled` is true, the store must have no
    /// entries.
    pub(super) async fn acquire(place: &'a Place, filled: bool) -> anyhow::Result<Writable<'a>> {
        let acquired = place.store.acquire(HOLDER).await.with_context(|| format!("cannot use {}", place.name))?;
        let Some(lease) = acquired else {
            let replicas = reported(&*place.store).await.unwrap_or_default();
            bail!("a replica leads the feed in {}: stop all replicas {replicas}", place.name)
        };
        let writable = Writable { place, lease };
        let checked = match while_renewing(&[&writable], check_alone(place)).await {
            Ok(()) => writable.check_empty(filled).await,
            other => other,
        };
        if checked.is_err() {
            writable.release().await;
        }
        checked.map(|()| writable)
    }

    async fn check_empty(&self, filled: bool) -> anyhow::Result<()> {
        let entries = self.store().summary().await?.entries;
        let name = &self.place.name;
        ensure!(entries == 0 || filled, "{name} already has entries ({entries}): clear it first, or add --merge");
        Ok(())
    }

    pub(super) fn store(&self) -> &dyn Portable {
        &*self.place.store
    }

    async fn renew(&self) -> Result<()> {
        self.store().renew(&self.lease).await
    }

    /// Writes those of `entries` that the store does not have, and renews the lease.
    pub(super) async fn restore(&self, entries: &[Arc<Entry>]) -> Result<()> {
        self.renew().await?;
        self.store().restore(&self.lease, entries).await
    }

    /// Writes those of `audits` whose entries have none in the store, and renews the lease.
    pub(super) async fn restore_audits(&self, audits: &[EntryAudit]) -> Result<()> {
        self.renew().await?;
        self.store().restore_audits(&self.lease, audits).await
    }

    /// Writes those of `hours` that the store does not have in this [`Detail`], and renews the lease.
    pub(super) async fn restore_hours(&self, detail: Detail, hours: &[(TickId, String)]) -> Result<()> {
        self.renew().await?;
        self.store().keep_hours(detail, hours, &[]).await
    }

    /// Writes the bookmarks of clients that have none in the store. If there are too many, leaves out the oldest.
    /// Meanwhile, renews the leases of this store and of `source`.
    pub(super) async fn restore_bookmarks(
        &self,
        bookmarks: Vec<(String, TickId)>,
        source: Option<&Writable<'_>>,
    ) -> anyhow::Result<Copied> {
        let stores: Vec<_> = source.into_iter().chain([self]).collect();
        let present = while_renewing(&stores, self.store().bookmarks()).await?;
        let (missing, left_out) = missing_bookmarks(bookmarks, &present, self.store().max_bookmarks());
        for page in missing.chunks(PAGE) {
            self.store().restore_bookmarks(&self.lease, page).await?;
            if let Some(source) = source {
                source.renew().await?;
            }
        }
        Ok(Copied { bookmarks: missing.len(), left_out, ..Copied::default() })
    }

    /// Deletes the simulated ticks and the candles of their hours. If the oldest tick is simulated, the candles before
    /// it, whose ticks have expired, count as simulated, too. Returns the number of simulated ticks.
    pub(super) async fn clear_simulated(&self) -> anyhow::Result<usize> {
        let (mut count, mut pages) = (0, Pages::of(self.store()));
        let mut oldest = None;
        while let Some(page) = pages.next().await? {
            if oldest.is_none() {
                oldest = page.iter().find_map(|entry| Some((entry.id, PriceKind::of_entry(entry)?)));
                if let Some((id, PriceKind::Simulated)) = oldest {
                    self.remove_hours(|start| start < id).await?;
                }
            }
            let simulated = page.iter().filter(|entry| PriceKind::of_entry(entry) == Some(PriceKind::Simulated));
            let ids: Vec<_> = simulated.map(|entry| entry.id).collect();
            let hours: BTreeSet<_> = ids.iter().map(|id| Interval::Hour.start(*id)).collect();
            // If this tool is killed in between, its next run finds the ticks again, and deletes them.
            self.remove_hours(|start| hours.contains(&start)).await?;
            self.store().remove(&self.lease, &ids).await?;
            count += ids.len();
        }
        Ok(count)
    }

    /// Deletes the candles of the hours for which `is_removed` returns true, in each [`Detail`].
    async fn remove_hours(&self, is_removed: impl Fn(TickId) -> bool) -> Result<()> {
        for detail in Detail::ALL {
            let kept = self.store().kept_hours(detail).await?.unwrap_or_default();
            let removed: Vec<_> = kept.into_iter().filter(|start| is_removed(*start)).collect();
            for page in removed.chunks(PAGE) {
                self.renew().await?;
                self.store().keep_hours(detail, &[], page).await?;
            }
        }
        Ok(())
    }

    /// Deletes everything.
    pub(super) async fn clear(&self) -> anyhow::Result<()> {
        Ok(self.store().clear(&self.lease).await?)
    }

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

/// The audits of a store, page by page.
pub(super) struct AuditPages<'a> {
    store: &'a dyn Portable,
    after: TickId,
}

impl<'a> AuditPages<'a> {
    pub(super) fn of(store: &'a dyn Portable) -> AuditPages<'a> {
        AuditPages { store, after: TickId::ZERO }
    }

    /// Returns the next page, or `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<EntryAudit>>> {
        let page = self.store.audits(self.after, EVERYTHING, PAGE).await?;
        let Some(last) = page.last() else { return Ok(None) };
        self.after = last.id;
        Ok(Some(page))
    }
}

/// The hours whose candles a store has in one [`Detail`], page by page.
pub(super) struct HourPages<'a> {
    store: &'a dyn Portable,
    detail: Detail,
    starts: VecDeque<TickId>,
}

impl<'a> HourPages<'a> {
    pub(super) async fn of(store: &'a dyn Portable, detail: Detail) -> Result<HourPages<'a>> {
        let starts = store.kept_hours(detail).await?.unwrap_or_default().into();
        Ok(HourPages { store, detail, starts })
    }

    /// Returns the next page: the start of each hour, with its text. Returns `None` at the end. A text may be one that
    /// this version cannot decode.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<(TickId, String)>>> {
        if self.starts.is_empty() {
            return Ok(None);
        }
        let page: Vec<_> = self.starts.drain(..PAGE_HOURS.min(self.starts.len())).collect();
        let texts = self.store.read_hours(self.detail, &page).await?;
        Ok(Some(page.into_iter().zip(texts).filter_map(|(start, text)| Some((start, text?))).collect()))
    }
}

/// Copies everything, and compares both stores afterwards.
///
/// # Errors
/// If a store fails, if an entry cannot be decoded, or if an entry, its inputs or the candles of an hour differ in the
/// target.
pub(super) async fn copy(source: &Writable<'_>, target: &Writable<'_>) -> anyhow::Result<Copied> {
    let mut entries = 0;
    let mut pages = Pages::of(source.store());
    while let Some(page) = pages.next().await? {
        target.restore(&page).await?;
        source.renew().await?;
        entries += page.len() as u64;
    }
    let skipped = while_renewing(&[source, target], check_count(source.store(), entries)).await?;
    let (mut audits, mut pages) = (0, AuditPages::of(source.store()));
    while let Some(page) = pages.next().await? {
        target.restore_audits(&page).await?;
        source.renew().await?;
        audits += page.len() as u64;
    }
    let mut hours = BTreeSet::new();
    for detail in Detail::ALL {
        let mut pages = HourPages::of(source.store(), detail).await?;
        while let Some(page) = pages.next().await? {
            target.restore_hours(detail, &page).await?;
            source.renew().await?;
            hours.extend(page.iter().map(|(start, _)| *start));
        }
    }
    let bookmarks = while_renewing(&[source, target], source.store().bookmarks()).await?;
    let copied = target.restore_bookmarks(bookmarks, Some(source)).await?;
    compare(source, target).await?;
    Ok(Copied { entries, audits, hours: hours.len(), skipped, ..copied })
}

/// Returns the bookmarks of clients that are not in `present`, newest first, and the number of bookmarks that were left
/// out because the store keeps at most `max`.
fn missing_bookmarks(
    bookmarks: Vec<(String, TickId)>,
    present: &[(String, TickId)],
    max: usize,
) -> (Vec<(String, TickId)>, usize) {
    // An export that was edited may name a client twice. The later line counts.
    let mut missing: HashMap<_, _> = bookmarks.into_iter().collect();
    for (client, _) in present {
        missing.remove(client);
    }
    let mut missing: Vec<_> = missing.into_iter().collect();
    missing.sort_unstable_by_key(|(_, id)| Reverse(*id));
    let room = max.saturating_sub(present.len());
    let left_out = missing.len().saturating_sub(room);
    missing.truncate(room);
    (missing, left_out)
}

/// Checks that all entries of a store were read. Returns the number of members of the sorted set in Redis that are not
/// entries.
pub(super) async fn check_count(store: &dyn Portable, read: u64) -> anyhow::Result<u64> {
    let members = store.summary().await?.entries;
    let garbage = if members == read { 0 } else { store.count_garbage().await? };
    let entries = members - garbage;
    ensure!(entries == read, "only {read} of {entries} entries can be decoded: use the version that wrote them");
    Ok(garbage)
}

/// Runs a request that may take longer than a lease lasts, and renews the leases meanwhile.
pub(super) async fn while_renewing<T, E: From<StoreError>>(
    stores: &[&Writable<'_>],
    request: impl Future<Output = std::result::Result<T, E>>,
) -> std::result::Result<T, E> {
    let renewing = async {
        loop {
            sleep(LEASE_TTL / 4).await;
            for store in stores {
                store.renew().await?;
            }
        }
    };
    tokio::select! {
        result = request => result,
        failed = renewing => failed,
    }
}

/// Checks that the target has each entry of the source, with the same content and the same inputs, and all candles.
async fn compare(source: &Writable<'_>, target: &Writable<'_>) -> anyhow::Result<()> {
    let mut pages = Pages::of(source.store());
    while let Some(page) = pages.next().await? {
        let (first, last) = (&page[0], &page[page.len() - 1]);
        // With --merge, the target may have other entries between those of the source.
        let mut found = target.store().range(first.id.before(), last.id, usize::MAX >> 1).await?.into_iter();
        for entry in &page {
            let same = found.find(|other| other.id >= entry.id);
            ensure!(same.as_ref() == Some(&**entry), "the entry {} differs after the copy", entry.id);
        }
        target.renew().await?;
        source.renew().await?;
    }
    let mut pages = AuditPages::of(source.store());
    while let Some(page) = pages.next().await? {
        let (first, last) = (page[0].id, page[page.len() - 1].id);
        let found = target.store().audits(first.before(), last, usize::MAX >> 1).await?;
        let missing = page.iter().find(|audit| !found.contains(audit));
        ensure!(
            missing.is_none(),
            "the inputs of the entry {} differ after the copy",
            missing.map_or(first, |of| of.id)
        );
        target.renew().await?;
        source.renew().await?;
    }
    for detail in Detail::ALL {
        let mut pages = HourPages::of(source.store(), detail).await?;
        while let Some(page) = pages.next().await? {
            let starts: Vec<_> = page.iter().map(|(start, _)| *start).collect();
            let found = target.store().read_hours(detail, &starts).await?;
            // If the target already had an hour, it keeps its own text. If this version cannot decode the text of the
            // source, a different text in the target is no error.
            let is_known = |start, text: &str| KeptHour::decode(detail, start, text).is_some();
            let differing = page.iter().zip(&found).find(|((start, text), found)| {
                found.is_none() || found.as_ref() != Some(text) && is_known(*start, text)
            });
            let start = differing.map_or(TickId::ZERO, |((start, _), _)| *start);
            ensure!(differing.is_none(), "the candles of the hour {} differ after the copy", start.timedate());
            target.renew().await?;
            source.renew().await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oldest_bookmarks_are_left_out() {
        let bookmarks = |of: &[(&str, u64)]| -> Vec<_> {
            of.iter().map(|(client, id)| ((*client).to_owned(), TickId::from_ms(*id))).collect()
        };
        let source = bookmarks(&[("a", 1), ("b", 4), ("c", 2), ("d", 3), ("b", 5)]);
        let present = bookmarks(&[("d", 1)]);
        for (max, expected, left_out) in
            [(9, &[("b", 5), ("c", 2), ("a", 1)][..], 0), (3, &[("b", 5), ("c", 2)], 1), (1, &[], 3), (0, &[], 3)]
        {
            assert_eq!(missing_bookmarks(source.clone(), &present, max), (bookmarks(expected), left_out), "{max}");
        }
    }
}
