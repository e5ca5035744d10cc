//! The dashboard and the alerts of `deploy/monitoring` in a real Prometheus, which reads running replicas.

use crate::support::dashboard::{queries, query_of};
use crate::support::events::Events;
use crate::support::exchange::Mode;
use crate::support::grpc::{Subscriber, request};
use crate::support::prometheus::Prometheus;
use crate::support::tls::Authority;
use crate::support::{TestCluster, entries, until};
use rustix::process::Signal;

/// Period of the rates. The default would be longer than the time for which these replicas have run.
const RATE: &str = "5s";

fn panel(title: &str) -> String {
    query_of(title, RATE)
}

#[tokio::test]
async fn dashboard_and_alerts_show_an_outage() {
    let cluster = TestCluster::new().await;
    let settings = [("BTCFEED_STALE_AFTER", "1s"), ("BTCFEED_DOWN_AFTER", "2s")];
    let authority = Authority::new();
    let files = authority.settings();
    let secured = [&settings[..], &files.each_ref().map(|(name, path)| (*name, path.as_str()))].concat();
    let replicas = [cluster.replica("r1", &secured).await, cluster.replica("r2", &settings).await];
    let prometheus = Prometheus::start(&replicas.each_ref().map(|replica| replica.ops.as_str())).await;

    // There is one client of each transport. All of them keep reading.
    let mut socket = authority.websocket(&replicas[0].address, "format=full&since=0").await;
    let mut events = Events::connect(&format!("http://{}/v1/prices/stream", replicas[1].address), &[]).await;
    let mut grpc = Subscriber::connect(&replicas[1].address, request(&[], None)).await;
    entries(&mut socket, 3).await;
    let reading = tokio::spawn(async move {
        loop {
            tokio::select! { _ = socket.json() => {}, _ = events.event() => {}, _ = grpc.next() => {} }
        }
    });

    // Without a fault, each query has a value.
    for query in queries(RATE) {
        until(&format!("a value of {query:?}"), async || !prometheus.query(&query.text).await.is_empty()).await;
    }
    until("three clients", async || prometheus.query(&panel("Clients")).await == [3.0]).await;
    until("a live feed", async || prometheus.query(&panel("Feed")).await == [0.0]).await;
    for (title, expected) in [("Replicas", 2.0), ("Sources", 3.0), ("Redis", 2.0), ("Leader", 1.0)] {
        assert_eq!(prometheus.query(&panel(title)).await, [expected], "{title}");
    }
    // Each of the three clients gets five ticks a second.
    until("updates", async || prometheus.query(&panel("Updates / s")).await.iter().any(|rate| *rate > 3.0)).await;
    assert!(!prometheus.fires("BtcfeedFeedDown").await);

    // No exchange answers.
    cluster.exchange.set_all(&Mode::Status(500, None));
    until("the feed to be down", async || prometheus.query(&panel("Feed")).await == [2.0]).await;
    until("an alert", async || prometheus.fires("BtcfeedFeedDown").await).await;
    until("no source", async || prometheus.query(&panel("Sources")).await == [0.0]).await;
    cluster.exchange.set_all(&Mode::Good);
    until("a live feed", async || prometheus.query(&panel("Feed")).await == [0.0]).await;
    until("no alert", async || !prometheus.fires("BtcfeedFeedDown").await).await;

    // Redis is unavailable.
    cluster.redis.pause();
    until("no store", async || prometheus.query(&panel("Redis")).await == [0.0]).await;
    until("an alert", async || prometheus.fires("BtcfeedStoreDown").await).await;
    cluster.redis.resume();
    until("the store", async || prometheus.query(&panel("Redis")).await == [2.0]).await;

    // A replica dies.
    reading.abort();
    replicas[1].signal(Signal::KILL);
    until("one replica", async || prometheus.query(&panel("Replicas")).await == [1.0]).await;
}

#[test]
fn page_of_values_has_each_query_and_alert() {
    let page = include_str!("../../docs/monitoring.md");
    for query in queries("$__rate_interval") {
        let shown = query.text.replace('|', "\\|");
        assert!(page.contains(&format!("| {} | `{shown}` |", query.panel)), "run `make dashboard-table` for {query:?}");
    }
    let alerts = include_str!("../../deploy/monitoring/alerts.yml");
    for alert in alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(page.contains(&format!("| `{alert}` |")), "run `make dashboard-table` for {alert}");
    }
}
