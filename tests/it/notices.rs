//! Statuses, gaps and `synced` in the short formats, on request.

use crate::support::client::Client;
use crate::support::{SERVE, TestCluster};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::MaybeTlsStream;

/// Reads the replay up to `synced`.
async fn replay(client: &mut Client<MaybeTlsStream<TcpStream>>) -> Vec<String> {
    let mut texts = Vec::new();
    loop {
        let text = client.text().await;
        if text.contains(r#""type":"synced""#) {
            return texts;
        }
        texts.push(text);
    }
}

#[tokio::test]
async fn notices_leave_the_ticks_unchanged() {
    let cluster = TestCluster::new().await;
    let price = |usd: &str| json!({"type": "tick", "prices": {"USD": usd}, "sources": {"USD": ["kraken"]}});
    let mut events = vec![price("97000.10"), price("97000.20")];
    events.push(json!({"type": "status", "state": "stale", "since": 1, "reason": "no price"}));
    let mut back = price("97000.30");
    back["outages"] = json!([{"after": 1_795_166_431_075_u64, "currencies": ["USD"]}]);
    events.push(back);
    cluster.redis.write(events).await;
    let replica = cluster.replica("r1", &[SERVE]).await;
    for format in ["timedate", "timestamp"] {
        let mut plain = Vec::new();
        let mut client = replica.connect(&format!("since=0&format={format}")).await;
        for _ in 0..3 {
            plain.push(client.text().await);
        }
        let mut client = replica.connect(&format!("since=0&format={format}&notices=true&hello=true")).await;
        let hello: Value = client.json().await;
        assert_eq!(hello["type"], "hello");
        let texts = replay(&mut client).await;
        let ticks: Vec<_> = texts.iter().filter(|text| !text.contains("\"type\"")).collect();
        assert!(ticks.iter().copied().eq(&plain), "ticks keep their bytes: {texts:?}");
        let types: Vec<_> = texts.iter().map(|text| serde_json::from_str::<Value>(text).unwrap()).collect();
        let types: Vec<_> = types.iter().map(|message| message["type"].as_str().unwrap_or("-")).collect();
        assert_eq!(types, ["-", "-", "status", "gap", "-"]);
        // An id that this feed does not have causes a gap, too.
        let mut client = replica.connect("after=1295166431075&notices=true").await;
        assert_eq!(client.json().await["reason"], "history_lost");
        // With an id that no feed can have, the replay starts at the beginning.
        let mut client = replica.connect("after=1&notices=true").await;
        assert_eq!(client.json().await["price"], 97000.1);
    }
}
