//! The state of the feed at the start of a term.

use super::anchor::Anchor;
use super::clock::{FeedClock, Times};
use super::options::Options;
use super::outbox::Outbox;
use super::term::LastPrice;
use crate::feed::{EntryAudit, Feed};
use crate::store::{Store, StoreError};
use crate::tick::{Currency, TickId};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};
use tracing::info;

/// The time within which a new leader's copy of the feed must contain everything that the store has.
const FEED_DEADLINE: Duration = Duration::from_secs(2);

/// The number of newest polls whose audits are read. They show which sources were outliers or frozen.
const AUDITED_POLLS: u32 = 30;

/// The state of the feed at the start of a term.
pub(super) struct TermStart {
    /// The store's newest id.
    pub(super) head: TickId,
    /// The newest price of each currency that has one.
    pub(super) last_prices: BTreeMap<Currency, LastPrice>,
    /// The audits of the newest ticks, oldest first. Empty if they cannot be read.
    pub(super) audits: Vec<EntryAudit>,
}

impl TermStart {
    /// Waits until `feed` has everything that `store` has, and drops the records that are not newer than the feed.
    /// `anchor` is the last entry that this replica wrote.
    ///
    /// # Errors
    /// If the store is unavailable, or `feed` does not catch up with it.
    pub(super) async fn load(
        options: &Options,
        store: &dyn Store,
        feed: &dyn Feed,
        outbox: &Outbox,
        anchor: Option<Anchor>,
        feed_clock: &FeedClock,
    ) -> Result<TermStart, StoreError> {
        let (head, clock) = (store.head().await?, store.now().await?);
        feed_clock.begin(head.max(feed.head()), Times::now(clock));
        let (clock, now) = (feed_clock.now_or(clock), Instant::now());
        let caught_up = async {
            while feed.head() < head {
                sleep(Duration::from_millis(10)).await;
            }
        };
        if timeout(FEED_DEADLINE, caught_up).await.is_err() && store.has_between(feed.head(), head).await? {
            return Err(StoreError::Unavailable("this replica cannot follow the feed".to_owned()));
        }
        // The head of this replica's copy counts too: if the store has lost its newest entries, this replica will
        // restore them.
        drop_covered(outbox, head.max(feed.head()), anchor.unwrap_or_else(|| Anchor::of(clock, now, feed_clock)));
        let last = |currency| {
            let id = feed.newest(&|entry| entry.tick().is_some_and(|tick| tick.prices.contains_key(&currency)))?.id;
            Some((currency, LastPrice { id, at: now.checked_sub(clock.since(id))? }))
        };
        let begin = head.minus(options.interval * AUDITED_POLLS);
        let audits = store.audits(begin, head, 2 * AUDITED_POLLS as usize).await.unwrap_or_default();
        Ok(TermStart { head, last_prices: options.currencies.iter().filter_map(last).collect(), audits })
    }
}

/// Drops the records that are not newer than `covered`. They are obsolete: another leader has written for that time, or
/// this replica has written them and the answer of the store was lost.
pub(super) fn drop_covered(outbox: &Outbox, covered: TickId, anchor: Anchor) {
    let dropped = outbox.drop_while(|record| anchor.moment(record.at) <= covered);
    if dropped > 0 {
        info!(dropped, "dropped held records that are not newer than the feed");
    }
}
