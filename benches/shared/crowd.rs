//! Many clients, read by one thread. They may be those of several servers, and go to another when theirs dies.

use super::book::{Book, Faults};
use super::connection::{Connection, Door};
use super::machine;
use super::witness::Witness;
use anyhow::{Context, ensure};
use btcfeed::tick::TickId;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// How long to rest when there is nothing to read, unless somebody says otherwise. The thread never waits for the sockets:
/// each send of the server would have to wake it, and would pay for that.
const REST: Duration = Duration::from_millis(1);
/// Connections that are on their way at a time, where there is no hurry.
const UNDER_WAY: usize = 128;
/// Events taken at once, and bytes read at once.
const EVENTS: usize = 1024;
const READ_BYTES: usize = 128 * 1024;
/// How long anything may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// Clients, and what they got.
pub(crate) struct Crowd {
    /// Each client goes to the next of them.
    servers: Vec<SocketAddr>,
    /// What every client asks for, and over which protocol.
    query: String,
    door: Door,
    epoll: OwnedFd,
    /// `None` where the connection has ended.
    clients: Vec<Option<Connection>>,
    /// How many of them are open, or were when they ended.
    open: usize,
    /// The server that is about to die. Its clients are to go elsewhere.
    doomed: Option<usize>,
    returning: Returning,
    /// How long to rest when there is nothing to read.
    pub(crate) rest: Duration,
    events: Vec<epoll::Event>,
    buffer: Vec<u8>,
    pub(crate) book: Book,
    /// One more client, which says what should have been sent.
    witness: Option<Witness>,
}

/// Clients whose server has died.
#[derive(Debug, Default)]
pub(crate) struct Returning {
    /// Who does not connect yet.
    waiting: VecDeque<usize>,
    /// What those on their way ask for.
    queries: HashMap<usize, String>,
    /// All there ever were: a connection that ends again is a fault.
    known: HashSet<usize>,
    /// When the last of them was connected again.
    pub(crate) last: Option<Instant>,
}

impl Returning {
    /// How many there ever were.
    pub(crate) fn count(&self) -> usize {
        self.known.len()
    }
}

impl Crowd {
    /// Nobody yet. A `witness` tells afterwards what should have been sent.
    pub(crate) fn new(servers: &[SocketAddr], door: Door, witness: Option<Witness>) -> anyhow::Result<Crowd> {
        Ok(Crowd {
            servers: servers.to_vec(),
            query: "format=timedate".to_owned(),
            door,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            clients: Vec::new(),
            open: 0,
            doomed: None,
            returning: Returning::default(),
            rest: REST,
            events: Vec::with_capacity(EVENTS),
            buffer: vec![0; READ_BYTES],
            book: Book::default(),
            witness,
        })
    }

    /// Everybody who comes from now on replays from this moment on.
    pub(crate) fn replay_since(&mut self, moment: &str) {
        self.query.extend(["&since=", moment]);
    }

    /// Connects clients until there are `count`, a few at a time.
    pub(crate) fn grow(&mut self, count: usize) -> anyhow::Result<()> {
        while self.clients.len() < count {
            self.begin()?;
            self.until("connecting", |crowd| crowd.under_way() < UNDER_WAY)?;
        }
        self.until("connecting", |crowd| crowd.open >= count)
    }

    /// Begins to connect another client, and does not wait.
    pub(crate) fn begin(&mut self) -> anyhow::Result<()> {
        let number = self.clients.len();
        self.clients.push(None);
        self.connect(number, self.home(number))
    }

    fn connect(&mut self, number: usize, server: usize) -> anyhow::Result<()> {
        let connection = Connection::begin(self.servers[server], self.door).context("cannot connect")?;
        let data = epoll::EventData::new_u64(number as u64);
        epoll::add(&self.epoll, &connection, data, epoll::EventFlags::OUT)?;
        self.clients[number] = Some(connection);
        Ok(())
    }

    /// How many clients there are.
    pub(crate) fn len(&self) -> usize {
        self.clients.len()
    }

    /// The server that a client goes to first.
    fn home(&self, client: usize) -> usize {
        client % self.servers.len()
    }

    /// Lets all clients go but the first `count`.
    pub(crate) fn keep(&mut self, count: usize) {
        self.open -= self.clients.len() - count;
        self.clients.truncate(count);
        self.book.keep(count);
    }

    /// One of the servers is about to die, so its clients go to the others, with the last id that they have.
    pub(crate) fn expect_death_of(&mut self, server: usize) {
        self.doomed = Some(server);
    }

    /// Who had to go to another server.
    pub(crate) fn returning(&self) -> &Returning {
        &self.returning
    }

    /// Has a client come back to another server than the one that died.
    fn come_back(&mut self, number: usize, dead: usize) -> anyhow::Result<()> {
        let others = self.servers.len() - 1;
        let mut server = number / self.servers.len() % others;
        server += usize::from(server >= dead);
        if let Some(id) = self.book.last_of(number) {
            let id = TickId::parse_moment("timedate", std::str::from_utf8(&id)?)?;
            self.returning.queries.insert(number, format!("{}&after={id}", self.query));
        }
        self.connect(number, server)
    }

    /// How many are on their way to a server.
    fn under_way(&self) -> usize {
        self.clients.len() - self.open - self.returning.waiting.len()
    }

    fn is_of_the_dead(&self, number: usize) -> bool {
        self.doomed.is_some_and(|doomed| doomed == self.home(number))
    }

    /// Reads until `done`.
    ///
    /// # Errors
    /// If that takes too long.
    pub(crate) fn until(&mut self, what: &str, done: impl Fn(&Crowd) -> bool) -> anyhow::Result<()> {
        let began = Instant::now();
        while !done(self) {
            ensure!(began.elapsed() < DEADLINE, "{what}: not done after {DEADLINE:?}");
            if !self.turn()? {
                machine::rest(self.rest);
            }
        }
        Ok(())
    }

    /// Reads for some time.
    pub(crate) fn during(&mut self, time: Duration) -> anyhow::Result<()> {
        let began = Instant::now();
        self.until("waiting", |_| began.elapsed() >= time)
    }

    /// What went wrong up to and with the update with this number, which nobody waits for any more.
    pub(crate) fn faults(&mut self, last: usize) -> anyhow::Result<Faults> {
        let id = self.book.id(last);
        // The witness may be a moment late.
        self.until("the witness", |crowd| {
            crowd.witness.as_ref().is_none_or(|witness| witness.ids().last() >= id.as_ref())
        })?;
        Ok(self.book.faults(last, self.witness.as_ref().map(Witness::ids)))
    }

    /// Reads once from everybody who has something. Whether anybody had.
    fn turn(&mut self) -> anyhow::Result<bool> {
        if let Some(witness) = &mut self.witness {
            witness.read(&mut self.buffer)?;
        }
        self.events.clear();
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&at_once))?;
        for place in 0..self.events.len() {
            let epoll::Event { flags, data } = self.events[place];
            let number = usize::try_from(data.u64()).context("a client's number")?;
            if let Err(error) = self.serve(number, flags) {
                self.lose(number, error)?;
            }
        }
        while let Some(dead) = self.doomed
            && self.under_way() < UNDER_WAY
            && let Some(number) = self.returning.waiting.pop_front()
        {
            self.come_back(number, dead)?;
        }
        Ok(!self.events.is_empty())
    }

    /// A client's connection has ended.
    fn lose(&mut self, number: usize, error: anyhow::Error) -> anyhow::Result<()> {
        let was_open = self.clients[number].take().is_some_and(|client| client.is_open());
        // Before it is open, nothing can be measured without it.
        ensure!(was_open, error);
        if self.is_of_the_dead(number) && self.returning.known.insert(number) {
            self.open -= 1;
            self.returning.waiting.push_back(number);
        } else {
            eprintln!("a client's connection ended: {error:#}");
            self.book.close();
        }
        Ok(())
    }

    fn serve(&mut self, number: usize, ready: epoll::EventFlags) -> anyhow::Result<()> {
        let Some(client) = &mut self.clients[number] else { return Ok(()) };
        if ready.contains(epoll::EventFlags::OUT) {
            client.request(self.returning.queries.remove(&number).as_ref().unwrap_or(&self.query))?;
            let number = epoll::EventData::new_u64(number as u64);
            return Ok(epoll::modify(&self.epoll, &*client, number, epoll::EventFlags::IN)?);
        }
        let (was_open, book) = (client.is_open(), &mut self.book);
        let now = Instant::now();
        client.read(&mut self.buffer, &mut |message| book.deliver(number, message, now))?;
        if client.is_open() && !was_open {
            self.open += 1;
            if self.doomed == Some(number % self.servers.len()) {
                self.returning.last = Some(now);
            }
        }
        Ok(())
    }
}
