//! Kraken: `GET /0/public/Ticker`, as described in "Get Ticker Information" of its REST API reference.
//!
//! The keys of an answer differ from the requested names (XXBTZUSD for XBTUSD). Errors come with status 200. An answer
//! has no time.

use super::definition::{Definition, Origin};
use super::http::{HttpApi, Request};
use super::observation::Observation;
use crate::tick::{Currencies, Currency};
use anyhow::{Context, ensure};
use serde::Deserialize;
use std::collections::HashMap;

pub(super) const DEFINITION: Definition = Definition {
    name: "kraken",
    title: "Kraken",
    currencies: Currencies::all(),
    is_default: true,
    origin: Origin::Http(HttpApi {
        base_url: "https://api.kraken.com",
        url_variable: "BTCFEED_SOURCE_KRAKEN_URL",
        url_help: "URL of the Kraken API",
        requests,
        read,
    }),
};

#[derive(Deserialize)]
struct TickerAnswer {
    error: Vec<String>,
    #[serde(default)]
    result: HashMap<String, Ticker>,
}

#[derive(Deserialize)]
struct Ticker {
    /// The price and the volume of the last trade.
    c: Vec<String>,
}

fn requested_pair(currency: Currency) -> &'static str {
    match currency {
        Currency::Usd => "XBTUSD",
        Currency::Eur => "XBTEUR",
    }
}

fn answered_pair(currency: Currency) -> &'static str {
    match currency {
        Currency::Usd => "XXBTZUSD",
        Currency::Eur => "XXBTZEUR",
    }
}

fn requests(currencies: Currencies) -> Vec<Request> {
    let pairs: Vec<_> = currencies.iter().map(requested_pair).collect();
    vec![Request { path: format!("/0/public/Ticker?pair={}", pairs.join(",")), currencies }]
}

fn read(body: &[u8], currencies: Currencies) -> anyhow::Result<Vec<Observation>> {
    let answer: TickerAnswer = serde_json::from_slice(body)?;
    ensure!(answer.error.is_empty(), "Kraken reports {}", answer.error.join(", "));
    let tickers = &answer.result;
    let ticker = |currency| tickers.get(answered_pair(currency)).or_else(|| tickers.get(requested_pair(currency)));
    let priced = currencies.iter().filter_map(|currency| Some((currency, ticker(currency)?)));
    priced
        .map(|(currency, ticker)| {
            let last = ticker.c.first().with_context(|| format!("no last trade in {currency}"))?;
            Ok(Observation { currency, price: last.parse()?, time: None })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recorded_kraken_answer_is_read() {
        let body = br#"{"error":[],"result":{
            "XXBTZUSD":{"a":["30300.10000","1","1.000"],"c":["30303.20000","0.00067643"],"t":[34619,38907]},
            "XXBTZEUR":{"a":["27700.10000","1","1.000"],"c":["27702.40000","0.00450000"],"t":[14619,18907]}}}"#;
        let observed = read(body, Currencies::all()).unwrap();
        let prices: Vec<_> = observed.iter().map(|seen| format!("{} {}", seen.currency, seen.price)).collect();
        assert_eq!(prices, ["USD 30303.20000", "EUR 27702.40000"]);
    }

    #[test]
    fn error_with_status_200_is_an_error() {
        let error = read(br#"{"error":["EGeneral:Too many requests"]}"#, Currencies::all()).unwrap_err();
        assert_eq!(error.to_string(), "Kraken reports EGeneral:Too many requests");
    }

    #[test]
    fn one_request_covers_every_currency() {
        let requests = requests(Currencies::all());
        let path = "/0/public/Ticker?pair=XBTUSD,XBTEUR".to_owned();
        assert_eq!(requests, [Request { path, currencies: Currencies::all() }]);
    }
}
