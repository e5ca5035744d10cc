//! The replica that polls the exchanges and writes the feed: it campaigns, leads and stands down.
//!
//! While it leads, three parts run concurrently: `LeaseRenewer` renews the lease, `poll` asks the exchanges and judges
//! the feed's health, and `Writer` writes the results to the store. The `Outbox` is the queue between `poll` and
//! `Writer`. Because of it, polling does not depend on the store. While the store is unavailable, the outbox holds the
//! ticks. Afterwards they are written in order.
//!
//! A replica never decides itself whether it may write. The store checks the lease at each write, so the write of a
//! leader whose lease has expired is rejected. A leader without a lease keeps polling and tries to acquire a new one.
//! It stands down when another replica has *written*. That another replica has the lease is not enough: a store that
//! was paused may grant a lease to a candidate that no longer waits for the answer. Nobody uses such a lease, and it
//! expires.

mod anchor;
mod chain;
mod clock;
mod health;
mod lease;
mod options;
mod outbox;
mod poll;
mod restorer;
mod start;
mod term;
mod writer;

pub use clock::FeedClock;
pub use options::Options;

use crate::aggregate::Aggregator;
use crate::feed::Feed;
use crate::store::{Claim, Lease, Store, StoreError};
use crate::telemetry::FaultLog;
use crate::telemetry::metrics::LEADER;
use crate::tick::TickId;
use anchor::Anchor;
use health::HealthMonitor;
use lease::LeaseRenewer;
use outbox::Outbox;
use poll::poll;
use restorer::Restorer;
use start::{TermStart, drop_covered};
use std::sync::Arc;
use std::time::{Duration, Instant};
use term::{Term, TermEnd, Yielding};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use writer::Writer;

/// The maximum time for writing the records that are still held when this replica stops or yields.
const FLUSH_DEADLINE: Duration = Duration::from_secs(1);

/// Guard that sets the metric of leading to 1, and to 0 when it is dropped.
struct Leading;

impl Leading {
    fn begin() -> Leading {
        LEADER.gauge("").set(1);
        Leading
    }
}

impl Drop for Leading {
    fn drop(&mut self) {
        LEADER.gauge("").set(0);
    }
}

/// A replica that leads or wants to lead.
pub struct Leader {
    options: Options,
    store: Arc<dyn Store>,
    feed: Arc<dyn Feed>,
    aggregator: Aggregator,
    /// The records that are not written yet. They are kept after the end of a term, because no other replica has them.
    outbox: Outbox,
    /// The last entry that this replica wrote.
    anchor: Option<Anchor>,
    clock: Arc<FeedClock>,
    /// Limits the log lines about failures to begin a term.
    begin_fault: FaultLog,
    /// The moment from which this replica may claim the lease again, after it could not begin a term. Until then it
    /// leads only if no other replica does.
    claims_from: Option<Instant>,
}

impl Leader {
    /// A candidate. `feed` is this replica's copy of the feed in `store`. It should be up to date when
    /// [`run`](Self::run) is called. `clock` is the time of this feed.
    pub fn new(
        options: Options,
        store: Arc<dyn Store>,
        feed: Arc<dyn Feed>,
        aggregator: Aggregator,
        clock: Arc<FeedClock>,
    ) -> Leader {
        let outbox = Outbox::new(options.interval);
        Leader {
            options,
            store,
            feed,
            aggregator,
            outbox,
            anchor: None,
            clock,
            begin_fault: FaultLog::default(),
            claims_from: None,
        }
    }

    /// Campaigns and leads until `stop`, then releases the lease. Meanwhile puts back what a shared store has lost.
    pub async fn run(self, stop: CancellationToken) {
        let (clock, feed) = (self.clock.clone(), self.feed.clone());
        tokio::select! {
            () = self.lead_and_restore(stop) => {}
            never = clock.watch(&*feed) => match never {},
        }
    }

    async fn lead_and_restore(self, stop: CancellationToken) {
        if !self.store.is_shared() {
            return self.take_turns(stop).await;
        }
        let (store, feed) = (self.store.clone(), self.feed.clone());
        // Restoring can be cancelled at any time, because it is repeated until nothing is missing.
        tokio::select! {
            () = self.take_turns(stop) => {}
            never = Restorer { store, feed }.run() => match never {},
        }
    }

    /// Campaigns and leads until `stop`, then releases the lease.
    async fn take_turns(mut self, stop: CancellationToken) {
        let mut granted = None;
        loop {
            let lease = match granted.take() {
                Some(lease) => lease,
                None => match stop.run_until_cancelled(self.campaign()).await {
                    Some(lease) => lease,
                    None => return,
                },
            };
            let end = self.lead(lease, &stop).await;
            self.clock.end();
            match end {
                TermEnd::Stopped => return,
                TermEnd::Overtaken(lease) => granted = lease,
                // Nobody else has the ticks that this replica holds, so it tries at once to write them.
                TermEnd::Yielded(_) if self.outbox.len() > 0 => {}
                TermEnd::Claimed(_) => {}
                TermEnd::Yielded(Yielding { pause, .. }) => {
                    stop.run_until_cancelled(sleep(pause)).await;
                }
            }
        }
    }

    /// Waits until the lease is free and acquires it.
    async fn campaign(&self) -> Lease {
        let mut fault = FaultLog::default();
        loop {
            match self.try_to_acquire().await {
                Ok(Some(lease)) => return lease,
                Ok(None) => fault.clear(),
                Err(error) if fault.is_due() => warn!(%error, next = "trying again", "cannot campaign, retrying"),
                Err(_) => {}
            }
            sleep(self.options.retry_pause()).await;
        }
    }

    async fn try_to_acquire(&self) -> Result<Option<Lease>, StoreError> {
        self.claim().await?;
        self.store.acquire(&self.options.replica).await
    }

    /// Claims the lease if this replica has something that the store lacks. Returns the name of another replica for
    /// which the lease is reserved, if there is one.
    async fn claim(&self) -> Result<Option<String>, StoreError> {
        let seen = self.feed.head();
        if self.outbox.len() > 0 {
            let anchor = match self.anchor {
                Some(anchor) => anchor,
                None => Anchor::of(self.clock.now_or(self.store.now().await?), Instant::now(), &self.clock),
            };
            // This replica may not be able to follow the feed, so its copy may lack what others have written.
            drop_covered(&self.outbox, seen.max(self.store.head().await?), anchor);
        }
        let may_claim = self.claims_from.is_none_or(|moment| moment <= Instant::now());
        let (seen, records) = if may_claim { (seen, self.outbox.len()) } else { (TickId::ZERO, 0) };
        self.store.claim(Claim { holder: &self.options.replica, seen, records }).await
    }

    /// Gives the other replicas time to claim the lease. Those that have something that the store lacks claim it.
    /// Returns the name of the first claimant, if there is one. Renews the lease meanwhile.
    ///
    /// When a store becomes available again, the first replica that reaches it may be one that has just started.
    /// Without this wait, that replica would write first, and what only other replicas have would be lost.
    async fn hear_claims(&self, lease: &Lease) -> Result<Option<String>, StoreError> {
        if !self.store.is_shared() {
            return Ok(None);
        }
        let (head, now) = (self.store.head().await?, self.store.now().await?);
        let end = Instant::now() + self.options.claim_period(now.since(head));
        while Instant::now() < end {
            if let Some(claimant) = self.claim().await? {
                return Ok(Some(claimant));
            }
            self.store.renew(lease).await?;
            sleep(self.options.retry_pause() / 2).await;
        }
        Ok(None)
    }

    /// Prepares a term. Returns `None` if another replica should lead, because it has something that the store lacks.
    async fn begin(&self, lease: &Lease) -> Result<Option<TermStart>, StoreError> {
        if let Some(claimant) = self.hear_claims(lease).await? {
            info!(claimant, "releasing the lease to a replica with more entries");
            return Ok(None);
        }
        info!(replica = self.options.replica, held = self.outbox.len(), "leading");
        let (store, feed) = (&*self.store, &*self.feed);
        TermStart::load(&self.options, store, feed, &self.outbox, self.anchor, &self.clock).await.map(Some)
    }

    /// Leads for a term.
    async fn lead(&mut self, lease: Lease, stop: &CancellationToken) -> TermEnd {
        let start = match stop.run_until_cancelled(self.begin(&lease)).await {
            Some(Ok(Some(start))) => start,
            not_begun => {
                self.store.release(&lease).await.ok();
                let Some(begun) = not_begun else { return TermEnd::Stopped };
                let Err(error) = begun else { return TermEnd::Overtaken(None) };
                if self.begin_fault.is_due() {
                    warn!(%error, "cannot lead now, releasing the lease to other replicas");
                }
                self.claims_from = Some(Instant::now() + self.options.lease_ttl);
                // This is longer than the retry pause of any replica, so another one acquires the lease first.
                stop.run_until_cancelled(sleep(self.options.retry_pause() * 2)).await;
                let pause = self.options.lease_ttl * 2;
                return TermEnd::Yielded(Yielding { why: "this replica cannot lead", pause });
            }
        };
        self.begin_fault.clear();
        self.claims_from = None;
        self.aggregator.resume(&*self.feed, &start.audits, self.clock.time_of_poll(TickId::now()));
        let _leading = Leading::begin();
        let term = Term::new(lease, start.head);
        let renewer = LeaseRenewer {
            options: &self.options,
            store: &*self.store,
            feed: &*self.feed,
            outbox: &self.outbox,
            term: &term,
        };
        let mut health = HealthMonitor::new(&self.options, &*self.feed, &self.outbox, &start.last_prices);
        let mut writer = Writer {
            options: &self.options,
            store: &*self.store,
            feed: &*self.feed,
            term: &term,
            outbox: &self.outbox,
            clock: &self.clock,
            last_prices: start.last_prices.clone(),
            anchor: &mut self.anchor,
            unseen: Vec::new(),
            write_fault: FaultLog::default(),
            restore_fault: FaultLog::default(),
            restored_after: None,
        };
        // Cancelling a poll loses at most that poll. Cancelling a write loses at most its answer: the record stays in
        // the outbox, and the store writes each record only once.
        let (clock, last_prices) = (&*self.clock, &start.last_prices);
        let may_yield = self.store.is_shared();
        let polling =
            poll(&self.options, &mut self.aggregator, &mut health, &self.outbox, clock, last_prices, may_yield);
        let end = tokio::select! {
            () = stop.cancelled() => TermEnd::Stopped,
            yielding = polling => TermEnd::Yielded(yielding),
            claimant = writer.run() => TermEnd::Claimed(claimant),
            lease = renewer.run() => TermEnd::Overtaken(lease),
        };
        let why = match &end {
            TermEnd::Overtaken(_) => {
                info!(replica = self.options.replica, "stood down: another replica has written");
                return end;
            }
            TermEnd::Claimed(claimant) => {
                info!(claimant, "releasing the lease to a replica that holds ticks");
                self.store.release(&term.lease()).await.ok();
                return end;
            }
            TermEnd::Yielded(Yielding { why, .. }) => *why,
            TermEnd::Stopped => "stopping",
        };
        if timeout(FLUSH_DEADLINE, writer.flush()).await.is_err() {
            warn!(held = self.outbox.len(), "standing down with ticks that could not be written");
        }
        let released = self.store.release(&term.lease()).await;
        info!(replica = self.options.replica, released = released.is_ok(), why, "stood down");
        end
    }
}

#[cfg(test)]
mod tests;
