//! The newest ticks with their audits. They are read once for each new head, however many clients ask for them.

use crate::feed::{Entry, Feed};
use crate::hub::Hub;
use crate::store::Result;
use crate::tick::{Currencies, TickId};
use std::sync::{Arc, Mutex, PoisonError};

/// The number of ticks.
pub(crate) const TICKS: usize = 50;
/// The maximum number of entries. Statuses may come between the ticks.
const MAX_ENTRIES: usize = 20 * TICKS;

/// The newest ticks with their audits, and the head of the feed at which they were read.
#[derive(Default)]
pub(crate) struct NewestAudits(Mutex<(TickId, Arc<Vec<Arc<Entry>>>)>);

impl NewestAudits {
    /// Returns the newest [`TICKS`] ticks that have a price in one of `currencies`, and all entries between and after
    /// them, but only the newest [`MAX_ENTRIES`] of all these. `currencies` must be the same in each call, because the
    /// result is kept.
    ///
    /// # Errors
    /// If the store must be read, and is unavailable or has too many readers.
    pub(crate) async fn read(&self, hub: &Hub, currencies: Currencies) -> Result<Arc<Vec<Arc<Entry>>>> {
        let known = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let head = hub.head();
        if let (of, entries) = &*known()
            && *of == head
        {
            return Ok(entries.clone());
        }
        let begin = hub.before_newest_ticks(TICKS, currencies).await?;
        let begin = begin.max(head.minus(hub.retention()));
        let first = hub.nth_newest(begin, head, MAX_ENTRIES).await?;
        let begin = first.map_or(begin, TickId::before);
        let entries = Arc::new(hub.pages(begin, head, MAX_ENTRIES, true).await?);
        *known() = (head, entries.clone());
        Ok(entries)
    }
}
