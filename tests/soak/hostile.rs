//! Attacks from one address, each of which once delayed other clients or filled the memory. The tests measure honest
//! clients at another address, and check limits on the delays and on the memory. The feed has a tick each second and a
//! day of history in a real Redis.
//!
//! `make attacks` prints the table of docs/operations.md. `BTCFEED_ATTACKED=PROGRAM` attacks another version and checks
//! nothing. `BTCFEED_UNLIMITED=1` raises all limits that have a setting. Then every test fails except the one about long
//! invalid values. Its limits are constants: the length of a query, and the number and length of the mistakes in an error.

mod attack;

use crate::support::redis::Redis;
use crate::support::replica::Replica;
use crate::support::{http, until};
use attack::Attacker;
use btcfeed::tick::TickId;
use futures_util::future::BoxFuture;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;

/// Number of ticks in a day.
const DAY: u64 = 86_400;
const INTERVAL: Duration = Duration::from_secs(1);
/// Time of a measurement without an attack.
const QUIET: Duration = Duration::from_secs(3);
/// Time of an attack.
const ATTACK: Duration = Duration::from_secs(8);
/// Longest time without a tick on an honest stream. A build without optimisation needs more time for each request.
const MAX_SILENCE: Duration = Duration::from_secs(if cfg!(debug_assertions) { 3 } else { 2 });
/// Budget of the replica for answers that clients do not read, in MiB.
const BUDGET_MIB: u64 = 32;
/// Memory that the replica may use beyond what it uses without an attack: the budget, and 64 MiB for everything else.
const MAX_MORE_MIB: u64 = BUDGET_MIB + 64;
/// Duration of a request that is always accepted. In a build without optimisation, a rejected request costs ten times
/// as much, so other requests wait longer.
const NEVER_SLOW: Duration = Duration::from_millis(if cfg!(debug_assertions) { 2500 } else { 50 });
/// Values that switch the limits off.
const UNLIMITED: [(&str, &str); 9] = [
    ("BTCFEED_ADDRESS_CONNECTIONS", "1000000"),
    ("BTCFEED_ADDRESS_RATE", "1000000"),
    ("BTCFEED_ADDRESS_VOLUME", "1000000000"),
    ("BTCFEED_ADDRESS_READS", "1000000"),
    ("BTCFEED_ADDRESS_CLIENT_IDS", "1000000"),
    ("BTCFEED_MAX_READS", "1000000"),
    ("BTCFEED_CLIENT_IDS", "1000000"),
    ("BTCFEED_CLIENT_MEMORY", "1000GiB"),
    ("BTCFEED_WRITE_STALL", "1h"),
];
/// Lock with which the tests run one after the other, because each of them measures times.
static ONE: Mutex<()> = Mutex::const_new(());

/// Measurements of honest clients and of the replica.
#[derive(Debug)]
struct Measured {
    /// Longest time without a tick on a stream.
    silence: Duration,
    /// Number of ticks that are missing in the store.
    lost: u64,
    /// 99th percentile of the duration of a request.
    slow: Duration,
    /// Number of requests that were not answered with 200.
    refused: usize,
    /// Maximum of the replica's memory.
    memory_mib: u64,
    /// Number of new keys in Redis.
    keys: u64,
}

/// Measures honest clients for some time.
async fn measure(replica: &Replica, redis: &Redis, time: Duration) -> Measured {
    let started = Instant::now();
    let (end, (first, keys_before)) = (started + time, state(redis).await);
    let stream = async {
        let (mut silence, mut last) = (Duration::ZERO, Instant::now());
        let mut client = None;
        while Instant::now() < end {
            let url = format!("ws://{}/v1/ws", replica.address);
            let reading = async {
                if client.is_none() {
                    client = tokio_tungstenite::connect_async(&url).await.ok();
                }
                let (socket, _) = client.as_mut()?;
                match futures_util::StreamExt::next(socket).await {
                    Some(Ok(Message::Text(_))) => Some(true),
                    Some(Ok(Message::Close(_)) | Err(_)) | None => None,
                    Some(Ok(_)) => Some(false),
                }
            };
            match timeout(end - Instant::now(), reading).await {
                Ok(Some(true)) => {
                    silence = silence.max(last.elapsed());
                    last = Instant::now();
                }
                Ok(Some(false)) | Err(_) => {}
                Ok(None) => {
                    client = None;
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
        silence.max(last.elapsed())
    };
    let probe = async {
        let (mut times, mut refused, mut memory) = (Vec::new(), 0, 0);
        while Instant::now() < end {
            let asked = Instant::now();
            let url = format!("http://{}/v1/prices/latest", replica.address);
            let answer = timeout(Duration::from_secs(30), http().get(url).send()).await;
            refused += usize::from(!answer.is_ok_and(|answer| answer.is_ok_and(|answer| answer.status() == 200)));
            times.push(asked.elapsed());
            memory = memory.max(replica.memory_kib() / 1024);
            sleep(Duration::from_millis(50)).await;
        }
        times.sort();
        (times[times.len() * 99 / 100], refused, memory)
    };
    let (silence, (slow, refused, memory_mib)) = tokio::join!(stream, probe);
    let (last, keys) = state(redis).await;
    let written = ticks(redis, first, last).await;
    // The first and the last interval may be incomplete.
    let lost = (started.elapsed().as_secs() / INTERVAL.as_secs()).saturating_sub(1).saturating_sub(written);
    Measured { silence, lost, slow, refused, memory_mib, keys: keys.saturating_sub(keys_before) }
}

/// Returns the newest id in the store, and the number of its keys.
async fn state(redis: &Redis) -> (u64, u64) {
    let mut connection = redis.connection().await;
    let newest: Vec<(String, u64)> = redis::cmd("ZRANGE")
        .arg(&["{btcfeed}:ticks", "-1", "-1", "WITHSCORES"])
        .query_async(&mut connection)
        .await
        .unwrap();
    (newest[0].1, redis::cmd("DBSIZE").query_async(&mut connection).await.unwrap())
}

/// Returns the number of entries after one id, up to another.
async fn ticks(redis: &Redis, after: u64, until: u64) -> u64 {
    let mut command = redis::cmd("ZCOUNT");
    command.arg("{btcfeed}:ticks").arg(format!("({after}")).arg(until);
    command.query_async(&mut redis.connection().await).await.unwrap()
}

/// Attacks a replica, prints the measurements, and checks the limits.
async fn check(
    what: &str,
    settings: &[(&str, &str)],
    addresses: u8,
    attack: impl FnOnce(Attacker) -> BoxFuture<'static, ()> + Send + 'static,
) {
    let _one = ONE.lock().await;
    let redis = Redis::start().await;
    redis.fill(DAY).await;
    let other = std::env::var_os("BTCFEED_ATTACKED").map(PathBuf::from);
    let common = [("BTCFEED_INTERVAL", "1s"), ("BTCFEED_LEASE_TTL", "3s"), ("BTCFEED_SOURCES", "simulated")];
    let budget = format!("{BUDGET_MIB}MiB");
    let own: &[_] = if other.is_none() { &[("BTCFEED_CLIENT_MEMORY", budget.as_str())] } else { &[] };
    let url = redis.url();
    let limits: &[_] = if std::env::var_os("BTCFEED_UNLIMITED").is_some() { &UNLIMITED } else { &[] };
    let settings: Vec<_> = [&common[..], own, settings, limits, &[("REDIS_URL", &url)]].concat();
    let settings: Vec<_> = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let program = other.as_deref().unwrap_or(Path::new(env!("CARGO_BIN_EXE_btcfeed")));
    let replica = Replica::start_program(program, &settings).await;
    replica.priced().await;
    let (begin, _) = state(&redis).await;
    until("new ticks", async || ticks(&redis, begin, u64::MAX).await > 1).await;
    let quiet = measure(&replica, &redis, QUIET).await;
    let attacker = Attacker { target: replica.socket_address(), addresses };
    // The attacker has its own thread, so that it shares only the processors with the honest clients.
    let attacking = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { timeout(ATTACK, attack(attacker)).await.ok() });
        runtime.shutdown_background();
    });
    let measured = measure(&replica, &redis, ATTACK).await;
    attacking.join().unwrap();
    sleep(Duration::from_secs(2)).await;
    let more = measured.memory_mib.saturating_sub(quiet.memory_mib);
    let held = (replica.memory_kib() / 1024).saturating_sub(quiet.memory_mib);
    println!(
        "| {what} | {:.1} s | {} of {} | {} ms, quiet {} ms | {} | +{more} MiB, then +{held} MiB | {} |",
        measured.silence.as_secs_f64(),
        measured.lost,
        ATTACK.as_secs(),
        measured.slow.as_millis(),
        quiet.slow.as_millis(),
        measured.refused,
        measured.keys,
    );
    if other.is_some() {
        return;
    }
    assert!(measured.silence <= MAX_SILENCE && measured.lost == 0 && measured.refused == 0, "{what}: {measured:?}");
    assert!(more <= MAX_MORE_MIB && held <= MAX_MORE_MIB, "{what}: {measured:?}, quiet {quiet:?}, then +{held} MiB");
    assert!(measured.slow <= NEVER_SLOW.max(10 * quiet.slow), "{what}: {measured:?}, quiet {quiet:?}");
    assert!(measured.keys <= 1010, "{what}: {measured:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_throttled_replays() {
    let path = "/v1/prices/stream?since=0&every=24h&changes=true";
    check("throttled replays", &[], 1, move |attacker| Box::pin(attacker.streams(60, path))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_compressed_history() {
    let path = "/v1/prices?limit=100000&format=full";
    check("compressed history", &[], 1, move |attacker| Box::pin(attacker.compressed(2000, path))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_long_invalid_values() {
    check("long invalid values", &[], 1, |attacker| {
        Box::pin(async move {
            let path = format!("/v1/prices?format={}", ",".repeat(16_000));
            attacker.unread(20, 25, 65_535, &path).await;
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_unread_history() {
    // This part of the history is in memory. A read of the store would be rejected while too many others wait.
    let since = TickId::now().ms() - 4 * 3_600_000;
    let path = format!("/v1/prices?since={since}&limit=100000&format=full");
    check("unread history", &[], 1, |attacker| Box::pin(async move { attacker.deaf(20, 100, &path).await })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_unread_candles() {
    let path = "/v1/candles?interval=1m&limit=1440&since=0";
    check("unread candles", &[], 1, move |attacker| Box::pin(attacker.unread(20, 100, 0, path))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_places() {
    let settings = [("BTCFEED_MAX_CONNECTIONS", "3000")];
    check("all places", &settings, 1, |attacker| Box::pin(attacker.places(3500))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_client_ids() {
    check("client_ids", &[], 1, |attacker| Box::pin(attacker.client_ids(100))).await;
}
