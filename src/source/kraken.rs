//! Kraken: `GET /0/public/Ticker`, as described in "Get Ticker Information" of its REST API reference.
//!
//! In an answer, most pairs have another name than in the request (XXBTZUSD for XBTUSD). Errors come with status 200.
//! An answer has no time. If an answer has both results and an error, the error is about the pairs that the results
//! lack. Kraken may also reject the whole request because of an unknown pair (not verified). The next poll then
//! requests the pairs one by one.

use super::definition::{Definition, Origin};
use super::http::{HttpApi, Reading, Request, UnknownPair};
use super::observation::Observation;
use super::quote::{Number, Quote};
use crate::tick::{Currencies, Currency};
use anyhow::anyhow;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::time::Duration;

pub(super) const DEFINITION: Definition = Definition {
    name: "kraken",
    title: "Kraken",
    currencies: Currencies::all(),
    is_default: true,
    least_interval: Duration::from_secs(1),
    attribution: Some("https://www.kraken.com"),
    terms: Some("https://www.kraken.com/legal"),
    origin: Origin::Http(HttpApi {
        base_url: Some("https://api.kraken.com"),
        url_variable: "BTCFEED_SOURCE_KRAKEN_URL",
        url_help: "URL of the Kraken API",
        key: None,
        requests,
        read,
    }),
};

#[derive(Deserialize)]
struct TickerAnswer<'a> {
    error: Vec<String>,
    #[serde(borrow, default)]
    result: HashMap<String, &'a RawValue>,
}

#[derive(Deserialize)]
struct Ticker {
    /// The price and two volumes of the best ask.
    #[serde(default)]
    a: Vec<Number>,
    /// The price and two volumes of the best bid.
    #[serde(default)]
    b: Vec<Number>,
    /// The price and the volume of the last trade.
    #[serde(default)]
    c: Vec<Number>,
    /// The volume of today and that of 24 hours.
    #[serde(default)]
    v: Vec<Number>,
}

fn requested_pair(currency: Currency) -> &'static str {
    match currency {
        Currency::Usd => "XBTUSD",
        Currency::Eur => "XBTEUR",
        Currency::Gbp => "XBTGBP",
        Currency::Jpy => "XBTJPY",
        Currency::Chf => "XBTCHF",
        Currency::Cad => "XBTCAD",
        Currency::Aud => "XBTAUD",
    }
}

fn answered_pair(currency: Currency) -> &'static str {
    match currency {
        Currency::Usd => "XXBTZUSD",
        Currency::Eur => "XXBTZEUR",
        Currency::Gbp => "XXBTZGBP",
        Currency::Jpy => "XXBTZJPY",
        Currency::Cad => "XXBTZCAD",
        // Pairs that were listed later have no prefixes.
        Currency::Chf | Currency::Aud => requested_pair(currency),
    }
}

fn requests(currencies: Currencies) -> Vec<Request> {
    let pairs: Vec<_> = currencies.iter().map(requested_pair).collect();
    vec![Request { path: format!("/0/public/Ticker?pair={}", pairs.join(",")), currencies }]
}

fn read(body: &[u8], currencies: Currencies) -> anyhow::Result<Vec<Reading>> {
    let TickerAnswer { error, result } = serde_json::from_slice(body)?;
    let reported = || format!("Kraken reports {}", error.join(", "));
    if result.is_empty() && !error.is_empty() {
        let is_unknown = error.iter().any(|error| error.ends_with("Unknown asset pair"));
        return Err(if is_unknown { UnknownPair(reported()).into() } else { anyhow!(reported()) });
    }
    let ticker = |currency| result.get(answered_pair(currency)).or_else(|| result.get(requested_pair(currency)));
    let read = |currency| match ticker(currency) {
        Some(ticker) => Some((currency, observe(ticker.get(), currency))),
        None if error.is_empty() => None,
        None => Some((currency, Err(anyhow!(reported())))),
    };
    Ok(currencies.iter().filter_map(read).collect())
}

fn observe(ticker: &str, currency: Currency) -> anyhow::Result<Observation> {
    let Ticker { a, b, c, v } = serde_json::from_str(ticker)?;
    let first = |numbers: Vec<Number>| numbers.into_iter().next();
    Quote { bid: first(b), ask: first(a), last: first(c), volume: v.into_iter().nth(1), time: None }.observe(currency)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::answers::readings;

    #[test]
    fn recorded_kraken_answer_is_read() {
        let body = br#"{"error":[],"result":{
            "XXBTZUSD":{"a":["30300.10000","1","1.000"],"b":["30300.00000","1","1.000"],
                "c":["30303.20000","0.00067643"],"v":["4083.67001100","4412.73601799"],"t":[34619,38907]},
            "XXBTZEUR":{"a":["27700.10000","1","1.000"],"b":["27700.00000","1","1.000"],
                "c":["27702.40000","0.00450000"],"v":["1083.67001100","1412.73601799"],"t":[14619,18907]}}}"#;
        let expected = [
            "USD bid 30300.00000 ask 30300.10000 last 30303.20000 volume 4412.73601799",
            "EUR bid 27700.00000 ask 27700.10000 last 27702.40000 volume 1412.73601799",
        ];
        assert_eq!(readings(&DEFINITION, body, Currencies::USD_EUR), expected);
    }

    #[test]
    fn bad_kraken_pair_does_not_cost_the_other() {
        let bodies = [
            (r#"{"error":["EQuery:Unknown asset pair"],"result":{"XXBTZEUR":{"c":["2"]}}}"#, "Kraken reports EQuery"),
            (r#"{"error":[],"result":{"XXBTZEUR":{"c":["2"]},"XXBTZUSD":{"c":[]}}}"#, "neither a last trade"),
            (r#"{"error":[],"result":{"XXBTZEUR":{"c":["2"]},"XXBTZUSD":{"c":7}}}"#, "invalid type"),
            (r#"{"error":[],"result":{"XXBTZEUR":{"c":["2"]},"XXBTZUSD":null}}"#, "invalid type"),
        ];
        for (body, reason) in bodies {
            let [usd, eur] = &readings(&DEFINITION, body.as_bytes(), Currencies::USD_EUR)[..] else { panic!("{body}") };
            assert!(usd.starts_with("USD error: ") && usd.contains(reason), "{body}: {usd}");
            assert_eq!(eur, "EUR last 2", "{body}");
        }
    }

    #[test]
    fn error_with_status_200_is_an_error() {
        let error = read(br#"{"error":["EGeneral:Too many requests"]}"#, Currencies::all()).unwrap_err();
        assert_eq!(error.to_string(), "Kraken reports EGeneral:Too many requests");
        assert!(!error.is::<UnknownPair>());
        let error = read(br#"{"error":["EQuery:Unknown asset pair"]}"#, Currencies::all()).unwrap_err();
        assert!(error.is::<UnknownPair>(), "{error}");
    }

    #[test]
    fn pairs_have_their_names_in_the_answer() {
        let pairs = ["XXBTZUSD", "XXBTZEUR", "XXBTZGBP", "XXBTZJPY", "XBTCHF", "XXBTZCAD", "XBTAUD"];
        let tickers = pairs.iter().enumerate().map(|(place, pair)| format!(r#""{pair}":{{"c":["{}"]}}"#, place + 1));
        let body = format!(r#"{{"error":[],"result":{{{}}}}}"#, tickers.collect::<Vec<_>>().join(","));
        let all = ["USD last 1", "EUR last 2", "GBP last 3", "JPY last 4", "CHF last 5", "CAD last 6", "AUD last 7"];
        assert_eq!(readings(&DEFINITION, body.as_bytes(), Currencies::all()), all);
    }

    #[test]
    fn one_request_covers_every_currency() {
        let requests = requests(Currencies::all());
        let path = "/0/public/Ticker?pair=XBTUSD,XBTEUR,XBTGBP,XBTJPY,XBTCHF,XBTCAD,XBTAUD".to_owned();
        assert_eq!(requests, [Request { path, currencies: Currencies::all() }]);
    }
}
