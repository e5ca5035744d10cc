//! A Redis with replicas and Sentinels, and a Redis Cluster.

use super::ports::free_port;
use super::redis::{Redis, program};
use super::{until, until_within};
use redis::{Value, from_redis_value};
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// The name under which the Sentinels know the primary.
const MASTER: &str = "the-feed";

/// A primary with two replicas, and three Sentinels.
pub struct Sentinels {
    pub servers: Vec<Redis>,
    /// The ports of the Sentinels.
    pub ports: Vec<u16>,
    _sentinels: Vec<(Child, TempDir)>,
}

impl Sentinels {
    /// Starts all servers, and waits until the Sentinels know each other and the replicas.
    pub async fn start() -> Sentinels {
        let primary = Redis::start().await;
        let port = primary.port.to_string();
        let replica = ["--replicaof", "127.0.0.1", &port, "--repl-diskless-sync-delay", "0"];
        let servers = vec![primary, Redis::start_with(&replica).await, Redis::start_with(&replica).await];
        let (mut ports, mut sentinels) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let (own, folder) = (free_port(), tempfile::tempdir().unwrap());
            let file = folder.path().join("sentinel.conf");
            let text = format!(
                "port {own}\nbind 127.0.0.1\ndir {}\nsentinel monitor {MASTER} 127.0.0.1 {port} 2\n\
                 sentinel down-after-milliseconds {MASTER} 1000\nsentinel failover-timeout {MASTER} 1000\n\
                 sentinel parallel-syncs {MASTER} 2\n",
                folder.path().display()
            );
            std::fs::write(&file, text).unwrap();
            let mut command = Command::new(program());
            command.arg(&file).arg("--sentinel").stdout(Stdio::null()).kill_on_drop(true);
            sentinels.push((command.spawn().unwrap(), folder));
            ports.push(own);
        }
        let started = Sentinels { servers, ports, _sentinels: sentinels };
        for port in &started.ports {
            until("the Sentinels to know all others", async || {
                let Some(state) = started.master_state(*port).await else { return false };
                state("num-slaves") == "2" && state("num-other-sentinels") == "2" && state("flags") == "master"
            })
            .await;
        }
        started
    }

    async fn master_state(&self, port: u16) -> Option<impl Fn(&str) -> String + use<>> {
        let words = ask(port, &["SENTINEL", "MASTER", MASTER]).await?;
        let words: Vec<String> = from_redis_value(words).ok()?;
        Some(move |name: &str| {
            let place = words.iter().position(|word| word == name);
            place.and_then(|place| words.get(place + 1).cloned()).unwrap_or_default()
        })
    }

    /// Returns the `REDIS_URL` for btcfeed.
    pub fn url(&self) -> String {
        let hosts: Vec<_> = self.ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        format!("redis+sentinel://{}/0?master={MASTER}", hosts.join(","))
    }

    /// Returns the address of the first Sentinel.
    pub fn sentinel(&self) -> String {
        format!("127.0.0.1:{}", self.ports[0])
    }

    /// Returns the place of the primary among the servers.
    pub async fn primary(&self) -> usize {
        let mut found = None;
        until("a primary", async || {
            let answer = ask(self.ports[0], &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER]).await;
            let port = answer.and_then(|answer| from_redis_value::<(String, u16)>(answer).ok());
            found = port.and_then(|(_, port)| self.servers.iter().position(|server| server.port == port));
            found.is_some()
        })
        .await;
        found.unwrap()
    }

    /// Asks a Sentinel for a planned failover.
    pub async fn fail_over(&self) {
        ask(self.ports[0], &["SENTINEL", "FAILOVER", MASTER]).await.expect("the Sentinel begins a failover");
    }

    /// Kills the primary. Returns its place, and that of the new one after its promotion.
    pub async fn kill_primary(&mut self) -> (usize, usize) {
        let old = self.primary().await;
        self.servers[old].kill().await;
        let mut new = old;
        until_within(Duration::from_secs(20), "a replica to be promoted", async || {
            new = self.primary().await;
            new != old && is_primary(self.servers[new].port).await
        })
        .await;
        (old, new)
    }

    /// Starts a killed server as a replica of the primary, and waits until both replicas follow. On a busy machine the
    /// Sentinels may choose another primary meanwhile.
    pub async fn rejoin(&mut self, place: usize) {
        let primary = self.servers[self.primary().await].port;
        self.servers[place].run_as_replica_of(primary).await;
        until("the replicas to follow the primary", async || self.is_settled().await).await;
    }

    /// Returns true if both replicas follow the primary and all Sentinels know that.
    async fn is_settled(&self) -> bool {
        let primary = self.servers[self.primary().await].port;
        let info = ask(primary, &["INFO", "replication"]).await.and_then(|info| from_redis_value::<String>(info).ok());
        if info.is_none_or(|info| info.matches("state=online").count() != 2) {
            return false;
        }
        for port in &self.ports {
            let Some(state) = self.master_state(*port).await else { return false };
            if state("num-slaves") != "2" || state("flags") != "master" || state("port") != primary.to_string() {
                return false;
            }
        }
        true
    }
}

/// Three primaries, each with a replica.
pub struct RedisCluster {
    pub nodes: Vec<Redis>,
}

impl RedisCluster {
    /// Starts a cluster and waits until it works.
    pub async fn start() -> RedisCluster {
        let (mut nodes, mut bus) = (Vec::new(), Vec::new());
        for _ in 0..6 {
            bus.push(free_port().to_string());
            let arguments = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-port"];
            let arguments =
                [&arguments[..], &[bus[bus.len() - 1].as_str(), "--repl-diskless-sync-delay", "0"]].concat();
            nodes.push(Redis::start_with(&arguments).await);
        }
        let first = nodes[0].port.to_string();
        for node in &nodes[1..] {
            node.command(&["CLUSTER", "MEET", "127.0.0.1", &first, &bus[0]]).await;
        }
        for (node, (begin, end)) in nodes.iter().zip([("0", "5460"), ("5461", "10922"), ("10923", "16383")]) {
            node.command(&["CLUSTER", "ADDSLOTSRANGE", begin, end]).await;
        }
        let cluster = RedisCluster { nodes };
        for (place, node) in cluster.nodes.iter().enumerate() {
            until("the nodes to know each other", async || {
                cluster.info(place, "CLUSTER", "INFO").await.contains("cluster_known_nodes:6")
            })
            .await;
            if place >= 3 {
                let id = cluster.id(place - 3).await;
                until("the node to know its primary", async || {
                    ask(node.port, &["CLUSTER", "REPLICATE", &id]).await.is_some()
                })
                .await;
            }
        }
        for place in 0..6 {
            until("the cluster to work", async || {
                cluster.info(place, "CLUSTER", "INFO").await.contains("cluster_state:ok")
                    && (place >= 3 || cluster.info(place, "INFO", "replication").await.contains("state=online"))
            })
            .await;
        }
        cluster
    }

    async fn info(&self, place: usize, command: &str, argument: &str) -> String {
        let answer = ask(self.nodes[place].port, &[command, argument]).await;
        answer.and_then(|answer| from_redis_value(answer).ok()).unwrap_or_default()
    }

    async fn id(&self, place: usize) -> String {
        from_redis_value(self.nodes[place].command(&["CLUSTER", "MYID"]).await).unwrap()
    }

    /// Returns the `REDIS_URL` for btcfeed, which names two of the nodes.
    pub fn url(&self) -> String {
        format!("redis+cluster://127.0.0.1:{},127.0.0.1:{}", self.nodes[1].port, self.nodes[4].port)
    }

    /// Returns the place of the node that owns the slot of the feed.
    pub async fn owner(&self) -> usize {
        let mut owner = None;
        until("a node to own the slot", async || {
            for (place, node) in self.nodes.iter().enumerate() {
                if is_primary(node.port).await && ask(node.port, &["PTTL", "{btcfeed}:lease"]).await.is_some() {
                    owner = Some(place);
                }
            }
            owner.is_some()
        })
        .await;
        owner.unwrap()
    }

    /// Prepares the slot of the feed to be moved to another primary. Returns the place of the owner, the slot and the
    /// id of the other primary.
    pub async fn open_slot(&self, to: usize) -> (usize, String, String) {
        let from = self.owner().await;
        let slot: u64 = from_redis_value(self.nodes[0].command(&["CLUSTER", "KEYSLOT", "{btcfeed}"]).await).unwrap();
        let (slot, [source, target]) = (slot.to_string(), [self.id(from).await, self.id(to).await]);
        self.nodes[to].command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &source]).await;
        self.nodes[from].command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &target]).await;
        (from, slot, target)
    }

    /// Moves the slot of the feed to another primary, a few keys at a time.
    pub async fn move_slot(&self, to: usize) {
        let (from, slot, id) = self.open_slot(to).await;
        let [source, target] = [&self.nodes[from], &self.nodes[to]];
        let port = target.port.to_string();
        loop {
            let keys = source.command(&["CLUSTER", "GETKEYSINSLOT", &slot, "10"]).await;
            let keys: Vec<String> = from_redis_value(keys).unwrap();
            if keys.is_empty() {
                break;
            }
            let keys: Vec<_> = keys.iter().map(String::as_str).collect();
            source.command(&[&["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"][..], &keys].concat()).await;
        }
        target.command(&["CLUSTER", "SETSLOT", &slot, "NODE", &id]).await;
        source.command(&["CLUSTER", "SETSLOT", &slot, "NODE", &id]).await;
    }
}

async fn is_primary(port: u16) -> bool {
    let role = ask(port, &["ROLE"]).await.and_then(|role| from_redis_value::<Vec<Value>>(role).ok());
    role.is_some_and(|role| from_redis_value::<String>(role[0].clone()).is_ok_and(|role| role == "master"))
}

/// Sends a command over a new connection. Returns `None` if that fails.
async fn ask(port: u16, words: &[&str]) -> Option<Value> {
    let client = redis::Client::open(format!("redis://127.0.0.1:{port}")).ok()?;
    let mut connection = client.get_multiplexed_async_connection().await.ok()?;
    redis::cmd(words[0]).arg(&words[1..]).query_async(&mut connection).await.ok()
}
