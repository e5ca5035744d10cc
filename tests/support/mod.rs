//! Replicas, servers and clients that the test binaries share. Each wait is for a condition, and has a deadline.

#![allow(dead_code, reason = "each test binary uses a part")]

pub mod client;
pub mod description;
pub mod events;
pub mod exchange;
pub mod foreign_server;
pub mod grpc;
pub mod http2;
pub mod nginx;
pub mod proxy;
pub mod redis;
pub mod replica;
pub mod terminal;

use client::Client;
use exchange::Exchange;
use redis::Redis;
use replica::Replica;
use rustix::process::{Pid, Signal, kill_process};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::process::Child;
use tokio::time::{Instant, sleep, timeout};

/// How long anything may take that should be there in a moment. Generous: the machine may be busy.
pub const TIMEOUT: Duration = Duration::from_secs(45);
/// The time between two polls in tests, and the time to live of a lease.
pub const INTERVAL: Duration = Duration::from_millis(200);
pub const LEASE: Duration = Duration::from_secs(1);

/// A replica that follows what the test appends, so that nothing comes but that.
pub const SERVE: (&str, &str) = ("BTCFEED_ROLE", "serve");
/// Settings under which a feed is fast enough to fill a connection in a test.
pub const FAST: [(&str, &str); 2] = [("BTCFEED_SOURCES", "simulated"), ("BTCFEED_INTERVAL", "10ms")];

/// Waits until `condition` holds; `what` says what was waited for.
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !condition().await {
        assert!(begun.elapsed() < TIMEOUT, "waited {TIMEOUT:?} for {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// The result of something that should happen soon.
pub async fn soon<T>(what: &str, happening: impl Future<Output = T>) -> T {
    timeout(TIMEOUT, happening).await.unwrap_or_else(|_| panic!("waited {TIMEOUT:?} for {what}"))
}

/// An HTTP client that keeps no connection open for another, and does not read the machine's certificates, which takes long.
pub fn http() -> reqwest::Client {
    reqwest::Client::builder().tls_certs_only([]).pool_max_idle_per_host(0).build().unwrap()
}

/// One over HTTP/2, with all of its requests on one connection.
pub fn http_over_2() -> reqwest::Client {
    reqwest::Client::builder().tls_certs_only([]).http2_prior_knowledge().build().unwrap()
}

/// An exchange, a Redis and the replicas between them and the clients.
pub struct TestCluster {
    pub exchange: Exchange,
    pub redis: Redis,
}

impl TestCluster {
    pub async fn new() -> TestCluster {
        TestCluster { exchange: Exchange::start().await, redis: Redis::start().await }
    }

    /// Starts a replica that is called `name`, with further settings.
    pub async fn replica(&self, name: &str, settings: &[(&str, &str)]) -> Replica {
        let url = self.redis.url();
        let mut all = self.exchange.settings();
        all.extend([("BTCFEED_REPLICA".to_owned(), name.to_owned()), ("REDIS_URL".to_owned(), url)]);
        all.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        Replica::start(&all).await
    }

    /// Starts replicas `r1`, `r2`, …
    pub async fn replicas<const N: usize>(&self) -> [Replica; N] {
        let mut replicas = Vec::new();
        for number in 1..=N {
            replicas.push(self.replica(&format!("r{number}"), &[]).await);
        }
        replicas.try_into().unwrap_or_else(|_| unreachable!("N replicas were started"))
    }

    /// The name of the replica that leads, once one does.
    pub async fn leader(&self) -> String {
        let mut leader = String::new();
        until("a leader", async || {
            leader = self.redis.leader().await.unwrap_or_default();
            !leader.is_empty()
        })
        .await;
        leader
    }
}

/// Sends a signal to a process that was started here and still runs.
pub fn signal(child: &Child, signal: Signal) {
    let id = child.id().expect("it runs").cast_signed();
    kill_process(Pid::from_raw(id).expect("a process has a number"), signal).unwrap();
}

/// Whether the other end of a connection on this machine is open still (`proc_pid_net(5)`: addresses in hexadecimal, and
/// state 01).
pub fn is_established(socket: &TcpStream) -> bool {
    // One that was reset has no other end.
    let Ok(there) = socket.peer_addr().map(|address| address.port()) else { return false };
    let here = socket.local_addr().unwrap().port();
    let other_end = format!(":{there:04X} 0100007F:{here:04X} 01 ");
    std::fs::read_to_string("/proc/net/tcp").unwrap().contains(&other_end)
}

/// One process without Redis.
pub async fn embedded(exchange: &Exchange, settings: &[(&str, &str)]) -> Replica {
    let mut all = exchange.settings();
    all.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    Replica::start(&all).await
}

/// The same called `r1`, with some history.
pub async fn with_history(exchange: &Exchange) -> Replica {
    let replica = embedded(exchange, &[("BTCFEED_REPLICA", "r1")]).await;
    entries(&mut replica.connect("format=full&since=0").await, 6).await;
    replica
}

/// The names of a message's fields, in order.
pub fn fields(message: &serde_json::Value) -> Vec<&str> {
    message.as_object().unwrap().keys().map(String::as_str).collect()
}

/// The ids of entries in full format, after a check that each follows on the one before it.
pub fn unbroken(entries: &[serde_json::Value]) -> Vec<u64> {
    let ids: Vec<u64> = entries.iter().map(|entry| entry["id"].as_u64().unwrap_or_else(|| panic!("{entry}"))).collect();
    for (entry, before) in entries.iter().skip(1).zip(&ids) {
        assert_eq!(entry["prev"].as_u64(), Some(*before), "the chain is broken at {entry}");
    }
    ids
}

/// The next tick, whatever comes before it.
pub async fn tick<S: AsyncRead + AsyncWrite + Unpin>(client: &mut Client<S>) -> serde_json::Value {
    loop {
        let message = client.json().await;
        if message["type"] == "tick" {
            return message;
        }
    }
}

/// The next `count` ticks that a full client gets; statuses count as entries, nothing else may come between.
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
