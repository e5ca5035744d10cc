//! Prices in the shapes of mempool.space. The requests are those that wallets and shops send to mempool.space.

use super::server::{TestServer, both, history, ids, usd};
use serde_json::json;

/// Returns a server with ten ticks that have different prices, and the ids of the ticks.
async fn server() -> (TestServer, Vec<u64>) {
    let entries = history((0..10).map(|place| both(&format!("9700{place}.51"), &format!("8934{place}.25"))));
    let ids = ids(&entries);
    (TestServer::with(&[], &entries).await, ids)
}

#[tokio::test]
async fn current_prices_are_whole_numbers() {
    let (server, ids) = server().await;
    let prices = server.get("/api/v1/prices").await;
    assert_eq!(prices.text(), format!("{{\"time\":{},\"USD\":97010,\"EUR\":89349}}\n", ids[9] / 1000));
    let again = server.get_with("/api/v1/prices", &[("if-none-match", prices.header("etag"))]).await;
    assert_eq!(again.status, 304);
}

#[tokio::test]
async fn price_at_a_timestamp_is_the_last_before() {
    let (server, ids) = server().await;
    let rates = json!({"USDEUR": 0.92});
    let get = async |query: &str| server.json(&format!("/api/v1/historical-price?{query}")).await;
    // `moment` is the first whole second that is not before the tick, and `time` is the second in which the tick was
    // made.
    let (moment, time) = (ids[4].div_ceil(1000), ids[4] / 1000);
    for (query, prices) in [
        (format!("currency=USD&timestamp={moment}"), json!({"time": time, "USD": 97004.51})),
        (format!("currency=EUR&timestamp={moment}"), json!({"time": time, "EUR": 89344.25, "USD": 97004.51})),
        (format!("timestamp={moment}"), json!({"time": time, "USD": 97004.51, "EUR": 89344.25})),
        ("currency=USD&timestamp=1999999999".to_owned(), json!({"time": ids[9] / 1000, "USD": 97009.51})),
    ] {
        assert_eq!(get(&query).await, json!({"prices": [prices], "exchangeRates": rates}), "{query}");
    }
    let first = server.get(&format!("/api/v1/historical-price?currency=EUR&timestamp={moment}")).await;
    assert!(
        first.text().contains(&format!(r#"[{{"time":{time},"EUR":89344.25,"USD":97004.51}}]"#)),
        "{}",
        first.text()
    );
}

#[tokio::test]
async fn price_before_many_ticks_is_found() {
    let entries = history(std::iter::once(both("97000.51", "89340.25")).chain(vec![usd("97001.51"); 1200]));
    let (server, time) = (TestServer::with(&[], &entries).await, ids(&entries)[0] / 1000);
    let answer = server.json("/api/v1/historical-price?currency=EUR&timestamp=1999999999").await;
    assert_eq!(answer["prices"], json!([{"time": time, "EUR": 89340.25, "USD": 97000.51}]));
}

#[tokio::test]
async fn history_without_a_timestamp_is_by_hours() {
    let (server, ids) = server().await;
    for query in ["", "currency=USD", "currency=USD&timestamp=", "currency=USD&timestamp=0"] {
        let history = server.json(&format!("/api/v1/historical-price?{query}")).await;
        let hours = history["prices"].as_array().unwrap();
        // The ticks are one second apart. There are two hours if one begins between two ticks.
        assert!((1..=2).contains(&hours.len()), "{query}: {history}");
        assert_eq!(hours.last().unwrap()["USD"], 97000.51, "{query}");
        assert_eq!(hours.last().unwrap()["time"], ids[0] / 3_600_000 * 3600, "{query}");
    }
}

#[tokio::test]
async fn unknown_prices_are_never_zero() {
    let (server, _) = server().await;
    let old = server.get("/api/v1/historical-price?currency=USD&timestamp=1500000000").await;
    assert!(old.status == 404 && old.text().contains("no price in USD at 2017-07-14T02:40:00.000Z"), "{}", old.text());
    let several = server.get("/api/v1/historical-price?currency=EUR,USD").await;
    assert!(
        several.status == 400 && several.text().contains(r#"invalid currency \"EUR,USD\": expected USD or EUR"#),
        "{}",
        several.text()
    );
    let foreign = server.get("/api/v1/historical-price?currency=GBP&timestamp=1500000000").await;
    assert!(foreign.status == 400 && foreign.text().contains("expected USD or EUR"), "{}", foreign.text());
    let invalid = server.get("/api/v1/historical-price?timestamp=yesterday").await;
    assert!(invalid.status == 400 && invalid.text().contains("expected Unix seconds"), "{}", invalid.text());
    assert_eq!(TestServer::new().await.get("/api/v1/prices").await.status, 503);
}
