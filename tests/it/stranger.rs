//! Clients of another make, which have nothing in common with the server: Python's grpcio, with code that it generates itself
//! (`stranger.py`), Python's websockets (`stranger_ws.py`) and curl, straight to a replica and through nginx.

use crate::support::events::Event;
use crate::support::nginx::Nginx;
use crate::support::{SOON, World, soon, unbroken, until};
use rustix::process::Signal;
use serde_json::Value;
use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// A command whose output is read. No proxy is asked: what it talks to is on this machine.
fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env("NO_PROXY", "*").env("no_proxy", "*");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    command
}

/// A script of this folder, in the Python that `tests/setup` made, or the system's.
fn script(name: &str, arguments: &[&str]) -> Command {
    let ours = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("tests-python").join("bin/python3");
    let mut command = command(if ours.exists() { ours } else { "python3".into() });
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it").join(name)).args(arguments);
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// How long a stranger may take to start, who first reads megabytes of Python and generates some, and to look at everything.
const START: Duration = SOON.saturating_mul(3);
const LOOK: Duration = SOON.saturating_mul(6);

async fn look(address: &str) {
    let output = timeout(LOOK, script("stranger.py", &["look", address]).stderr(Stdio::piped()).output()).await;
    let output = output.expect("the stranger is done in time").expect("python3 is installed (see `make test`)");
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // No excuse: a machine without grpcio has not tested what this test promises.
    assert!(!errors.contains("ModuleNotFoundError"), "python3 lacks a part of grpcio (see `make test`):\n{errors}");
    assert!(output.status.success() && said.contains("ok after"), "{said}\n{errors}");
}

/// One who follows the feed.
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
        Follower::start(script("stranger.py", &["follow", address, &after.to_string()]))
    }

    fn over_websocket(address: &str, after: u64) -> Follower {
        let url = format!("ws://{address}/v1/ws?format=full&after={after}");
        Follower::start(script("stranger_ws.py", &[&url]))
    }

    /// curl as one types it, without what its owner has written down for it.
    fn curl(address: &str, more: &[&str]) -> Follower {
        let mut curl = command("curl");
        curl.args(["-q", "-sN", &format!("http://{address}/v1/prices/stream?format=full&since=0")]).args(more);
        Follower::start(curl)
    }

    /// The next line; `None` at the end of what it says.
    async fn try_line(&mut self) -> Option<String> {
        timeout(START, self.lines.next_line()).await.expect("a line in time").unwrap()
    }

    async fn line(&mut self) -> String {
        self.try_line().await.expect("a line")
    }

    /// The next event in what curl prints, an entry of which is `seen` then; `None` if there is no whole one any more.
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

    /// Reads events until `count` more entries are `seen`.
    async fn read(&mut self, count: usize, seen: &mut Vec<Value>) {
        let enough = seen.len() + count;
        while seen.len() < enough {
            self.event(seen).await.expect("an event");
        }
    }

    /// Reads `count` entries that follow on each other and on `last`.
    async fn entries(&mut self, count: usize, last: &mut u64) {
        for _ in 0..count {
            let line = self.line().await;
            let (prev, id) = line.split_once(' ').unwrap();
            assert_eq!(prev.parse(), Ok(*last), "{line}");
            *last = id.parse().unwrap();
        }
    }

    /// The status at the end.
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
async fn a_stranger_finds_everything_as_it_is_promised() {
    let world = World::new().await;
    let replica = world.replica("r1", &[]).await;
    until("a price", async || replica.get("/v1/prices/latest").await.0 == 200).await;
    look(&replica.address).await;
}

#[tokio::test]
async fn a_stranger_finds_the_same_through_nginx() {
    let world = World::new().await;
    let replicas: [_; 2] = world.replicas().await;
    let nginx = Nginx::start(&[&replicas[0].address, &replicas[1].address]).await;
    look(&nginx.grpc_address).await;
}

#[tokio::test]
async fn a_stranger_whose_replica_stops_or_dies_goes_on_elsewhere() {
    let world = World::new().await;
    let mut replicas: [_; 3] = world.replicas().await;
    let addresses = [0, 1, 2].map(|number: usize| replicas[number].address.clone());
    let nginx = Nginx::start(&[&addresses[0], &addresses[1], &addresses[2]]).await;
    let mut last = 0;
    let mut follower = Follower::over_grpc(&replicas[0].address, last);
    follower.entries(4, &mut last).await;
    replicas[0].signal(Signal::TERM);
    let end = follower.end().await;
    assert_eq!(end, "UNAVAILABLE: this replica is stopping, come back with your last id");
    assert!(replicas[0].exit().await.success());
    // Through nginx, which finds out by itself that it is gone.
    let mut follower = Follower::over_grpc(&nginx.grpc_address, last);
    follower.entries(4, &mut last).await;
    replicas[1].signal(Signal::KILL);
    replicas[1].exit().await;
    let mut follower = Follower::over_grpc(&nginx.grpc_address, last);
    follower.entries(4, &mut last).await;
    assert!(last > 0);
}

#[tokio::test]
async fn a_websocket_library_of_another_make_stays_is_told_why_it_ends_and_resumes() {
    let world = World::new().await;
    let pings = [("BTCFEED_PING_EVERY", "2s")];
    let mut replicas = [world.replica("r1", &pings).await, world.replica("r2", &pings).await];
    let nginx = Nginx::start(&[&replicas[0].address, &replicas[1].address]).await;
    let mut last = 0;
    let mut follower = Follower::over_websocket(&replicas[0].address, last);
    follower.entries(1, &mut last).await;
    // Who answers no ping is let go after two.
    let enough = last + 7000;
    while last < enough {
        follower.entries(1, &mut last).await;
    }
    replicas[0].signal(Signal::TERM);
    assert_eq!(follower.end().await, "CLOSED 1001: this replica is stopping, come back with your last id");
    assert_eq!(follower.try_line().await, None);
    assert!(replicas[0].exit().await.success());
    let mut follower = Follower::over_websocket(&nginx.address, last);
    follower.entries(4, &mut last).await;
}

#[tokio::test]
async fn curl_loses_its_replica_and_goes_on_elsewhere_with_the_last_event_id() {
    let world = World::new().await;
    let [mut first, second, third] = world.replicas().await;
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
    assert!(soon("curl to end", curl.child.wait()).await.unwrap().success(), "nothing was cut off");
    assert!(first.exit().await.success());
    let mut curl = Follower::curl(&second.address, &["-H", &resume(&seen)]);
    curl.read(4, &mut seen).await;
    // What had not been read by then is asked for again.
    second.signal(Signal::KILL);
    let mut curl = Follower::curl(&third.address, &["-H", &resume(&seen)]);
    curl.read(4, &mut seen).await;
    unbroken(&seen);
    assert_eq!(third.history_with(seen.last().unwrap()).await[..seen.len()], seen);
}
