//! Puts back lost entries that are older than the store's newest entry, until all of them are back.
//!
//! The loss of the newest entries is noticed at the leader's next write, which names the newest entry that the leader
//! has seen. Then the leader restores only the newest ones, so that it can go on. Everything before them is put back
//! here, in small batches that delay no tick. Every replica that may lead compares the number of entries in the store
//! with its own copy once a second, whoever leads. So it does not matter which of them has the entries, or whether an
//! attempt was interrupted. Once a minute, each of these replicas compares every entry, because the number also counts
//! what is in the store but is no entry.

use super::chain::newest_chain;
use crate::feed::{Entry, Feed};
use crate::store::{Result, Store};
use crate::telemetry::FaultLog;
use crate::telemetry::metrics::PUT_BACK;
use futures_util::future::try_join_all;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::sleep;
use tracing::warn;

/// The mean time between two comparisons.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// The number of consecutive comparisons that must find entries missing. One is not enough, because the feed may change
/// between the requests of a comparison.
const DIFFERENCES: u32 = 2;
/// The time between two comparisons of each entry.
const COMPARE_EVERY: Duration = Duration::from_secs(60);
/// The number of entries in one write.
const BATCH: usize = 200;
/// The number of batches under way at the same time. On a slow link, one after the other would take too long.
const CONCURRENT: usize = 4;
/// The pause after an attempt in which the store accepted no entry. A new loss ends it.
const REJECTED_PAUSE: Duration = Duration::from_secs(30);

/// The result of an attempt to put entries back.
#[derive(Default)]
struct Attempt {
    /// The number of entries that the store lacked.
    lacking: usize,
    /// The number of entries that were put back.
    added: usize,
}

impl Attempt {
    fn and(&self, other: &Attempt) -> Attempt {
        Attempt { lacking: self.lacking + other.lacking, added: self.added + other.added }
    }
}

/// Compares this replica's copy of the feed with the store.
pub(super) struct Restorer {
    pub(super) store: Arc<dyn Store>,
    pub(super) feed: Arc<dyn Feed>,
}

impl Restorer {
    /// Compares and puts back, and never returns.
    pub(super) async fn run(self) -> Infallible {
        let (mut differences, mut fault, mut rejected) = (0, FaultLog::default(), FaultLog::default());
        let (mut compared, mut refused) = (Instant::now(), None);
        loop {
            sleep(CHECK_EVERY * (75 + fastrand::u32(..50)) / 100).await;
            // Without the store, there is nothing to compare. The leader and the monitor report that.
            let Ok(missing) = self.missing().await else { continue };
            if refused.is_some_and(|(known, at): (usize, Instant)| known == missing && at.elapsed() < REJECTED_PAUSE) {
                continue;
            }
            differences = if missing > 0 { differences + 1 } else { 0 };
            if differences < DIFFERENCES && compared.elapsed() < COMPARE_EVERY {
                continue;
            }
            (compared, refused) = (Instant::now(), None);
            match self.put_back().await {
                Ok(Attempt { lacking: 0, .. }) => {
                    differences = 0;
                    fault.clear();
                    rejected.clear();
                }
                Ok(Attempt { lacking, added: 0 }) => {
                    if rejected.is_due() {
                        warn!(
                            entries = lacking,
                            "this replica has entries that contradict the history, so they are not put back"
                        );
                    }
                    refused = Some((missing, Instant::now()));
                }
                Ok(Attempt { lacking, added }) => {
                    fault.clear();
                    rejected.clear();
                    warn!(entries = added, of = lacking, "put entries back that the store had lost");
                }
                Err(error) if fault.is_due() => warn!(%error, "cannot put lost entries back, retrying"),
                Err(_) => {}
            }
        }
    }

    /// Returns how many fewer entries the store has than this replica's copy.
    async fn missing(&self) -> Result<usize> {
        let Some((oldest, head, len)) = self.feed.extent() else { return Ok(0) };
        if self.store.count(oldest.before(), head).await? >= len {
            return Ok(0);
        }
        let chain = self.chain().await?;
        let (Some(first), Some(last)) = (chain.first(), chain.last()) else { return Ok(0) };
        Ok(chain.len().saturating_sub(self.store.count(first.id.before(), last.id).await?))
    }

    /// Returns the entries of this copy that the store should have before its newest entry. Later entries are left out,
    /// because the leader restores them. Entries of another chain ([`newest_chain`]) are left out, too.
    async fn chain(&self) -> Result<Vec<Arc<Entry>>> {
        let newest = self.store.head().await?;
        // The store may be ahead of this copy, and then it has dropped entries that this copy still has.
        let oldest_kept = newest.minus(self.feed.retention());
        let mut chain = newest_chain(self.feed.after(oldest_kept.before()));
        chain.truncate(chain.partition_point(|entry| entry.id < newest));
        Ok(chain)
    }

    async fn put_back(&self) -> Result<Attempt> {
        let entries = self.chain().await?;
        // The newest first, because clients are most likely to ask for them.
        let (batches, mut sum) = (entries.rchunks(BATCH).collect::<Vec<_>>(), Attempt::default());
        for group in batches.chunks(CONCURRENT) {
            for one in try_join_all(group.iter().map(|batch| self.put_back_batch(batch))).await? {
                sum = sum.and(&one);
            }
        }
        Ok(sum)
    }

    async fn put_back_batch(&self, batch: &[Arc<Entry>]) -> Result<Attempt> {
        let lacking = self.store.lacking(batch).await?;
        let added = if lacking.is_empty() { 0 } else { self.store.put_back(&lacking).await? };
        PUT_BACK.counter("").increment(added as u64);
        Ok(Attempt { lacking: lacking.len(), added })
    }
}
