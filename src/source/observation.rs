//! Observations of prices, and the trait that all sources implement.

use crate::tick::{Currencies, Currency, Price, TickId};
use async_trait::async_trait;
use std::time::Duration;

/// The price of one currency at one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// The currency.
    pub currency: Currency,
    /// The price of one bitcoin.
    pub price: Price,
    /// The time of the price by the source's clock, if the source gives one.
    pub time: Option<TickId>,
}

/// The reason why a source has no price in some currencies.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct SourceError {
    /// The currencies that were requested.
    pub currencies: Currencies,
    /// The reason, for the log and for a status of the feed. Clients can read it.
    pub reason: String,
    /// What the log adds: the address of the source (host and port) and the cause. Clients cannot read it.
    pub cause: Option<String>,
    /// The time for which the source asked us to send no request.
    pub retry_after: Option<Duration>,
}

impl SourceError {
    /// Returns what operators should read: the cause if it is known, or the reason.
    pub fn for_operators(&self) -> &str {
        self.cause.as_deref().unwrap_or(&self.reason)
    }
}

/// The outcome of one request, which may be about several currencies.
pub type Answer = Result<Vec<Observation>, SourceError>;

/// A source of prices.
#[async_trait]
pub trait Source: Send + Sync {
    /// Returns the name in settings, logs and the `sources` of a tick.
    fn name(&self) -> &'static str;

    /// Requests the current price in each of `currencies`. Returns one answer for each request that this takes, within
    /// `deadline`.
    async fn observe(&self, currencies: Currencies, deadline: Duration) -> Vec<Answer>;
}
