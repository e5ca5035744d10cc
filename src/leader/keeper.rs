//! Keeps the lease: renews it, and finds out when it is over.

use super::Options;
use crate::store::{Lease, Store, StoreError};
use crate::tick::TickId;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::time::sleep;
use tracing::{info, warn};

/// The time for which a replica leads, which may span several leases: a store that was away may have let one run out.
pub(super) struct Tenure {
    /// The lease, and the newest id that was there when the tenure began or that it wrote.
    state: Mutex<(Lease, TickId)>,
}

/// How a tenure ends.
pub(super) enum Over {
    /// This replica stops.
    Stopped,
    /// This replica cannot do better than to let another one try.
    Yielded,
    /// Another replica has written since; it may have gone again, and left the lease to us.
    Overtaken(Option<Lease>),
}

impl Tenure {
    /// A tenure with this lease, over a feed whose newest id is this.
    pub(super) fn new(lease: Lease, head: TickId) -> Tenure {
        Tenure { state: Mutex::new((lease, head)) }
    }

    fn state(&self) -> MutexGuard<'_, (Lease, TickId)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lease as it is now.
    pub(super) fn lease(&self) -> Lease {
        self.state().0.clone()
    }

    /// The newest id that was there when the tenure began, or that it wrote.
    pub(super) fn newest(&self) -> TickId {
        self.state().1
    }

    /// Notes that the tenure wrote `id`.
    pub(super) fn wrote(&self, id: TickId) {
        self.state().1 = id;
    }

    fn granted(&self, lease: Lease) {
        self.state().0 = lease;
    }
}

/// Renews the lease of a tenure.
pub(super) struct Keeper<'a> {
    pub(super) options: &'a Options,
    pub(super) store: &'a dyn Store,
    pub(super) tenure: &'a Tenure,
}

/// What an attempt to renew came to.
enum Renewal {
    /// The lease is ours.
    Held,
    /// It is not, but nobody has written either.
    Vacant,
    /// Another replica has written.
    Overtaken(Option<Lease>),
}

impl Keeper<'_> {
    /// Returns when another replica has written, with the lease if it is ours all the same.
    pub(super) async fn run(self) -> Option<Lease> {
        let mut well = true;
        loop {
            sleep(if well { self.options.lease_ttl / 3 } else { self.options.retry() }).await;
            match self.renew().await {
                Ok(Renewal::Held) => {
                    if !well {
                        info!("the store is back, and the lease is ours");
                    }
                    well = true;
                }
                Ok(Renewal::Vacant) => {
                    if well {
                        warn!("the lease is not ours, holding ticks until it is, or somebody else writes");
                    }
                    well = false;
                }
                Ok(Renewal::Overtaken(lease)) => return lease,
                Err(error) => {
                    if well {
                        warn!(%error, "the store is away, holding ticks until it is back");
                    }
                    well = false;
                }
            }
        }
    }

    async fn renew(&self) -> Result<Renewal, StoreError> {
        match self.store.renew(&self.tenure.lease()).await {
            Err(StoreError::NotLeader) => {}
            other => return other.map(|()| Renewal::Held),
        }
        let granted = self.store.acquire(&self.options.replica).await?;
        // Looked at after the lease: what another leader wrote before it lost it is there by now.
        if self.store.head().await? > self.tenure.newest() {
            return Ok(Renewal::Overtaken(granted));
        }
        let Some(lease) = granted else { return Ok(Renewal::Vacant) };
        info!(replica = self.options.replica, "the lease had run out, leading with a new one");
        self.tenure.granted(lease);
        Ok(Renewal::Held)
    }
}
