//! Renews the lease of a term, and detects that another replica has taken over.

use super::options::Options;
use super::outbox::Outbox;
use super::term::Term;
use crate::feed::Feed;
use crate::store::{Claim, Lease, Store, StoreError};
use crate::telemetry::FaultLog;
use tokio::time::sleep;
use tracing::{info, warn};

/// Renews the lease of a term.
pub(super) struct LeaseRenewer<'a> {
    pub(super) options: &'a Options,
    pub(super) store: &'a dyn Store,
    pub(super) feed: &'a dyn Feed,
    pub(super) outbox: &'a Outbox,
    pub(super) term: &'a Term,
}

/// The result of an attempt to renew.
enum Renewal {
    /// This replica holds the lease.
    Held,
    /// This replica does not hold the lease, but no other replica has written.
    NotHeld,
    /// Another replica has written. Contains this replica's new lease if it has acquired one.
    Overtaken(Option<Lease>),
}

impl LeaseRenewer<'_> {
    /// Renews the lease until another replica has written. Then returns this replica's new lease if it has acquired
    /// one.
    pub(super) async fn run(self) -> Option<Lease> {
        let (mut held, mut fault) = (true, FaultLog::default());
        loop {
            // If the store has lost its data, another replica can acquire the lease. The new holder then waits for
            // claims (`Options::claim_period`). This pause is shorter than that wait, so this replica claims in time.
            sleep(self.options.retry_pause()).await;
            match self.renew().await {
                Ok(Renewal::Held) => {
                    if !held {
                        info!("the lease is held again");
                    }
                    held = true;
                    fault.clear();
                }
                Ok(Renewal::NotHeld) => {
                    if fault.is_due() {
                        warn!("the lease is not held, keeping ticks until it is acquired or another replica writes");
                    }
                    held = false;
                }
                Ok(Renewal::Overtaken(lease)) => return lease,
                Err(error) => {
                    if fault.is_due() {
                        let next = "trying again, leading until another replica writes";
                        warn!(%error, next, "cannot renew the lease, keeping ticks until the store is available");
                    }
                    held = false;
                }
            }
        }
    }

    async fn renew(&self) -> Result<Renewal, StoreError> {
        match self.store.renew(&self.term.lease()).await {
            Err(StoreError::NotLeader) => {}
            other => return other.map(|()| Renewal::Held),
        }
        if self.store.head().await? > self.term.newest() {
            return Ok(Renewal::Overtaken(None));
        }
        let seen = self.feed.head().max(self.term.newest());
        self.store.claim(Claim { holder: &self.options.replica, seen, records: self.outbox.len() }).await?;
        let granted = self.store.acquire(&self.options.replica).await?;
        // The head is read again after the attempt to acquire the lease. So it includes everything that another leader
        // wrote before that attempt.
        if self.store.head().await? > self.term.newest() {
            return Ok(Renewal::Overtaken(granted));
        }
        let Some(lease) = granted else { return Ok(Renewal::NotHeld) };
        info!(replica = self.options.replica, "the lease had expired, leading with a new one");
        self.term.set_lease(lease);
        Ok(Renewal::Held)
    }
}
