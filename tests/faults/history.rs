//! A long history is lost, and comes back while the feed goes on.

use super::checker::Findings;
use super::stage::{Stage, now};
use crate::support::{INTERVAL, until_within};
use std::time::Duration;
use tokio::time::sleep;

/// The number of entries in the history. A day has about as many, with one every five seconds.
const DAY: u64 = 17_000;

async fn members(stage: &Stage) -> u64 {
    let mut connection = stage.redis.connection().await;
    redis::cmd("ZCARD").arg("{btcfeed}:ticks").query_async(&mut connection).await.unwrap()
}

/// Loses the history with the commands `lose`, and again while it is put back. Then waits until all of it is there.
/// Returns the findings.
async fn lose_twice(stage: &mut Stage, lose: &[&str]) -> Findings {
    for _ in 0..2 {
        for words in lose {
            stage.run(words).await;
        }
        // Some of it is back, and most of it is not.
        until_within(Duration::from_secs(60), "a part of the history", async || members(stage).await > 1000).await;
    }
    until_within(Duration::from_secs(90), "the whole history", async || members(stage).await >= DAY).await;
    assert!(stage.is_flowing(now(), Duration::from_secs(10)).await);
    sleep(Duration::from_millis(1500)).await;
    stage.records(now() - 1200).await.without_prices_before(stage.started).check()
}

#[tokio::test(flavor = "multi_thread")]
async fn history_comes_back_after_interruptions() {
    let mut stage = Stage::start_with(DAY, INTERVAL).await;
    let findings = lose_twice(&mut stage, &["DEL {btcfeed}:ticks"]).await;
    assert!(findings.violations.is_empty(), "{:#?}", findings.violations);
    // Redis evicts the history when its memory is full.
    let evict =
        ["CONFIG SET maxmemory-policy allkeys-lru", "CONFIG SET maxmemory 1", "GET x", "CONFIG SET maxmemory 0"];
    let findings = lose_twice(&mut stage, &evict).await;
    assert!(findings.violations.is_empty(), "{:#?}", findings.violations);
}

#[tokio::test(flavor = "multi_thread")]
async fn history_comes_back_over_a_slow_link() {
    let mut stage = Stage::start_with(DAY, Duration::from_secs(1)).await;
    stage.delay(Duration::from_millis(150));
    let findings = lose_twice(&mut stage, &["DEL {btcfeed}:ticks"]).await;
    assert!(findings.violations.is_empty(), "{:#?}", findings.violations);
    let pause = stage.watchers.iter().map(|watcher| watcher.longest_wait()).max().unwrap();
    println!("longest time without a message: {pause:?}");
    assert!(pause < Duration::from_secs(4), "{pause:?} without a message");
}
