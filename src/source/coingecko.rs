//! `CoinGecko`: `GET /api/v3/simple/price`, as described in "Coin Price by IDs" of its API reference. A price is an
//! average over many markets, and changes once a minute. The free plan has a monthly quota, which a poll every minute
//! may use up.

use super::definition::{Definition, Origin};
use super::http::{HttpApi, KeyHeader, Reading, Request};
use super::quote::{Number, Quote};
use crate::tick::{Currencies, Currency};
use anyhow::ensure;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::time::Duration;

pub(super) const DEFINITION: Definition = Definition {
    name: "coingecko",
    title: "CoinGecko",
    currencies: Currencies::all(),
    is_default: false,
    least_interval: Duration::from_secs(60),
    attribution: Some("https://www.coingecko.com"),
    terms: Some("https://www.coingecko.com/en/api_terms"),
    origin: Origin::Http(HttpApi {
        base_url: Some("https://api.coingecko.com"),
        url_variable: "BTCFEED_SOURCE_COINGECKO_URL",
        url_help: "URL of the CoinGecko API",
        key: Some(KEY),
        requests,
        read,
    }),
};

const KEY: KeyHeader = KeyHeader {
    name: "x-cg-demo-api-key",
    variable: "BTCFEED_SOURCE_COINGECKO_KEY",
    help: "API key of CoinGecko's demo plan",
};

#[derive(Deserialize)]
struct Prices<'a> {
    /// The price in each currency, by its code in lower case, and `last_updated_at`.
    #[serde(borrow)]
    bitcoin: Option<HashMap<&'a str, &'a RawValue>>,
}

fn requests(currencies: Currencies) -> Vec<Request> {
    let codes: Vec<_> = currencies.iter().map(|currency| currency.code().to_ascii_lowercase()).collect();
    let query = format!("ids=bitcoin&vs_currencies={}&include_last_updated_at=true&precision=full", codes.join(","));
    vec![Request { path: format!("/api/v3/simple/price?{query}"), currencies }]
}

fn read(body: &[u8], currencies: Currencies) -> anyhow::Result<Vec<Reading>> {
    let Prices { bitcoin } = serde_json::from_slice(body)?;
    let prices = bitcoin.unwrap_or_default();
    ensure!(!prices.is_empty(), "it has no price");
    let number = |name: &str| prices.get(name).map(|raw| serde_json::from_str::<Number>(raw.get())).transpose();
    // Without the time of the price, its age is not known.
    let updated = number("last_updated_at")?.map(|updated| updated.moment("last_updated_at")).transpose()?;
    ensure!(updated.is_some(), "missing field `last_updated_at`");
    let read = |currency: Currency| {
        let last = number(&currency.code().to_ascii_lowercase()).transpose()?;
        let quote = |last| Quote { last: Some(last), time: updated, ..Quote::default() };
        Some((currency, last.map_err(Into::into).and_then(|last| quote(last).observe(currency))))
    };
    Ok(currencies.iter().filter_map(read).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::answers::readings;

    #[test]
    fn recorded_coingecko_answer_is_read() {
        let body = br#"{"bitcoin":{"usd":67187.3358936566,"eur":61824.11,"jpy":1.0173e7,"chf":"60000.10",
            "last_updated_at":1711356300}}"#;
        let time = "time 2024-03-25T08:45:00.000Z";
        let expected = ["USD last 67187.3358936566", "EUR last 61824.11", "JPY last 10173000", "CHF last 60000.10"];
        assert_eq!(readings(&DEFINITION, body, Currencies::all()), expected.map(|price| format!("{price} {time}")));
        let path = &requests(Currencies::USD_EUR)[0].path;
        assert!(path.starts_with("/api/v3/simple/price?ids=bitcoin&vs_currencies=usd,eur&"), "{path}");
    }

    #[test]
    fn bad_coingecko_price_does_not_cost_the_other() {
        let body = br#"{"bitcoin":{"usd":null,"eur":61824.11,"gbp":0,"last_updated_at":1711356300}}"#;
        let [usd, eur, gbp] = &readings(&DEFINITION, body, Currencies::all())[..] else { panic!("three currencies") };
        assert!(usd.starts_with("USD error: ") && gbp.starts_with("GBP error: "), "{usd}, {gbp}");
        assert_eq!(eur, "EUR last 61824.11 time 2024-03-25T08:45:00.000Z");
        for body in ["{}", r#"{"bitcoin":{}}"#, r#"{"bitcoin":{"usd":1}}"#, r#"{"status":{"error_code":429}}"#] {
            assert!(read(body.as_bytes(), Currency::Usd.into()).is_err(), "{body}");
        }
    }
}
