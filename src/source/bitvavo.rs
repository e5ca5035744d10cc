//! Bitvavo: `GET /v2/ticker/24h?market=BTC-EUR`, as described in "Ticker 24h" of its REST API reference. Each request
//! has a weight. Bitvavo allows an address a total weight of 1000 a minute, and bans addresses that use more.

use super::definition::{Definition, Origin};
use super::http::{HttpApi, Reading, Request};
use super::quote::{Number, Quote};
use crate::tick::{Currencies, Currency};
use anyhow::ensure;
use serde::Deserialize;
use std::time::Duration;

pub(super) const DEFINITION: Definition = Definition {
    name: "bitvavo",
    title: "Bitvavo",
    currencies: Currencies::of(&[Currency::Eur]),
    is_default: false,
    least_interval: Duration::from_secs(1),
    attribution: Some("https://bitvavo.com"),
    terms: Some("https://bitvavo.com/en/terms"),
    origin: Origin::Http(HttpApi {
        base_url: Some("https://api.bitvavo.com"),
        url_variable: "BTCFEED_SOURCE_BITVAVO_URL",
        url_help: "URL of the Bitvavo API",
        key: None,
        requests,
        read,
    }),
};

#[derive(Deserialize)]
struct Ticker {
    market: String,
    bid: Option<Number>,
    ask: Option<Number>,
    last: Option<Number>,
    volume: Option<Number>,
    /// Unix milliseconds.
    timestamp: Number,
}

fn requests(currencies: Currencies) -> Vec<Request> {
    vec![Request { path: "/v2/ticker/24h?market=BTC-EUR".to_owned(), currencies }]
}

fn read(body: &[u8], _: Currencies) -> anyhow::Result<Vec<Reading>> {
    let Ticker { market, bid, ask, last, volume, timestamp } = serde_json::from_slice(body)?;
    ensure!(market == "BTC-EUR", "it is about {market:?}");
    let quote = Quote { bid, ask, last, volume, time: Some(timestamp.moment("timestamp")?) };
    Ok(vec![(Currency::Eur, quote.observe(Currency::Eur))])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::answers::readings;

    #[test]
    fn recorded_bitvavo_answer_is_read() {
        let body = br#"{"market":"BTC-EUR","startTimestamp":1710241845000,"timestamp":1710328245000,"open":"66000",
            "openTimestamp":1710241846011,"high":"67500","low":"65111","last":"67012","closeTimestamp":1710328244804,
            "bid":"67011.00","bidSize":"0.1","ask":"67015.00","askSize":"0.2","volume":"1311.23946401",
            "volumeQuote":"87000000.12"}"#;
        assert_eq!(
            readings(&DEFINITION, body, Currency::Eur),
            ["EUR bid 67011.00 ask 67015.00 last 67012 volume 1311.23946401 time 2024-03-13T11:10:45.000Z"]
        );
    }

    #[test]
    fn odd_bitvavo_answers_are_errors() {
        let unknown = br#"{"errorCode":205,"error":"market parameter is invalid."}"#;
        assert!(read(unknown, Currency::Eur.into()).is_err());
        let other = br#"{"market":"ETH-EUR","timestamp":1710328245000,"last":"3700"}"#;
        assert!(read(other, Currency::Eur.into()).unwrap_err().to_string().contains("ETH-EUR"));
        let quiet = br#"{"market":"BTC-EUR","timestamp":1710328245000,"last":null,"bid":null,"ask":null}"#;
        assert!(readings(&DEFINITION, quiet, Currency::Eur)[0].starts_with("EUR error: neither a last trade"));
    }
}
