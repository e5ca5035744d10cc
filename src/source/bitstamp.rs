//! Bitstamp: `GET /api/v2/ticker/btcusd/`, as described in "Ticker" of its HTTP API. It allows 400 requests a
//! second, and by default 10,000 in ten minutes.

use super::definition::{Definition, Origin};
use super::http::{HttpApi, Request};
use super::observation::Observation;
use crate::tick::{Currencies, TickId};
use anyhow::Context;
use serde::Deserialize;

pub(super) const DEFINITION: Definition = Definition {
    name: "bitstamp",
    title: "Bitstamp",
    currencies: Currencies::all(),
    is_default: true,
    origin: Origin::Http(HttpApi {
        base_url: "https://www.bitstamp.net",
        url_variable: "BTCFEED_SOURCE_BITSTAMP_URL",
        url_help: "URL of the Bitstamp API",
        requests,
        read,
    }),
};

#[derive(Deserialize)]
struct Ticker {
    last: String,
    /// Unix seconds.
    timestamp: String,
}

fn requests(currencies: Currencies) -> Vec<Request> {
    let path = |code: &str| format!("/api/v2/ticker/btc{}/", code.to_ascii_lowercase());
    currencies.iter().map(|currency| Request { path: path(currency.code()), currencies: currency.into() }).collect()
}

fn read(body: &[u8], currencies: Currencies) -> anyhow::Result<Vec<Observation>> {
    let ticker: Ticker = serde_json::from_slice(body)?;
    let currency = currencies.iter().next().context("no currency was requested")?;
    let time = Some(TickId::parse_moment("timestamp", &ticker.timestamp)?);
    Ok(vec![Observation { currency, price: ticker.last.parse()?, time }])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tick::Currency;

    #[test]
    fn recorded_bitstamp_answer_is_read() {
        let body = br#"{"timestamp":"1710328241","open":"71448","high":"73656","low":"68626","last":"73285",
            "volume":"135.29692054","vwap":"70853","bid":"73353","ask":"73367","side":"0","open_24":"72144"}"#;
        let [observed] = &read(body, Currency::Eur.into()).unwrap()[..] else { panic!("one observation") };
        assert_eq!((observed.price.to_string(), observed.currency), ("73285".into(), Currency::Eur));
        assert_eq!(observed.time, Some(TickId::from_ms(1_710_328_241_000)));
    }

    #[test]
    fn each_currency_has_its_own_request() {
        let paths: Vec<_> = requests(Currencies::all()).into_iter().map(|request| request.path).collect();
        assert_eq!(paths, ["/api/v2/ticker/btcusd/", "/api/v2/ticker/btceur/"]);
    }
}
