//! Independent Reserve: `GET /Public/GetMarketSummary`, as described in "Get Market Summary" of its API reference. It
//! allows one request a second.

use super::definition::{Definition, Origin};
use super::http::{HttpApi, Reading, Request};
use super::quote::{Number, Quote};
use crate::tick::{Currencies, Currency};
use anyhow::ensure;
use serde::Deserialize;
use std::time::Duration;

pub(super) const DEFINITION: Definition = Definition {
    name: "independentreserve",
    title: "Independent Reserve",
    currencies: Currencies::of(&[Currency::Aud]),
    is_default: false,
    least_interval: Duration::from_secs(2),
    attribution: Some("https://www.independentreserve.com"),
    terms: Some("https://www.independentreserve.com/legal/terms-of-use"),
    origin: Origin::Http(HttpApi {
        base_url: Some("https://api.independentreserve.com"),
        url_variable: "BTCFEED_SOURCE_INDEPENDENTRESERVE_URL",
        url_help: "URL of the Independent Reserve API",
        key: None,
        requests,
        read,
    }),
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Summary {
    primary_currency_code: String,
    secondary_currency_code: String,
    current_highest_bid_price: Option<Number>,
    current_lowest_offer_price: Option<Number>,
    last_price: Option<Number>,
    day_volume_xbt: Option<Number>,
    created_timestamp_utc: Number,
}

fn requests(currencies: Currencies) -> Vec<Request> {
    vec![Request {
        path: "/Public/GetMarketSummary?primaryCurrencyCode=xbt&secondaryCurrencyCode=aud".to_owned(),
        currencies,
    }]
}

fn read(body: &[u8], _: Currencies) -> anyhow::Result<Vec<Reading>> {
    let summary: Summary = serde_json::from_slice(body)?;
    let (primary, secondary) = (&summary.primary_currency_code, &summary.secondary_currency_code);
    let is_expected = primary.eq_ignore_ascii_case("xbt") && secondary.eq_ignore_ascii_case("aud");
    ensure!(is_expected, "it is about {primary:?} in {secondary:?}");
    let quote = Quote {
        bid: summary.current_highest_bid_price,
        ask: summary.current_lowest_offer_price,
        last: summary.last_price,
        volume: summary.day_volume_xbt,
        time: Some(summary.created_timestamp_utc.moment("CreatedTimestampUtc")?),
    };
    Ok(vec![(Currency::Aud, quote.observe(Currency::Aud))])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::answers::readings;

    #[test]
    fn recorded_independentreserve_answer_is_read() {
        let body = br#"{"CreatedTimestampUtc":"2024-03-13T11:10:45.2712357Z","CurrentHighestBidPrice":110900.11,
            "CurrentLowestOfferPrice":110950.0,"DayAvgPrice":108000.50,"DayHighestPrice":112000.0,
            "DayLowestPrice":104000.0,"DayVolumeXbt":37.92781,"DayVolumeXbtInSecondaryCurrrency":36.1,
            "LastPrice":110931.5,"PrimaryCurrencyCode":"Xbt","SecondaryCurrencyCode":"Aud"}"#;
        assert_eq!(
            readings(&DEFINITION, body, Currency::Aud),
            ["AUD bid 110900.11 ask 110950.0 last 110931.5 volume 37.92781 time 2024-03-13T11:10:45.272Z"]
        );
    }

    #[test]
    fn odd_independentreserve_answers_are_errors() {
        assert!(read(br#"{"Message":"Invalid currency code"}"#, Currency::Aud.into()).is_err());
        let in_usd = br#"{"CreatedTimestampUtc":"2024-03-13T11:10:45Z","LastPrice":73366.4,"PrimaryCurrencyCode":"Xbt",
            "SecondaryCurrencyCode":"Usd"}"#;
        assert!(read(in_usd, Currency::Aud.into()).unwrap_err().to_string().contains("\"Usd\""));
        let quiet = br#"{"CreatedTimestampUtc":"2024-03-13T11:10:45Z","CurrentHighestBidPrice":0.0,
            "LastPrice":"1.1e5","PrimaryCurrencyCode":"Xbt","SecondaryCurrencyCode":"Aud"}"#;
        assert_eq!(readings(&DEFINITION, quiet, Currency::Aud), ["AUD last 110000 time 2024-03-13T11:10:45.000Z"]);
    }
}
