//! Replicas, servers and clients that the test binaries share. Every function that waits for something has a deadline.

#![allow(dead_code, reason = "each test binary uses a part")]

pub mod client;
pub mod clock;
pub mod collector;
pub mod crashes;
pub mod dashboard;
pub mod description;
pub mod events;
pub mod exchange;
pub mod failover;
pub mod foreign_server;
pub mod frames;
pub mod grpc;
pub mod http2;
pub mod keys;
pub mod nginx;
pub mod ports;
pub mod program;
pub mod prometheus;
pub mod proxy;
pub mod redis;
pub mod replica;
pub mod sdk;
pub mod socket;
pub mod store_contract;
pub mod stream;
pub mod terminal;
pub mod tls;

/// Compares a text with its snapshot in the folder `snapshots` beside the test's file. `INSTA_UPDATE=always cargo test`
/// writes the snapshots again. They are reviewed like code.
#[allow(unused_macros, reason = "each test binary uses a part")]
macro_rules! assert_reviewed {
    ($name:expr, $text:expr) => {
        insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!($name, $text);
        })
    };
}

/// Passes the names of all promises in `store_contract.rs` to a macro.
#[allow(unused_macros, reason = "each test binary uses a part")]
macro_rules! for_each_promise {
    ($callback:ident) => {
        $callback! {
            entries_are_ordered_and_chained,
            ids_are_moments_and_always_increase,
            only_the_valid_lease_can_write,
            expired_lease_is_rejected_even_if_free,
            released_lease_is_free_immediately,
            retried_append_happens_once,
            audit_is_kept_beside_its_entry,
            audit_expires_with_its_entry,
            range_respects_bounds_and_limit,
            nth_is_the_last_id_of_a_range_of_n,
            nth_newest_is_the_nth_from_the_end,
            append_trims_entries_past_the_retention,
            wrong_clock_moves_no_id,
            clock_that_is_ahead_moves_no_id,
            history_expires_only_as_time_passes,
            restored_history_expires_only_as_time_passes,
            subscriber_gets_every_later_append,
            lost_entries_are_reported_and_restored,
            client_is_remembered_at_its_last_id,
            hours_are_kept_once_until_deleted,
        }
    };
}

use client::Client;
use exchange::Exchange;
use redis::Redis;
use replica::Replica;
use rustix::process::{Pid, Signal, kill_process};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::process::Child;
use tokio::time::{Instant, sleep, timeout};

/// Deadline of a wait. It is long because the machine may be busy.
pub const TIMEOUT: Duration = Duration::from_secs(45);
/// Time between two polls of the exchanges: the `BTCFEED_INTERVAL` of the replicas.
pub const INTERVAL: Duration = Duration::from_millis(200);
/// Time to live of a replica's lease.
pub const LEASE: Duration = Duration::from_secs(1);

/// Setting of a replica that never leads, so that its feed has only the entries that the test appends.
pub const SERVE: (&str, &str) = ("BTCFEED_ROLE", "serve");
/// Settings of a feed that soon fills the buffers of a connection.
pub const FAST: [(&str, &str); 2] = [("BTCFEED_SOURCES", "simulated"), ("BTCFEED_INTERVAL", "10ms")];

/// Waits until `condition` is true. `what` names it in the error after a timeout.
pub async fn until(what: &str, condition: impl AsyncFnMut() -> bool) {
    until_within(TIMEOUT, what, condition).await;
}

/// Waits until `condition` is true, for at most `limit`.
pub async fn until_within(limit: Duration, what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !condition().await {
        assert!(started.elapsed() < limit, "waited {limit:?} for {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Returns a new directory for the file of a feed. It is in memory (`/dev/shm`) if possible. On a disk, fsync takes
/// seconds while other programs write.
pub fn data_directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Waits for a future. `what` names it in the error after a timeout.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(TIMEOUT, future).await.unwrap_or_else(|_| panic!("waited {TIMEOUT:?} for {what}"))
}

/// Returns an HTTP client that uses each connection once. It does not load the system's certificates, because that is
/// slow.
pub fn http() -> reqwest::Client {
    reqwest::Client::builder().tls_certs_only([]).pool_max_idle_per_host(0).build().unwrap()
}

/// Returns an HTTP client that connects from an address of this machine.
pub fn http_from(address: &str) -> reqwest::Client {
    let client = reqwest::Client::builder().tls_certs_only([]).pool_max_idle_per_host(0);
    client.local_address(Some(address.parse().unwrap())).build().unwrap()
}

/// Returns an HTTP/2 client that sends all requests on one connection.
pub fn http_over_2() -> reqwest::Client {
    reqwest::Client::builder().tls_certs_only([]).http2_prior_knowledge().build().unwrap()
}

/// A Redis and an exchange for replicas that share one feed.
pub struct TestCluster {
    pub exchange: Exchange,
    pub redis: Redis,
}

impl TestCluster {
    /// Starts a cluster without replicas.
    pub async fn new() -> TestCluster {
        TestCluster { exchange: Exchange::start().await, redis: Redis::start().await }
    }

    /// Starts a replica called `name` with these settings.
    pub async fn replica(&self, name: &str, settings: &[(&str, &str)]) -> Replica {
        let redis = [("REDIS_URL".to_owned(), self.redis.url())];
        Replica::start(&[redis.into(), replica_settings(&self.exchange, name, settings)].concat()).await
    }

    /// Starts replicas called `r1`, `r2`, …
    pub async fn replicas<const N: usize>(&self) -> [Replica; N] {
        let mut replicas = Vec::new();
        for number in 1..=N {
            replicas.push(self.replica(&format!("r{number}"), &[]).await);
        }
        replicas.try_into().unwrap_or_else(|_| unreachable!("N replicas were started"))
    }

    /// Starts two replicas, lets them receive entries, and kills Redis. The feed is stale after 2 s, down after 4 s.
    pub async fn replicas_of_dead_feed(&mut self) -> [Replica; 2] {
        let settings = [("BTCFEED_STALE_AFTER", "2s"), ("BTCFEED_DOWN_AFTER", "4s")];
        let replicas = [self.replica("r1", &settings).await, self.replica("r2", &settings).await];
        for replica in &replicas {
            entries(&mut replica.connect("format=full").await, 2).await;
        }
        self.redis.kill().await;
        replicas
    }

    /// Waits until there is a leader, and returns its name.
    pub async fn leader(&self) -> String {
        let mut leader = String::new();
        until("a leader", async || {
            leader = self.redis.leader().await.unwrap_or_default();
            !leader.is_empty()
        })
        .await;
        leader
    }

    /// Waits until the replica `name` holds the lease.
    pub async fn until_led_by(&self, name: &str) {
        until(&format!("{name} to lead"), async || self.redis.leader().await.as_deref() == Some(name)).await;
    }
}

/// Starts a replica called `r1` with these settings. It uses the memory store, unless they choose another one.
pub async fn embedded(exchange: &Exchange, settings: &[(&str, &str)]) -> Replica {
    Replica::start(&replica_settings(exchange, "r1", settings)).await
}

/// Starts a replica that cannot reach its Redis, so that it never becomes ready.
pub async fn without_redis(exchange: &Exchange) -> Replica {
    let nowhere = format!("redis://{}", ports::free_address());
    Replica::start_unready(&replica_settings(exchange, "r1", &[("REDIS_URL", &nowhere)])).await
}

/// Starts a replica with the memory store and waits for some history.
pub async fn with_history(exchange: &Exchange) -> Replica {
    let replica = embedded(exchange, &[]).await;
    entries(&mut replica.connect("format=full&since=0").await, 6).await;
    replica
}

/// Returns the settings of a replica that polls `exchange`. If two settings have the same name, the last one applies.
pub fn replica_settings(exchange: &Exchange, name: &str, settings: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut all = exchange.settings(name);
    all.push(("BTCFEED_REPLICA".to_owned(), name.to_owned()));
    all.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    all
}

/// Sends a signal to a child process.
pub fn signal(child: &Child, signal: Signal) {
    let id = child.id().expect("it runs").cast_signed();
    kill_process(Pid::from_raw(id).expect("a process has a number"), signal).unwrap();
}

/// Returns the names of a message's fields, in order.
pub fn fields(message: &serde_json::Value) -> Vec<&str> {
    message.as_object().unwrap().keys().map(String::as_str).collect()
}

/// Asserts that each of these entries in full format follows the one before it. Returns their ids.
pub fn unbroken(entries: &[serde_json::Value]) -> Vec<u64> {
    let ids: Vec<u64> = entries.iter().map(|entry| entry["id"].as_u64().unwrap_or_else(|| panic!("{entry}"))).collect();
    for (entry, before) in entries.iter().skip(1).zip(&ids) {
        assert_eq!(entry["prev"].as_u64(), Some(*before), "the chain is broken at {entry}");
    }
    ids
}

/// Returns the next tick of a client in full format, and skips everything before it.
pub async fn tick<S: AsyncRead + AsyncWrite + Unpin>(client: &mut Client<S>) -> serde_json::Value {
    loop {
        let message = client.json().await;
        if message["type"] == "tick" {
            return message;
        }
    }
}

/// Returns the next `count` ticks and statuses of a client in full format. Only `synced` may come between them.
pub async fn entries<S: AsyncRead + AsyncWrite + Unpin>(
    client: &mut Client<S>,
    count: usize,
) -> Vec<serde_json::Value> {
    let mut entries = Vec::new();
    while entries.len() < count {
        let message = client.json().await;
        match message["type"].as_str() {
            Some("tick" | "status") => entries.push(message),
            Some("synced") => {}
            _ => panic!("neither tick nor status: {message}"),
        }
    }
    entries
}
