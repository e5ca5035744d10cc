//! A running btcfeed process.

use super::client::Client;
use super::{INTERVAL, LEASE, http, soon, until};
use rustix::process::Signal;
use serde_json::Value;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// A process, killed when dropped. Its log is kept, and printed when a test fails.
pub struct Replica {
    child: Child,
    log: Arc<Mutex<Vec<Value>>>,
    pub address: String,
    pub ops: String,
}

impl Replica {
    /// Starts `btcfeed serve` on free ports with these settings and none of this process's own environment.
    pub async fn start(settings: &[(String, String)]) -> Replica {
        let replica = Replica::start_unready(settings).await;
        replica.ready().await;
        replica
    }

    /// The same without waiting until it is ready.
    pub async fn start_unready(settings: &[(String, String)]) -> Replica {
        let mut command = Command::new(env!("CARGO_BIN_EXE_btcfeed"));
        command.env_clear().env("BTCFEED_LISTEN", "127.0.0.1:0").env("BTCFEED_OPS_LISTEN", "127.0.0.1:0");
        command.env("BTCFEED_LOG_FORMAT", "json").env("RUST_LOG", "info,btcfeed=debug").env("RUST_BACKTRACE", "1");
        command.env("BTCFEED_INTERVAL", format!("{}ms", INTERVAL.as_millis()));
        command.env("BTCFEED_LEASE_TTL", format!("{}ms", LEASE.as_millis()));
        command.envs(settings.iter().cloned()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("btcfeed starts");
        let mut lines = BufReader::new(child.stderr.take().expect("stderr is piped")).lines();
        let log: Arc<Mutex<Vec<Value>>> = Arc::default();
        let kept = log.clone();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let entry = serde_json::from_str(&line).unwrap_or_else(|_| Value::from(line));
                kept.lock().unwrap().push(entry);
            }
        });
        let mut replica = Replica { child, log, address: String::new(), ops: String::new() };
        replica.ops = replica.logged("listening for operators").await["address"].as_str().unwrap().to_owned();
        // Both lines are written before anything is served, the clients' first.
        if let Some(line) = replica.find_logged("listening") {
            replica.address = line["address"].as_str().unwrap().to_owned();
        }
        replica
    }

    /// The first line of the log with this message, once there is one.
    pub async fn logged(&self, message: &str) -> Value {
        let mut found = None;
        until(&format!("{message:?} in the log"), async || {
            found = self.find_logged(message);
            found.is_some()
        })
        .await;
        found.unwrap()
    }

    pub fn find_logged(&self, message: &str) -> Option<Value> {
        self.log.lock().unwrap().iter().find(|line| line["message"] == message).cloned()
    }

    async fn ready(&self) {
        let url = format!("http://{}/readyz", self.ops);
        until("a replica to be ready", async || {
            http().get(&url).send().await.is_ok_and(|response| response.status().is_success())
        })
        .await;
    }

    /// The port of `address`.
    pub fn port(&self) -> u16 {
        self.address.rsplit_once(':').unwrap().1.parse().unwrap()
    }

    /// Connects a WebSocket to `/v1/ws` with this query.
    pub async fn connect(&self, query: &str) -> Client {
        Client::connect(&format!("ws://{}/v1/ws?{query}", self.address)).await
    }

    /// Asks for a path on the clients' port: the status and the body.
    pub async fn get(&self, path: &str) -> (u16, String) {
        let response = soon(path, http().get(format!("http://{}{path}", self.address)).send()).await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// Asks for a path with these headers: the answer, of which nothing but the head has been read.
    pub async fn ask(&self, path: &str, headers: &[(&'static str, &str)]) -> reqwest::Response {
        let mut request = http().get(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        soon(path, request.send()).await.unwrap()
    }

    /// The JSON at a path.
    pub async fn json(&self, path: &str) -> Value {
        let (status, body) = self.get(path).await;
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    /// The whole history in full format, as a client gets it who chose no currency, once it has begun.
    pub async fn history(&self) -> Vec<Value> {
        self.history_where("it has begun", |history| !history.is_empty()).await
    }

    /// The same once it has this entry: another replica may have sent it a moment before.
    pub async fn history_with(&self, entry: &Value) -> Vec<Value> {
        self.history_where("it has what others have", |history| history.contains(entry)).await
    }

    async fn history_where(&self, what: &str, is_wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let mut history = Vec::new();
        until(&format!("a history where {what}"), async || {
            let mut answer = self.json("/v1/prices?format=full&limit=100000").await;
            history = serde_json::from_value(answer["prices"].take()).unwrap();
            is_wanted(&history)
        })
        .await;
        history
    }

    /// How many files, connections among them, the process has open.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    /// The memory that the process has now (`VmRSS`), in KiB.
    pub fn memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// The processor time that the process has used.
    pub fn processor_time(&self) -> Duration {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap();
        // One may end while they are counted.
        let used = threads.filter_map(|thread| std::fs::read_to_string(thread.unwrap().path().join("schedstat")).ok());
        used.map(|used| Duration::from_nanos(used.split_whitespace().next().unwrap().parse().unwrap())).sum()
    }

    pub fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    pub fn signal(&self, signal: Signal) {
        super::signal(&self.child, signal);
    }

    /// Waits for the process to end.
    pub async fn exit(&mut self) -> ExitStatus {
        soon("a process to end", self.child.wait()).await.unwrap()
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log.lock().unwrap();
            let shown = log.iter().rev().take(60).rev().map(ToString::to_string).collect::<Vec<_>>();
            eprintln!("--- the last lines of {}\n{}", self.address, shown.join("\n"));
        }
    }
}
