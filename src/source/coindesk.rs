//! `CoinDesk`'s Bitcoin Price Index: `GET /v1/bpi/currentprice.json`.
//!
//! Its host has not answered since February 2025, so it is not a default source. Mirrors still use the format:
//! `BTCFEED_SOURCE_COINDESK_URL` sets the URL of one. `rate` has thousands separators, so the price is read from the
//! digits of `rate_float`.

use super::definition::{Definition, Origin};
use super::http::{HttpApi, Request};
use super::observation::Observation;
use crate::tick::{Currencies, TickId};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::HashMap;

pub(super) const DEFINITION: Definition = Definition {
    name: "coindesk",
    title: "CoinDesk",
    currencies: Currencies::all(),
    is_default: false,
    origin: Origin::Http(HttpApi {
        base_url: "https://api.coindesk.com",
        url_variable: "BTCFEED_SOURCE_COINDESK_URL",
        url_help: "URL of a mirror of the CoinDesk API, whose own host has not answered since February 2025",
        requests,
        read,
    }),
};

#[derive(Deserialize)]
struct Index<'a> {
    #[serde(borrow)]
    bpi: HashMap<String, Rate<'a>>,
    time: Updated,
}

#[derive(Deserialize)]
struct Rate<'a> {
    /// The digits of the JSON number. A float would not keep them.
    #[serde(borrow)]
    rate_float: &'a RawValue,
}

#[derive(Deserialize)]
struct Updated {
    #[serde(rename = "updatedISO")]
    updated_iso: String,
}

fn requests(currencies: Currencies) -> Vec<Request> {
    vec![Request { path: "/v1/bpi/currentprice.json".to_owned(), currencies }]
}

fn read(body: &[u8], currencies: Currencies) -> anyhow::Result<Vec<Observation>> {
    let index: Index<'_> = serde_json::from_slice(body)?;
    let time = Some(TickId::parse_moment("updatedISO", &index.time.updated_iso)?);
    let rates = currencies.iter().filter_map(|currency| Some((currency, index.bpi.get(currency.code())?)));
    rates.map(|(currency, rate)| Ok(Observation { currency, price: rate.rate_float.get().parse()?, time })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recorded_coindesk_answer_keeps_all_digits() {
        let body = br#"{"time":{"updated":"Dec 17, 2024 06:41:36 UTC","updatedISO":"2024-12-17T06:41:36+00:00"},
            "chartName":"Bitcoin","bpi":{"USD":{"code":"USD","rate":"106,611.903","rate_float":106611.9028},
            "GBP":{"code":"GBP","rate":"83,912.402","rate_float":83912.4021},
            "EUR":{"code":"EUR","rate":"101,233.332","rate_float":101233.3323}}}"#;
        let observed = read(body, Currencies::all()).unwrap();
        let prices: Vec<_> = observed.iter().map(|seen| format!("{} {}", seen.currency, seen.price)).collect();
        assert_eq!(prices, ["USD 106611.9028", "EUR 101233.3323"]);
        assert_eq!(observed[0].time.unwrap().timedate(), "2024-12-17T06:41:36.000Z");
    }
}
