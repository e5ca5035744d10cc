//! Attacks from one address that try to delay other clients or to fill the memory. The tests measure honest clients at
//! another address and the operators' port, and check limits on the delays and on the memory.
//!
//! `make attacks` attacks a build with optimisation, checks the limits that are promised, and prints the numbers for
//! the table in docs/operations.md. For a build without optimisation, the tests allow longer times and more memory.
//! `BTCFEED_ATTACKED=PROGRAM` attacks another program.
//!
//! With `BTCFEED_UNLIMITED=1`, the tests raise the settings that `target.rs` lists, and do not check the measurements.
//! Limits of the server that have no setting still apply: the length of a query, the number and length of the mistakes
//! in an error, and the limits of TLS handshakes. So the attack with long invalid values has no effect even then.

mod attack;
mod target;

use crate::support::nginx::Nginx;
use crate::support::until_within;
use attack::Attacker;
use btcfeed::tick::TickId;
use futures_util::future::BoxFuture;
use rustix::process::Signal;
use std::time::Duration;
use target::{BUDGET_MIB, Measured, Target};
use tokio::time::sleep;

/// Time of a measurement without an attack.
const QUIET: Duration = Duration::from_secs(3);
/// Time of an attack.
const ATTACK: Duration = Duration::from_secs(8);
/// Factor by which an attack may make requests slower.
const MAX_SLOWER: u32 = 10;
/// Maximum number of new keys in Redis: 1,000 new `client_id`s of an address, and 10 keys of the replica.
const MAX_KEYS: u64 = 1010;
/// Time within which a stopping replica releases the lease.
const MAX_RELEASE: Duration = Duration::from_secs(3);

/// Limits on times and memory. Without optimisation, each request costs the replica ten times as much processor time,
/// so other requests wait longer. The replica then also needs more memory.
struct Bounds {
    /// Longest time without a tick: two intervals, or three without optimisation.
    silence: Duration,
    /// Longest duration of a request, or [`MAX_SLOWER`] times the duration without an attack if that is longer.
    request: Duration,
    /// Longest duration of a request on the operators' port.
    ops: Duration,
    /// Memory beyond what the replica uses without an attack: the budget, and 64 MiB (96 MiB without optimisation) for
    /// everything else.
    more_mib: u64,
}

impl Bounds {
    fn of(target: &Target) -> Bounds {
        let (times, other_mib) = if target.is_optimised { ([2000, 100, 100], 64) } else { ([3000, 2500, 1000], 96) };
        let [silence, request, ops] = times.map(Duration::from_millis);
        Bounds { silence, request, ops, more_mib: BUDGET_MIB + other_mib }
    }
}

/// Attacks a replica, prints the measurements, and checks the limits.
async fn check(
    what: &str,
    settings: &[(&str, &str)],
    attack: impl FnOnce(Attacker) -> BoxFuture<'static, ()> + Send + 'static,
) {
    let target = Target::start(settings).await;
    let address = target.replica.address.clone();
    check_at(&target, what, &address, ATTACK, attack).await;
}

/// Attacks the port at `address`, prints the measurements of clients there, and checks the limits.
async fn check_at(
    target: &Target,
    what: &str,
    address: &str,
    time: Duration,
    attack: impl FnOnce(Attacker) -> BoxFuture<'static, ()> + Send + 'static,
) {
    let quiet = target.measure(address, QUIET).await;
    let attacking = Target::attack(address, time, attack);
    let measured = target.measure(address, time).await;
    attacking.join().unwrap();
    sleep(Duration::from_secs(2)).await;
    let more = measured.memory_mib.saturating_sub(quiet.memory_mib);
    let held = (target.replica.memory_kib() / 1024).saturating_sub(quiet.memory_mib);
    let Measured { silence, lost, slow, refused, ops, has_lease, keys, .. } = measured;
    println!(
        "| {what} | {:.1} s | {lost} of {} | {} ms, quiet {} ms | {refused} | {} ms, quiet {} ms | {} | +{more} MiB, then +{held} MiB | {keys} |",
        silence.as_secs_f64(),
        time.as_secs(),
        slow.as_millis(),
        quiet.slow.as_millis(),
        ops.as_millis(),
        quiet.ops.as_millis(),
        if has_lease { "kept" } else { "lost" },
    );
    if target.is_unlimited {
        return;
    }
    let (bounds, all) = (Bounds::of(target), format!("{what}: {measured:?}, quiet {quiet:?}, then +{held} MiB"));
    assert!(silence <= bounds.silence && refused == 0, "{all}");
    assert!(lost == 0 && has_lease, "{all}");
    assert!(slow <= bounds.request.max(MAX_SLOWER * quiet.slow), "{all}");
    assert!(ops <= bounds.ops, "{all}");
    assert!(more.max(held) <= bounds.more_mib, "{all}");
    assert!(keys <= MAX_KEYS, "{all}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_throttled_replays() {
    check("throttled replays", &[], |attacker| Box::pin(attacker.throttled_replays())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_compressed_history() {
    let path = "/v1/prices?limit=100000&format=full";
    check("compressed history", &[], move |attacker| Box::pin(attacker.compressed(2000, path))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_long_invalid_values() {
    check("long invalid values", &[], |attacker| {
        Box::pin(async move {
            let path = format!("/v1/prices?format={}", ",".repeat(16_000));
            attacker.unread(20, 25, 65_535, &path).await;
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_unread_history() {
    // This part of the history is in memory. A read of the store would be rejected while too many other reads wait.
    let since = TickId::now().ms() - 4 * 3_600_000;
    let path = format!("/v1/prices?since={since}&limit=100000&format=full");
    check("unread history", &[], |attacker| Box::pin(async move { attacker.deaf(20, 100, &path).await })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_unread_candles() {
    let path = "/v1/candles?interval=1m&limit=1440&since=0";
    check("unread candles", &[], move |attacker| Box::pin(attacker.unread(20, 100, 0, path))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_unread_streams() {
    let settings = [
        ("BTCFEED_MAX_CONNECTIONS", "8000"),
        ("BTCFEED_ADDRESS_CONNECTIONS", "7000"),
        ("BTCFEED_ADDRESS_RATE", "7000"),
    ];
    let path = "/v1/prices/stream";
    check("unread streams", &settings, move |attacker| Box::pin(attacker.unread(50, 100, 0, path))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_places() {
    let settings = [("BTCFEED_MAX_CONNECTIONS", "3000")];
    check("all places", &settings, |attacker| Box::pin(attacker.places(3500))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_client_ids() {
    check("client_ids", &[], |attacker| Box::pin(attacker.client_ids(100))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_handshakes() {
    let target = Target::start_with_tls(&[]).await;
    let address = target.replica.address.clone();
    let attack = |attacker: Attacker| -> BoxFuture<'static, ()> { Box::pin(attacker.handshakes(500)) };
    check_at(&target, "TLS handshakes", &address, ATTACK, attack).await;
}

/// nginx closes a connection whose head does not arrive within 10 s. If it waited for a minute, this attack would
/// occupy all places after 11 s.
#[tokio::test(flavor = "multi_thread")]
async fn hostile_slow_heads() {
    let target = Target::start(&[("BTCFEED_TRUSTED_PROXIES", "127.0.0.1")]).await;
    let places = [("worker_connections 32768;", "worker_connections 2048;")];
    let nginx = Nginx::start_with(&[&target.replica.address], &places).await;
    let attack = |attacker: Attacker| -> BoxFuture<'static, ()> { Box::pin(attacker.slow_heads(180)) };
    check_at(&target, "slow heads at nginx", &nginx.address, 2 * ATTACK, attack).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_stop() {
    // The lease does not expire during the test.
    let mut target = Target::start(&[("BTCFEED_LEASE_TTL", "60s")]).await;
    let address = target.replica.address.clone();
    let attacking = Target::attack(&address, ATTACK, |attacker| Box::pin(attacker.throttled_replays()));
    target.measure(&address, QUIET).await;
    target.replica.signal(Signal::TERM);
    until_within(MAX_RELEASE, "the lease to be free", async || target.redis.leader().await.is_none()).await;
    assert!(target.replica.exit().await.success());
    attacking.join().unwrap();
}
