//! Many clients of one or several servers, read by one thread. If a server fails, its clients reconnect to the others.

use super::connection::{Connection, Transport};
use super::deliveries::{Deliveries, Faults};
use super::endpoint::Endpoint;
use super::machine;
use super::witness::Witness;
use anyhow::{Context, ensure};
use btcfeed::tick::TickId;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use std::collections::{HashMap, HashSet, VecDeque};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// Default pause if there is nothing to read. The thread polls and never blocks on the sockets. Otherwise each send of
/// the server would have to wake the thread, and that would be a part of the server's cost.
const PAUSE: Duration = Duration::from_millis(1);
/// Maximum number of connections that are being set up at a time.
const MAX_CONNECTING: usize = 128;
/// Maximum number of events of one poll.
const MAX_EVENTS: usize = 1024;
/// Size of one read.
const READ_BYTES: usize = 128 * 1024;
/// Deadline of each wait.
const DEADLINE: Duration = Duration::from_secs(60);

/// Clients, and the updates that they received.
pub(crate) struct ClientPool {
    /// Servers, to which clients connect in turn.
    servers: Vec<Endpoint>,
    /// Query of every client.
    query: String,
    transport: Transport,
    epoll: OwnedFd,
    /// Connections by client. `None` after the end of a connection.
    clients: Vec<Option<Connection>>,
    /// Number of clients whose connection has been opened, without those that are reconnecting.
    open: usize,
    /// Server that is about to be killed. Its clients reconnect to the others.
    failing: Option<usize>,
    failover: Failover,
    /// Pause if there is nothing to read.
    pub(crate) pause: Duration,
    events: Vec<epoll::Event>,
    buffer: Vec<u8>,
    pub(crate) deliveries: Deliveries,
    /// An additional client, which knows all updates that were sent.
    witness: Option<Witness>,
}

/// Clients of the server that was killed.
#[derive(Debug, Default)]
pub(crate) struct Failover {
    /// Clients that have not started to reconnect.
    waiting: VecDeque<usize>,
    /// Queries of the clients that are reconnecting.
    queries: HashMap<usize, String>,
    /// All clients that have lost their server. If such a client's connection ends again, that is a fault.
    known: HashSet<usize>,
    /// Time at which the last of them was connected again.
    pub(crate) last: Option<Instant>,
}

impl Failover {
    /// Returns the number of clients that have lost their server.
    pub(crate) fn count(&self) -> usize {
        self.known.len()
    }
}

impl ClientPool {
    /// Creates a pool without clients. A `witness` is needed to detect updates that no client received.
    pub(crate) fn new(
        servers: &[Endpoint],
        transport: Transport,
        witness: Option<Witness>,
    ) -> anyhow::Result<ClientPool> {
        Ok(ClientPool {
            servers: servers.to_vec(),
            query: "format=timedate".to_owned(),
            transport,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            clients: Vec::new(),
            open: 0,
            failing: None,
            failover: Failover::default(),
            pause: PAUSE,
            events: Vec::with_capacity(MAX_EVENTS),
            buffer: vec![0; READ_BYTES],
            deliveries: Deliveries::default(),
            witness,
        })
    }

    /// Changes the query: clients that connect from now on replay the history since `moment`.
    pub(crate) fn replay_since(&mut self, moment: &str) {
        self.query.extend(["&since=", moment]);
    }

    /// Connects clients until there are `count`, a few at a time.
    pub(crate) fn grow(&mut self, count: usize) -> anyhow::Result<()> {
        while self.clients.len() < count {
            self.begin()?;
            self.until("connecting", |pool| pool.connecting() < MAX_CONNECTING)?;
        }
        self.until("connecting", |pool| pool.open >= count)
    }

    /// Starts to connect another client.
    pub(crate) fn begin(&mut self) -> anyhow::Result<()> {
        let number = self.clients.len();
        self.clients.push(None);
        self.connect(number, self.home(number))
    }

    fn connect(&mut self, number: usize, server: usize) -> anyhow::Result<()> {
        let connection = Connection::begin(&self.servers[server], self.transport).context("cannot connect")?;
        let data = epoll::EventData::new_u64(number as u64);
        epoll::add(&self.epoll, &connection, data, epoll::EventFlags::OUT)?;
        self.clients[number] = Some(connection);
        Ok(())
    }

    /// Returns the number of clients.
    pub(crate) fn len(&self) -> usize {
        self.clients.len()
    }

    /// Returns the first server of a client.
    fn home(&self, client: usize) -> usize {
        client % self.servers.len()
    }

    /// Closes all clients except the first `count`.
    pub(crate) fn keep(&mut self, count: usize) {
        self.open -= self.clients.len() - count;
        self.clients.truncate(count);
        self.deliveries.keep(count);
    }

    /// Makes the clients of `server` reconnect to the others, with their last ids, when it is killed.
    pub(crate) fn expect_failure_of(&mut self, server: usize) {
        self.failing = Some(server);
    }

    /// Returns the clients that had to reconnect to another server.
    pub(crate) fn failover(&self) -> &Failover {
        &self.failover
    }

    /// Connects a client to a server that is not the failed one.
    fn reconnect(&mut self, number: usize, failed: usize) -> anyhow::Result<()> {
        let others = self.servers.len() - 1;
        let mut server = number / self.servers.len() % others;
        server += usize::from(server >= failed);
        if let Some(id) = self.deliveries.last_of(number) {
            let id = TickId::parse_moment("timedate", std::str::from_utf8(&id)?)?;
            self.failover.queries.insert(number, format!("{}&after={id}", self.query));
        }
        self.connect(number, server)
    }

    /// Returns the number of connections that are being set up.
    fn connecting(&self) -> usize {
        self.clients.len() - self.open - self.failover.waiting.len()
    }

    fn was_on_failed_server(&self, number: usize) -> bool {
        self.failing.is_some_and(|failing| failing == self.home(number))
    }

    /// Reads until `done` returns true. `what` names the condition.
    ///
    /// # Errors
    /// If [`DEADLINE`] is over, or a client fails to connect.
    pub(crate) fn until(&mut self, what: &str, done: impl Fn(&ClientPool) -> bool) -> anyhow::Result<()> {
        let started = Instant::now();
        while !done(self) {
            ensure!(started.elapsed() < DEADLINE, "{what}: not done after {DEADLINE:?}");
            if !self.poll()? {
                machine::sleep(self.pause);
            }
        }
        Ok(())
    }

    /// Reads for `time`.
    pub(crate) fn during(&mut self, time: Duration) -> anyhow::Result<()> {
        let started = Instant::now();
        self.until("waiting", |_| started.elapsed() >= time)
    }

    /// Returns the faults up to the update `last`. The updates that a client has not received since its first one count
    /// as lost.
    pub(crate) fn faults(&mut self, last: usize) -> anyhow::Result<Faults> {
        let id = self.deliveries.id(last);
        // The witness may be slightly late.
        self.until("the witness", |pool| {
            pool.witness.as_ref().is_none_or(|witness| witness.ids().last() >= id.as_ref())
        })?;
        Ok(self.deliveries.faults(last, self.witness.as_ref().map(Witness::ids)))
    }

    /// Reads once from each connection that has input. Returns true if there was one.
    fn poll(&mut self) -> anyhow::Result<bool> {
        if let Some(witness) = &mut self.witness {
            witness.read(&mut self.buffer)?;
        }
        self.events.clear();
        let no_wait = Timespec { tv_sec: 0, tv_nsec: 0 };
        epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&no_wait))?;
        for place in 0..self.events.len() {
            let epoll::Event { flags, data } = self.events[place];
            let number = usize::try_from(data.u64()).context("a client's number")?;
            if let Err(error) = self.serve(number, flags) {
                self.on_end(number, error)?;
            }
        }
        while let Some(failed) = self.failing
            && self.connecting() < MAX_CONNECTING
            && let Some(number) = self.failover.waiting.pop_front()
        {
            self.reconnect(number, failed)?;
        }
        Ok(!self.events.is_empty())
    }

    /// Handles the end of a client's connection.
    fn on_end(&mut self, number: usize, error: anyhow::Error) -> anyhow::Result<()> {
        let was_open = self.clients[number].take().is_some_and(|client| client.is_open());
        // A client that cannot connect makes the measurement invalid.
        ensure!(was_open, error);
        if self.was_on_failed_server(number) && self.failover.known.insert(number) {
            self.open -= 1;
            self.failover.waiting.push_back(number);
        } else {
            eprintln!("a client's connection ended: {error:#}");
            self.deliveries.close();
        }
        Ok(())
    }

    fn serve(&mut self, number: usize, ready: epoll::EventFlags) -> anyhow::Result<()> {
        let Some(client) = &mut self.clients[number] else { return Ok(()) };
        if ready.contains(epoll::EventFlags::OUT) {
            client.request(self.failover.queries.remove(&number).as_ref().unwrap_or(&self.query))?;
            let number = epoll::EventData::new_u64(number as u64);
            return Ok(epoll::modify(&self.epoll, &*client, number, epoll::EventFlags::IN)?);
        }
        let (was_open, deliveries) = (client.is_open(), &mut self.deliveries);
        let now = Instant::now();
        client.read(&mut self.buffer, &mut |message| deliveries.deliver(number, message, now))?;
        if client.is_open() && !was_open {
            self.open += 1;
            if self.failing == Some(number % self.servers.len()) {
                self.failover.last = Some(now);
            }
        }
        Ok(())
    }
}
