//! `CoinDesk`'s Bitcoin Price Index: `GET /v1/bpi/currentprice.json`.
//!
//! Its host has not answered since February 2025. Mirrors still use the format. The source can be chosen only if
//! `BTCFEED_SOURCE_COINDESK_URL` sets the URL of a mirror. The index changes once a minute. `rate` has thousands
//! separators, so the price is read from the digits of `rate_float`.

use super::definition::{Definition, Origin};
use super::http::{HttpApi, Reading, Request};
use super::quote::{Number, Quote};
use crate::tick::{Currencies, Currency};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::time::Duration;

pub(super) const DEFINITION: Definition = Definition {
    name: "coindesk",
    title: "CoinDesk",
    currencies: Currencies::of(&[Currency::Usd, Currency::Eur, Currency::Gbp]),
    is_default: false,
    least_interval: Duration::from_secs(60),
    attribution: Some("https://www.coindesk.com/price/bitcoin"),
    terms: Some("https://www.coindesk.com/terms"),
    origin: Origin::Http(HttpApi {
        base_url: None,
        url_variable: "BTCFEED_SOURCE_COINDESK_URL",
        url_help: "URL of a mirror of the CoinDesk API. CoinDesk's own host has not answered since February 2025",
        key: None,
        requests,
        read,
    }),
};

#[derive(Deserialize)]
struct Index<'a> {
    #[serde(borrow)]
    bpi: HashMap<String, &'a RawValue>,
    time: Updated,
}

#[derive(Deserialize)]
struct Rate {
    rate_float: Number,
}

#[derive(Deserialize)]
struct Updated {
    #[serde(rename = "updatedISO")]
    updated_iso: Number,
}

fn requests(currencies: Currencies) -> Vec<Request> {
    vec![Request { path: "/v1/bpi/currentprice.json".to_owned(), currencies }]
}

fn read(body: &[u8], currencies: Currencies) -> anyhow::Result<Vec<Reading>> {
    let index: Index<'_> = serde_json::from_slice(body)?;
    let time = Some(index.time.updated_iso.moment("updatedISO")?);
    let rates = currencies.iter().filter_map(|currency| Some((currency, index.bpi.get(currency.code())?)));
    let observe = |currency, rate: &RawValue| {
        let Rate { rate_float } = serde_json::from_str(rate.get())?;
        Quote { last: Some(rate_float), time, ..Quote::default() }.observe(currency)
    };
    Ok(rates.map(|(currency, rate)| (currency, observe(currency, rate))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::answers::readings;

    #[test]
    fn recorded_coindesk_answer_keeps_all_digits() {
        let body = br#"{"time":{"updated":"Dec 17, 2024 06:41:36 UTC","updatedISO":"2024-12-17T06:41:36+00:00"},
            "chartName":"Bitcoin","bpi":{"USD":{"code":"USD","rate":"106,611.903","rate_float":106611.9028},
            "GBP":{"code":"GBP","rate":"83,912.402","rate_float":83912.4021},
            "EUR":{"code":"EUR","rate":"101,233.332","rate_float":101233.3323}}}"#;
        let time = "time 2024-12-17T06:41:36.000Z";
        let expected = ["USD last 106611.9028", "EUR last 101233.3323", "GBP last 83912.4021"];
        let expected = expected.map(|price| format!("{price} {time}"));
        assert_eq!(readings(&DEFINITION, body, DEFINITION.currencies), expected);
    }
}
