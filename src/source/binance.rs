//! Binance: `GET /api/v3/ticker/bookTicker?symbol=BTCEUR`, as described in "Symbol order book ticker" of its REST API
//! reference: the best bid and ask. A request weighs 2, and a weight of 6,000 a minute is allowed. An answer does not
//! say when it was made.
//!
//! Status 429 comes before a ban (418), both with `Retry-After`. 451 means that the region is not served. USDT is not a
//! dollar, so there is no price in USD.

use super::definition::{Definition, Origin};
use super::http::{HttpApi, Reading, Request};
use super::quote::{Number, Quote};
use crate::tick::{Currencies, Currency};
use anyhow::ensure;
use serde::Deserialize;
use std::time::Duration;

pub(super) const DEFINITION: Definition = Definition {
    name: "binance",
    title: "Binance",
    currencies: Currencies::of(&[Currency::Eur]),
    is_default: false,
    least_interval: Duration::from_secs(1),
    attribution: Some("https://www.binance.com"),
    terms: Some("https://www.binance.com/en/terms"),
    origin: Origin::Http(HttpApi {
        base_url: Some("https://data-api.binance.vision"),
        url_variable: "BTCFEED_SOURCE_BINANCE_URL",
        url_help: "URL of the Binance API",
        key: None,
        requests,
        read,
    }),
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BookTicker {
    symbol: String,
    bid_price: Option<Number>,
    ask_price: Option<Number>,
}

fn requests(currencies: Currencies) -> Vec<Request> {
    vec![Request { path: "/api/v3/ticker/bookTicker?symbol=BTCEUR".to_owned(), currencies }]
}

fn read(body: &[u8], _: Currencies) -> anyhow::Result<Vec<Reading>> {
    let BookTicker { symbol, bid_price: bid, ask_price: ask } = serde_json::from_slice(body)?;
    ensure!(symbol == "BTCEUR", "it is about {symbol:?}");
    let quote = Quote { bid, ask, ..Quote::default() };
    Ok(vec![(Currency::Eur, quote.observe(Currency::Eur))])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::answers::readings;

    #[test]
    fn recorded_binance_answer_is_read() {
        let body =
            br#"{"symbol":"BTCEUR","bidPrice":"62817.46000000","bidQty":"0.10000000","askPrice":"62817.47000000",
            "askQty":"1.00000000"}"#;
        assert_eq!(readings(&DEFINITION, body, Currency::Eur), ["EUR bid 62817.46000000 ask 62817.47000000"]);
        let crossed = br#"{"symbol":"BTCEUR","bidPrice":62818,"askPrice":6.2817e4}"#;
        assert_eq!(readings(&DEFINITION, crossed, Currency::Eur), ["EUR bid 62818 ask 62817"], "the method judges it");
    }

    #[test]
    fn odd_binance_answers_are_errors() {
        assert!(read(br#"{"code":-1121,"msg":"Invalid symbol."}"#, Currency::Eur.into()).is_err());
        assert!(read(br#"{"symbol":"BTCUSDT","bidPrice":"1","askPrice":"1"}"#, Currency::Eur.into()).is_err());
        for empty in [r#""bidPrice":"0.00000000","askPrice":"62817.47""#, r#""bidPrice":"62817.46""#] {
            let body = format!(r#"{{"symbol":"BTCEUR",{empty}}}"#);
            assert!(readings(&DEFINITION, body.as_bytes(), Currency::Eur)[0].contains("error: neither"), "{empty}");
        }
    }
}
