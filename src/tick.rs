//! The basic types of the domain: [`Currency`], [`Price`], [`TickId`], [`Tick`], and the [`Input`]s of a tick.
//!
//! A price is an exact decimal on its whole way from an exchange to a client, never a float. An id is both an entry's
//! position in the feed and its moment, so one number serves as cursor, as date and as score in Redis.

mod currency;
mod id;
mod input;
mod known;
mod method;
mod price;

pub use currency::{Currencies, Currency, UnknownCurrency};
pub use id::{InvalidMoment, TickId};
pub use input::{Audit, Input};
pub(crate) use known::{known_currencies, known_keys};
pub use method::{MethodParameters, MoveBound, PriceParameters};
pub use price::{InvalidPrice, Price};

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The prices at one moment. Its id is in the [`Entry`](crate::feed::Entry) that contains it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tick {
    /// One price for each currency that had enough sources. Currencies that this version does not know are left out.
    #[serde(deserialize_with = "known_keys")]
    pub prices: BTreeMap<Currency, Price>,
    /// The names of the sources from which each price was computed, in the order of the configuration.
    #[serde(deserialize_with = "known_keys")]
    pub sources: BTreeMap<Currency, Vec<String>>,
    /// The version of the method by which the prices were made, or zero in entries from before version 1 of the method.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub method: u32,
    /// For each price, the distance to the farther of the 25th and the 75th percentile of the used values.
    #[serde(default, deserialize_with = "known_keys", skip_serializing_if = "BTreeMap::is_empty")]
    pub confidence: BTreeMap<Currency, Decimal>,
    /// For each price, the highest minus the lowest used value.
    #[serde(default, deserialize_with = "known_keys", skip_serializing_if = "BTreeMap::is_empty")]
    pub spread: BTreeMap<Currency, Decimal>,
    /// The inputs of the prices and the numbers of the method. They are stored beside the tick, not in it. `None` if
    /// they were not read, or are not in the store.
    #[serde(skip)]
    pub audit: Option<Arc<Audit>>,
}

impl Tick {
    /// Returns the currencies for which this tick has a price.
    pub fn currencies(&self) -> Currencies {
        self.prices.keys().copied().collect()
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(method: &u32) -> bool {
    *method == 0
}
