//! The primary of a Redis with Sentinels is killed again and again while 1,003 clients follow the feed. A checker
//! compares the polls, the history and what three of the clients got. The other 1,000 clients must get no gap and an
//! unbroken chain: the `prev` of each entry must be the id of the entry before it.
//!
//! ```sh
//! BTCFEED_PRIMARY_KILLS=20 tests/setup cargo test --locked --test soak -- sentinel --nocapture
//! ```

#[allow(dead_code, reason = "the fault matrix uses the rest")]
#[path = "../faults/checker.rs"]
mod checker;
#[allow(dead_code, reason = "the fault matrix uses the rest")]
#[path = "../faults/watcher.rs"]
mod watcher;

use crate::support::exchange::Exchange;
use crate::support::failover::Sentinels;
use crate::support::replica::Replica;
use crate::support::{replica_settings, until, until_within};
use btcfeed::tick::TickId;
use checker::Records;
use futures_util::StreamExt;
use redis::from_redis_value;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::time::sleep;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;
use watcher::{Port, Watcher};

const CLIENTS: usize = 1000;
const INTERVAL_MS: u64 = 500;
/// The age of the newest tick above which the feed is stale. It is longer than a failover.
const STALE_AFTER: Duration = Duration::from_secs(10);
/// The time after a promotion within which clients get a new entry.
const FLOWING: Duration = Duration::from_secs(5);

/// What the clients that check the chain have seen.
#[derive(Default)]
struct Seen {
    clients: AtomicUsize,
    entries: AtomicUsize,
    broken: AtomicUsize,
    gaps: AtomicUsize,
}

/// Follows the feed on one replica for as long as the test runs.
async fn follow(address: String, seen: Arc<Seen>) {
    let number = |text: &str, name: &str| {
        let (_, rest) = text.split_once(&format!("\"{name}\":"))?;
        rest.split([',', '}']).next()?.parse::<u64>().ok()
    };
    let url = format!("ws://{address}/v1/ws?format=full");
    let (mut socket, _) = connect_async(url).await.unwrap();
    let mut last = None;
    while let Some(Ok(message)) = socket.next().await {
        let Message::Text(text) = message else { continue };
        if text.starts_with("{\"type\":\"gap\"") {
            seen.gaps.fetch_add(1, Ordering::Relaxed);
        }
        let (Some(id), Some(prev)) = (number(&text, "id"), number(&text, "prev")) else { continue };
        match last.replace(id) {
            None => _ = seen.clients.fetch_add(1, Ordering::Relaxed),
            Some(last) if last != prev => _ = seen.broken.fetch_add(1, Ordering::Relaxed),
            Some(_) => {}
        }
        seen.entries.fetch_add(1, Ordering::Relaxed);
    }
    // A failover of Redis must not end the connection of a client.
    seen.broken.fetch_add(1, Ordering::Relaxed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_primaries_lose_nothing() {
    let kills = std::env::var("BTCFEED_PRIMARY_KILLS").map_or(5, |kills| kills.parse().unwrap());
    let (mut sentinels, exchange) = (Sentinels::start().await, Exchange::start().await);
    let (url, interval) = (sentinels.url(), format!("{INTERVAL_MS}ms"));
    let stale_after = format!("{}s", STALE_AFTER.as_secs());
    let mut replicas = Vec::new();
    for name in ["r1", "r2", "r3"] {
        let settings = [
            ("REDIS_URL", url.as_str()),
            ("BTCFEED_INTERVAL", &interval),
            ("BTCFEED_SOURCES", "coinbase"),
            ("BTCFEED_CURRENCIES", "USD"),
            ("BTCFEED_STALE_AFTER", &stale_after),
            ("BTCFEED_LOG_FORMAT", "json"),
        ];
        replicas.push(Replica::start(&replica_settings(&exchange, name, &settings)).await);
    }
    let watchers: Vec<_> = replicas.iter().map(|replica| Watcher::start(vec![Port::from(&*replica.address)])).collect();
    let seen = Arc::new(Seen::default());
    for number in 0..CLIENTS {
        tokio::spawn(follow(replicas[number % 3].address.clone(), seen.clone()));
    }
    until("all clients to follow", async || seen.clients.load(Ordering::Relaxed) == CLIENTS).await;

    let (mut promotions, mut flows) = (Vec::new(), Vec::new());
    for round in 1..=kills {
        let killed = Instant::now();
        let (old, _) = sentinels.kill_primary().await;
        let promoted = Instant::now();
        promotions.push(promoted - killed);
        let at = TickId::now().ms();
        until_within(FLOWING, "the feed to flow after a promotion", async || {
            watchers.iter().all(|watcher| watcher.last() >= at)
        })
        .await;
        flows.push(promoted.elapsed());
        println!(
            "round {round}: promoted {at} after {:?}, flowing after {:?}",
            promotions[round - 1],
            flows[round - 1]
        );
        sentinels.rejoin(old).await;
    }
    sleep(Duration::from_secs(2)).await;

    let primary = &sentinels.servers[sentinels.primary().await];
    let history = primary.command(&["ZRANGE", "{btcfeed}:ticks", "0", "-1", "WITHSCORES"]).await;
    let history: Vec<(String, f64)> = from_redis_value(history).unwrap();
    let end = TickId::now().ms() - 2 * INTERVAL_MS;
    let records = Records {
        polls: exchange.answers(),
        history: history.into_iter().map(|(text, score)| (score, text)).collect(),
        clients: watchers.iter().map(Watcher::messages).collect(),
        killed: vec![],
        polled: replicas.iter().flat_map(Replica::log).filter(|line| line.contains("\"polled\"")).collect(),
        interval_ms: INTERVAL_MS,
        stale_after_ms: u64::try_from(STALE_AFTER.as_millis()).unwrap(),
        handover_ms: None,
        prices_after: 0,
        end,
    };
    let findings = records.check();
    println!("until {end}: {findings:?}");
    let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
    println!(
        "{kills} kills: promoted after at most {:?}, flowing at most {:?} later; {} clients got {} entries",
        promotions.iter().max().unwrap(),
        flows.iter().max().unwrap(),
        count(&seen.clients),
        count(&seen.entries)
    );
    assert_eq!(findings.violations, [] as [&str; 0]);
    assert_eq!((count(&seen.broken), count(&seen.gaps)), (0, 0), "broken chains and gaps of the other clients");
    for replica in &replicas {
        assert!(replica.is_ready().await);
    }
}
