//! The latest price.

use super::server::{TestServer, both, history, usd};
use crate::support::fields;
use serde_json::json;

#[tokio::test]
async fn latest_is_an_object_or_an_array() {
    let server = TestServer::with(&[], &history([both("97000.10", "89000.20")])).await;
    let latest = server.json("/v1/prices/latest").await;
    assert_eq!((fields(&latest), &latest["price"]), (vec!["timedate", "price"], &json!(97000.1)));
    let both = server.json("/v1/prices/latest?currency=EUR,USD&format=timestamp").await;
    let currencies: Vec<_> = both.as_array().unwrap().iter().map(|update| &update["currency"]).collect();
    assert_eq!(currencies, ["USD", "EUR"]);
    assert_eq!(server.json("/v1/prices/latest?format=full").await["type"], "tick");
}

#[tokio::test]
async fn latest_without_a_price_is_unavailable() {
    let server = TestServer::new().await;
    let answer = server.get("/v1/prices/latest").await;
    assert_eq!((answer.status, answer.header("retry-after").is_empty()), (503, false));
    assert_eq!(server.json("/v1/prices").await, json!({"prices": [], "gaps": [], "next": null}));
    // A price in another currency is not sent instead.
    server.append(usd("97000.10")).await;
    assert_eq!(server.get("/v1/prices/latest").await.status, 200);
    assert_eq!(server.get("/v1/prices/latest?currency=EUR").await.status, 503);
}
