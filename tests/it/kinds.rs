//! A feed has prices of one kind, real or simulated. Replicas whose settings differ from those of the leader warn.

use crate::support::exchange::Exchange;
use crate::support::program::program;
use crate::support::replica::Replica;
use crate::support::{TestCluster, data_directory, embedded, replica_settings, until};
use rustix::process::Signal;

/// Returns the reason why a replica cannot write.
async fn fault(replica: &Replica) -> String {
    let report: serde_json::Value = serde_json::from_str(&replica.get("/v1/status").await.1).unwrap();
    report["store"]["fault"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn simulated_prices_never_follow_real_ones() {
    let cluster = TestCluster::new().await;
    let real = cluster.replica("r1", &[]).await;
    real.priced().await;
    drop(real);
    // Nothing but the entries says that the feed is real.
    cluster.redis.command(&["DEL", "{btcfeed}:lease", "{btcfeed}:settings", "{btcfeed}:record"]).await;
    let simulated = cluster.replica("r2", &[("BTCFEED_SOURCES", "simulated")]).await;
    until("the refusal", async || fault(&simulated).await.contains("btcfeed store clear")).await;
    assert!(fault(&simulated).await.contains("the feed has real prices and this replica would write simulated ones"));
    assert_eq!(cluster.redis.leader().await, None);
    // A replica with real prices can lead.
    let real = cluster.replica("r1", &[]).await;
    cluster.until_led_by("r1").await;
    drop(real);
    cluster.redis.command(&["DEL", "{btcfeed}:lease", "{btcfeed}:settings", "{btcfeed}:ticks"]).await;
    cluster.until_led_by("r2").await;
    simulated.priced().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn file_keeps_its_kind() {
    let (exchange, directory) = (Exchange::start().await, data_directory());
    let data = ("BTCFEED_DATA", directory.path().to_str().unwrap());
    let simulated = [data, ("BTCFEED_SOURCES", "simulated")];
    let mut replica = embedded(&exchange, &simulated).await;
    replica.priced().await;
    replica.signal(Signal::TERM);
    replica.exit().await;
    let mut replica = embedded(&exchange, &[data]).await;
    until("the refusal", async || fault(&replica).await.contains("set another BTCFEED_DATA")).await;
    let head = replica.json("/v1/status").await["last_id"].clone();
    replica.signal(Signal::TERM);
    replica.exit().await;
    let replica = embedded(&exchange, &simulated).await;
    until("the feed to go on", async || replica.json("/v1/status").await["last_id"].as_u64() > head.as_u64()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_with_another_interval_warn() {
    let cluster = TestCluster::new().await;
    let first = cluster.replica("r1", &[]).await;
    let interval = ("BTCFEED_INTERVAL", "300ms");
    let second = cluster.replica("r2", &[interval]).await;
    let serving = cluster.replica("r3", &[interval, ("BTCFEED_ROLE", "serve")]).await;
    for replica in [&second, &serving] {
        let warned = async || {
            let warnings = replica.json("/v1/status").await["warnings"].to_string();
            warnings.contains("one tick every 200ms") && warnings.contains("This replica: real prices")
        };
        until("a warning", warned).await;
        assert_eq!(replica.metric("btcfeed_settings_differ").await, 1.0);
    }
    assert_eq!(first.metric("btcfeed_settings_differ").await, 0.0);
    assert_eq!(first.json("/v1/status").await["warnings"], serde_json::json!([]));
    let url = cluster.redis.url();
    let settings = replica_settings(&cluster.exchange, "r4", &[interval, ("REDIS_URL", &url)]);
    let output = program().arg("check").envs(settings).output().await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("replicas of this feed have other settings"), "{text}");
    // A replica with another interval may still lead, for example during an update.
    drop(first);
    cluster.until_led_by("r2").await;
}
