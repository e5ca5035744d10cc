//! The lease: acquiring it, and reserving it for a replica that has something that the store lacks.

use super::write_faults::Write;
use super::{BEAT_TTL, CLAIM_TTL, LONGEST_TERM, Redis, ms};
use crate::store::contract::{Claim, Lease, Result, StoreError};
use crate::store::kind::PriceKind;
use std::sync::PoisonError;
use std::time::{Duration, Instant};
use tracing::warn;

/// The time between two checks of the kind of the prices (real or simulated) while another replica has the lease.
const COMPARE_EVERY: Duration = Duration::from_secs(1);

impl Redis {
    /// Acquires the lease, if it is free and this replica may lead.
    pub(super) async fn acquire_lease(&self, holder: &str) -> Result<Option<Lease>> {
        self.check_rights().await?;
        let term = ms(self.options.lease_ttl);
        let lease = Lease { token: format!("{}.{term}", Lease::new(holder).token) };
        let compares_kind = u8::from(self.is_comparison_due());
        let script = || {
            let mut script = self.scripts.acquire.key(&self.keys.lease);
            script.key(&self.keys.claim).key(&self.keys.settings).key(&self.keys.ticks).key(&self.keys.record);
            script.arg(self.claimant(holder)).arg(&lease.token).arg(term).arg(ms(LONGEST_TERM));
            script.arg(&self.settings).arg(ms(BEAT_TTL)).arg(self.kind.map_or("", PriceKind::as_str));
            script.arg(compares_kind);
            script
        };
        match self.write(Write::Lease, script).await {
            Ok(broken) => {
                if !broken.is_empty() {
                    warn!(broken, "replaced a lease: its time to live is too long, or it has none (-1)");
                }
                Ok(Some(lease))
            }
            Err(StoreError::NotLeader) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reserves the lease, if this replica has something that the store lacks.
    pub(super) async fn claim_lease(&self, Claim { holder, seen, records }: Claim<'_>) -> Result<Option<String>> {
        self.check_rights().await?;
        let claimant = self.claimant(holder);
        let script = || {
            let mut script = self.scripts.claim.key(&self.keys.claim);
            script.key(&self.keys.ticks).key(&self.keys.settings).key(&self.keys.record);
            script.arg(&claimant).arg(seen.ms()).arg(records).arg(ms(CLAIM_TTL)).arg(&self.settings);
            script.arg(self.kind.map_or("", PriceKind::as_str));
            script
        };
        let reserved_for: String = self.run(Write::Lease, script).await?;
        Ok(if reserved_for == claimant { None } else { Lease::holder(&reserved_for) })
    }

    /// Returns the name of a claimant. It is different for each process, even if two have the same replica name.
    fn claimant(&self, holder: &str) -> String {
        format!("{holder}/{}", self.writer)
    }

    /// Returns true at most once in [`COMPARE_EVERY`]: candidates retry often, and each comparison reads entries.
    fn is_comparison_due(&self) -> bool {
        let mut compared = self.kind_compared.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = compared.is_none_or(|at| at.elapsed() >= COMPARE_EVERY);
        if is_due {
            *compared = Some(Instant::now());
        }
        is_due
    }
}
