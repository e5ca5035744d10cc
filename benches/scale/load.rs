//! A process full of clients: a process has only so many descriptors, so a hundred thousand clients need several.
//!
//! It takes orders on its standard input, a line each, and answers on its standard output. When its input ends, so does it.

use crate::SPARE_DESCRIPTORS;
use crate::shared::book::{Faults, Id};
use crate::shared::connection::{self, Door};
use crate::shared::crowd::Crowd;
use crate::shared::machine::{self, monotonic_ns};
use crate::shared::witness::Witness;
use anyhow::{Context, bail};
use rustix::process::Pid;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

/// How long it may take to carry out an order.
const DEADLINE: Duration = Duration::from_secs(120);
/// How long an update may take to reach everybody before it is lost.
const LOST_AFTER: Duration = Duration::from_secs(20);

/// What a process of clients is for.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Task {
    /// Its number among all of them.
    pub(crate) process: u32,
    pub(crate) clients: usize,
    /// The replicas; the last of them tells what should have been sent.
    pub(crate) servers: Vec<SocketAddr>,
}

#[derive(Debug, Serialize, Deserialize)]
enum Order {
    /// Let all clients go but so many.
    Keep(usize),
    /// This replica is about to die.
    ExpectDeathOf(usize),
    /// Tell what everybody got up to this update, as soon as all have it.
    Report(String),
}

#[derive(Debug, Serialize, Deserialize)]
enum Answer {
    Done,
    Report(Report),
}

/// What the clients of a process got.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) updates: Vec<Seen>,
    pub(crate) delivered: u32,
    pub(crate) faults: Faults,
    /// How many had to go to another replica, and when the last of them was connected to it.
    pub(crate) returned: usize,
    pub(crate) returned_ns: Option<u64>,
}

/// An update, and when the first and the last client of a process got it, by the machine's monotonic clock.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub(crate) id: String,
    pub(crate) first_ns: u64,
    pub(crate) last_ns: u64,
}

/// Such a process, seen from outside. It ends with this.
pub(crate) struct Load {
    child: Child,
    orders: ChildStdin,
    answers: Receiver<Answer>,
    connected: bool,
    pub(crate) clients: usize,
}

impl Load {
    /// Starts the process, which begins to connect its clients.
    pub(crate) fn start(task: &Task) -> anyhow::Result<Load> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--load").arg(serde_json::to_string(task)?).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("cannot start a process of clients")?;
        let orders = child.stdin.take().context("its input is ours")?;
        let answers = lines(BufReader::new(child.stdout.take().context("its output is ours")?));
        Ok(Load { child, orders, answers, connected: false, clients: task.clients })
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Whether all clients are connected, which is the first that the process says.
    pub(crate) fn is_connected(&mut self) -> anyhow::Result<bool> {
        match self.answers.try_recv() {
            Ok(_) => self.connected = true,
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => bail!("a process of clients has ended"),
        }
        Ok(self.connected)
    }

    /// Waits until the last order is carried out.
    fn done(&self) -> anyhow::Result<()> {
        match self.answer()? {
            Answer::Done => Ok(()),
            Answer::Report(_) => bail!("a report that nobody asked for"),
        }
    }

    pub(crate) fn keep(&mut self, clients: usize) -> anyhow::Result<()> {
        self.clients = clients;
        self.order(&Order::Keep(clients))?;
        self.done()
    }

    pub(crate) fn expect_death_of(&mut self, server: usize) -> anyhow::Result<()> {
        self.order(&Order::ExpectDeathOf(server))?;
        self.done()
    }

    /// Asks for a report, to be [read](Self::report) later.
    pub(crate) fn ask_for_report(&mut self, last: &str) -> anyhow::Result<()> {
        self.order(&Order::Report(last.to_owned()))
    }

    pub(crate) fn report(&self) -> anyhow::Result<Report> {
        match self.answer()? {
            Answer::Report(report) => Ok(report),
            Answer::Done => bail!("no report"),
        }
    }

    fn order(&mut self, order: &Order) -> anyhow::Result<()> {
        say(&mut self.orders, order).context("a process of clients has ended")
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

/// Runs such a process.
pub(crate) fn run(task: &Task) -> anyhow::Result<()> {
    machine::most_clients(SPARE_DESCRIPTORS)?;
    connection::connect_as(task.process);
    let orders = lines(BufReader::new(std::io::stdin()));
    let witness = Witness::connect(*task.servers.last().context("no server")?, 1)?;
    let mut crowd = Crowd::new(&task.servers, Door::WebSocket, Some(witness))?;
    crowd.grow(task.clients)?;
    let mut out = std::io::stdout();
    say(&mut out, &Answer::Done)?;
    loop {
        match orders.try_recv() {
            Ok(Order::Keep(clients)) => crowd.keep(clients),
            Ok(Order::ExpectDeathOf(server)) => crowd.expect_death_of(server),
            Ok(Order::Report(last)) => {
                let report = report(&mut crowd, &last)?;
                say(&mut out, &Answer::Report(report))?;
                continue;
            }
            Err(TryRecvError::Empty) => {
                crowd.during(Duration::from_millis(5))?;
                continue;
            }
            Err(TryRecvError::Disconnected) => return Ok(()),
        }
        say(&mut out, &Answer::Done)?;
    }
}

fn report(crowd: &mut Crowd, last: &str) -> anyhow::Result<Report> {
    let last: Id = last.as_bytes().try_into().context("an id like 2026-11-20T09:20:31.075Z")?;
    let began = Instant::now();
    let number = |crowd: &Crowd| crowd.book.updates().iter().position(|update| update.id == last);
    crowd.until("the last update for all", |crowd| {
        let settled = number(crowd).is_some_and(|number| crowd.book.is_settled(number, crowd.len()));
        settled || began.elapsed() > LOST_AFTER
    })?;
    let number = number(crowd).context("nobody got the last update")?;
    let faults = crowd.faults(number)?;
    let seen = crowd.book.updates()[..=number].iter().map(|update| Seen {
        id: String::from_utf8_lossy(&update.id).into_owned(),
        first_ns: monotonic_ns(update.first),
        last_ns: monotonic_ns(update.last),
    });
    Ok(Report {
        updates: seen.collect(),
        delivered: crowd.book.delivered(),
        faults,
        returned: crowd.returning().count(),
        returned_ns: crowd.returning().last.map(monotonic_ns),
    })
}

fn say(to: &mut impl Write, what: &impl Serialize) -> anyhow::Result<()> {
    serde_json::to_writer(&mut *to, what)?;
    to.write_all(b"\n")?;
    Ok(to.flush()?)
}

/// What is said on a pipe, a line each, until it ends.
fn lines<T: DeserializeOwned + Send + 'static>(from: impl BufRead + Send + 'static) -> Receiver<T> {
    let (to, said) = mpsc::channel();
    std::thread::spawn(move || {
        let lines = from.lines().map_while(Result::ok);
        for heard in lines.map_while(|line| serde_json::from_str(&line).ok()) {
            if to.send(heard).is_err() {
                return;
            }
        }
    });
    said
}
