//! A feed with all currencies, as clients with one or several of them see it.

use crate::support::exchange::Exchange;
use crate::support::sdk::{self, TRANSPORTS};
use crate::support::{embedded, fields, tick};
use btcfeed::client::Client;
use btcfeed::tick::Currency;
use serde_json::{Value, json};

const ALL: &str = "USD,EUR,GBP,JPY,CHF,CAD,AUD";

#[tokio::test]
async fn seven_currencies_reach_every_client() {
    let codes: Vec<_> = ALL.split(',').collect();
    let exchange = Exchange::start().await;
    let settings = [("BTCFEED_SOURCES", "simulated"), ("BTCFEED_CURRENCIES", ALL), ("BTCFEED_INTERVAL", "100ms")];
    let replica = embedded(&exchange, &settings).await;
    replica.priced().await;
    let mut all = replica.connect(&format!("format=full&hello=true&currency={ALL}")).await;
    assert_eq!(all.json().await["currencies"], json!(codes), "hello names the currencies of the feed");
    assert_eq!(fields(&tick(&mut all).await["prices"]), codes);
    let yen = tick(&mut replica.connect("format=full&currency=jpy").await).await;
    assert_eq!((fields(&yen["prices"]), fields(&yen["sources"])), (vec!["JPY"], vec!["JPY"]));
    assert_eq!(fields(&replica.connect("").await.json().await), ["timedate", "price"], "dollars are the default");

    let latest: Value = serde_json::from_str(&replica.get("/v1/prices/latest?currency=CHF,CAD").await.1).unwrap();
    assert_eq!([&latest[0]["currency"], &latest[1]["currency"]], ["CHF", "CAD"]);
    let candles: Value = serde_json::from_str(&replica.get("/v1/candles?currency=AUD,GBP").await.1).unwrap();
    assert_eq!(fields(&candles["candles"][0]["prices"]), ["GBP", "AUD"]);
    let (status, problem) = replica.get("/v1/prices?currency=XAU").await;
    assert!(status == 400 && problem.contains("expected USD, EUR, GBP, JPY, CHF, CAD or AUD"), "{problem}");

    for transport in TRANSPORTS {
        let client = Client::builder(&replica.address).transport(transport).currencies(Currency::ALL).build().unwrap();
        let prices = sdk::tick(&mut client.subscribe()).await.prices;
        assert!(prices.keys().copied().eq(Currency::ALL), "{transport:?}: {prices:?}");
    }
}
