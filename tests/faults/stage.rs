//! Three replicas, each with its own proxy to one Redis, and a client on each of them. One replica has TLS.

use super::checker::Records;
use super::fault;
use super::watcher::{Port, Watcher};
use crate::support::exchange::Exchange;
use crate::support::ports::free_address;
use crate::support::proxy::Proxy;
use crate::support::redis::Redis;
use crate::support::replica::Replica;
use crate::support::tls::{Authority, http_for};
use crate::support::{INTERVAL, replica_settings, until};
use futures_util::future::join_all;
use rustix::process::Signal;
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The age of the newest tick above which the feed is stale. It is longer than a change of the leader.
pub const STALE_AFTER: Duration = Duration::from_secs(4);

/// A replica, which may have been killed.
pub struct Member {
    pub name: String,
    pub replica: Option<Replica>,
    port: Port,
    proxy: Proxy,
    settings: Vec<(String, String)>,
}

/// The parts of a case.
pub struct Stage {
    pub redis: Redis,
    exchange: Exchange,
    pub members: Vec<Member>,
    pub watchers: Vec<Watcher>,
    killed: Vec<(String, u64)>,
    /// The lines of the logs of replicas that were killed.
    logs: Vec<String>,
    /// The name of the last known leader.
    pub leader: String,
    /// The moment in Unix milliseconds at which the first replica started.
    pub started: u64,
    interval: Duration,
    /// The thread of the exchange.
    markets: Option<tokio::runtime::Runtime>,
}

/// Returns the time in Unix milliseconds.
pub fn now() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

impl Stage {
    /// Starts three replicas and a client on each of them, and waits for some ticks.
    pub async fn start() -> Stage {
        Stage::start_with(0, INTERVAL).await
    }

    /// Starts with this number of ticks in the history, and this time between two polls.
    pub async fn start_with(entries: u64, interval: Duration) -> Stage {
        // If the exchange answered late, the leader would miss a poll. So the exchange does not share its thread with
        // the clients.
        let markets = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (redis, exchange) = (Redis::start().await, markets.spawn(Exchange::start()).await.unwrap());
        redis.fill(entries).await;
        let mut stage = Stage {
            redis,
            exchange,
            members: vec![],
            watchers: vec![],
            killed: vec![],
            logs: vec![],
            leader: String::new(),
            started: now(),
            interval,
            markets: Some(markets),
        };
        for number in 1..=3 {
            stage.members.push(stage.member(&format!("r{number}")).await);
        }
        stage.members[1].use_tls();
        join_all(stage.members.iter_mut().map(Member::start)).await;
        let ports: Vec<_> = stage.members.iter().map(|member| member.port.clone()).collect();
        for number in 0..ports.len() {
            let mut own = ports.clone();
            own.rotate_left(number);
            stage.watchers.push(Watcher::start(own));
        }
        until("a first tick for each client", async || {
            stage.watchers.iter().all(|watcher| watcher.messages().len() >= 3 + usize::try_from(entries).unwrap())
        })
        .await;
        stage.note_leader().await;
        stage
    }

    async fn member(&self, name: &str) -> Member {
        let proxy = Proxy::start(self.redis.port).await;
        let interval = format!("{}ms", self.interval.as_millis());
        let (url, stale_after) = (proxy.url(), format!("{}ms", STALE_AFTER.as_millis()));
        let (address, ops) = (free_address(), free_address());
        let settings = replica_settings(
            &self.exchange,
            name,
            &[
                ("REDIS_URL", &url),
                ("BTCFEED_INTERVAL", &interval),
                ("BTCFEED_SOURCES", "coinbase"),
                ("BTCFEED_CURRENCIES", "USD"),
                ("BTCFEED_STALE_AFTER", &stale_after),
                ("BTCFEED_LOG_FORMAT", "json"),
                ("BTCFEED_LISTEN", &address),
                ("BTCFEED_OPS_LISTEN", &ops),
            ],
        );
        Member { name: name.to_owned(), replica: None, port: Port::from(&*address), proxy, settings }
    }

    /// Starts a replica that never leads, and a client of it. Returns its name.
    pub async fn follower(&mut self) -> String {
        let mut member = self.member(&format!("f{}", self.members.len())).await;
        member.settings.push(("BTCFEED_ROLE".to_owned(), "serve".to_owned()));
        member.start().await;
        let name = member.name.clone();
        self.watchers.push(Watcher::start(vec![member.port.clone()]));
        self.members.push(member);
        until("an entry for the client", async || self.watchers.last().unwrap().last() > 0).await;
        name
    }

    /// Starts a replica that has none of the feed's entries, without waiting until it is ready.
    pub async fn newcomer(&mut self) {
        let mut member = self.member(&format!("n{}", self.members.len())).await;
        member.replica = Some(Replica::start_unready(&member.settings).await);
        self.members.push(member);
    }

    /// Runs a command on Redis, if Redis answers.
    pub async fn run(&self, words: &str) {
        for _ in 0..5 {
            if let Some(mut connection) = self.redis.try_connect().await {
                return fault::run(&mut connection, words).await;
            }
        }
        eprintln!("{words}: no connection to Redis");
    }

    /// Returns the newest id that a client has.
    pub async fn head(&self) -> u64 {
        self.watchers.iter().map(Watcher::last).max().unwrap_or_default()
    }

    /// Waits until a replica holds the lease in Redis, and stores its name in `leader`.
    pub async fn note_leader(&mut self) {
        let mut leader = None;
        until("a leader", async || {
            leader = self.redis.leader().await;
            leader.is_some()
        })
        .await;
        self.leader = leader.unwrap();
    }

    fn member_mut(&mut self, name: &str) -> &mut Member {
        self.members.iter_mut().find(|member| member.name == name).unwrap()
    }

    /// Returns the proxy between the last known leader and Redis.
    pub fn leader_proxy(&mut self) -> &Proxy {
        let leader = self.leader.clone();
        &self.member_mut(&leader).proxy
    }

    /// Delays what passes through each replica's proxy to Redis, in each direction.
    pub fn delay(&self, delay: Duration) {
        self.members.iter().for_each(|member| member.proxy.delay(delay));
    }

    /// Makes each replica's proxy to Redis accept connections again.
    pub fn restore_proxies(&self) {
        self.members.iter().for_each(|member| member.proxy.restore());
    }

    /// Kills the last known leader.
    pub async fn kill_leader(&mut self) {
        let leader = self.leader.clone();
        let member = self.member_mut(&leader);
        if let Some(mut replica) = member.replica.take() {
            replica.signal(Signal::KILL);
            replica.exit().await;
            self.logs.extend(replica.log());
            self.killed.push((leader, now()));
        }
    }

    /// Starts the last known leader again, as its supervisor does.
    pub async fn start_leader_again(&mut self) {
        let leader = self.leader.clone();
        let member = self.member_mut(&leader);
        member.replica = Some(Replica::start_unready(&member.settings).await);
    }

    /// Returns the replicas that run.
    pub fn replicas(&self) -> impl Iterator<Item = &Replica> {
        self.members.iter().filter_map(|member| member.replica.as_ref())
    }

    /// Waits until each client has an entry that was made after `moment`, and no replica holds more than one record.
    /// Returns false if that takes longer than `limit`.
    pub async fn is_flowing(&self, moment: u64, limit: Duration) -> bool {
        let started = std::time::Instant::now();
        loop {
            let mut flows = self.watchers.iter().all(|watcher| watcher.last() > moment);
            for replica in self.replicas() {
                flows = flows && replica.metric("btcfeed_held_records").await <= 1.0;
            }
            if flows || started.elapsed() > limit {
                return flows;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Returns the records of the case. They may be incomplete for the time after `end`.
    pub async fn records(&self, end: u64) -> Records {
        let mut connection = self.redis.connection().await;
        let mut command = redis::cmd("ZRANGE");
        command.arg("{btcfeed}:ticks").arg(0).arg(-1).arg("WITHSCORES");
        let history: Vec<(String, f64)> = command.query_async(&mut connection).await.unwrap();
        let lines = self.replicas().flat_map(Replica::log).chain(self.logs.clone());
        let polled = lines.filter(|line| line.contains("\"polled\"")).collect();
        let clients: Vec<Vec<Value>> = self.watchers.iter().map(Watcher::messages).collect();
        Records {
            polls: self.exchange.answers(),
            history: history.into_iter().map(|(text, score)| (score, text)).collect(),
            clients,
            killed: self.killed.clone(),
            polled,
            interval_ms: u64::try_from(self.interval.as_millis()).unwrap(),
            stale_after_ms: u64::try_from(STALE_AFTER.as_millis()).unwrap(),
            handover_ms: None,
            prices_after: 0,
            end,
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Inside another runtime, a runtime cannot wait for its threads.
        self.markets.take().into_iter().for_each(tokio::runtime::Runtime::shutdown_background);
    }
}

impl Member {
    /// Connects the replica to the Redis at another port.
    pub async fn connect_to(&self, port: u16) {
        self.proxy.redirect(port);
        self.proxy.cut();
        until("the connections to end", async || self.proxy.open() == 0).await;
        self.proxy.restore();
    }

    async fn start(&mut self) {
        self.replica = Some(Replica::start(&self.settings).await);
    }

    /// Gives the replica a certificate.
    fn use_tls(&mut self) {
        let authority = Authority::new();
        self.settings.extend(authority.settings().map(|(name, path)| (name.to_owned(), path)));
        self.port.authority = Some(Arc::new(authority));
    }

    /// Requests `/v1/status`.
    async fn report(&self) -> Option<Value> {
        let Port { address, authority } = &self.port;
        let (client, scheme) = http_for(authority.as_deref());
        let response = client.get(format!("{scheme}://{address}/v1/status")).send().await.ok()?;
        Some(response.json().await.unwrap())
    }

    /// Returns true if the replica runs, and reports in `/v1/status`, in a metric and in its log that the store cannot
    /// be written.
    pub async fn is_told(&self) -> bool {
        let (Some(replica), Some(report)) = (&self.replica, self.report().await) else { return false };
        let store = &report["store"];
        store["up"] == false
            && store["fault"].is_string()
            && replica.metric("btcfeed_store_up").await == 0.0
            && !replica.logged("the store cannot be written at the moment").is_empty()
    }
}
