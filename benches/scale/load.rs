//! Process with clients. The number of descriptors of a process is limited, so a hundred thousand clients need several
//! processes.
//!
//! The process reads commands from its standard input, one on each line, and answers on its standard output. It ends
//! when its input ends.

use crate::SPARE_DESCRIPTORS;
use crate::shared::client_pool::ClientPool;
use crate::shared::connection::{self, Transport};
use crate::shared::deliveries::{Faults, Id};
use crate::shared::endpoint::Endpoint;
use crate::shared::machine::{self, monotonic_ns};
use crate::shared::witness::Witness;
use anyhow::{Context, bail};
use rustix::process::Pid;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{self, Child, ChildStdin, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

/// Time that a command may take.
const DEADLINE: Duration = Duration::from_secs(120);
/// Time after which an update counts as lost.
const LOST_AFTER: Duration = Duration::from_secs(20);

/// Task of a process.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Task {
    /// Number of the process.
    pub(crate) process: u32,
    pub(crate) clients: usize,
    /// Replicas. The process also has a witness, a client that knows all ids of the feed. It reads from the last
    /// replica.
    pub(crate) servers: Vec<SocketAddr>,
}

#[derive(Debug, Serialize, Deserialize)]
enum Command {
    /// Close all clients except this number of them.
    Keep(usize),
    /// Expect that this replica is killed.
    ExpectFailureOf(usize),
    /// Report all updates up to this one when all clients have it, or after [`LOST_AFTER`].
    Report(String),
}

#[derive(Debug, Serialize, Deserialize)]
enum Answer {
    Done,
    Report(Report),
}

/// Updates that the clients of a process received.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) updates: Vec<Delivery>,
    pub(crate) delivered: u32,
    pub(crate) faults: Faults,
    /// Number of clients that had to reconnect to another replica.
    pub(crate) reconnected: usize,
    /// Time at which the last of them was connected.
    pub(crate) reconnected_ns: Option<u64>,
}

/// Update, with the times of its first and last delivery in a process, by the machine's monotonic clock.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Delivery {
    pub(crate) id: String,
    pub(crate) first_ns: u64,
    pub(crate) last_ns: u64,
}

/// Handle of a process. The process is killed when this is dropped.
pub(crate) struct Load {
    child: Child,
    commands: ChildStdin,
    answers: Receiver<Answer>,
    connected: bool,
    pub(crate) clients: usize,
}

impl Load {
    /// Starts the process. It begins to connect its clients.
    pub(crate) fn start(task: &Task) -> anyhow::Result<Load> {
        let mut command = process::Command::new(std::env::current_exe()?);
        command.arg("--load").arg(serde_json::to_string(task)?).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("cannot start a process of clients")?;
        let commands = child.stdin.take().context("stdin is piped")?;
        let answers = lines(BufReader::new(child.stdout.take().context("stdout is piped")?));
        Ok(Load { child, commands, answers, connected: false, clients: task.clients })
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Returns true if all clients are connected. The first answer of the process reports that.
    pub(crate) fn is_connected(&mut self) -> anyhow::Result<bool> {
        match self.answers.try_recv() {
            Ok(_) => self.connected = true,
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => bail!("a process of clients has ended"),
        }
        Ok(self.connected)
    }

    /// Waits until the last command is done.
    fn done(&self) -> anyhow::Result<()> {
        match self.answer()? {
            Answer::Done => Ok(()),
            Answer::Report(_) => bail!("unexpected report"),
        }
    }

    pub(crate) fn keep(&mut self, clients: usize) -> anyhow::Result<()> {
        self.clients = clients;
        self.send(&Command::Keep(clients))?;
        self.done()
    }

    pub(crate) fn expect_failure_of(&mut self, server: usize) -> anyhow::Result<()> {
        self.send(&Command::ExpectFailureOf(server))?;
        self.done()
    }

    /// Requests a report up to the update `last`. [`report`](Self::report) returns it.
    pub(crate) fn request_report(&mut self, last: &str) -> anyhow::Result<()> {
        self.send(&Command::Report(last.to_owned()))
    }

    pub(crate) fn report(&self) -> anyhow::Result<Report> {
        match self.answer()? {
            Answer::Report(report) => Ok(report),
            Answer::Done => bail!("no report"),
        }
    }

    fn send(&mut self, command: &Command) -> anyhow::Result<()> {
        write_line(&mut self.commands, command).context("a process of clients has ended")
    }

    fn answer(&self) -> anyhow::Result<Answer> {
        self.answers.recv_timeout(DEADLINE).map_err(|error| match error {
            RecvTimeoutError::Timeout => anyhow::anyhow!("a process of clients does not answer"),
            RecvTimeoutError::Disconnected => anyhow::anyhow!("a process of clients has ended"),
        })
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.child.kill().and_then(|()| self.child.wait()).ok();
    }
}

/// Runs a process with clients.
pub(crate) fn run(task: &Task) -> anyhow::Result<()> {
    machine::max_clients(SPARE_DESCRIPTORS)?;
    connection::connect_as(task.process);
    let commands = lines(BufReader::new(std::io::stdin()));
    let servers: Vec<_> = task.servers.iter().map(|address| Endpoint::new(*address, None)).collect();
    let witness = Witness::connect(servers.last().context("no server")?, 1)?;
    let mut pool = ClientPool::new(&servers, Transport::WebSocket, Some(witness))?;
    pool.grow(task.clients)?;
    let mut out = std::io::stdout();
    write_line(&mut out, &Answer::Done)?;
    loop {
        match commands.try_recv() {
            Ok(Command::Keep(clients)) => pool.keep(clients),
            Ok(Command::ExpectFailureOf(server)) => pool.expect_failure_of(server),
            Ok(Command::Report(last)) => {
                let report = report(&mut pool, &last)?;
                write_line(&mut out, &Answer::Report(report))?;
                continue;
            }
            Err(TryRecvError::Empty) => {
                pool.during(Duration::from_millis(5))?;
                continue;
            }
            Err(TryRecvError::Disconnected) => return Ok(()),
        }
        write_line(&mut out, &Answer::Done)?;
    }
}

fn report(pool: &mut ClientPool, last: &str) -> anyhow::Result<Report> {
    let last: Id = last.as_bytes().try_into().context("invalid id: expected one such as 2026-11-20T09:20:31.075Z")?;
    let started = Instant::now();
    let number = |pool: &ClientPool| pool.deliveries.updates().iter().position(|update| update.id == last);
    pool.until("the last update for all", |pool| {
        let settled = number(pool).is_some_and(|number| pool.deliveries.is_settled(number, pool.len()));
        settled || started.elapsed() > LOST_AFTER
    })?;
    let number = number(pool).context("no client received the last update")?;
    let faults = pool.faults(number)?;
    let seen = pool.deliveries.updates()[..=number].iter().map(|update| Delivery {
        id: String::from_utf8_lossy(&update.id).into_owned(),
        first_ns: monotonic_ns(update.first),
        last_ns: monotonic_ns(update.last),
    });
    Ok(Report {
        updates: seen.collect(),
        delivered: pool.deliveries.delivered(),
        faults,
        reconnected: pool.failover().count(),
        reconnected_ns: pool.failover().last.map(monotonic_ns),
    })
}

fn write_line(to: &mut impl Write, message: &impl Serialize) -> anyhow::Result<()> {
    serde_json::to_writer(&mut *to, message)?;
    to.write_all(b"\n")?;
    Ok(to.flush()?)
}

/// Returns the messages on a pipe, one on each line, until it ends.
fn lines<T: DeserializeOwned + Send + 'static>(from: impl BufRead + Send + 'static) -> Receiver<T> {
    let (to, messages) = mpsc::channel();
    std::thread::spawn(move || {
        let lines = from.lines().map_while(Result::ok);
        for message in lines.map_while(|line| serde_json::from_str(&line).ok()) {
            if to.send(message).is_err() {
                return;
            }
        }
    });
    messages
}
