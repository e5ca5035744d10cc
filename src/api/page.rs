//! Pages of the history, read from either end.
//!
//! A page has a lower and an upper bound. It is read in blocks, beginning with the oldest or with the newest entry. A
//! gap belongs to the entry after it, so it is in the same page as that entry, and both orders have the same messages.

use crate::encode::View;
use crate::feed::{Entry, Gap};
use crate::hub::{AUDIT_ENTRIES, Hub, LOAD_ENTRIES};
use crate::session::StartPoint;
use crate::store::Result;
use crate::telemetry::metrics::GAPS;
use crate::tick::{Currencies, TickId};
use bytes::Bytes;
use std::iter;
use std::sync::Arc;

/// The order of a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Order {
    /// The oldest entry first.
    #[default]
    Ascending,
    /// The newest entry first.
    Descending,
}

/// Consecutive entries.
#[derive(Debug)]
pub(crate) struct Block {
    /// The place before the first entry.
    pub(crate) after: StartPoint,
    /// The entries, oldest first.
    pub(crate) entries: Vec<Arc<Entry>>,
}

/// Returns the maximum number of entries that are read at once.
pub(crate) fn block_entries(view: View) -> usize {
    if view.has_inputs() { AUDIT_ENTRIES } else { LOAD_ENTRIES }
}

/// Reads the oldest `limit` entries with `begin < id <= end` or, in descending order, the newest.
///
/// # Errors
/// If the store must be read, and is unavailable or has too many readers.
pub(crate) async fn read_block(
    hub: &Hub,
    view: View,
    order: Order,
    (begin, end): (StartPoint, TickId),
    limit: usize,
) -> Result<Block> {
    let after = match order {
        Order::Ascending => begin,
        Order::Descending => {
            let before = hub.nth_newest(begin.id, end, limit + 1).await?;
            before.map_or(begin, |id| StartPoint { id, is_entry: true })
        }
    };
    let entries = hub.page(after.id, end, limit, view.has_inputs()).await?;
    Ok(Block { after, entries })
}

/// Returns the messages about the entries of a block, and about the gaps between and before them, sorted by `order`.
pub(crate) fn messages(view: View, order: Order, Block { after, entries }: &Block) -> Vec<Bytes> {
    let mut messages = Vec::with_capacity(entries.len());
    for (place, entry) in with_places(*after, entries) {
        let gap = entry.gap_after(place.id, place.is_entry);
        messages.extend(gap.and_then(|gap| view.gap(&gap).inspect(|_| count(&gap))));
        let of_entry = [view.outages(entry), view.entry_alone(entry)];
        messages.extend(of_entry.into_iter().filter(|message| !message.is_empty()));
    }
    if order == Order::Descending {
        messages.reverse();
    }
    messages
}

/// Returns the gaps of a block, sorted by `order`, for a client with these currencies.
pub(crate) fn gaps(currencies: Currencies, order: Order, Block { after, entries }: &Block) -> Vec<Gap> {
    let mut gaps = Vec::new();
    for (place, entry) in with_places(*after, entries) {
        gaps.extend(entry.gap_after(place.id, place.is_entry).inspect(count));
        gaps.extend(entry.outages(currencies));
    }
    if order == Order::Descending {
        gaps.reverse();
    }
    gaps
}

/// Returns each entry with the place of the entry before it.
fn with_places(after: StartPoint, entries: &[Arc<Entry>]) -> impl Iterator<Item = (StartPoint, &Entry)> {
    let places = entries.iter().map(|entry| StartPoint { id: entry.id, is_entry: true });
    iter::once(after).chain(places).zip(entries.iter().map(|entry| &**entry))
}

/// Returns whether the `prev` of each entry is the id of the entry before it, and that of the first entry is `after`.
pub(crate) fn is_chain(after: TickId, entries: &[Arc<Entry>]) -> bool {
    let before = iter::once(after).chain(entries.iter().map(|entry| entry.id));
    entries.iter().zip(before).all(|(entry, before)| entry.prev == before)
}

/// Counts a gap that a client receives.
fn count(gap: &Gap) {
    GAPS.counter(gap.reason.as_str()).increment(1);
}
