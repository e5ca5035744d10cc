//! Kraken: `GET /0/public/Ticker`, as in "Get Ticker Information" of its REST API reference.
//!
//! It answers under other keys than it was asked for (XXBTZUSD for XBTUSD), reports errors under HTTP 200, and gives no time.

use super::{Api, Observation};
use crate::tick::{Currencies, Currency};
use anyhow::{Context, ensure};
use serde::Deserialize;
use std::collections::HashMap;

pub(super) struct Kraken;

#[derive(Deserialize)]
struct Answer {
    error: Vec<String>,
    #[serde(default)]
    result: HashMap<String, Ticker>,
}

#[derive(Deserialize)]
struct Ticker {
    /// The last trade: its price and its volume.
    c: Vec<String>,
}

fn pair_asked(currency: Currency) -> &'static str {
    match currency {
        Currency::Usd => "XBTUSD",
        Currency::Eur => "XBTEUR",
    }
}

fn pair_answered(currency: Currency) -> &'static str {
    match currency {
        Currency::Usd => "XXBTZUSD",
        Currency::Eur => "XXBTZEUR",
    }
}

impl Api for Kraken {
    const NAME: &'static str = "kraken";
    const BASE: &'static str = "https://api.kraken.com";

    fn requests(currencies: Currencies) -> Vec<(String, Currencies)> {
        let pairs: Vec<_> = currencies.iter().map(pair_asked).collect();
        vec![(format!("/0/public/Ticker?pair={}", pairs.join(",")), currencies)]
    }

    fn read(body: &[u8], currencies: Currencies) -> anyhow::Result<Vec<Observation>> {
        let answer: Answer = serde_json::from_slice(body)?;
        ensure!(answer.error.is_empty(), "kraken says {}", answer.error.join(", "));
        let tickers = &answer.result;
        let of = |currency| tickers.get(pair_answered(currency)).or_else(|| tickers.get(pair_asked(currency)));
        let priced = currencies.iter().filter_map(|currency| Some((currency, of(currency)?)));
        priced
            .map(|(currency, ticker)| {
                let last = ticker.c.first().with_context(|| format!("no last trade in {currency}"))?;
                Ok(Observation { currency, price: last.parse()?, time: None })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_answer_is_read_under_the_keys_it_comes_with() {
        let body = br#"{"error":[],"result":{
            "XXBTZUSD":{"a":["30300.10000","1","1.000"],"c":["30303.20000","0.00067643"],"t":[34619,38907]},
            "XXBTZEUR":{"a":["27700.10000","1","1.000"],"c":["27702.40000","0.00450000"],"t":[14619,18907]}}}"#;
        let observed = Kraken::read(body, Currencies::all()).unwrap();
        let prices: Vec<_> = observed.iter().map(|seen| format!("{} {}", seen.currency, seen.price)).collect();
        assert_eq!(prices, ["USD 30303.20000", "EUR 27702.40000"]);
    }

    #[test]
    fn an_error_under_status_200_is_an_error() {
        let error = Kraken::read(br#"{"error":["EGeneral:Too many requests"]}"#, Currencies::all()).unwrap_err();
        assert_eq!(error.to_string(), "kraken says EGeneral:Too many requests");
    }

    #[test]
    fn one_request_asks_for_every_currency() {
        let requests = Kraken::requests(Currencies::all());
        assert_eq!(requests, [("/0/public/Ticker?pair=XBTUSD,XBTEUR".to_owned(), Currencies::all())]);
    }
}
