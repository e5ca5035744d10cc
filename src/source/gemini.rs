//! Gemini: `GET /v1/pubticker/btcusd`, as described in "Ticker" of its REST API reference. It allows 120 requests a
//! minute. Version 2 of the ticker is not used, because its `close` may be days older than the order book.
//!
//! An answer has no time of its own: `volume.timestamp` is the end of the 24 hours that the volume covers. It moves
//! every five minutes.

use super::definition::{Definition, Origin};
use super::http::{HttpApi, Reading, Request};
use super::quote::{Number, Quote};
use crate::tick::{Currencies, Currency};
use anyhow::{Context, ensure};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::time::Duration;

pub(super) const DEFINITION: Definition = Definition {
    name: "gemini",
    title: "Gemini",
    currencies: Currencies::of(&[Currency::Usd, Currency::Eur, Currency::Gbp]),
    is_default: true,
    least_interval: Duration::from_secs(2),
    attribution: Some("https://www.gemini.com"),
    terms: Some("https://www.gemini.com/legal/user-agreement"),
    origin: Origin::Http(HttpApi {
        base_url: Some("https://api.gemini.com"),
        url_variable: "BTCFEED_SOURCE_GEMINI_URL",
        url_help: "URL of the Gemini API",
        key: None,
        requests,
        read,
    }),
};

#[derive(Deserialize)]
struct Ticker<'a> {
    bid: Option<Number>,
    ask: Option<Number>,
    last: Option<Number>,
    /// The volume in bitcoin (`BTC`) and in the other currency, and the `timestamp` of the volume.
    #[serde(borrow)]
    volume: HashMap<&'a str, &'a RawValue>,
}

fn requests(currencies: Currencies) -> Vec<Request> {
    let path = |code: &str| format!("/v1/pubticker/btc{}", code.to_ascii_lowercase());
    currencies.iter().map(|currency| Request { path: path(currency.code()), currencies: currency.into() }).collect()
}

fn read(body: &[u8], currencies: Currencies) -> anyhow::Result<Vec<Reading>> {
    let Ticker { bid, ask, last, volume } = serde_json::from_slice(body)?;
    let currency = currencies.iter().next().context("no currency was requested")?;
    ensure!(volume.contains_key(currency.code()), "it is not about {currency}");
    let volume = volume.get("BTC").and_then(|raw| serde_json::from_str(raw.get()).ok());
    let quote = Quote { bid, ask, last, volume, time: None };
    Ok(vec![(currency, quote.observe(currency))])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::answers::readings;

    #[test]
    fn recorded_gemini_answer_is_read() {
        let body = br#"{"bid":"73367.96","ask":"73385.27","last":"73268.24","volume":{"BTC":"3.54","USD":"259369.57",
            "timestamp":1483018200000}}"#;
        let expected = "USD bid 73367.96 ask 73385.27 last 73268.24 volume 3.54";
        assert_eq!(readings(&DEFINITION, body, Currency::Usd), [expected], "the answer has no time of its own");
        assert!(read(body, Currency::Eur.into()).is_err(), "it has dollars");
    }

    #[test]
    fn odd_gemini_answers_are_errors() {
        for body in [
            r#"{"result":"error","reason":"Maintenance","message":"We are down for maintenance"}"#,
            r#"{"bid":"1","ask":"2","last":"1","volume":{"BTC":"1"}}"#,
            r#"{"bid":"1","ask":"2","last":"1"}"#,
            r#"{"bid":true,"ask":"2","last":"1","volume":{"BTC":"1","USD":"1","timestamp":1710328245000}}"#,
        ] {
            assert!(read(body.as_bytes(), Currency::Usd.into()).is_err(), "{body}");
        }
        let no_trade = br#"{"bid":"1.5","ask":"2","volume":{"USD":"0","timestamp":1710328245000},"new":{}}"#;
        let read = readings(&DEFINITION, no_trade, Currency::Usd);
        assert_eq!(read, ["USD bid 1.5 ask 2"]);
    }
}
