//! Bitstamp: `GET /api/v2/ticker/btcusd/`, as in "Ticker" of its HTTP API. 400 requests a second.

use super::{Api, Observation};
use crate::tick::{Currencies, TickId};
use anyhow::bail;
use serde::Deserialize;

pub(super) struct Bitstamp;

#[derive(Deserialize)]
struct Ticker {
    last: String,
    /// Unix seconds.
    timestamp: String,
}

impl Api for Bitstamp {
    const NAME: &'static str = "bitstamp";
    const BASE: &'static str = "https://www.bitstamp.net";

    fn requests(currencies: Currencies) -> Vec<(String, Currencies)> {
        let path = |code: &str| format!("/api/v2/ticker/btc{}/", code.to_ascii_lowercase());
        currencies.iter().map(|currency| (path(currency.code()), currency.into())).collect()
    }

    fn read(body: &[u8], currencies: Currencies) -> anyhow::Result<Vec<Observation>> {
        let ticker: Ticker = serde_json::from_slice(body)?;
        let Some(currency) = currencies.iter().next() else { bail!("nothing was asked for") };
        let time = Some(TickId::parse_moment("timestamp", &ticker.timestamp)?);
        Ok(vec![Observation { currency, price: ticker.last.parse()?, time }])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tick::Currency;

    #[test]
    fn a_recorded_answer_is_read() {
        let body = br#"{"timestamp":"1710328241","open":"71448","high":"73656","low":"68626","last":"73285",
            "volume":"135.29692054","vwap":"70853","bid":"73353","ask":"73367","side":"0","open_24":"72144"}"#;
        let [observed] = &Bitstamp::read(body, Currency::Eur.into()).unwrap()[..] else { panic!("one observation") };
        assert_eq!((observed.price.to_string(), observed.currency), ("73285".into(), Currency::Eur));
        assert_eq!(observed.time, Some(TickId::from_ms(1_710_328_241_000)));
    }

    #[test]
    fn each_currency_is_a_request_of_its_own() {
        let paths: Vec<_> = Bitstamp::requests(Currencies::all()).into_iter().map(|(path, _)| path).collect();
        assert_eq!(paths, ["/api/v2/ticker/btcusd/", "/api/v2/ticker/btceur/"]);
    }
}
