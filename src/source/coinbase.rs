//! Coinbase Exchange: `GET /products/BTC-USD/ticker`, as described in "Get product ticker" of its API reference. It
//! allows 10 requests a second from one address.

use super::definition::{Definition, Origin};
use super::http::{HttpApi, Request};
use super::observation::Observation;
use crate::tick::{Currencies, TickId};
use anyhow::Context;
use serde::Deserialize;

pub(super) const DEFINITION: Definition = Definition {
    name: "coinbase",
    title: "Coinbase Exchange",
    currencies: Currencies::all(),
    is_default: true,
    origin: Origin::Http(HttpApi {
        base_url: "https://api.exchange.coinbase.com",
        url_variable: "BTCFEED_SOURCE_COINBASE_URL",
        url_help: "URL of the Coinbase Exchange API",
        requests,
        read,
    }),
};

#[derive(Deserialize)]
struct Ticker {
    price: String,
    time: String,
}

fn requests(currencies: Currencies) -> Vec<Request> {
    let path = |code: &str| format!("/products/BTC-{code}/ticker");
    currencies.iter().map(|currency| Request { path: path(currency.code()), currencies: currency.into() }).collect()
}

fn read(body: &[u8], currencies: Currencies) -> anyhow::Result<Vec<Observation>> {
    let ticker: Ticker = serde_json::from_slice(body)?;
    let currency = currencies.iter().next().context("no currency was requested")?;
    let time = Some(TickId::parse_moment("time", &ticker.time)?);
    Ok(vec![Observation { currency, price: ticker.price.parse()?, time }])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tick::Currency;

    #[test]
    fn recorded_coinbase_answer_is_read() {
        let body =
            br#"{"ask":"73369.19","bid":"73360.34","volume":"1207.50668151","trade_id":18502105,"price":"73367.8",
            "size":"0.00730812","time":"2024-03-13T11:10:41.270099Z","rfq_volume":"7.669923"}"#;
        let [observed] = &read(body, Currency::Usd.into()).unwrap()[..] else { panic!("one observation") };
        assert_eq!((observed.price.to_string(), observed.currency), ("73367.8".into(), Currency::Usd));
        assert_eq!(observed.time.unwrap().timedate(), "2024-03-13T11:10:41.271Z");
        assert!(read(br#"{"message":"NotFound"}"#, Currency::Usd.into()).is_err());
    }
}
