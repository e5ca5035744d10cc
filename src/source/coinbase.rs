//! Coinbase Exchange: `GET /products/BTC-USD/ticker`, as described in "Get product ticker" of its API reference. It
//! allows 10 requests a second from one address. The `time` in an answer is that of the last trade.

use super::definition::{Definition, Origin};
use super::http::{HttpApi, Reading, Request};
use super::observation::Observation;
use super::quote::{Number, Quote};
use crate::tick::{Currencies, Currency};
use anyhow::Context;
use serde::Deserialize;
use std::time::Duration;

pub(super) const DEFINITION: Definition = Definition {
    name: "coinbase",
    title: "Coinbase Exchange",
    currencies: Currencies::of(&[Currency::Usd, Currency::Eur, Currency::Gbp]),
    is_default: true,
    least_interval: Duration::from_secs(1),
    attribution: Some("https://www.coinbase.com"),
    terms: Some("https://www.coinbase.com/legal/market_data"),
    origin: Origin::Http(HttpApi {
        base_url: Some("https://api.exchange.coinbase.com"),
        url_variable: "BTCFEED_SOURCE_COINBASE_URL",
        url_help: "URL of the Coinbase Exchange API",
        key: None,
        requests,
        read,
    }),
};

#[derive(Deserialize)]
struct Ticker {
    bid: Option<Number>,
    ask: Option<Number>,
    /// The price of the last trade.
    price: Option<Number>,
    volume: Option<Number>,
    /// The time of the last trade.
    time: Option<Number>,
}

fn requests(currencies: Currencies) -> Vec<Request> {
    let path = |code: &str| format!("/products/BTC-{code}/ticker");
    currencies.iter().map(|currency| Request { path: path(currency.code()), currencies: currency.into() }).collect()
}

fn read(body: &[u8], currencies: Currencies) -> anyhow::Result<Vec<Reading>> {
    let Ticker { bid, ask, price: last, volume, time } = serde_json::from_slice(body)?;
    let currency = currencies.iter().next().context("no currency was requested")?;
    // A trade whose time is not known may be old, so it does not count. The book still counts.
    let trade_time = time.and_then(|time| time.moment("time").ok());
    let quote = Quote { bid, ask, last: last.filter(|_| trade_time.is_some()), volume, time: None };
    Ok(vec![(currency, quote.observe(currency).map(|seen| Observation { trade_time, ..seen }))])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::answers::readings;

    #[test]
    fn recorded_coinbase_answer_is_read() {
        let body =
            br#"{"ask":"73369.19","bid":"73360.34","volume":"1207.50668151","trade_id":18502105,"price":"73367.8",
            "size":"0.00730812","time":"2024-03-13T11:10:41.270099Z","rfq_volume":"7.669923"}"#;
        assert_eq!(
            readings(&DEFINITION, body, Currency::Usd),
            ["USD bid 73360.34 ask 73369.19 last 73367.8 volume 1207.50668151 trade 2024-03-13T11:10:41.271Z"]
        );
    }

    #[test]
    fn odd_coinbase_answers_keep_the_book() {
        for rest in ["", r#","time":"""#, r#","time":"soon""#, r#","time":null,"price":"73367.8""#] {
            let body = format!(r#"{{"ask":"73369.19","bid":"73360.34"{rest}}}"#);
            assert_eq!(readings(&DEFINITION, body.as_bytes(), Currency::Usd), ["USD bid 73360.34 ask 73369.19"]);
        }
        for body in [r#"{"message":"NotFound"}"#, r#"{"price":"73367.8"}"#, r#"{"ask":"1","price":"1","time":"soon"}"#]
        {
            let [usd] = &readings(&DEFINITION, body.as_bytes(), Currency::Usd)[..] else { panic!("{body}") };
            assert!(usd.starts_with("USD error: neither a last trade"), "{usd}");
        }
    }
}
