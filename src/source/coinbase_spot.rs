//! Coinbase: `GET /v2/prices/BTC-USD/spot`, as described in "Get spot price" of its API reference: a price without a
//! book and without a time. It allows 10,000 requests an hour.

use super::definition::{Definition, Origin};
use super::http::{HttpApi, Reading, Request};
use super::quote::{Number, Quote};
use crate::tick::Currencies;
use anyhow::{Context, ensure};
use serde::Deserialize;
use std::time::Duration;

pub(super) const DEFINITION: Definition = Definition {
    name: "coinbase_spot",
    title: "Coinbase spot price",
    currencies: Currencies::all(),
    is_default: false,
    least_interval: Duration::from_secs(5),
    attribution: Some("https://www.coinbase.com"),
    terms: Some("https://www.coinbase.com/legal/market_data"),
    origin: Origin::Http(HttpApi {
        base_url: Some("https://api.coinbase.com"),
        url_variable: "BTCFEED_SOURCE_COINBASE_SPOT_URL",
        url_help: "URL of the Coinbase API",
        key: None,
        requests,
        read,
    }),
};

#[derive(Deserialize)]
struct SpotAnswer {
    data: Spot,
}

#[derive(Deserialize)]
struct Spot {
    amount: Number,
    base: String,
    currency: String,
}

fn requests(currencies: Currencies) -> Vec<Request> {
    let path = |code: &str| format!("/v2/prices/BTC-{code}/spot");
    currencies.iter().map(|currency| Request { path: path(currency.code()), currencies: currency.into() }).collect()
}

fn read(body: &[u8], currencies: Currencies) -> anyhow::Result<Vec<Reading>> {
    let SpotAnswer { data: Spot { amount, base, currency: code } } = serde_json::from_slice(body)?;
    let currency = currencies.iter().next().context("no currency was requested")?;
    ensure!(base == "BTC" && code == currency.code(), "it is about {base:?} in {code:?}");
    Ok(vec![(currency, Quote { last: Some(amount), ..Quote::default() }.observe(currency))])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::answers::readings;
    use crate::tick::Currency;

    #[test]
    fn recorded_coinbase_spot_answer_is_read() {
        let body = br#"{"data":{"amount":"64090.00","base":"BTC","currency":"USD","new":1}}"#;
        assert_eq!(readings(&DEFINITION, body, Currency::Usd), ["USD last 64090.00"]);
        assert!(read(body, Currency::Eur.into()).is_err(), "it has dollars");
        let error = br#"{"errors":[{"id":"not_found","message":"Invalid base currency"}]}"#;
        assert!(read(error, Currency::Usd.into()).is_err());
        let empty = br#"{"data":{"amount":"","base":"BTC","currency":"USD"}}"#;
        assert!(readings(&DEFINITION, empty, Currency::Usd)[0].contains("error: neither"));
        assert_eq!(requests(DEFINITION.currencies).len(), Currency::ALL.len());
    }
}
