//! Clients that share no code with the server: Python's grpcio with the code that it generates (`grpc_client.py`),
//! Python's websockets (`websocket_client.py`), and curl. They connect to a replica directly, and through nginx.

use crate::support::events::Event;
use crate::support::nginx::Nginx;
use crate::support::{TIMEOUT, TestCluster, soon, unbroken};
use rustix::process::Signal;
use serde_json::Value;
use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// Returns a command whose output is read. The program uses no proxy, because the servers are on this machine.
fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env("NO_PROXY", "*").env("no_proxy", "*");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    command
}

/// Returns a command that runs a script with the Python that `tests/setup` prepared, or with the system's if there is
/// none.
fn script(name: &str, arguments: &[&str]) -> Command {
    let ours = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("tests-python").join("bin/python3");
    let mut command = command(if ours.exists() { ours } else { "python3".into() });
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/interop").join(name)).args(arguments);
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// Time for a Python client to start: it loads megabytes of modules and generates code.
const START_TIMEOUT: Duration = TIMEOUT.saturating_mul(3);
/// Time for all checks of the gRPC client.
const CHECK_TIMEOUT: Duration = TIMEOUT.saturating_mul(6);

/// Runs the checks of the gRPC client against `address`.
async fn check(address: &str) {
    let mut command = script("grpc_client.py", &["check", address]);
    let output = timeout(CHECK_TIMEOUT, command.stderr(Stdio::piped()).output()).await;
    let output = output.expect("the checks end in time").expect("python3 is installed (see `make test`)");
    let (printed, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // Without grpcio the test fails, because nothing has been tested.
    assert!(!errors.contains("ModuleNotFoundError"), "python3 lacks a part of grpcio (see `make test`):\n{errors}");
    assert!(output.status.success() && printed.contains("ok after"), "{printed}\n{errors}");
}

/// A client process that follows the feed and prints what it receives.
struct Follower {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Follower {
    fn start(mut command: Command) -> Follower {
        let mut child = command.spawn().expect("python3 and curl are installed (see `make test`)");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Follower { child, lines }
    }

    fn over_grpc(address: &str, after: u64) -> Follower {
        Follower::start(script("grpc_client.py", &["follow", address, &after.to_string()]))
    }

    fn over_websocket(address: &str, after: u64) -> Follower {
        let url = format!("ws://{address}/v1/ws?format=full&after={after}");
        Follower::start(script("websocket_client.py", &[&url]))
    }

    /// Starts curl with the command line of a user, but without the user's `.curlrc`.
    fn curl(address: &str, more: &[&str]) -> Follower {
        let mut curl = command("curl");
        curl.args(["-q", "-sN", &format!("http://{address}/v1/prices/stream?format=full&since=0")]).args(more);
        Follower::start(curl)
    }

    /// Returns the next line, or `None` at the end of the output.
    async fn try_line(&mut self) -> Option<String> {
        timeout(START_TIMEOUT, self.lines.next_line()).await.expect("a line in time").unwrap()
    }

    async fn line(&mut self) -> String {
        self.try_line().await.expect("a line")
    }

    /// Returns the next event that curl prints, or `None` if no complete one follows. Ticks and statuses are added to
    /// `seen`.
    async fn event(&mut self, seen: &mut Vec<Value>) -> Option<Event> {
        let mut block = String::new();
        let event = loop {
            match self.try_line().await?.as_str() {
                "" => break Event::parse(&block),
                line => block = block + line + "\n",
            }
        };
        match event.name.as_deref() {
            None if event.data.is_none() => {}
            None | Some("status") => seen.push(event.json()),
            Some("synced" | "goodbye") => {}
            _ => panic!("neither tick nor status: {event:?}"),
        }
        Some(event)
    }

    /// Reads events until `seen` has `count` more entries.
    async fn read(&mut self, count: usize, seen: &mut Vec<Value>) {
        let enough = seen.len() + count;
        while seen.len() < enough {
            self.event(seen).await.expect("an event");
        }
    }

    /// Reads `count` entries. Each must follow the one before it, and the first must follow `last`.
    async fn entries(&mut self, count: usize, last: &mut u64) {
        for _ in 0..count {
            let line = self.line().await;
            let (prev, id) = line.split_once(' ').unwrap();
            assert_eq!(prev.parse(), Ok(*last), "{line}");
            *last = id.parse().unwrap();
        }
    }

    /// Reads up to the line that says how the stream ended.
    async fn end(&mut self) -> String {
        loop {
            let line = self.line().await;
            if line.starts_with(char::is_uppercase) {
                return line;
            }
        }
    }
}

#[tokio::test]
async fn grpcio_finds_the_documented_behaviour() {
    let cluster = TestCluster::new().await;
    let replica = cluster.replica("r1", &[]).await;
    replica.priced().await;
    check(&replica.address).await;
}

#[tokio::test]
async fn grpcio_finds_the_same_through_nginx() {
    let cluster = TestCluster::new().await;
    let replicas: [_; 2] = cluster.replicas().await;
    let nginx = Nginx::start(&[&replicas[0].address, &replicas[1].address]).await;
    check(&nginx.grpc_address).await;
}

#[tokio::test]
async fn grpcio_resumes_after_a_stop_and_a_kill() {
    let cluster = TestCluster::new().await;
    let mut replicas: [_; 3] = cluster.replicas().await;
    let addresses = [0, 1, 2].map(|number: usize| replicas[number].address.clone());
    let nginx = Nginx::start(&[&addresses[0], &addresses[1], &addresses[2]]).await;
    let mut last = 0;
    let mut follower = Follower::over_grpc(&replicas[0].address, last);
    follower.entries(4, &mut last).await;
    replicas[0].signal(Signal::TERM);
    let end = follower.end().await;
    assert_eq!(end, "UNAVAILABLE: this replica is stopping: reconnect with your last id");
    assert!(replicas[0].exit().await.success());
    // nginx detects by itself that the replica has stopped.
    let mut follower = Follower::over_grpc(&nginx.grpc_address, last);
    follower.entries(4, &mut last).await;
    replicas[1].signal(Signal::KILL);
    replicas[1].exit().await;
    let mut follower = Follower::over_grpc(&nginx.grpc_address, last);
    follower.entries(4, &mut last).await;
    assert!(last > 0);
}

#[tokio::test]
async fn python_websockets_stays_and_resumes() {
    let cluster = TestCluster::new().await;
    let pings = [("BTCFEED_PING_EVERY", "2s")];
    let mut replicas = [cluster.replica("r1", &pings).await, cluster.replica("r2", &pings).await];
    let nginx = Nginx::start(&[&replicas[0].address, &replicas[1].address]).await;
    let mut last = 0;
    let mut follower = Follower::over_websocket(&replicas[0].address, last);
    follower.entries(1, &mut last).await;
    // A client that answers no pings would be closed after two of them.
    let enough = last + 7000;
    while last < enough {
        follower.entries(1, &mut last).await;
    }
    replicas[0].signal(Signal::TERM);
    assert_eq!(follower.end().await, "CLOSED 1001: this replica is stopping: reconnect with your last id");
    assert_eq!(follower.try_line().await, None);
    assert!(replicas[0].exit().await.success());
    let mut follower = Follower::over_websocket(&nginx.address, last);
    follower.entries(4, &mut last).await;
}

#[tokio::test]
async fn curl_resumes_with_last_event_id() {
    let cluster = TestCluster::new().await;
    let [mut first, second, third] = cluster.replicas().await;
    let resume = |seen: &[Value]| format!("Last-Event-ID: {}", seen.last().unwrap()["id"]);
    let mut seen = Vec::new();
    let mut curl = Follower::curl(&first.address, &[]);
    curl.read(4, &mut seen).await;
    first.signal(Signal::TERM);
    let mut event = Event::default();
    while event.name.as_deref() != Some("goodbye") {
        event = curl.event(&mut seen).await.expect("a goodbye");
    }
    assert_eq!((&event.json()["reason"], curl.event(&mut seen).await), (&"draining".into(), None));
    assert!(soon("curl to end", curl.child.wait()).await.unwrap().success(), "the stream ended cleanly");
    assert!(first.exit().await.success());
    let mut curl = Follower::curl(&second.address, &["-H", &resume(&seen)]);
    curl.read(4, &mut seen).await;
    // The next request resumes after the last entry that the test has read, even if this curl has received more.
    second.signal(Signal::KILL);
    let mut curl = Follower::curl(&third.address, &["-H", &resume(&seen)]);
    curl.read(4, &mut seen).await;
    unbroken(&seen);
    assert_eq!(third.history_with(seen.last().unwrap()).await[..seen.len()], seen);
}
