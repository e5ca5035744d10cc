//! Crypto.com Exchange: `GET /exchange/v1/public/get-tickers?instrument_name=BTC_USD`, as described in
//! "public/get-tickers" of its API reference. The exchange allows 100 requests a second. `k` is the ask, and `a` the
//! last trade. The URL of its terms is not verified.

use super::definition::{Definition, Origin};
use super::http::{HttpApi, Reading, Request};
use super::quote::{Number, Quote};
use crate::tick::{Currencies, Currency};
use anyhow::ensure;
use serde::Deserialize;
use std::time::Duration;

pub(super) const DEFINITION: Definition = Definition {
    name: "cryptocom",
    title: "Crypto.com Exchange",
    currencies: Currencies::of(&[Currency::Usd]),
    is_default: false,
    least_interval: Duration::from_secs(1),
    attribution: Some("https://crypto.com/exchange"),
    terms: Some("https://crypto.com/exchange/document/terms"),
    origin: Origin::Http(HttpApi {
        base_url: Some("https://api.crypto.com"),
        url_variable: "BTCFEED_SOURCE_CRYPTOCOM_URL",
        url_help: "URL of the Crypto.com API",
        key: None,
        requests,
        read,
    }),
};

#[derive(Deserialize)]
struct TickersAnswer {
    code: Number,
    message: Option<String>,
    result: Option<Tickers>,
}

#[derive(Deserialize)]
struct Tickers {
    data: Vec<Ticker>,
}

#[derive(Deserialize)]
struct Ticker {
    /// The instrument.
    i: String,
    /// The best bid.
    b: Option<Number>,
    /// The best ask.
    k: Option<Number>,
    /// The last trade.
    a: Option<Number>,
    /// The volume of 24 hours.
    v: Option<Number>,
    /// The time of the answer in Unix milliseconds.
    t: Number,
}

fn requests(currencies: Currencies) -> Vec<Request> {
    vec![Request { path: "/exchange/v1/public/get-tickers?instrument_name=BTC_USD".to_owned(), currencies }]
}

fn read(body: &[u8], _: Currencies) -> anyhow::Result<Vec<Reading>> {
    let TickersAnswer { code, message, result } = serde_json::from_slice(body)?;
    ensure!(code.is("0"), "Crypto.com reports {}", message.unwrap_or_else(|| "an error".to_owned()));
    let tickers = result.map(|tickers| tickers.data).unwrap_or_default();
    let Some(Ticker { b: bid, k: ask, a: last, v: volume, t, .. }) = tickers.into_iter().find(|it| it.i == "BTC_USD")
    else {
        return Ok(Vec::new());
    };
    let quote = Quote { bid, ask, last, volume, time: Some(t.moment("t")?) };
    Ok(vec![(Currency::Usd, quote.observe(Currency::Usd))])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::answers::readings;

    #[test]
    fn recorded_cryptocom_answer_is_read() {
        let body = br#"{"id":-1,"method":"public/get-tickers","code":0,"result":{"data":[{"i":"BTC_USD","h":"73790.00",
            "l":"68775.00","a":"73366.40","v":"9278.2046","vv":"661000000","c":"0.0212","b":"73360.40","k":"73366.41",
            "oi":"0","t":1710328245000}]}}"#;
        assert_eq!(
            readings(&DEFINITION, body, Currency::Usd),
            ["USD bid 73360.40 ask 73366.41 last 73366.40 volume 9278.2046 time 2024-03-13T11:10:45.000Z"]
        );
    }

    #[test]
    fn odd_cryptocom_answers_have_no_price() {
        let error = br#"{"id":-1,"method":"public/get-tickers","code":40004,"message":"Invalid instrument_name"}"#;
        let error = read(error, Currency::Usd.into()).unwrap_err();
        assert_eq!(error.to_string(), "Crypto.com reports Invalid instrument_name");
        for data in ["", r#"{"i":"BTC_USDT","a":"1","t":1710328245000}"#] {
            let body = format!(r#"{{"code":"0","result":{{"data":[{data}]}}}}"#);
            assert!(readings(&DEFINITION, body.as_bytes(), Currency::Usd).is_empty(), "{data}");
        }
        let no_trade = br#"{"code":0,"result":{"data":[{"i":"BTC_USD","a":null,"b":"1.5","k":2,"t":1710328245000}]}}"#;
        let read = readings(&DEFINITION, no_trade, Currency::Usd);
        assert_eq!(read, ["USD bid 1.5 ask 2 time 2024-03-13T11:10:45.000Z"]);
    }
}
