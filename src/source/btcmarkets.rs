//! BTC Markets: `GET /v3/markets/BTC-AUD/ticker`, as described in "Get market ticker" of its API reference. The
//! exchange caches an answer for a second.

use super::definition::{Definition, Origin};
use super::http::{HttpApi, Reading, Request};
use super::quote::{Number, Quote};
use crate::tick::{Currencies, Currency};
use anyhow::ensure;
use serde::Deserialize;
use std::time::Duration;

pub(super) const DEFINITION: Definition = Definition {
    name: "btcmarkets",
    title: "BTC Markets",
    currencies: Currencies::of(&[Currency::Aud]),
    is_default: false,
    least_interval: Duration::from_secs(1),
    attribution: Some("https://www.btcmarkets.net"),
    terms: Some("https://www.btcmarkets.net/terms-of-service"),
    origin: Origin::Http(HttpApi {
        base_url: Some("https://api.btcmarkets.net"),
        url_variable: "BTCFEED_SOURCE_BTCMARKETS_URL",
        url_help: "URL of the BTC Markets API",
        key: None,
        requests,
        read,
    }),
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ticker {
    market_id: String,
    best_bid: Option<Number>,
    best_ask: Option<Number>,
    last_price: Option<Number>,
    #[serde(rename = "volume24h")]
    volume: Option<Number>,
    timestamp: Number,
}

fn requests(currencies: Currencies) -> Vec<Request> {
    vec![Request { path: "/v3/markets/BTC-AUD/ticker".to_owned(), currencies }]
}

fn read(body: &[u8], _: Currencies) -> anyhow::Result<Vec<Reading>> {
    let ticker: Ticker = serde_json::from_slice(body)?;
    ensure!(ticker.market_id == "BTC-AUD", "it is about {:?}", ticker.market_id);
    let time = Some(ticker.timestamp.moment("timestamp")?);
    let Ticker { best_bid: bid, best_ask: ask, last_price: last, volume, .. } = ticker;
    Ok(vec![(Currency::Aud, Quote { bid, ask, last, volume, time }.observe(Currency::Aud))])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::answers::readings;

    #[test]
    fn recorded_btcmarkets_answer_is_read() {
        let body = br#"{"marketId":"BTC-AUD","bestBid":"110900.11","bestAsk":"110950","lastPrice":"110931.5",
            "volume24h":"224.92781","volumeQte24h":"24950000","price24h":"1500","pricePct24h":"1.37","low24h":"104000",
            "high24h":"112000","timestamp":"2024-03-13T11:10:45.270000Z"}"#;
        assert_eq!(
            readings(&DEFINITION, body, Currency::Aud),
            ["AUD bid 110900.11 ask 110950 last 110931.5 volume 224.92781 time 2024-03-13T11:10:45.270Z"]
        );
    }

    #[test]
    fn odd_btcmarkets_answers_are_errors() {
        assert!(read(br#"{"code":"MarketNotFound","message":"market is not found"}"#, Currency::Aud.into()).is_err());
        let other = br#"{"marketId":"ETH-AUD","lastPrice":"5000","timestamp":"2024-03-13T11:10:45Z"}"#;
        assert!(read(other, Currency::Aud.into()).is_err());
        let quiet = br#"{"marketId":"BTC-AUD","bestBid":"","bestAsk":1.1e5,"lastPrice":110931,"timestamp":1710328245}"#;
        assert_eq!(
            readings(&DEFINITION, quiet, Currency::Aud),
            ["AUD ask 110000 last 110931 time 2024-03-13T11:10:45.000Z"]
        );
    }
}
