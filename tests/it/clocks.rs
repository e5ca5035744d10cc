//! Processes with wrong clocks. `tests/faults/clock.rs` has the matrix of all faults and places.

use crate::support::clock::ShiftedClock;
use crate::support::exchange::Exchange;
use crate::support::replica::Replica;
use crate::support::store_contract::{OPTIONS, tick};
use crate::support::{TestCluster, data_directory, entries, replica_settings, unbroken, until};
use btcfeed::store::{Redis, Store};
use btcfeed::tick::TickId;
use rustix::process::Signal;
use std::time::Duration;

const TWO_DAYS: Duration = Duration::from_secs(48 * 3600);

#[tokio::test(flavor = "multi_thread")]
async fn feed_goes_on_after_entries_of_the_future() {
    let cluster = TestCluster::new().await;
    let replicas: [Replica; 2] = cluster.replicas().await;
    // `wrong` plays a leader that counts a time two days ahead, because its clock and the clock of Redis were wrong.
    let wrong = Redis::new(&cluster.redis.url(), "btcfeed", OPTIONS).unwrap();
    let mut lease = None;
    // The replicas want the lease, too. While they are stopped, they cannot take it first.
    replicas.iter().for_each(|replica| replica.signal(Signal::STOP));
    until("the lease", async || {
        cluster.redis.command(&["DEL", "{btcfeed}:lease"]).await;
        lease = wrong.acquire("wrong").await.unwrap();
        lease.is_some()
    })
    .await;
    let (lease, seen) = (lease.unwrap(), wrong.head().await.unwrap());
    let record = tick("1").reckoned_at(TickId::now().plus(TWO_DAYS), Some(Duration::ZERO));
    let ahead = wrong.append(&lease, &record, seen).await.unwrap().id;
    replicas.iter().for_each(|replica| replica.signal(Signal::CONT));
    for replica in &replicas {
        until("the entry to arrive", async || replica.json("/v1/status").await["last_id"] == ahead.ms()).await;
    }
    wrong.release(&lease).await.unwrap();
    // The running replicas continue without a restart. A replica that starts now works too.
    let fresh = cluster.replica("r3", &[]).await;
    for replica in replicas.iter().chain([&fresh]) {
        until("later entries", async || {
            replica.json("/v1/status").await["last_id"].as_u64().unwrap() > ahead.ms() + 1000
        })
        .await;
    }
    let mut later = Vec::new();
    until("later entries in the history", async || {
        let history = fresh.history().await;
        later = history.into_iter().filter(|entry| entry["id"].as_u64() >= Some(ahead.ms())).collect();
        later.len() > 3
    })
    .await;
    unbroken(&later);
    // The words depend on whether the leader knew the feed before.
    let warned = async || {
        let history = fresh.json("/v1/prices?format=full&limit=100000").await.to_string();
        history.contains("half speed") || history.contains("the time of the feed")
    };
    until("a status about the clocks", warned).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leader_with_a_wrong_clock_yields() {
    let cluster = TestCluster::new().await;
    let clock = ShiftedClock::new(0);
    let url = cluster.redis.url();
    let sources =
        [("REDIS_URL", url.as_str()), ("BTCFEED_SOURCES", "coinbase,bitstamp"), ("BTCFEED_DOWN_AFTER", "60s")];
    let first = [replica_settings(&cluster.exchange, "r1", &sources), clock.environment().to_vec()].concat();
    let first = Replica::start(&first).await;
    cluster.until_led_by("r1").await;
    first.priced().await;
    let second = Replica::start(&replica_settings(&cluster.exchange, "r2", &sources)).await;
    // Both sources are good, but the first replica rejects both, because its clock is wrong.
    clock.shift(-7_200_000);
    cluster.until_led_by("r2").await;
    second.priced().await;
    let warned =
        async || first.json("/v1/status").await["warnings"].to_string().contains("behind the clock of the store");
    until("the warning of the first replica", warned).await;
    assert!(first.metric("btcfeed_clock_ahead_seconds{of=\"store\"}").await < -7000.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn bookmark_in_a_file_survives_a_wrong_clock() {
    let (exchange, directory, clock) = (Exchange::start().await, data_directory(), ShiftedClock::new(0));
    let data = ("BTCFEED_DATA", directory.path().to_str().unwrap());
    let settings = [replica_settings(&exchange, "r1", &[data]), clock.environment().to_vec()].concat();
    let mut replica = Replica::start(&settings).await;
    replica.priced().await;
    let query = "format=full&client_id=3b1f0c52-7d4e-4c8a-9f6b-2e5a8d7c1904";
    entries(&mut replica.connect(&format!("{query}&since=0")).await, 3).await;
    let last = replica.json("/v1/status").await["last_id"].as_u64();
    // The bookmark is saved before the clock is wrong, and read from the file afterwards.
    replica.signal(Signal::TERM);
    replica.exit().await;
    clock.shift(172_800_000);
    let replica = Replica::start(&settings).await;
    // With the wrong clock, the replica regards the feed as down until there is a new tick.
    until("a tick", async || {
        let report: serde_json::Value = serde_json::from_str(&replica.get("/v1/status").await.1).unwrap();
        report["last_id"].as_u64() > last
    })
    .await;
    let mut client = replica.connect(query).await;
    // The two days between the ids may be reported as a gap.
    let first = client.json().await;
    let place = if first["type"] == "gap" { &first["after"] } else { &first["prev"] };
    assert!(place.as_u64().is_some() && place.as_u64() <= last, "{first} does not follow {last:?}");
}
