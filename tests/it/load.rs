//! `btcfeed load`: its numbers are correct, and it reports every fault.

mod wrong;

use crate::support::exchange::Exchange;
use crate::support::program::program;
use crate::support::terminal::Terminal;
use crate::support::{TestCluster, embedded, entries, signal, soon, with_history};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};

fn command(arguments: &[&str]) -> Command {
    let mut command = program();
    // `btcfeed load` ignores the settings of a replica, even invalid ones.
    command.arg("load").args(arguments).env("BTCFEED_INTERVAL", "often").env("TERM", "xterm-256color");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A running load test, whose progress is read line by line.
struct Load {
    child: Child,
    progress: Lines<BufReader<ChildStderr>>,
    error: String,
}

impl Load {
    fn start(arguments: &[&str]) -> Load {
        Load::spawn(command(arguments))
    }

    fn spawn(mut command: Command) -> Load {
        let mut child = command.spawn().unwrap();
        let progress = BufReader::new(child.stderr.take().unwrap()).lines();
        Load { child, progress, error: String::new() }
    }

    /// Waits for a line that contains `what`.
    async fn printed(&mut self, what: &str) {
        while !self.error.contains(what) {
            let line = soon(what, self.progress.next_line()).await.unwrap().expect("the load test runs");
            self.error += &(line + "\n");
        }
    }

    /// Waits until the program ends. Returns the exit code, the result and the progress.
    async fn end(mut self) -> (Option<i32>, String, String) {
        let (mut stdout, mut result) = (self.child.stdout.take().unwrap(), String::new());
        soon("the result", stdout.read_to_string(&mut result)).await.unwrap();
        while let Some(line) = soon("a line", self.progress.next_line()).await.unwrap() {
            self.error += &(line + "\n");
        }
        (soon("the end", self.child.wait()).await.unwrap().code(), result, self.error)
    }

    /// Waits until the program ends. Returns the exit code and the result, which is JSON.
    async fn json(self) -> (Option<i32>, Value) {
        let (code, result, error) = self.end().await;
        assert_eq!(result.lines().count(), 1, "{result}{error}");
        (code, serde_json::from_str(&result).unwrap())
    }
}

/// Asserts that the numbers of a run without faults are consistent.
fn assert_consistent(result: &Value, clients: u64) {
    let number = |field: &str| result[field].as_u64().unwrap_or_else(|| panic!("{field} in {result}"));
    let (entries, updates) = (number("entries"), number("updates"));
    let all = json!({"asked": clients, "started": clients, "connected": clients, "in_sync": clients,
        "at_newest": clients, "refused": 0});
    assert_eq!(result["clients"], all);
    assert_eq!((number("lost"), number("doubled"), &result["gaps"]), (0, 0, &json!({})));
    assert!(entries >= 3, "{result}");
    assert_eq!(updates, entries * clients, "every entry came to every client: {result}");
    assert_eq!(result["age_ms"]["count"], updates);
    assert_eq!(result["spread_ms"]["count"], updates - entries);
    assert_eq!((&result["connect_ms"]["count"], &result["sync_ms"]["count"]), (&json!(clients), &json!(clients)));
    for times in ["age_ms", "spread_ms", "connect_ms", "sync_ms"] {
        let times = ["p50", "p90", "p99", "p99_9", "max"].map(|share| result[times][share].as_f64().unwrap());
        assert!(times.is_sorted() && times[0] > 0.0 && times[4] < 10_000.0, "{times:?}");
    }
    let seconds = result["measured_seconds"].as_f64().unwrap();
    assert!((1.0..20.0).contains(&seconds), "{result}");
    // Seconds are rounded to a thousandth, and the rate to a tenth.
    let rate = updates as f64 / seconds;
    let reported = result["updates_per_second"].as_f64().unwrap();
    assert!((reported - rate).abs() <= 0.06 + rate / 1000.0, "{rate}: {result}");
}

#[tokio::test]
async fn numbers_of_each_transport_are_consistent() {
    let exchange = Exchange::start().await;
    let replica = with_history(&exchange).await;
    // More gRPC clients than a server accepts on one connection (100).
    for (transport, clients, since) in [("ws", 40, true), ("sse", 40, false), ("grpc", 130, false)] {
        let count = clients.to_string();
        let arguments =
            [&replica.address, "--connections", &count, "--transport", transport, "--duration", "2s", "--json"];
        let since = if since { &["--since", "1h", "--currency", "EUR"][..] } else { &[] };
        let (code, result) = Load::start(&[&arguments[..], since].concat()).json().await;
        assert_eq!(code, Some(0), "{result}");
        assert_consistent(&result, clients);
        assert_eq!((&result["transport"], &result["interrupted"]), (&json!(transport), &json!(false)));
        assert_eq!(result["urls"], json!([replica.address]));
        assert_eq!((&result["failures"], &result["reconnects"]), (&json!({}), &json!(0)));
        assert_eq!(result["reconnect_ms"], Value::Null);
        let history = replica.history().await;
        assert!(history.iter().any(|entry| entry["id"] == result["newest"]), "{result}");
    }
}

#[tokio::test]
async fn killed_replica_costs_reconnects_only() {
    let cluster = TestCluster::new().await;
    let [first, second] = cluster.replicas().await;
    entries(&mut second.connect("format=full&since=0").await, 1).await;
    let urls = [first.address.as_str(), &second.address];
    let arguments = ["--connections", "20", "--duration", "6s", "--json"];
    let mut load = Load::start(&[&urls[..], &arguments].concat());
    load.printed("20 of 20 clients are in sync").await;
    first.signal(Signal::KILL);
    let (code, result) = load.json().await;
    assert_eq!(
        (code, &result["reconnects"]),
        (Some(0), &json!(10)),
        "half of the clients were on the killed replica: {result}"
    );
    assert_consistent(&result, 20);
    assert_eq!(result["reconnect_ms"]["count"], 10);
    let failures: u64 = result["failures"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(failures, 10, "{result}");
}

#[tokio::test]
async fn interrupted_run_prints_its_result() {
    let exchange = Exchange::start().await;
    let replica = with_history(&exchange).await;
    for sent in [Signal::INT, Signal::TERM] {
        let mut load = Load::start(&[&replica.address, "--connections", "3", "--duration", "1h"]);
        load.printed("3 of 3 clients are in sync").await;
        signal(&load.child, sent);
        let (code, result, error) = load.end().await;
        assert_eq!(code, Some(0), "{error}");
        for line in [
            " 3 clients over WebSocket, measured for ",
            " s, ended early\n",
            "\n connected    3 of 3\n up to date   3 of 3 have the newest update\n",
            "\n lost         0\n doubled      0\n gaps         none\n reconnects   0\n",
            "       p50       p90       p99     p99.9       max\n age  ",
        ] {
            assert!(result.contains(line), "no {line:?} in\n{result}");
        }
        assert!(!error.contains(['\x1b', '\r']), "{error:?}");
    }
}

#[tokio::test]
async fn terminal_shows_a_bar_and_then_the_result() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[("BTCFEED_MAX_CONNECTIONS", "4")]).await;
    entries(&mut replica.connect("format=full&since=0").await, 1).await;
    let mut terminal = Terminal::run(command(&[&replica.address, "--connections", "3", "--duration", "1h"]), 90);
    let measuring = |screen: &str| screen.contains("measuring ━") && screen.contains("3 connected · ");
    terminal.shows("a bar", measuring).await;
    terminal.shows("a time", |screen| screen.contains(" ms · 0 lost")).await;
    terminal.signal(Signal::INT);
    assert_eq!(terminal.exit().await.code(), Some(0));
    let screen = terminal.shows("the result", |screen| screen.contains("\n connect ")).await;
    assert!(!screen.contains(['━', '─']) && screen.contains("3 of 3 clients are in sync after"), "{screen}");
    // Rejected clients are counted by their reason.
    let mut terminal = Terminal::run(command(&[&replica.address, "--connections", "6", "--duration", "1h"]), 90);
    let rejected = |screen: &str| screen.contains("connecting") && screen.contains("4 of 6 · ");
    terminal.shows("rejected clients", rejected).await;
    terminal.signal(Signal::INT);
    assert_eq!(terminal.exit().await.code(), Some(0));
    terminal.shows("the reason", |screen| screen.contains(": HTTP 503: ")).await;
}
