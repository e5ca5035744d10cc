//! Many clients of one server, read by one thread.

use crate::book::{Book, Faults};
use crate::connection::{Connection, Door};
use crate::machine;
use crate::witness::Witness;
use anyhow::{Context, ensure};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// How long to rest when there is nothing to read. The thread never waits for the sockets: each send of the server would
/// have to wake it, and would pay for that.
const REST: Duration = Duration::from_millis(1);
/// Connections that are on their way at a time, where there is no hurry.
const UNDER_WAY: usize = 128;
/// Events taken at once, and bytes read at once.
const EVENTS: usize = 1024;
const READ_BYTES: usize = 128 * 1024;
/// How long anything may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// The clients of one server.
pub(crate) struct Crowd {
    server: SocketAddr,
    /// What every client asks for, and over which protocol.
    query: String,
    door: Door,
    epoll: OwnedFd,
    /// `None` where the connection has ended.
    clients: Vec<Option<Connection>>,
    /// How many of them were ever open.
    open: usize,
    events: Vec<epoll::Event>,
    buffer: Vec<u8>,
    pub(crate) book: Book,
    /// One more client, which says what should have been sent.
    witness: Option<Witness>,
}

impl Crowd {
    /// Nobody yet. A `witness` tells afterwards what should have been sent.
    pub(crate) fn new(server: SocketAddr, door: Door, witness: Option<Witness>) -> anyhow::Result<Crowd> {
        Ok(Crowd {
            server,
            query: "format=timedate".to_owned(),
            door,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            clients: Vec::new(),
            open: 0,
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
            self.until("connecting", |crowd| crowd.clients.len() < crowd.open + UNDER_WAY)?;
        }
        self.until("connecting", |crowd| crowd.open >= count)
    }

    /// Begins to connect another client, and does not wait.
    pub(crate) fn begin(&mut self) -> anyhow::Result<()> {
        let connection = Connection::begin(self.server, self.door).context("cannot connect")?;
        let number = epoll::EventData::new_u64(self.clients.len() as u64);
        epoll::add(&self.epoll, &connection, number, epoll::EventFlags::OUT)?;
        self.clients.push(Some(connection));
        Ok(())
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
                machine::rest(REST);
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
                // Before it is open, nothing can be measured without it.
                ensure!(self.clients[number].take().is_some_and(|client| client.is_open()), error);
                self.book.close();
            }
        }
        Ok(!self.events.is_empty())
    }

    fn serve(&mut self, number: usize, ready: epoll::EventFlags) -> anyhow::Result<()> {
        let Some(client) = &mut self.clients[number] else { return Ok(()) };
        if ready.contains(epoll::EventFlags::OUT) {
            client.request(&self.query)?;
            let number = epoll::EventData::new_u64(number as u64);
            return Ok(epoll::modify(&self.epoll, &*client, number, epoll::EventFlags::IN)?);
        }
        let (was_open, book) = (client.is_open(), &mut self.book);
        let now = Instant::now();
        client.read(&mut self.buffer, &mut |message| book.deliver(number, message, now))?;
        self.open += usize::from(client.is_open() && !was_open);
        Ok(())
    }
}
