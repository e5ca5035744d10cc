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
    /// The currencies that a healthy feed has prices in.
    pub currencies: Currencies,
    /// The time for which a lease lasts without a renewal.
    pub lease_ttl: Duration,
    /// The time without a price after which a currency is stale.
    pub stale_after: Duration,
    /// The time without any price after which the feed is down.
    pub down_after: Duration,
}

/// The longest pause between two attempts, however long a lease lasts, so that a released lease is acquired at once.
const LONGEST_RETRY: Duration = Duration::from_millis(250);

impl Options {
    /// Returns the pause between two attempts, with a jitter of a quarter so that replicas do not retry in step.
    pub(super) fn retry_pause(&self) -> Duration {
        (self.lease_ttl / 12).min(LONGEST_RETRY) * (75 + fastrand::u32(..50)) / 100
    }
}
