//! Observations of prices, and the trait that all sources implement.

use crate::tick::{Currencies, Currency, Price, TickId};
use async_trait::async_trait;
use rust_decimal::Decimal;
use std::time::{Duration, Instant};

/// What one source says about the market in one currency.
///
/// It has at least a last trade or both sides of the book. The book may be crossed: the method decides what that means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// The currency.
    pub currency: Currency,
    /// The highest price that a buyer offers for one bitcoin. `None` if the source has no book, or nobody buys.
    pub bid: Option<Price>,
    /// The lowest price that a seller asks for one bitcoin. `None` if the source has no book, or nobody sells.
    pub ask: Option<Price>,
    /// The price of the last trade.
    pub last: Option<Price>,
    /// The volume of 24 hours in bitcoin.
    pub volume: Option<Decimal>,
    /// The time that the answer gives for these prices as a whole, by the source's clock. `None` if it gives none.
    pub time: Option<TickId>,
    /// The time of the last trade by the source's clock. It does not date the book.
    pub trade_time: Option<TickId>,
}

/// The reason why a source has no price in some currencies.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct SourceError {
    /// The currencies without a price.
    pub currencies: Currencies,
    /// The reason as clients can read it, for example in a status of the feed.
    pub reason: String,
    /// The text that operators read instead of the reason: the address of the source (host and port), and the error
    /// behind the reason. If no such error is known, the reason follows the address. Clients cannot read this text.
    pub cause: Option<String>,
    /// The time for which the source asked us to send no request.
    pub retry_after: Option<Duration>,
    /// True if the source rejected the whole request because it does not know one of the pairs.
    pub is_unknown_pair: bool,
}

impl SourceError {
    /// An error of which only the reason is known.
    pub fn new(currencies: Currencies, reason: String) -> SourceError {
        SourceError { currencies, reason, cause: None, retry_after: None, is_unknown_pair: false }
    }

    /// Returns what operators should read: the cause if it is known, or the reason.
    pub fn for_operators(&self) -> &str {
        self.cause.as_deref().unwrap_or(&self.reason)
    }
}

/// The outcome of one request, which may be about several currencies. Each currency is judged by itself: it has an
/// observation or an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The currencies that were requested.
    pub currencies: Currencies,
    /// The moment at which the answer arrived, or the request failed.
    pub fetched: Instant,
    /// The time from the request to `fetched`.
    pub latency: Duration,
    /// The observations in the answer.
    pub observations: Vec<Observation>,
    /// The reasons why the other currencies have no observation.
    pub errors: Vec<SourceError>,
    /// The time at which the source sent the answer, by its own clock, if it is known. It says nothing about the age of
    /// the prices.
    pub sent: Option<TickId>,
    /// The minimum time between two polls of the source.
    pub least_interval: Duration,
    /// True if this is the answer of an earlier poll, repeated because the source may not be asked again yet.
    pub is_repeated: bool,
}

impl Answer {
    /// An answer that arrived just now.
    pub fn new(observations: Vec<Observation>, errors: Vec<SourceError>, latency: Duration) -> Answer {
        let priced = observations.iter().map(|seen| seen.currency);
        let failed = errors.iter().flat_map(|error| error.currencies.iter());
        let currencies = priced.chain(failed).collect();
        Answer {
            currencies,
            fetched: Instant::now(),
            latency,
            observations,
            errors,
            sent: None,
            least_interval: Duration::ZERO,
            is_repeated: false,
        }
    }

    /// An answer without a price.
    pub fn failed(error: SourceError, latency: Duration) -> Answer {
        Answer::new(Vec::new(), vec![error], latency)
    }

    /// Returns true if at least one currency has an observation.
    pub fn is_useful(&self) -> bool {
        !self.observations.is_empty()
    }
}

/// A source of prices.
#[async_trait]
pub trait Source: Send + Sync {
    /// Returns the name in settings, logs and the `sources` of a tick.
    fn name(&self) -> &'static str;

    /// Returns the currencies in which the source has prices.
    fn currencies(&self) -> Currencies;

    /// Requests the current price in each of `currencies` that the source has. Returns one answer for each request that
    /// this takes. A request without an answer within `deadline` fails. Returns no answers if the source has none of
    /// the currencies, and the previous answers if it may not be asked again yet.
    async fn observe(&self, currencies: Currencies, deadline: Duration) -> Vec<Answer>;
}
