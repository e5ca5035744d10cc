//! An upgrade and a rollback, one replica at a time, with clients on both versions.

use crate::support::client::Client;
use crate::support::exchange::Exchange;
use crate::support::redis::Redis;
use crate::support::replica::Replica;
use crate::support::{TestCluster, entries, replica_settings, unbroken};
use rustix::process::Signal;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Entries that a client reads in each step.
const COUNT: usize = 8;

fn old() -> PathBuf {
    std::env::var_os("BTCFEED_OLD_BINARY")
        .expect("BTCFEED_OLD_BINARY names the older program (see `make compat`)")
        .into()
}

fn new() -> PathBuf {
    env!("CARGO_BIN_EXE_btcfeed").into()
}

async fn start(cluster: &TestCluster, name: &str, program: &Path) -> Replica {
    let TestCluster { exchange, redis } = cluster;
    let redis = redis.url();
    // Only settings that every version has.
    let settings = [("REDIS_URL", redis.as_str()), ("BTCFEED_INTERVAL", "200ms"), ("BTCFEED_LEASE_TTL", "1s")];
    Replica::start_program(program, &replica_settings(exchange, name, &settings)).await
}

/// Reads on, and checks that nothing is missing between what a client has and what comes.
async fn read(client: &mut Client, seen: &mut Vec<Value>) {
    seen.extend(entries(client, COUNT).await);
    unbroken(seen);
}

/// Starts replica `one` with the program `first`, then replica `two` with the program `second`. Ends `one` with
/// `signal`, so that `two` leads. Then starts `one` again, and ends `two` with `signal`.
async fn roll(first: &Path, second: &Path, signal: Signal) {
    let cluster = TestCluster { exchange: Exchange::start().await, redis: Redis::start().await };
    let mut leader = start(&cluster, "one", first).await;
    cluster.until_led_by("one").await;
    let follower = start(&cluster, "two", second).await;
    let (mut seen_one, mut seen_two) = (Vec::new(), Vec::new());
    let mut on_one = leader.connect("format=full&since=0").await;
    let mut on_two = follower.connect("format=full&since=0").await;
    read(&mut on_one, &mut seen_one).await;
    read(&mut on_two, &mut seen_two).await;
    leader.signal(signal);
    leader.exit().await;
    cluster.until_led_by("two").await;
    read(&mut on_two, &mut seen_two).await;
    // The client of the first replica goes on where it was, on the other version.
    let resume = async |replica: &Replica, seen: &[Value]| {
        replica.connect(&format!("format=full&after={}", seen.last().unwrap()["id"])).await
    };
    let mut moved = resume(&follower, &seen_one).await;
    read(&mut moved, &mut seen_one).await;
    // In the other direction, a new replica of the first version reads from the store what the second version has
    // written.
    let leader = start(&cluster, "one", first).await;
    let mut follower = follower;
    follower.signal(signal);
    follower.exit().await;
    cluster.until_led_by("one").await;
    let mut on_one = resume(&leader, &seen_two).await;
    read(&mut on_one, &mut seen_two).await;
    let mut all = leader.connect("format=full&since=0").await;
    let all = entries(&mut all, seen_two.len()).await;
    let known = |ticks: Vec<Value>| ticks.into_iter().map(without_new_fields).collect::<Vec<_>>();
    assert_eq!(known(all), known(seen_two), "the whole feed is the same for a client that comes now");
}

/// Returns a tick without the fields that the old version does not send.
fn without_new_fields(mut tick: Value) -> Value {
    for field in ["method", "confidence", "spread"] {
        tick.as_object_mut().unwrap().remove(field);
    }
    tick
}

#[tokio::test]
async fn upgrade_loses_nothing() {
    roll(&old(), &new(), Signal::TERM).await;
}

#[tokio::test]
async fn rollback_loses_nothing() {
    roll(&new(), &old(), Signal::TERM).await;
}

#[tokio::test]
async fn killed_leader_of_either_version_is_replaced() {
    roll(&old(), &new(), Signal::KILL).await;
    roll(&new(), &old(), Signal::KILL).await;
}
