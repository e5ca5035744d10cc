//! The prices at a moment, from the history of a feed.

use crate::message::{PriceAtMessage, PricesAtMessage};
use crate::tick::{Currency, Price, TickId};
use std::time::Duration;

/// The price in one currency at a moment.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PriceAt {
    /// The currency.
    pub currency: Currency,
    /// The price of the tick that was in force at the moment. `None` if no tick was in force. This is possible only if
    /// a window was asked for. Without a window, the request fails.
    pub price: Option<Price>,
    /// The id of that tick.
    pub id: Option<TickId>,
    /// The time from that tick to the moment.
    pub age: Option<Duration>,
    /// The average over the window before the moment, if a window was asked for. Each price counts for the time in
    /// which it was in force.
    pub average: Option<Price>,
    /// The share of the window in which a price was in force, if a window was asked for.
    pub covered: Option<f64>,
}

/// Reads the answer of a server. Currencies that this version does not know are skipped.
pub(crate) fn parse(text: &str) -> serde_json::Result<Vec<PriceAt>> {
    let message: PricesAtMessage<'_> = serde_json::from_str(text)?;
    let price = |of: PriceAtMessage| {
        Some(PriceAt {
            currency: of.currency.known()?,
            price: of.price.map(|price| price.0),
            id: of.id,
            age: of.age_ms.map(Duration::from_millis),
            average: of.average.map(|average| average.0),
            covered: of.covered,
        })
    };
    Ok(message.prices.into_iter().filter_map(price).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_currencies_are_skipped() {
        let json = concat!(
            r#"{"time":"2026-11-20T09:20:33.000Z","prices":["#,
            r#"{"currency":"USD","price":97116.170,"id":1795166431075,"age_ms":1925},{"currency":"XAU","price":24}]}"#
        );
        let prices = parse(json).unwrap();
        assert_eq!((prices.len(), prices[0].price.unwrap().to_string()), (1, "97116.170".to_owned()));
        assert_eq!(prices[0].age, Some(Duration::from_millis(1925)));
    }
}
