//! The format `audit`: what each source said, in the history and on a stream.

use super::server::{TestServer, both};
use serde_json::{Value, json};

/// Returns the inputs of a tick as the store has them, one in each currency. Both have the latency `number`.
fn inputs(number: usize) -> Value {
    json!([
        {"source": "coinbase", "currency": "USD", "value": "97116.10", "latency_ms": number, "used": "97116.10"},
        {"source": "kraken", "currency": "EUR", "excluded": "HTTP 503", "latency_ms": number},
    ])
}

/// Creates a server whose feed has this number of ticks with inputs, followed by one tick without inputs. Returns it
/// with the ids of the ticks.
async fn audited(count: usize) -> (TestServer, Vec<u64>) {
    let server = TestServer::new().await;
    let mut ids = Vec::new();
    for number in 0..count {
        ids.push(server.append_audited(both("97116.10", "89348.20"), &inputs(number)).await);
    }
    ids.push(server.append(both("97116.10", "89348.20")).await);
    (server, ids)
}

/// Checks that these are the ticks with these ids, and that each has its own input in dollars, except the last one,
/// which has none.
fn check(ticks: &[Value], ids: &[u64]) {
    assert_eq!(ticks.iter().map(|tick| tick["id"].as_u64().unwrap()).collect::<Vec<_>>(), ids);
    let (last, audited) = ticks.split_last().unwrap();
    for (tick, number) in audited.iter().zip(0..) {
        let used =
            json!({"source": "coinbase", "currency": "USD", "value": 97116.10, "latency_ms": number, "used": 97116.10});
        assert_eq!(tick["inputs"], json!([used]));
        assert!(tick["parameters"].is_object(), "{tick}");
    }
    assert_eq!((&last["inputs"], &last["prices"]), (&Value::Null, &json!({"USD": 97116.10})));
}

#[tokio::test]
async fn history_has_inputs_over_several_reads() {
    let (server, ids) = audited(250).await;
    let page = server.json("/v1/prices?format=audit").await;
    check(page["prices"].as_array().unwrap(), &ids);
    let lines = server.get("/v1/prices?format=audit,ndjson").await;
    assert!(lines.text().contains(r#""value":97116.10,"latency_ms":7,"used":97116.10}"#), "prices keep their digits");
    check(&lines.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<_>>(), &ids);
    let one = server.json(&format!("/v1/prices?format=audit&currency=EUR&after={}&limit=1", ids[7])).await;
    let excluded = json!({"source": "kraken", "currency": "EUR", "excluded": "HTTP 503", "latency_ms": 8});
    assert_eq!((&one["prices"][0]["inputs"], &one["next"]), (&json!([excluded]), &json!(ids[8])));
    let full = server.json("/v1/prices?format=full&limit=1").await;
    assert_eq!(full["prices"][0].get("inputs"), None);
}

#[tokio::test]
async fn stream_has_inputs_in_replay_and_live() {
    let (server, mut ids) = audited(150).await;
    let mut events = server.events("format=audit&since=0", &[]).await;
    let mut ticks = Vec::new();
    while ticks.len() < ids.len() {
        ticks.push(events.event().await.json());
    }
    check(&ticks, &ids);
    assert_eq!(events.event().await.name.as_deref(), Some("synced"));
    let live = server.append_audited(both("97117", "89349"), &inputs(9)).await;
    let tick = events.event().await.json();
    assert_eq!((&tick["id"], &tick["inputs"][0]["latency_ms"]), (&json!(live), &json!(9)));
    ids.push(live);
    let mut changes = server.events("format=audit&since=0&changes=true&currency=USD", &[]).await;
    for id in [ids[0], live] {
        let tick = changes.event().await.json();
        assert_eq!((&tick["id"], tick["inputs"].as_array().unwrap().len()), (&json!(id), 1));
    }
}

#[tokio::test]
async fn latest_tick_has_inputs_and_csv_is_rejected() {
    let (server, ids) = audited(1).await;
    let latest = server.json("/v1/prices/latest?format=audit").await;
    assert_eq!((&latest["id"], latest.get("inputs")), (&json!(ids[1]), None));
    let newer = server.append_audited(both("1", "2"), &inputs(5)).await;
    let latest = server.json("/v1/prices/latest?format=audit&currency=USD,EUR").await;
    assert_eq!((&latest["id"], latest["inputs"].as_array().unwrap().len()), (&json!(newer), 2));
    let answers = [
        server.get("/v1/prices?format=audit,csv").await,
        server.get_with("/v1/prices?format=audit", &[("accept", "text/csv")]).await,
    ];
    for answer in answers {
        assert_eq!(answer.status, 400);
        assert!(answer.text().contains("audit"), "{}", answer.text());
    }
}
