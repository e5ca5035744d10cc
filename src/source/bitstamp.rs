//! Bitstamp: `GET /api/v2/ticker/btcusd/`, as described in "Ticker" of its HTTP API. It allows 400 requests a second,
//! and by default 10,000 in ten minutes.

use super::definition::{Definition, Origin};
use super::http::{HttpApi, Reading, Request};
use super::quote::{Number, Quote};
use crate::tick::{Currencies, Currency};
use anyhow::Context;
use serde::Deserialize;
use std::time::Duration;

pub(super) const DEFINITION: Definition = Definition {
    name: "bitstamp",
    title: "Bitstamp",
    currencies: Currencies::of(&[Currency::Usd, Currency::Eur, Currency::Gbp]),
    is_default: true,
    least_interval: Duration::from_millis(500),
    attribution: Some("https://www.bitstamp.net"),
    terms: Some("https://www.bitstamp.net/terms-of-use/"),
    origin: Origin::Http(HttpApi {
        base_url: Some("https://www.bitstamp.net"),
        url_variable: "BTCFEED_SOURCE_BITSTAMP_URL",
        url_help: "URL of the Bitstamp API",
        key: None,
        requests,
        read,
    }),
};

#[derive(Deserialize)]
struct Ticker {
    bid: Option<Number>,
    ask: Option<Number>,
    last: Option<Number>,
    volume: Option<Number>,
    /// Unix seconds.
    timestamp: Number,
}

fn requests(currencies: Currencies) -> Vec<Request> {
    let path = |code: &str| format!("/api/v2/ticker/btc{}/", code.to_ascii_lowercase());
    currencies.iter().map(|currency| Request { path: path(currency.code()), currencies: currency.into() }).collect()
}

fn read(body: &[u8], currencies: Currencies) -> anyhow::Result<Vec<Reading>> {
    let Ticker { bid, ask, last, volume, timestamp } = serde_json::from_slice(body)?;
    let currency = currencies.iter().next().context("no currency was requested")?;
    let quote = Quote { bid, ask, last, volume, time: Some(timestamp.moment("timestamp")?) };
    Ok(vec![(currency, quote.observe(currency))])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::answers::readings;

    #[test]
    fn recorded_bitstamp_answer_is_read() {
        let body = br#"{"timestamp":"1710328241","open":"71448","high":"73656","low":"68626","last":"73285",
            "volume":"135.29692054","vwap":"70853","bid":"73353","ask":"73367","side":"0","open_24":"72144"}"#;
        assert_eq!(
            readings(&DEFINITION, body, Currency::Eur),
            ["EUR bid 73353 ask 73367 last 73285 volume 135.29692054 time 2024-03-13T11:10:41.000Z"]
        );
    }

    #[test]
    fn quiet_bitstamp_market_is_read() {
        let odd = br#"{"timestamp":1710328241,"last":7.3285e4,"bid":"0","ask":null,"new":[1]}"#;
        assert_eq!(readings(&DEFINITION, odd, Currency::Usd), ["USD last 73285 time 2024-03-13T11:10:41.000Z"]);
        let empty = br#"{"timestamp":"1710328241","last":null,"bid":"0","ask":"0"}"#;
        assert_eq!(
            readings(&DEFINITION, empty, Currency::Usd),
            ["USD error: neither a last trade nor a book with two sides in USD"]
        );
    }

    #[test]
    fn each_currency_has_its_own_request() {
        let paths: Vec<_> = requests(DEFINITION.currencies).into_iter().map(|request| request.path).collect();
        assert_eq!(paths, ["/api/v2/ticker/btcusd/", "/api/v2/ticker/btceur/", "/api/v2/ticker/btcgbp/"]);
    }
}
