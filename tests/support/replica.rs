//! A running btcfeed process.

use super::client::Client;
use super::ports::free_address;
use super::program::{clear_environment, program};
use super::{INTERVAL, LEASE, http, soon, until};
use rustix::process::Signal;
use serde_json::Value;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// Number of the last lines of a replica's log that are printed if a test fails.
const SHOWN_LINES: usize = 60;

/// A process that is killed when it is dropped. Its log is for people: only tests about the log read it.
pub struct Replica {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    /// Address for clients.
    pub address: String,
    /// Address for operators.
    pub ops: String,
}

/// Returns a command that starts a replica with these settings, and without the environment of this process.
pub fn serve_command(settings: &[(String, String)]) -> Command {
    let mut command = program();
    command.env("RUST_LOG", "info,btcfeed=debug").env("RUST_BACKTRACE", "1");
    command.env("BTCFEED_DATA", "none");
    command.env("BTCFEED_INTERVAL", format!("{}ms", INTERVAL.as_millis()));
    command.env("BTCFEED_LEASE_TTL", format!("{}ms", LEASE.as_millis()));
    // All clients of a test have the same address, so the limits of an address are very high.
    for limit in ["CONNECTIONS", "RATE", "READS", "CLIENT_IDS"] {
        command.env(format!("BTCFEED_ADDRESS_{limit}"), "1000000");
    }
    command.env("BTCFEED_ADDRESS_VOLUME", "1000000000");
    command.envs(settings.iter().cloned());
    command
}

impl Replica {
    /// Starts a replica and waits until it is ready.
    pub async fn start(settings: &[(String, String)]) -> Replica {
        let replica = Replica::start_unready(settings).await;
        replica.ready().await;
        replica
    }

    /// Starts a replica and waits until it listens.
    pub async fn start_unready(settings: &[(String, String)]) -> Replica {
        Replica::run(serve_command(settings), settings).await
    }

    /// Starts a program, perhaps of another version, with its default limits. Waits until it is ready.
    pub async fn start_program(program: &Path, settings: &[(String, String)]) -> Replica {
        let mut command = Command::new(program);
        clear_environment(&mut command);
        command.arg("serve").envs(settings.iter().cloned());
        let replica = Replica::run(command, settings).await;
        replica.ready().await;
        replica
    }

    async fn run(mut command: Command, settings: &[(String, String)]) -> Replica {
        let address = |name: &str| {
            let given = settings.iter().find(|(setting, _)| setting == name);
            given.map_or_else(free_address, |(_, address)| address.clone())
        };
        let (address, ops) = (address("BTCFEED_LISTEN"), address("BTCFEED_OPS_LISTEN"));
        command.env("BTCFEED_LISTEN", &address).env("BTCFEED_OPS_LISTEN", &ops).stderr(Stdio::piped());
        let mut child = command.spawn().expect("btcfeed starts");
        let mut lines = BufReader::new(child.stderr.take().expect("stderr is piped")).lines();
        let log: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = log.clone();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                kept.lock().unwrap().push(line);
            }
        });
        let mut replica = Replica { child, log, address, ops };
        let url = format!("http://{}/livez", replica.ops);
        until("a replica to listen", async || {
            let exit = replica.child.try_wait().unwrap();
            assert!(exit.is_none(), "the replica has ended: {exit:?}");
            http().get(&url).send().await.is_ok()
        })
        .await;
        replica
    }

    pub async fn ready(&self) {
        until("a replica to be ready", async || self.is_ready().await).await;
    }

    /// Returns true if `/readyz` says that the replica is ready.
    pub async fn is_ready(&self) -> bool {
        let answer = http().get(format!("http://{}/readyz", self.ops)).send().await;
        answer.is_ok_and(|response| response.status().is_success())
    }

    /// Returns the lines of the log.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// Returns the lines of the log with this message, if `BTCFEED_LOG_FORMAT` is `json`.
    pub fn logged(&self, message: &str) -> Vec<Value> {
        let log = self.log.lock().unwrap();
        let lines = log.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["message"] == message).collect()
    }

    /// Returns the socket address for clients.
    pub fn socket_address(&self) -> SocketAddr {
        self.address.parse().unwrap()
    }

    /// Returns the port for clients.
    pub fn port(&self) -> u16 {
        self.socket_address().port()
    }

    /// Connects a WebSocket to `/v1/ws` with this query.
    pub async fn connect(&self, query: &str) -> Client {
        Client::connect(&format!("ws://{}/v1/ws?{query}", self.address)).await
    }

    /// Requests a path on the port for clients. Returns the status and the body.
    pub async fn get(&self, path: &str) -> (u16, String) {
        let response = soon(path, http().get(format!("http://{}{path}", self.address)).send()).await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// Requests a path with these headers. Returns the response with its body unread.
    pub async fn ask(&self, path: &str, headers: &[(&'static str, &str)]) -> reqwest::Response {
        let mut request = http().get(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        soon(path, request.send()).await.unwrap()
    }

    /// Waits until the replica has a price.
    pub async fn priced(&self) {
        until("a price", async || self.get("/v1/prices/latest").await.0 == 200).await;
    }

    /// Returns the metrics.
    pub async fn metrics(&self) -> String {
        let response = http().get(format!("http://{}/metrics", self.ops)).send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
        assert_eq!(response.headers()["x-content-type-options"], "nosniff");
        response.text().await.unwrap()
    }

    /// Returns the value of a series, such as `btcfeed_clients{transport="websocket"}`.
    pub async fn metric(&self, series: &str) -> f64 {
        metric_value(&self.metrics().await, series)
    }

    /// Returns the JSON at a path.
    pub async fn json(&self, path: &str) -> Value {
        let (status, body) = self.get(path).await;
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    /// Returns the whole history in full format and the default currency, once it has an entry.
    pub async fn history(&self) -> Vec<Value> {
        self.history_where("with an entry", |history| !history.is_empty()).await
    }

    /// Returns the history once it has this entry. A client may have received the entry from another replica earlier.
    pub async fn history_with(&self, entry: &Value) -> Vec<Value> {
        self.history_where("with an entry of another replica", |history| history.contains(entry)).await
    }

    async fn history_where(&self, what: &str, is_wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let mut history = Vec::new();
        until(&format!("a history {what}"), async || {
            let mut answer = self.json("/v1/prices?format=full&limit=100000").await;
            history = serde_json::from_value(answer["prices"].take()).unwrap();
            is_wanted(&history)
        })
        .await;
        history
    }

    /// Waits until the newest entry of the history is a status with this state.
    pub async fn state(&self, state: &str) {
        let is_it = async || self.history().await.last().unwrap()["state"] == state;
        until(&format!("the feed to be {state}"), is_it).await;
    }

    /// Returns the number of files that the process has open, connections included.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    /// Returns the resident memory of the process (`VmRSS`), in KiB.
    pub fn memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Returns the processor time that the process has used.
    pub fn processor_time(&self) -> Duration {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap();
        // A thread may end before its time is read.
        let used = threads.filter_map(|thread| std::fs::read_to_string(thread.unwrap().path().join("schedstat")).ok());
        used.map(|used| Duration::from_nanos(used.split_whitespace().next().unwrap().parse().unwrap())).sum()
    }

    /// Returns the process id.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// Sends a signal to the process.
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
            let shown = &log[log.len().saturating_sub(SHOWN_LINES)..];
            eprintln!("--- the last lines of {}\n{}", self.address, shown.join("\n"));
        }
    }
}

/// Returns the value of a series in the text of all metrics.
pub fn metric_value(text: &str, series: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in {text}")).parse().unwrap()
}
