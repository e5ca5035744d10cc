//! Coinbase Exchange: `GET /products/BTC-USD/ticker`, as in "Get product ticker" of its API reference.
//! 10 requests a second for each address.

use super::{Api, Observation};
use crate::tick::{Currencies, TickId};
use anyhow::bail;
use serde::Deserialize;

pub(super) struct Coinbase;

#[derive(Deserialize)]
struct Ticker {
    price: String,
    time: String,
}

impl Api for Coinbase {
    const NAME: &'static str = "coinbase";
    const BASE: &'static str = "https://api.exchange.coinbase.com";

    fn requests(currencies: Currencies) -> Vec<(String, Currencies)> {
        currencies.iter().map(|currency| (format!("/products/BTC-{currency}/ticker"), currency.into())).collect()
    }

    fn read(body: &[u8], currencies: Currencies) -> anyhow::Result<Vec<Observation>> {
        let ticker: Ticker = serde_json::from_slice(body)?;
        let Some(currency) = currencies.iter().next() else { bail!("nothing was asked for") };
        let time = Some(TickId::parse_moment("time", &ticker.time)?);
        Ok(vec![Observation { currency, price: ticker.price.parse()?, time }])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tick::Currency;

    #[test]
    fn a_recorded_answer_is_read() {
        let body =
            br#"{"ask":"73369.19","bid":"73360.34","volume":"1207.50668151","trade_id":18502105,"price":"73367.8",
            "size":"0.00730812","time":"2024-03-13T11:10:41.270099Z","rfq_volume":"7.669923"}"#;
        let [observed] = &Coinbase::read(body, Currency::Usd.into()).unwrap()[..] else { panic!("one observation") };
        assert_eq!((observed.price.to_string(), observed.currency), ("73367.8".into(), Currency::Usd));
        assert_eq!(observed.time.unwrap().timedate(), "2024-03-13T11:10:41.271Z");
        assert!(Coinbase::read(br#"{"message":"NotFound"}"#, Currency::Usd.into()).is_err());
    }
}
