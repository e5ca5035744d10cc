//! A replica with its feed in a file is killed 500 times, or `BTCFEED_KILLS` times.

use crate::support::crashes::CrashTest;
use std::time::{Duration, Instant};

/// The number of kills after which the whole history is compared.
const CHECK_EVERY: usize = 50;
/// The time after which no further kill is made.
const LIMIT: Duration = Duration::from_secs(900);

#[tokio::test]
async fn killed_replica_loses_no_entry() {
    let planned = std::env::var("BTCFEED_KILLS").map_or(500, |kills| kills.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    fastrand::seed(seed);
    let (mut test, started) = (CrashTest::new(directory.path()), Instant::now());
    let (mut kills, mut during_writes) = (0, 0);
    while kills < planned && started.elapsed() < LIMIT {
        // If the client got no entry, the kill may have hit the opening of the file instead of a write.
        during_writes += usize::from(test.crash().await > 0);
        kills += 1;
        if kills % CHECK_EVERY == 0 {
            test.check().await;
        }
    }
    test.check().await;
    let seconds = started.elapsed().as_secs();
    println!("{kills} kills in {seconds} s, {during_writes} during writes; {} entries, none lost", test.received.len());
    assert_eq!(kills, planned, "the machine is too slow");
    assert!(during_writes > planned / 10, "only {during_writes} kills were during writes");
}
