//! Where prices come from: one adapter an exchange.
//!
//! An exchange is two pure functions, what to ask for and how to read the answer (`Api`); asking is the same for all of
//! them and stands in `http.rs`. HTTP 200 is not success: an answer counts only when it reads as its documentation says.

#[cfg(any(test, fuzzing))]
pub(crate) mod answers;
mod bitstamp;
mod coinbase;
mod coindesk;
mod http;
mod kraken;
mod simulated;

use crate::tick::{Currencies, Currency, Price, TickId};
use async_trait::async_trait;
use std::time::Duration;

/// What one source said about one currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// The currency.
    pub currency: Currency,
    /// The price.
    pub price: Price,
    /// When the source says that it was so, if it says.
    pub time: Option<TickId>,
}

/// Why a source has no price in these currencies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The currencies that were asked for in vain.
    pub currencies: Currencies,
    /// Why, for the log and for a status.
    pub reason: String,
    /// How long the source asked to be left alone.
    pub retry_after: Option<Duration>,
}

/// One currency or several, answered or not.
pub type Answer = Result<Vec<Observation>, Failure>;

/// An exchange or price API.
#[async_trait]
pub trait Source: Send + Sync {
    /// Its name in configuration, logs and the `sources` of a tick.
    fn name(&self) -> &'static str;

    /// Asks once for the price in each of `currencies`: an answer for each request that it takes, none later than `deadline`.
    async fn observe(&self, currencies: Currencies, deadline: Duration) -> Vec<Answer>;
}

/// An HTTP API, without the HTTP.
trait Api: Send + Sync + 'static {
    /// See [`Source::name`].
    const NAME: &'static str;
    /// The address that requests go to, unless configuration names another.
    const BASE: &'static str;

    /// What to ask for the price in `currencies`: for each request its path, and the currencies that it is about.
    fn requests(currencies: Currencies) -> Vec<(String, Currencies)>;

    /// Reads the answer to a request about `currencies`. Those it does not speak of are left out.
    ///
    /// # Errors
    /// What is wrong with the answer, for a person to read.
    fn read(body: &[u8], currencies: Currencies) -> anyhow::Result<Vec<Observation>>;
}

/// The names that [`open`] knows.
pub const NAMES: [&str; 5] =
    [coinbase::Coinbase::NAME, kraken::Kraken::NAME, bitstamp::Bitstamp::NAME, coindesk::CoinDesk::NAME, SIMULATED];

/// The name of the market that is made up.
pub const SIMULATED: &str = "simulated";

/// Opens the source called `name`, at `base` if that is not its own address. `None` if no source has that name.
///
/// # Errors
/// If the HTTP client cannot be made, or `base` is no address.
pub fn open(name: &str, base: Option<&str>) -> anyhow::Result<Option<Box<dyn Source>>> {
    Ok(Some(match name {
        coinbase::Coinbase::NAME => Box::new(http::Exchange::<coinbase::Coinbase>::open(base)?),
        kraken::Kraken::NAME => Box::new(http::Exchange::<kraken::Kraken>::open(base)?),
        bitstamp::Bitstamp::NAME => Box::new(http::Exchange::<bitstamp::Bitstamp>::open(base)?),
        coindesk::CoinDesk::NAME => Box::new(http::Exchange::<coindesk::CoinDesk>::open(base)?),
        SIMULATED => Box::new(simulated::Simulated),
        _ => return Ok(None),
    }))
}
