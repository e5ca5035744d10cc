//! The settings of a leader.

use crate::tick::Currencies;
use std::time::Duration;

/// The settings of a leader.
#[derive(Clone, Debug)]
pub struct Options {
    /// This replica's name, which the lease contains.
    pub replica: String,
    /// The time between two polls.
    pub interval: Duration,
    /// The currencies in which a healthy feed has prices.
    pub currencies: Currencies,
    /// The time for which a lease lasts without a renewal.
    pub lease_ttl: Duration,
    /// The time without a price after which a currency is stale.
    pub stale_after: Duration,
    /// The time without any price after which the feed is down.
    pub down_after: Duration,
}

/// The maximum pause between two attempts to acquire the lease or to reach the store, before jitter. It does not depend
/// on the duration of a lease, so that a released lease is acquired soon.
const MAX_RETRY_PAUSE: Duration = Duration::from_millis(200);
/// The time in which a replica detects that its request to the store got no answer, and connects again.
const RECONNECTION: Duration = Duration::from_secs(1);

impl Options {
    /// Returns the pause before the next attempt to acquire the lease or to reach the store. It has a jitter of up to
    /// 25 %, so that replicas do not retry in step.
    pub(super) fn retry_pause(&self) -> Duration {
        self.mean_retry_pause() * (75 + fastrand::u32(..50)) / 100
    }

    fn mean_retry_pause(&self) -> Duration {
        (self.lease_ttl / 15).min(MAX_RETRY_PAUSE)
    }

    /// Returns the time for which a new leader waits for claims. In this time, each replica with something that the
    /// store lacks claims the lease. `idle` is the age of the newest entry. After the death of a leader, this age is at
    /// most the sum of a lease, an interval and the time to reconnect. If it is greater, the store was probably
    /// unavailable. Then the period is longer, because other replicas may still have to connect to the store.
    pub(super) fn claim_period(&self, idle: Duration) -> Duration {
        let attempts = self.mean_retry_pause() * 2;
        let is_explained = idle <= self.lease_ttl + self.interval + RECONNECTION;
        if is_explained { attempts } else { (attempts + RECONNECTION).min(self.lease_ttl / 2) }
    }
}
