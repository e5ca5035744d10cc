//! Event streams as response bodies, as they are sent over HTTP/2.

use super::server::{TestServer, both, history, ids, ticks};
use crate::support::fields;
use serde_json::json;

#[tokio::test]
async fn last_update_of_a_tick_has_the_id() {
    let server = TestServer::with(&[], &history([both("97000.10", "89000.20"), both("97000.30", "89000.40")])).await;
    let mut events = server.events("currency=USD,EUR&format=timedate&since=0", &[]).await;
    for _ in 0..2 {
        let (usd, eur) = (events.update().await, events.update().await);
        assert_eq!((&usd.json()["currency"], usd.id), (&"USD".into(), None));
        assert_eq!((&eur.json()["currency"], eur.id.is_some()), (&"EUR".into(), true));
        assert_eq!(fields(&eur.json()), ["timedate", "price", "currency"]);
    }
}

#[tokio::test]
async fn last_event_id_has_precedence_over_the_query() {
    let entries = ticks(6);
    let ids = ids(&entries);
    let server = TestServer::with(&[], &entries).await;
    for query in ["format=full", "format=full&since=0", "format=full&after=1"] {
        let mut events = server.events(query, &[("last-event-id", &ids[2].to_string())]).await;
        for expected in &ids[3..] {
            let event = events.event().await;
            assert_eq!((event.json()["id"].as_u64(), event.id), (Some(*expected), Some(expected.to_string())));
        }
    }
}

#[tokio::test]
async fn limit_keeps_the_newest_ticks_of_a_replay() {
    let entries = ticks(300);
    let ids = ids(&entries);
    for window in ["100", "20000"] {
        let server = TestServer::with(&[("BTCFEED_WINDOW", window)], &entries).await;
        for limit in [7, 99, 150, 299] {
            let mut events = server.events(&format!("format=full&since=0&limit={limit}"), &[]).await;
            let gap = json!({"type": "gap", "after": 0, "before": ids[300 - limit], "reason": "replay_limit"});
            assert_eq!(events.event().await.json(), gap);
            for id in &ids[300 - limit..] {
                assert_eq!(events.event().await.json()["id"], *id);
            }
            assert_eq!(events.event().await.name.as_deref(), Some("synced"));
        }
    }
}

#[tokio::test]
async fn unprimed_server_asks_event_sources_to_retry() {
    let server = TestServer::unprimed(&[], &[]).await;
    let mut events = server.events("", &[("accept", "text/event-stream")]).await;
    assert!(events.block().await.unwrap().retry.unwrap() >= 3000);
    assert_eq!(events.named("goodbye").await.json()["reason"], "unavailable");
    assert_eq!(events.block().await, None);
    // Clients that do not accept event streams get the status 503.
    assert_eq!(server.get("/v1/prices/stream").await.status, 503);
}
