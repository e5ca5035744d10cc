//! The state of the feed in `/v1/status` and in headers.

use super::server::{TestServer, both, history, ids, ticks, usd};
use serde_json::json;

#[tokio::test]
async fn status_describes_the_feed() {
    let entries = history([usd("97000.10"), usd("97000.20"), both("97000.40", "89000.30")]);
    let server = TestServer::with(&[("BTCFEED_REPLICA", "r1"), ("BTCFEED_SOURCES", "kraken,bitstamp")], &entries).await;
    let answer = server.get("/v1/status").await;
    assert_eq!((answer.status, answer.header("cache-control")), (200, "no-store"));
    let report = answer.json();
    assert_eq!((&report["state"], &report["replica"]), (&json!("live"), &json!("r1")));
    assert_eq!(report["last_id"], *ids(&entries).last().unwrap());
    let [usd, eur] = ["USD", "EUR"].map(|currency| report["tick_age_ms"][currency].as_u64().unwrap());
    assert!((5000..15_000).contains(&usd), "{report}");
    assert_eq!(usd, eur, "{report}");
    let sources: Vec<_> = report["sources"].as_array().unwrap().iter().map(|source| &source["name"]).collect();
    assert!(sources.contains(&&json!("kraken")) && sources.contains(&&json!("bitstamp")), "{report}");
    assert_eq!(report["store"]["kind"], "memory");
    assert_eq!(report["simulated"], false);
}

#[tokio::test]
async fn old_tick_makes_status_503_with_a_report() {
    let server = TestServer::with(&[], &ticks(3)).await;
    for (max_age, status) in [("4s", 503), ("1m", 200)] {
        let answer = server.get(&format!("/v1/status?max_age={max_age}")).await;
        assert_eq!((answer.status, &answer.json()["state"]), (status, &json!("live")), "{max_age}");
    }
    let problem = server.get("/v1/status?max_age=soon").await;
    assert_eq!(problem.status, 400);
    assert!(problem.text().contains("expected a duration such as 15s"), "{}", problem.text());
    // Without `max_age`, the bound is `BTCFEED_STALE_AFTER`.
    let server = TestServer::with(&[("BTCFEED_INTERVAL", "1s"), ("BTCFEED_STALE_AFTER", "4s")], &ticks(3)).await;
    let answer = server.get("/v1/status").await;
    assert_eq!((answer.status, &answer.json()["state"]), (503, &json!("stale")));
}

#[tokio::test]
async fn headers_have_the_state_of_the_feed() {
    let simulated = json!({"type": "tick", "prices": {"USD": "97000.10"}, "sources": {"USD": ["simulated"]}});
    for (event, is_simulated) in [(usd("97000.10"), ""), (simulated, "true")] {
        let server = TestServer::with(&[], &history([event])).await;
        for path in ["/v1/prices/latest", "/v1/prices", "/v1/prices?format=csv"] {
            let answer = server.get(path).await;
            assert_eq!(answer.header("btcfeed-state"), "live", "{path}");
            let age: u64 = answer.header("btcfeed-tick-age-ms").parse().unwrap();
            assert!((5000..15_000).contains(&age), "{path}: {age}");
            assert_eq!(answer.header("btcfeed-simulated"), is_simulated, "{path}");
        }
        assert_eq!(server.get("/v1/candles").await.header("btcfeed-state"), "");
    }
}
