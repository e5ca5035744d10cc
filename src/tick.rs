//! The basic types of the domain: [`Currency`], [`Price`], [`TickId`] and [`Tick`].
//!
//! A price is an exact decimal from the exchange's digits to the client's; it is never a float on the way. An id is both an
//! entry's position in the feed and its moment, so one number serves as sorted-set score, cursor and date.

mod currency;
mod id;
mod price;

pub use currency::{Currencies, Currency, UnknownCurrency};
pub use id::{InvalidMoment, MOMENTS, TickId};
pub use price::{InvalidPrice, Price};

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The prices that were agreed on at one moment. The [`Entry`](crate::feed::Entry) around it has its id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tick {
    /// One price for each currency for which there was agreement; never empty.
    pub prices: BTreeMap<Currency, Price>,
    /// The names of the sources from which each price was computed, in the order of the configuration.
    pub sources: BTreeMap<Currency, Vec<String>>,
}

impl Tick {
    /// Returns the currencies for which this tick has a price.
    pub fn currencies(&self) -> Currencies {
        self.prices.keys().copied().collect()
    }
}
