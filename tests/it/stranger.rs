//! gRPC with a client of another make: Python's grpcio, with code that it generates itself (`stranger.py`), straight to a
//! replica and through nginx.

use crate::support::nginx::Nginx;
use crate::support::{SOON, World, until};
use rustix::process::Signal;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// The Python that `tests/setup` made, or the system's.
fn python() -> PathBuf {
    let ours = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("tests-python").join("bin/python3");
    if ours.exists() { ours } else { "python3".into() }
}

fn stranger(what: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(python());
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/stranger.py")).arg(what).args(arguments);
    command.env("PYTHONDONTWRITEBYTECODE", "1").stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    command
}

/// How long a stranger may take to start, who first reads megabytes of Python and generates some, and to look at everything.
const START: Duration = SOON.saturating_mul(3);
const LOOK: Duration = SOON.saturating_mul(6);

async fn look(address: &str) {
    let output = timeout(LOOK, stranger("look", &[address]).stderr(Stdio::piped()).output()).await;
    let output = output.expect("the stranger is done in time").expect("python3 is installed (see `make test`)");
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // No excuse: a machine without grpcio has not tested what this test promises.
    assert!(!errors.contains("ModuleNotFoundError"), "python3 lacks a part of grpcio (see `make test`):\n{errors}");
    assert!(output.status.success() && said.contains("ok after"), "{said}\n{errors}");
}

/// One who follows the feed.
struct Follower {
    _child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Follower {
    fn start(address: &str, after: u64) -> Follower {
        let mut child = stranger("follow", &[address, &after.to_string()]).spawn().expect("python3 is installed");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Follower { _child: child, lines }
    }

    async fn line(&mut self) -> String {
        let line = timeout(START, self.lines.next_line()).await.expect("a line in time");
        line.unwrap().expect("a line")
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
    let mut follower = Follower::start(&replicas[0].address, last);
    follower.entries(4, &mut last).await;
    replicas[0].signal(Signal::TERM);
    let end = follower.end().await;
    assert_eq!(end, "UNAVAILABLE: this replica is stopping, come back with your last id");
    assert!(replicas[0].exit().await.success());
    // Through nginx, which finds out by itself that it is gone.
    let mut follower = Follower::start(&nginx.grpc_address, last);
    follower.entries(4, &mut last).await;
    replicas[1].signal(Signal::KILL);
    replicas[1].exit().await;
    let mut follower = Follower::start(&nginx.grpc_address, last);
    follower.entries(4, &mut last).await;
    assert!(last > 0);
}
