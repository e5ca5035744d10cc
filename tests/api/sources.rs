//! `/v1/sources`: the states of the sources by the inputs of the newest ticks.

use super::server::{TestServer, usd};
use serde_json::{Value, json};

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
    assert_eq!((&kraken["success_rate"], kraken.get("latency_ms")), (&json!(0.5), None));
    let value = &kraken["values"][0];
    assert_eq!((&value["currency"], &value["value"], &value["used"]), (&json!("USD"), &json!(97000.10), &json!(false)));
    assert_eq!(of("bitstamp")["values"][0]["value"], json!(97000.20));
    assert_eq!((&of("coinbase")["latency_ms"], &of("coinbase")["values"][0]["used"]), (&json!(7), &json!(true)));
    let euro = server.json("/v1/sources?currency=EUR").await;
    assert_eq!((&euro["sources"][0]["name"], &euro["sources"][0]["state"]), (&json!("coinbase"), &json!("failing")));
    assert_eq!(euro["sources"].as_array().unwrap().len(), 1);
}
