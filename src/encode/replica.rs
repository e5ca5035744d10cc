//! The description of a replica in the message `hello`.

use crate::tick::Currencies;
use std::time::Duration;

/// The description of a replica in the message `hello`.
#[derive(Clone, Debug)]
pub struct ReplicaInfo {
    /// The name of the replica.
    pub replica: String,
    /// The currencies of the feed.
    pub currencies: Currencies,
    /// The time between two ticks.
    pub interval: Duration,
}
