//! A redis-server that belongs to one test.

use super::clock::ShiftedClock;
use super::ports::free_port;
use super::tls::Authority;
use super::{signal, soon, until};
use redis::AsyncCommands;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Stdio;
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// A redis-server, which can be stopped and started again.
pub struct Redis {
    child: Option<Child>,
    dir: TempDir,
    /// Additional arguments of the server.
    arguments: Vec<String>,
    /// Additional variables of its environment.
    environment: Vec<(String, String)>,
    /// Port of the server.
    pub port: u16,
}

/// Returns the server's program. `BTCFEED_TEST_REDIS` names another one, such as Valkey's.
pub fn program() -> String {
    std::env::var("BTCFEED_TEST_REDIS").unwrap_or_else(|_| "redis-server".to_owned())
}

impl Redis {
    /// Starts a server that writes each change to its append-only file before it replies.
    pub async fn start() -> Redis {
        Redis::start_with(&[]).await
    }

    /// Starts a server with these additional arguments.
    pub async fn start_with(arguments: &[&str]) -> Redis {
        let dir = tempfile::tempdir().unwrap();
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let mut redis = Redis { child: None, dir, arguments, environment: vec![], port: free_port() };
        redis.run().await;
        redis
    }

    /// Starts a server with this clock.
    pub async fn start_at(clock: &ShiftedClock) -> Redis {
        let (dir, environment) = (tempfile::tempdir().unwrap(), clock.environment().into());
        let mut redis = Redis { child: None, dir, arguments: vec![], environment, port: free_port() };
        redis.run().await;
        redis
    }

    /// Returns the directory of its files.
    pub fn directory(&self) -> &Path {
        self.dir.path()
    }

    /// Starts a server that also serves TLS, on a second port, with a certificate of `authority`. Returns the server
    /// and this port. If `mutual` is true, TLS clients need a certificate of `authority`.
    pub async fn start_with_tls(authority: &Authority, mutual: bool) -> (Redis, u16) {
        let (port, files) = (free_port(), ["cert.pem", "key.pem", "ca.pem"].map(|name| authority.path(name)));
        let [certificate, key, ca] = &files;
        let clients = if mutual { "yes" } else { "no" };
        let tls = ["--tls-port", &port.to_string(), "--tls-cert-file", certificate, "--tls-key-file", key];
        (
            Redis::start_with(&[&tls[..], &["--tls-ca-cert-file", ca, "--tls-auth-clients", clients]].concat()).await,
            port,
        )
    }

    /// Runs a command. Fails the test if the server rejects it.
    pub async fn command(&self, words: &[&str]) -> redis::Value {
        let mut connection = self.connection().await;
        redis::cmd(words[0])
            .arg(&words[1..])
            .query_async(&mut connection)
            .await
            .unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// Returns its URL.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Starts the server with the data in its file.
    pub async fn run(&mut self) {
        let mut command = Command::new(program());
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"]);
        command.args(["--appendfsync", "always", "--dir"]).arg(self.dir.path()).args(&self.arguments);
        command.envs(self.environment.iter().cloned()).stdout(Stdio::null()).kill_on_drop(true);
        self.child = Some(command.spawn().expect("redis-server is installed (see `make test`)"));
        until("redis to answer", async || self.try_connect().await.is_some()).await;
    }

    /// Starts the server as a replica of the server on another port of this machine.
    pub async fn run_as_replica_of(&mut self, port: u16) {
        self.arguments = ["--replicaof", "127.0.0.1", &port.to_string(), "--repl-diskless-sync-delay", "0"]
            .map(str::to_owned)
            .into();
        self.run().await;
    }

    /// Kills the server.
    pub async fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        soon("redis to die", child.kill()).await.unwrap();
    }

    /// Pauses the server. Its connections stay open.
    pub fn pause(&self) {
        signal(self.child.as_ref().expect("it runs"), Signal::STOP);
    }

    /// Resumes a paused server.
    pub fn resume(&self) {
        signal(self.child.as_ref().expect("it runs"), Signal::CONT);
    }

    /// Deletes the files of the server.
    pub fn delete_data(&self) {
        for entry in std::fs::read_dir(self.dir.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }.unwrap();
        }
    }

    /// Writes a history of `count` ticks, one for each second. The last one is five seconds old. Returns their ids.
    pub async fn fill(&self, count: u64) -> Vec<u64> {
        let tick = json!({"type": "tick", "prices": {"USD": "97000.10"}, "sources": {"USD": ["kraken"]}});
        self.write(vec![tick; usize::try_from(count).unwrap()]).await
    }

    /// Writes these events as a history, one for each second. The last one is five seconds old. Returns their ids.
    pub async fn write(&self, events: Vec<Value>) -> Vec<u64> {
        let begin = btcfeed::tick::TickId::now().ms() - 5000 - (events.len() as u64).saturating_sub(1) * 1000;
        let (mut ids, mut connection) = (Vec::new(), self.connection().await);
        for part in events.chunks(2000) {
            let mut add = redis::cmd("ZADD");
            add.arg("{btcfeed}:ticks");
            for event in part {
                let (mut entry, id) = (event.clone(), begin + ids.len() as u64 * 1000);
                entry["prev"] = ids.last().copied().unwrap_or(0).into();
                entry["id"] = id.into();
                add.arg(id).arg(entry.to_string());
                ids.push(id);
            }
            let _: u64 = add.query_async(&mut connection).await.unwrap();
        }
        ids
    }

    /// Appends a tick after the one with the id `prev`, and publishes it, as a leader does. Returns its id.
    pub async fn append_tick(&self, prev: u64) -> u64 {
        let id = prev + 1000;
        let entry = format!(
            r#"{{"id":{id},"prev":{prev},"type":"tick","prices":{{"USD":"97001.10"}},"sources":{{"USD":["kraken"]}}}}"#
        );
        let mut connection = self.connection().await;
        let _: u64 = connection.zadd("{btcfeed}:ticks", &entry, id).await.unwrap();
        let _: u64 = connection.publish("{btcfeed}:live", &entry).await.unwrap();
        id
    }

    /// Returns a new connection.
    pub async fn connection(&self) -> redis::aio::MultiplexedConnection {
        self.try_connect().await.expect("redis answers")
    }

    /// Returns a new connection, if the server answers.
    pub async fn try_connect(&self) -> Option<redis::aio::MultiplexedConnection> {
        let client = redis::Client::open(self.url()).ok()?;
        let mut connection = client.get_multiplexed_async_connection().await.ok()?;
        let pong: Result<String, _> = redis::cmd("PING").query_async(&mut connection).await;
        // A server that cannot save its data rejects even PING.
        let answers = pong.as_ref().err().is_none_or(|error| error.code() == Some("MISCONF"));
        answers.then_some(connection)
    }

    /// Returns the name of the replica that holds the lease, if there is one.
    pub async fn leader(&self) -> Option<String> {
        let token: Option<String> = self.connection().await.get("{btcfeed}:lease").await.unwrap();
        token.and_then(|token| Some(token.split_once('/')?.0.to_owned()))
    }
}
