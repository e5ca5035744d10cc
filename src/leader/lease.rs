//! Renews the lease of a term, and finds out when another replica has taken over.

use super::options::Options;
use super::term::Term;
use crate::store::{Lease, Store, StoreError};
use crate::telemetry::FaultLog;
use tokio::time::sleep;
use tracing::{info, warn};

/// Renews the lease of a term.
pub(super) struct LeaseRenewer<'a> {
    pub(super) options: &'a Options,
    pub(super) store: &'a dyn Store,
    pub(super) term: &'a Term,
}

/// The result of an attempt to renew.
enum Renewal {
    /// This replica holds the lease.
    Held,
    /// This replica does not hold the lease, but no other replica has written.
    Vacant,
    /// Another replica has written. This replica may have a new lease.
    Overtaken(Option<Lease>),
}

impl LeaseRenewer<'_> {
    /// Renews the lease until another replica has written. Returns the new lease if this replica has acquired one
    /// since.
    pub(super) async fn run(self) -> Option<Lease> {
        let (mut held, mut fault) = (true, FaultLog::default());
        loop {
            sleep(if held { self.options.lease_ttl / 3 } else { self.options.retry_pause() }).await;
            match self.renew().await {
                Ok(Renewal::Held) => {
                    if !held {
                        info!("the store is available again and the lease is held");
                    }
                    held = true;
                    fault.clear();
                }
                Ok(Renewal::Vacant) => {
                    if fault.is_due() {
                        warn!("the lease is not held, holding ticks until it is or another replica writes");
                    }
                    held = false;
                }
                Ok(Renewal::Overtaken(lease)) => return lease,
                Err(error) => {
                    if fault.is_due() {
                        warn!(%error, "cannot renew the lease, holding ticks until the store is available");
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
        let granted = self.store.acquire(&self.options.replica).await?;
        // Checked after the attempt to acquire: by now the store has everything that a leader wrote before it lost the lease.
        if self.store.head().await? > self.term.newest() {
            return Ok(Renewal::Overtaken(granted));
        }
        let Some(lease) = granted else { return Ok(Renewal::Vacant) };
        info!(replica = self.options.replica, "the lease had expired, leading with a new one");
        self.term.set_lease(lease);
        Ok(Renewal::Held)
    }
}
