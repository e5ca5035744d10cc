//! Metrics: the table in the code, the page in `docs/` and a running replica agree.

use crate::support::replica::metric_value;
use crate::support::tls::Authority;
use crate::support::{TestCluster, entries, soon, until};
use btcfeed::telemetry::metrics::{MetricKind, TABLE, markdown};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test]
async fn table_is_what_a_replica_serves() {
    let cluster = TestCluster::new().await;
    let replica = cluster.replica("r1", &[]).await;
    let mut client = replica.connect("format=full").await;
    entries(&mut client, 3).await;
    until("the age of a tick", async || replica.metrics().await.contains("btcfeed_tick_age_seconds{")).await;
    let text = replica.metrics().await;
    let served: BTreeMap<_, _> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    let table: BTreeMap<_, _> = TABLE.iter().map(|metric| (metric.name, metric.kind.as_str())).collect();
    assert_eq!(served, table);
    let series: Vec<_> = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    assert!(series.len() <= 200, "{} series", series.len());
    for metric in TABLE {
        let suffix = if metric.kind == MetricKind::Histogram { "_count" } else { "" };
        let begin = format!("{}{suffix}", metric.name);
        let of_metric =
            series.iter().filter_map(|line| line.strip_prefix(&*begin)).filter(|rest| rest.starts_with(['{', ' ']));
        let labels: BTreeSet<_> = of_metric.map(|rest| rest.split(['{', '=', ' ']).nth(1).unwrap()).collect();
        let has_label = !metric.label.is_empty();
        assert!(!labels.is_empty(), "{} has no series", metric.name);
        assert!(!has_label || labels == BTreeSet::from([metric.label]), "{}: {labels:?}", metric.name);
        assert!(text.contains(&format!("# HELP {} ", metric.name)), "{}", metric.name);
    }
}

#[tokio::test]
async fn clients_updates_and_leadership_are_counted() {
    let cluster = TestCluster::new().await;
    let replica = cluster.replica("r1", &[]).await;
    let mut client = replica.connect("format=full").await;
    entries(&mut client, 5).await;
    until("the counts of five updates", async || {
        let text = replica.metrics().await;
        metric_value(&text, r#"btcfeed_clients{transport="websocket"}"#) == 1.0
            && metric_value(&text, r#"btcfeed_updates_sent_total{transport="websocket"}"#) >= 5.0
            && metric_value(&text, r#"btcfeed_bytes_sent_total{transport="websocket"}"#) > 500.0
            && metric_value(&text, "btcfeed_publish_to_socket_seconds_count") >= 3.0
            && metric_value(&text, "btcfeed_leader") == 1.0
            && metric_value(&text, r#"btcfeed_feed_state{state="live"}"#) == 1.0
            && metric_value(&text, r#"btcfeed_source_up{source="kraken"}"#) == 1.0
            && metric_value(&text, "btcfeed_store_up") == 1.0
            && metric_value(&text, "btcfeed_store_request_seconds_count") > 0.0
            && metric_value(&text, "process_open_fds") > 10.0
    })
    .await;
    drop(client);
    until("the client to be gone", async || replica.metric(r#"btcfeed_clients{transport="websocket"}"#).await == 0.0)
        .await;
}

#[tokio::test]
async fn replica_without_its_store_reports_down() {
    let mut cluster = TestCluster::new().await;
    for replica in &cluster.replicas_of_dead_feed().await {
        until("the feed to be down on each replica", async || {
            let text = replica.metrics().await;
            metric_value(&text, r#"btcfeed_feed_state{state="down"}"#) == 1.0
                && metric_value(&text, "btcfeed_store_up") == 0.0
                // Requests that find no connection count as errors, too.
                && metric_value(&text, "btcfeed_store_errors_total") > 5.0
        })
        .await;
    }
}

#[tokio::test]
async fn metrics_show_handshakes_and_expiry() {
    const NOT_AFTER: &str = "btcfeed_tls_certificate_not_after_timestamp_seconds";
    let (cluster, authority, stranger) = (TestCluster::new().await, Authority::new(), Authority::new());
    let plain = cluster.replica("r1", &[]).await;
    assert_eq!(plain.metric(NOT_AFTER).await, 0.0, "without TLS");

    let day = Duration::from_secs(24 * 3600);
    authority.issue_for(day * 10);
    let files = authority.settings();
    let replica = cluster.replica("r2", &files.each_ref().map(|(name, path)| (*name, path.as_str()))).await;
    let expires_in = async |days: u32| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let expected = (now + day * days).as_secs_f64();
        until("the time at which the certificate expires", async || {
            (replica.metric(NOT_AFTER).await - expected).abs() < 60.0
        })
        .await;
    };
    expires_in(10).await;
    // The replica detects that the files have changed.
    authority.issue_for(day * 90);
    expires_in(90).await;

    let before = replica.metric("btcfeed_tls_handshakes_total").await;
    authority.connect(&replica.address).await;
    until("a handshake", async || replica.metric("btcfeed_tls_handshakes_total").await == before + 1.0).await;
    let sent = async |bytes: &[u8]| {
        let mut socket = TcpStream::connect(&replica.address).await.unwrap();
        socket.write_all(bytes).await.unwrap();
        socket.shutdown().await.unwrap();
        soon("the end", socket.read_to_end(&mut Vec::new())).await.ok();
    };
    stranger.try_connect(&replica.address).await.expect_err("the certificate is of an unknown authority");
    sent(b"GET / HTTP/1.1\r\n\r\n").await;
    sent(b"\x16\x03\x01\x00\x05hello").await;
    sent(b"").await;
    for reason in ["certificate", "plain", "invalid", "disconnected"] {
        let series = format!("btcfeed_tls_handshake_failures_total{{reason=\"{reason}\"}}");
        until(&series, async || replica.metric(&series).await == 1.0).await;
    }
}

#[test]
fn page_is_made_from_the_table() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&page, markdown()).unwrap();
    }
    let written = std::fs::read_to_string(&page).unwrap_or_default();
    assert_eq!(written, markdown(), "run UPDATE_DOCS=1 cargo test --test it metrics");
}
