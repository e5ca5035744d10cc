//! `/v1/sources`: the states of the sources, as the inputs of the newest ticks show them.

use super::server::{TestServer, usd};
use serde_json::{Value, json};
use std::time::Duration;

fn input(source: &str, currency: &str, rest: Value) -> Value {
    let mut input = json!({"source": source, "currency": currency});
    input.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    input
}

#[tokio::test]
async fn every_source_has_a_state_and_its_last_values() {
    let server = TestServer::new().await;
    let empty = server.json("/v1/sources").await;
    assert_eq!(empty, json!({"id": null, "age_ms": null, "ticks": 0, "sources": []}));
    let good = |source: &str| input(source, "USD", json!({"value": "97000.10", "used": "97000.10", "latency_ms": 7}));
    let first = json!([good("coinbase"), good("kraken"), good("bitstamp"), good("gemini"), good("bitfinex")]);
    server.append_audited(usd("97000.10"), &first).await;
    server.append(usd("97000.10")).await;
    let excluded = |source: &str, reason: &str| input(source, "USD", json!({"excluded": reason, "value": "97000.20"}));
    let failed = |source: &str, reason: &str| input(source, "USD", json!({ "excluded": reason }));
    let second = json!([
        good("coinbase"),
        failed("kraken", "HTTP 503"),
        excluded("bitstamp", "outlier: 3 % away"),
        excluded("gemini", "frozen: the same answer"),
        failed("bitfinex", "paused for 9 s"),
        input("coinbase", "EUR", json!({"excluded": "HTTP 503"}))
    ]);
    let id = server.append_audited(usd("97000.10"), &second).await;
    let report = server.json("/v1/sources").await;
    assert_eq!((&report["id"], &report["ticks"]), (&json!(id), &json!(2)));
    let of = |name: &str| report["sources"].as_array().unwrap().iter().find(|of| of["name"] == name).unwrap().clone();
    let states = ["coinbase", "kraken", "bitstamp", "gemini", "bitfinex"].map(|name| of(name)["state"].clone());
    assert_eq!(states, ["ok", "failing", "outlier", "frozen", "resting"].map(Value::from));
    let kraken = of("kraken");
    assert_eq!((&kraken["title"], &kraken["reason"]), (&json!("Kraken"), &json!("HTTP 503")));
    let links = (&kraken["attribution"], &kraken["terms"]);
    assert_eq!(links, (&json!("https://www.kraken.com"), &json!("https://www.kraken.com/legal")));
    assert_eq!((&kraken["success_rate"], kraken.get("latency_ms")), (&json!(0.5), None));
    let value = &kraken["values"][0];
    assert_eq!((&value["currency"], &value["value"], &value["used"]), (&json!("USD"), &json!(97000.10), &json!(false)));
    assert_eq!(of("bitstamp")["values"][0]["value"], json!(97000.20));
    assert_eq!((&of("coinbase")["latency_ms"], &of("coinbase")["values"][0]["used"]), (&json!(7), &json!(true)));
    let euro = server.json("/v1/sources?currency=EUR").await;
    assert_eq!((&euro["sources"][0]["name"], &euro["sources"][0]["state"]), (&json!("coinbase"), &json!("failing")));
    assert_eq!(euro["sources"].as_array().unwrap().len(), 1);
}

fn state(report: &Value, name: &str) -> Value {
    let sources = report["sources"].as_array().unwrap();
    sources.iter().find(|of| of["name"] == name).map(|of| of["state"].clone()).unwrap()
}

#[tokio::test]
async fn source_is_not_blamed_for_others() {
    let server = TestServer::new().await;
    let compared = |reason: &str| input("kraken", "EUR", json!({"value": "89000.10", "excluded": reason}));
    for reason in ["too few sources: 1 of at least 2", "no agreement: the sources contradict each other"] {
        let inputs = json!([compared(reason), input("coinbase", "EUR", json!({"excluded": "HTTP 503"}))]);
        server.append_audited(usd("97000.10"), &inputs).await;
        let report = server.json("/v1/sources").await;
        assert_eq!([state(&report, "kraken"), state(&report, "coinbase")], ["ok", "failing"].map(Value::from));
        assert!(report["sources"][1].get("reason").is_none(), "{report}");
    }
}

#[tokio::test]
async fn old_tick_says_nothing_about_the_sources_now() {
    let server = TestServer::new().await;
    let good = json!([input("kraken", "USD", json!({"value": "97000.10", "used": "97000.10"}))]);
    server.append_old(usd("97000.10"), &good, Duration::from_secs(40)).await;
    let report = server.json("/v1/sources").await;
    assert_eq!(state(&report, "kraken"), "unknown");
    assert!(report["sources"][0]["reason"].as_str().unwrap().starts_with("no tick for 4"), "{report}");
    let status = json!({"type": "status", "state": "stale", "since": 1, "reason": "no price in USD: kraken: HTTP 503"});
    server.append(status).await;
    let report = server.json("/v1/sources").await;
    assert!(report["sources"][0]["reason"].as_str().unwrap().ends_with(": kraken: HTTP 503"), "{report}");
    server.append_audited(usd("97000.10"), &good).await;
    assert_eq!(state(&server.json("/v1/sources").await, "kraken"), "ok");
}

#[tokio::test]
async fn statuses_do_not_hide_the_newest_ticks() {
    let server = TestServer::new().await;
    let good = json!([input("kraken", "USD", json!({"value": "97000.10", "used": "97000.10"}))]);
    server.append_audited(usd("97000.10"), &good).await;
    for _ in 0..1100 {
        server.append(json!({"type": "status", "state": "live", "since": 1, "reason": "prices are back"})).await;
    }
    let newest = server.append_audited(usd("97000.10"), &good).await;
    assert_eq!(server.json("/v1/sources").await["id"], json!(newest));
}
