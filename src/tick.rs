//! The words that everything else is written in: [`Currency`], [`Price`], [`TickId`] and [`Tick`].
//!
//! A price is an exact decimal from the exchange's digits to the client's: it is never a float on the way. An id is a
//! place in the feed and a moment at once, which is why one number serves as score, cursor and date.

mod currency;
mod id;
mod price;

pub use currency::{Currencies, Currency, UnknownCurrency};
pub use id::{BadMoment, MOMENTS, TickId};
pub use price::{BadPrice, Price};

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The prices that were agreed at one moment. Its place in the feed is the [`Entry`](crate::feed::Entry) around it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tick {
    /// One price for each currency that could be agreed on; never empty.
    pub prices: BTreeMap<Currency, Price>,
    /// The sources whose answers each price came from, by name, in the order they are configured in.
    pub sources: BTreeMap<Currency, Vec<String>>,
}

impl Tick {
    /// The currencies this tick has a price for.
    pub fn currencies(&self) -> Currencies {
        self.prices.keys().copied().collect()
    }
}
