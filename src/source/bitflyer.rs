//! bitFlyer: `GET /v1/ticker?product_code=BTC_JPY`, as described in "Ticker" of its HTTP API. It allows 500 requests in
//! five minutes from one address. The `timestamp` is in UTC, without a zone. Nobody has checked the URL in `terms`.

use super::definition::{Definition, Origin};
use super::http::{HttpApi, Reading, Request};
use super::quote::{Number, Quote};
use crate::tick::{Currencies, Currency, TickId};
use anyhow::ensure;
use serde::Deserialize;
use std::time::Duration;

pub(super) const DEFINITION: Definition = Definition {
    name: "bitflyer",
    title: "bitFlyer",
    currencies: Currencies::of(&[Currency::Jpy]),
    is_default: false,
    least_interval: Duration::from_secs(1),
    attribution: Some("https://bitflyer.com"),
    terms: Some("https://bitflyer.com/en-jp/terms-of-use"),
    origin: Origin::Http(HttpApi {
        base_url: Some("https://api.bitflyer.com"),
        url_variable: "BTCFEED_SOURCE_BITFLYER_URL",
        url_help: "URL of the bitFlyer API",
        key: None,
        requests,
        read,
    }),
};

#[derive(Deserialize)]
struct Ticker {
    product_code: String,
    best_bid: Option<Number>,
    best_ask: Option<Number>,
    /// The price of the last trade.
    ltp: Option<Number>,
    volume_by_product: Option<Number>,
    timestamp: String,
}

fn requests(currencies: Currencies) -> Vec<Request> {
    vec![Request { path: "/v1/ticker?product_code=BTC_JPY".to_owned(), currencies }]
}

fn read(body: &[u8], _: Currencies) -> anyhow::Result<Vec<Reading>> {
    let ticker: Ticker = serde_json::from_slice(body)?;
    ensure!(ticker.product_code == "BTC_JPY", "it is about {:?}", ticker.product_code);
    let zone = if ticker.timestamp.ends_with('Z') { "" } else { "Z" };
    let time = TickId::parse_moment("timestamp", &format!("{}{zone}", ticker.timestamp))?;
    let Ticker { best_bid: bid, best_ask: ask, ltp: last, volume_by_product: volume, .. } = ticker;
    let quote = Quote { bid, ask, last, volume, time: Some(time) };
    Ok(vec![(Currency::Jpy, quote.observe(Currency::Jpy))])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::answers::readings;

    #[test]
    fn recorded_bitflyer_answer_is_read() {
        let body = br#"{"product_code":"BTC_JPY","state":"RUNNING","timestamp":"2024-03-13T11:10:45.27","tick_id":3579,
            "best_bid":10850000.0,"best_ask":10853671.0,"best_bid_size":0.1,"best_ask_size":5.0,"total_bid_depth":0.0,
            "total_ask_depth":0.0,"market_bid_size":0.0,"market_ask_size":0.0,"ltp":10852000.0,"volume":16819.26,
            "volume_by_product":6819.26}"#;
        assert_eq!(
            readings(&DEFINITION, body, Currency::Jpy),
            ["JPY bid 10850000.0 ask 10853671.0 last 10852000.0 volume 6819.26 time 2024-03-13T11:10:45.270Z"]
        );
    }

    #[test]
    fn odd_bitflyer_answers_are_errors() {
        for body in [
            r#"{"status":-208,"error_message":"Order is not accepted","data":null}"#,
            r#"{"product_code":"FX_BTC_JPY","timestamp":"2024-03-13T11:10:45","ltp":10852000.0}"#,
            r#"{"product_code":"BTC_JPY","timestamp":"now","ltp":10852000.0}"#,
        ] {
            assert!(read(body.as_bytes(), Currency::Jpy.into()).is_err(), "{body}");
        }
        let zoned = br#"{"product_code":"BTC_JPY","timestamp":"2024-03-13T11:10:45Z","ltp":"10852000"}"#;
        assert_eq!(readings(&DEFINITION, zoned, Currency::Jpy), ["JPY last 10852000 time 2024-03-13T11:10:45.000Z"]);
    }
}
