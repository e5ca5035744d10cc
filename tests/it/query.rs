//! REST answers and refusals, as curl would see them.

use crate::support::client::Client;
use crate::support::exchange::{Exchange, Mode};
use crate::support::{embedded, entries, http, soon, until};
use serde_json::Value;

/// Wrong queries, and a part of what each is answered.
const WRONG: [(&str, &str); 10] = [
    ("currency=GBP", "invalid currency \"GBP\": expected USD or EUR"),
    ("currency=", "invalid currency \"\": expected USD or EUR"),
    ("since=yesterday", "invalid since \"yesterday\": expected RFC 3339 (2026-11-20T09:20:31Z), Unix seconds"),
    ("since=-5", "invalid since \"-5\""),
    ("since_date=2026-13-01T00:00:00Z", "invalid since \"2026-13-01T00:00:00Z\""),
    ("start_timedate=", "invalid since \"\""),
    ("after=abc", "invalid after \"abc\": expected the id of an update such as 1795166431075"),
    ("since=0&after=1", "conflicting since=\"0\" and after=\"1\": expected since or after, not both"),
    ("format=xml", "format reads timedate, timestamp or full, got \"xml\""),
    ("curency=EUR", "unknown parameter \"curency\""),
];

#[tokio::test]
async fn each_wrong_parameter_is_refused_before_the_upgrade_with_what_is_allowed() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    for (query, expected) in WRONG {
        let (status, body) = Client::rejected(&format!("ws://{}/v1/ws?{query}", replica.address)).await;
        let problem: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, &problem["status"]), (400, &400.into()), "{query}");
        assert!(problem["detail"].as_str().unwrap().contains(expected), "{query}: {body}");
        let (status, body) = replica.get(&format!("/v1/prices?{query}")).await;
        assert!(status == 400 && body.contains("\"status\":400"), "{query}: {status} {body}");
    }
    for query in ["limit=0", "limit=x", "until=soon"] {
        assert_eq!(replica.get(&format!("/v1/prices?{query}")).await.0, 400, "{query}");
    }
    assert_eq!(replica.get("/v1/prices/latest?since=0").await.0, 400);
}

#[tokio::test]
async fn errors_are_problem_details() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    let client = http();
    let url = |path: &str| format!("http://{}{path}", replica.address);
    for (request, status, said) in [
        (client.get(url("/nothing")), 404, "unknown path /nothing: expected /, "),
        (client.post(url("/v1/prices")), 405, "unsupported method POST: expected GET or HEAD"),
        (client.get(url("/v1/ws")), 426, "missing upgrade: this path is a WebSocket, connect with ws:// or wss://"),
        (client.get(url("/v1/prices?limit=x")), 400, "invalid limit \"x\": expected a number from 1 to 100000"),
    ] {
        let response = soon("an answer", request.send()).await.unwrap();
        assert_eq!(response.status().as_u16(), status);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        let problem: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(said)), "{problem}");
    }
}

#[tokio::test]
async fn the_latest_price_is_one_update_or_an_array_of_them() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    replica.priced().await;
    let latest = replica.json("/v1/prices/latest").await;
    assert!(latest["timedate"].is_string() && latest["price"].is_number() && latest.get("currency").is_none());
    until("a price in both", async || {
        let both = replica.json("/v1/prices/latest?currency=EUR,USD&format=timestamp").await;
        both.as_array().unwrap().len() == 2
    })
    .await;
    assert_eq!(replica.json("/v1/prices/latest?format=full").await["type"], "tick");
}

#[tokio::test]
async fn without_a_price_the_latest_is_unavailable_and_not_invented() {
    let exchange = Exchange::start().await;
    exchange.set_all(&Mode::Status(500, None));
    let replica = embedded(&exchange, &[]).await;
    let response = http().get(format!("http://{}/v1/prices/latest", replica.address)).send().await.unwrap();
    assert_eq!(response.status().as_u16(), 503);
    assert!(response.headers().contains_key("retry-after"));
    assert_eq!(replica.json("/v1/prices").await, serde_json::json!({"prices": [], "next": null}));
}

#[tokio::test]
async fn the_history_is_paged_by_the_id_that_comes_with_it() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    let all = entries(&mut replica.connect("format=full&since=0").await, 7).await;
    let until = &all[6]["id"];
    let (mut pages, mut next) = (Vec::new(), Value::from(0));
    while !next.is_null() {
        let page = replica.json(&format!("/v1/prices?format=full&limit=3&until={until}&after={next}")).await;
        pages.extend(page["prices"].as_array().unwrap().clone());
        next = page["next"].clone();
    }
    assert_eq!(pages, all);
    let since = all[5]["timedate"].as_str().unwrap();
    let end = replica.json(&format!("/v1/prices?since={since}&until={until}")).await;
    assert_eq!(end["prices"].as_array().unwrap().len(), 2);
    assert_eq!(end["prices"][0]["timedate"], all[5]["timedate"]);
}
