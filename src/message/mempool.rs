//! Prices in the shapes in which mempool.space returns them, which wallets and shops already read.

use super::price::{ExactAmount, ExactPrice};
use crate::tick::{Currency, TickId};
use serde::ser::{Serialize, SerializeMap, Serializer};

/// Prices at a moment: `{"time":1795166431,"USD":97116,"EUR":89348}`. Currencies without a price are missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimedPrices<P> {
    /// The moment, which is written in Unix seconds.
    pub time: TickId,
    /// The prices, in the order in which they are written.
    pub prices: Vec<(Currency, P)>,
}

/// The newest prices, rounded to whole units.
pub type WholePrices = TimedPrices<u64>;

/// The prices at a moment, with all their digits.
pub type ExactPricesAt = TimedPrices<ExactPrice>;

/// Prices at one or several moments, and the current rates between the US dollar and the other currencies.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema), schema(as = MempoolHistory))]
#[cfg_attr(feature = "server", schema(examples(json!({
    "prices": [{"time": 1_795_166_431, "EUR": 89348.25, "USD": 97116.17}], "exchangeRates": {"USDEUR": 0.92}
}))))]
pub struct HistoricalPrices {
    /// The prices, newest first.
    pub prices: Vec<ExactPricesAt>,
    /// The value of a US dollar in each other currency of the feed, by the newest prices, rounded to two decimals.
    #[serde(rename = "exchangeRates")]
    pub exchange_rates: ExchangeRates,
}

/// Rates between the US dollar and other currencies: `{"USDEUR":0.92}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExchangeRates(pub Vec<(Currency, ExactAmount)>);

impl<P: Serialize> Serialize for TimedPrices<P> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_map(Some(self.prices.len() + 1))?;
        fields.serialize_entry("time", &self.time.seconds())?;
        for (currency, price) in &self.prices {
            fields.serialize_entry(currency.code(), price)?;
        }
        fields.end()
    }
}

impl Serialize for ExchangeRates {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(currency, rate)| (format!("USD{}", currency.code()), rate)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rust_decimal::Decimal;

    #[test]
    fn fields_are_those_of_mempool() {
        let usd = (Currency::Usd, ExactPrice("97116.17".parse().unwrap()));
        let prices = TimedPrices { time: TickId::from_ms(1_795_166_431_075), prices: vec![usd] };
        let rates = ExchangeRates(vec![(Currency::Eur, ExactAmount(Decimal::new(92, 2)))]);
        let history = HistoricalPrices { prices: vec![prices], exchange_rates: rates };
        let expected = r#"{"prices":[{"time":1795166431,"USD":97116.17}],"exchangeRates":{"USDEUR":0.92}}"#;
        assert_eq!(serde_json::to_string(&history).unwrap(), expected);
    }
}
