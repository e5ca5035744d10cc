//! Follows the store without a gap.
//!
//! The hub subscribes first and reads the history afterwards, so no entry can be missed between the two. Then it
//! compares the `prev` of each new live entry with its own head ([`Entry::continues`]). If they differ, the hub has
//! missed an entry or the store has lost one, and the hub reads the history. Once a second it also compares its head
//! with the head of the store. This detects a missed entry even if no other entry follows it. At the same time it looks
//! in the store for entries that are missing inside the window.

use super::Hub;
use crate::feed::{Continuity, Entry, Feed};
use crate::store::{EntryStream, Result, StoreError};
use crate::telemetry::FaultLog;
use crate::telemetry::metrics::UNCONFIRMED;
use crate::telemetry::traces::{self, Stopwatch};
use crate::tick::TickId;
use futures_util::StreamExt;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

/// The time between two comparisons of the store's head with ours.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// The shortest and the longest mean pause between two attempts. The mean doubles with each failed attempt. A pause is
/// random: from 0.5 to 1.5 times the mean.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// The number of entries in one read of the store's history.
const PAGE: usize = 1000;

/// The missing entries of a [`Hole`] are looked for in each of its first `FIRST_CHECKS` checks, and afterwards in one
/// of `CHECKS_PER_SEARCH` checks.
const FIRST_CHECKS: u32 = 30;
const CHECKS_PER_SEARCH: u32 = 30;

/// A range of ids in which entries are missing: the id before it, and its last id.
type Hole = (TickId, TickId);

/// The holes of the window, each with the number of checks that have found it. A hole that stays is searched less
/// often: lost entries are put back soon or never, and an entry that this version cannot decode never fills its hole.
#[derive(Default)]
struct HoleSearches(BTreeMap<Hole, u32>);

impl HoleSearches {
    /// Returns the holes whose entries should be looked for now.
    fn due(&mut self, holes: Vec<Hole>) -> Vec<Hole> {
        self.0.retain(|hole, _| holes.contains(hole));
        let is_due = |hole: &Hole| {
            let checks = self.0.entry(*hole).or_default();
            *checks += 1;
            *checks <= FIRST_CHECKS || checks.is_multiple_of(CHECKS_PER_SEARCH)
        };
        holes.into_iter().filter(is_due).collect()
    }
}

impl Hub {
    /// Follows the store until `stop` is cancelled. If that fails, it tries again.
    pub async fn run(&self, stop: CancellationToken) {
        stop.run_until_cancelled(async {
            let (mut pause, mut fault) = (RETRY.0, FaultLog::default());
            // Limits the log lines about unconfirmed entries, because everybody who can write to the channel can cause
            // them.
            let mut unconfirmed = FaultLog::default();
            loop {
                let started = Instant::now();
                let Err(error) = self.follow(&mut unconfirmed).await;
                if started.elapsed() > RETRY.1 * 2 {
                    // The hub has followed the store for a while, so this is a new fault.
                    pause = RETRY.0;
                    fault.clear();
                }
                if fault.is_due() {
                    warn!(%error, next = "trying again within 3 s, serving what is in memory", "cannot follow the store, retrying");
                }
                // If only the subscription fails, the history can still be read.
                self.catch_up().await.ok();
                sleep(pause / 2 + pause.mul_f64(fastrand::f64())).await;
                pause = (pause * 2).min(RETRY.1);
            }
        })
        .await;
    }

    /// Follows the store until an error occurs.
    async fn follow(&self, unconfirmed: &mut FaultLog) -> Result<Infallible> {
        let mut live: EntryStream = self.store.subscribe().await?;
        self.catch_up().await?;
        self.primed.send_replace(true);
        info!(head = %self.head(), "following the store");
        let mut checks = interval(CHECK_EVERY);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut expected, mut searches) = (TickId::ZERO, HoleSearches::default());
        loop {
            // Both arms are cancel-safe: an entry that has not been taken stays in the stream. The order is random, so
            // that many announcements do not prevent the check.
            tokio::select! {
                entry = live.next() => match entry {
                    Some(entry) => self.take(entry?, unconfirmed).await?,
                    None => return Err(StoreError::Unavailable("the subscription ended".to_owned())),
                },
                _ = checks.tick() => {
                    // By now the hub must have what the store had at the last check.
                    if expected > self.head() && self.store.has_between(self.head(), expected).await? {
                        return Err(StoreError::Unavailable(format!("the subscription missed {expected}")));
                    }
                    expected = self.store.head().await?;
                    self.fill_holes(&mut searches).await?;
                }
            }
        }
    }

    /// Appends a live entry that is new. If it does not continue our head, reads the history, which has the entry by
    /// now, unless its announcement was forged.
    async fn take(&self, entry: Entry, unconfirmed: &mut FaultLog) -> Result<()> {
        match entry.continues(self.head()) {
            Continuity::Known => Ok(()),
            Continuity::Next => self.confirm(&entry, unconfirmed).await,
            Continuity::Missed | Continuity::Lost => {
                debug!(id = %entry.id, prev = %entry.prev, head = %self.head(), "missed entries, reading the history");
                self.catch_up().await
            }
        }
    }

    /// Appends an entry that continues our head, and possibly later ones, if the history has them.
    async fn confirm(&self, entry: &Entry, unconfirmed: &mut FaultLog) -> Result<()> {
        let (watch, id, is_tick) = (Stopwatch::start(), entry.id, entry.tick().is_some());
        let entries = self.store.announced(entry, self.head()).await?;
        let is_confirmed = entries.iter().any(|other| other.id == id);
        self.append(entries);
        if !is_confirmed {
            UNCONFIRMED.counter("").increment(1);
            if unconfirmed.is_due() {
                warn!(%id, "ignored an entry that was announced and is not in the history");
            }
        } else if is_tick {
            traces::received(id.ms(), watch);
        }
        Ok(())
    }

    /// Reads the entries that are missing inside the window. Lost entries may have returned to the store after this
    /// replica read the history.
    async fn fill_holes(&self, searches: &mut HoleSearches) -> Result<()> {
        let holes = self.window().holes();
        for (after, until) in searches.due(holes) {
            let missing = self.store.range(after, until, PAGE).await?;
            if !missing.is_empty() {
                info!(entries = missing.len(), %after, "read entries that the store has got back");
                self.window_mut().fill(missing);
            }
        }
        Ok(())
    }

    /// Reads the entries that the store has after our head.
    async fn catch_up(&self) -> Result<()> {
        if self.head() == TickId::ZERO {
            let newest = self.store.newest(self.capacity).await?;
            // If the entry before the first one should still be kept, the store has lost entries and may get them back.
            let begins = newest
                .first()
                .zip(newest.last())
                .is_none_or(|(first, last)| first.prev == TickId::ZERO || first.prev < last.id.minus(self.retention));
            self.window_mut().set_complete(newest.len() < self.capacity && begins);
            self.append(newest);
            return Ok(());
        }
        loop {
            let page = self.store.range(self.head(), TickId::from_ms(u64::MAX), PAGE).await?;
            if page.is_empty() {
                return Ok(());
            }
            self.append(page);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hole_that_stays_is_read_less_often() {
        let hole = |from: u64| (TickId::from_ms(from), TickId::from_ms(from + 5));
        let mut searches = HoleSearches::default();
        let due: usize = (0..300).map(|_| searches.due(vec![hole(1)]).len()).sum();
        assert_eq!(due, 30 + 9);
        assert_eq!(searches.due(vec![hole(1), hole(10)]), [hole(10)], "a new hole does not wait");
        assert_eq!(searches.due(vec![]), []);
        assert_eq!(searches.due(vec![hole(1)]), [hole(1)], "it was filled, and is there again");
    }
}
