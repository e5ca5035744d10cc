//! Bitfinex: `GET /v2/tickers`, as described in "Tickers" of its REST API reference. It allows 90 requests a minute.
//!
//! An answer is a list of lists without names, and an error is a list, too: `["error",10020,"symbol: invalid"]`. An
//! answer has no time. A pair that does not exist is missing in the answer.

use super::definition::{Definition, Origin};
use super::http::{HttpApi, Reading, Request};
use super::observation::Observation;
use super::quote::{Number, Quote};
use crate::tick::{Currencies, Currency};
use anyhow::bail;
use serde_json::value::RawValue;
use std::time::Duration;

pub(super) const DEFINITION: Definition = Definition {
    name: "bitfinex",
    title: "Bitfinex",
    currencies: Currencies::of(&[Currency::Usd, Currency::Eur, Currency::Gbp, Currency::Jpy]),
    is_default: true,
    least_interval: Duration::from_secs(1),
    attribution: Some("https://www.bitfinex.com"),
    terms: Some("https://www.bitfinex.com/legal/terms"),
    origin: Origin::Http(HttpApi {
        base_url: Some("https://api-pub.bitfinex.com"),
        url_variable: "BTCFEED_SOURCE_BITFINEX_URL",
        url_help: "URL of the Bitfinex API",
        key: None,
        requests,
        read,
    }),
};

/// The places in a ticker: `[SYMBOL, BID, BID_SIZE, ASK, ASK_SIZE, CHANGE, CHANGE_RELATIVE, LAST, VOLUME, HIGH, LOW]`.
const BID: usize = 1;
const ASK: usize = 3;
const LAST: usize = 7;
const VOLUME: usize = 8;

fn symbol(currency: Currency) -> String {
    format!("tBTC{currency}")
}

fn requests(currencies: Currencies) -> Vec<Request> {
    let symbols: Vec<_> = currencies.iter().map(symbol).collect();
    vec![Request { path: format!("/v2/tickers?symbols={}", symbols.join(",")), currencies }]
}

fn read(body: &[u8], currencies: Currencies) -> anyhow::Result<Vec<Reading>> {
    let tickers: Vec<&RawValue> = serde_json::from_slice(body)?;
    if tickers.first().is_some_and(|first| first.get() == r#""error""#) {
        let texts: Vec<_> = tickers.iter().skip(1).map(|text| text.get().trim_matches('"')).collect();
        bail!("Bitfinex reports {}", texts.join(" "));
    }
    let mut readings = Vec::new();
    for ticker in tickers {
        let values: Vec<&RawValue> = serde_json::from_str(ticker.get())?;
        let is_of = |currency: &Currency| values.first().is_some_and(|first| is_text(first, &symbol(*currency)));
        if let Some(currency) = currencies.iter().find(is_of)
            && readings.iter().all(|(other, _): &Reading| *other != currency)
        {
            readings.push((currency, observe(&values, currency)));
        }
    }
    Ok(readings)
}

fn is_text(json: &RawValue, text: &str) -> bool {
    serde_json::from_str::<&str>(json.get()).is_ok_and(|found| found == text)
}

fn observe(values: &[&RawValue], currency: Currency) -> anyhow::Result<Observation> {
    let number = |place: usize| match values.get(place) {
        Some(value) => serde_json::from_str::<Option<Number>>(value.get()),
        None => Ok(None),
    };
    let quote =
        Quote { bid: number(BID)?, ask: number(ASK)?, last: number(LAST)?, volume: number(VOLUME)?, time: None };
    quote.observe(currency)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::answers::readings;

    #[test]
    fn recorded_bitfinex_answer_is_read() {
        let body = br#"[["tBTCUSD",73355,9.61476311,73356,7.2458,1218,0.01688308,73361,4020.1836,73600,70501],
            ["tBTCJPY",10850100,0.5,1.0851e7,0.25,0,0,"10850000",12.5,10900000,10700000,null,"new"]]"#;
        let expected = [
            "USD bid 73355 ask 73356 last 73361 volume 4020.1836",
            "JPY bid 10850100 ask 10851000 last 10850000 volume 12.5",
        ];
        assert_eq!(readings(&DEFINITION, body, DEFINITION.currencies), expected);
        let requests = requests(DEFINITION.currencies);
        assert_eq!(requests.len(), 1);
        assert_eq!(requests[0].path, "/v2/tickers?symbols=tBTCUSD,tBTCEUR,tBTCGBP,tBTCJPY");
    }

    #[test]
    fn bad_bitfinex_ticker_does_not_cost_the_other() {
        for bad in ["true,1,2,3", "null,null,2,null", "\"0\",0,\"\",0"] {
            let body = format!(r#"[["tBTCUSD",{bad}],["tBTCEUR",null,0,null,0,0,0,2],["tXAUT:USD",1,1,1,1,1,1,1]]"#);
            let [usd, eur] = &readings(&DEFINITION, body.as_bytes(), DEFINITION.currencies)[..] else {
                panic!("{bad}")
            };
            assert!(usd.starts_with("USD error: "), "{bad}: {usd}");
            assert_eq!(eur, "EUR last 2");
        }
        let error = read(br#"["error",11010,"ratelimit: error"]"#, Currency::Usd.into()).unwrap_err();
        assert_eq!(error.to_string(), "Bitfinex reports 11010 ratelimit: error");
        for body in ["{}", "[1]", "[[]", "<html>"] {
            assert!(read(body.as_bytes(), Currency::Usd.into()).is_err(), "{body}");
        }
    }
}
