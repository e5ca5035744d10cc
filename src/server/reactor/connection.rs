//! One client's connection: drives a session over a raw socket, in the words of its wire.
//!
//! It never waits. It reads and writes what the socket has and takes at the moment, and tells its shard what it wants next.

use super::heartbeat::Heartbeat;
use super::outgoing::Outgoing;
use super::parting::Parting;
use super::{End, Heard, Shared, Wire};
use crate::feed::Entry;
use crate::server::listener::Peer;
use crate::session::{Bookmark, Goodbye, Session, Step};
use crate::tick::TickId;
use bytes::Bytes;
use mio::event::Source;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use std::io::{self, ErrorKind, Read};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::oneshot::{self, error::TryRecvError};
use tracing::debug;

/// Bytes read at once; and how many reads, or writes, a connection may have in a row before others have their turn.
const READ_BYTES: usize = 2048;
const IN_A_ROW: usize = 4;

/// What a connection wants from its shard.
pub(super) enum Wish {
    /// Nothing, until something happens.
    Rest,
    /// Another turn, after the others.
    Turn,
    /// A part of the history, to be told to the sender.
    Load { after: TickId, until: TickId, to: oneshot::Sender<Vec<Arc<Entry>>> },
    /// That it is written down where the client is.
    Settle { bookmark: Bookmark, done: oneshot::Sender<()> },
    /// To be dropped.
    End,
}

enum Phase {
    /// It follows the feed.
    Following,
    /// A part of the history is being read for it.
    Loading(oneshot::Receiver<Vec<Arc<Entry>>>),
    /// It is let go.
    Parting(Box<Parting>),
}

/// A client's end of a stream, seen from here.
pub(super) struct Connection {
    stream: TcpStream,
    wire: Wire,
    session: Session,
    outgoing: Outgoing,
    phase: Phase,
    /// Whether there may be something to read.
    readable: bool,
    /// Whether its shard has noted that it wants another turn.
    pub(super) is_noted: bool,
    /// The answer to the newest ping: only that needs one (RFC 6455 §5.5.3).
    pong: Option<Box<Bytes>>,
    heartbeat: Heartbeat,
    /// Since when the socket has taken nothing.
    stalled_since: Option<Instant>,
    /// When the session wants to be asked again though nothing has happened.
    ask_at: Option<Instant>,
    /// What the client sent before the connection came here.
    early: Box<[u8]>,
    /// The connection counts until here, which is after its socket is closed.
    _peer: Peer,
}

impl Connection {
    pub(super) fn new(
        stream: std::net::TcpStream,
        wire: Wire,
        session: Session,
        peer: Peer,
        early: Box<[u8]>,
        shared: &Shared,
    ) -> Connection {
        Connection {
            stream: TcpStream::from_std(stream),
            heartbeat: Heartbeat::after(Instant::now(), &wire, shared),
            wire,
            session,
            outgoing: Outgoing::default(),
            phase: Phase::Following,
            readable: true,
            is_noted: false,
            pong: None,
            stalled_since: None,
            ask_at: None,
            early,
            _peer: peer,
        }
    }

    /// Has the poll tell, under this token, when the socket can be read or, after it was full, written to.
    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.stream.register(registry, token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Begins with `head`, before anything is read. What the session says first goes out in the same packet.
    pub(super) fn begin(&mut self, head: Vec<u8>, shared: &Shared, now: Instant) -> Wish {
        self.attempt(shared, now, |connection, shared, now| {
            if head.is_empty() {
                return connection.converse(shared, now);
            }
            connection.outgoing.push(head.into());
            let said = connection.fill(shared, now);
            // A socket that nothing was written to takes a head whole, so nothing can cut it.
            connection.outgoing.write(&connection.stream)?;
            match said? {
                Some(Wish::Rest) | None => connection.converse(shared, now),
                Some(wish) => Ok(wish),
            }
        })
    }

    /// Whether it has nothing on its way, and wants to know when the feed moves.
    pub(super) fn follows(&self) -> bool {
        self.outgoing.is_empty() && matches!(self.phase, Phase::Following)
    }

    /// There is something to read.
    pub(super) fn set_readable(&mut self) {
        self.readable = true;
    }

    /// When [`overdue`](Self::overdue) is to be called at the latest.
    pub(super) fn deadline(&self, shared: &Shared) -> Instant {
        match &self.phase {
            Phase::Parting(parting) => parting.deadline(),
            Phase::Following | Phase::Loading(_) => {
                let stalled = self.stalled_since.map(|since| since + shared.sessions.limits.write_stall);
                [stalled, self.ask_at].into_iter().flatten().fold(self.heartbeat.due(), Instant::min)
            }
        }
    }

    /// Does whatever can be done without waiting.
    pub(super) fn drive(&mut self, shared: &Shared, now: Instant) -> Wish {
        self.attempt(shared, now, Connection::converse)
    }

    /// The same after a deadline.
    pub(super) fn overdue(&mut self, shared: &Shared, now: Instant) -> Wish {
        self.attempt(shared, now, |connection, shared, now| {
            connection.judge(shared, now)?;
            connection.converse(shared, now)
        })
    }

    /// Lets the client go because the replica stops.
    pub(super) fn drain(&mut self, shared: &Shared, now: Instant) -> Wish {
        match &mut self.phase {
            Phase::Following | Phase::Loading(_) => {
                self.attempt(shared, now, |_, _, _| Err(End::Leave(Goodbye::Draining)))
            }
            Phase::Parting(parting) => {
                parting.hurry(now);
                Wish::Rest
            }
        }
    }

    fn attempt(
        &mut self,
        shared: &Shared,
        now: Instant,
        act: impl FnOnce(&mut Connection, &Shared, Instant) -> Result<Wish, End>,
    ) -> Wish {
        let mut done = act(self, shared, now);
        loop {
            match done {
                Ok(wish) => return wish,
                Err(End::Gone) => return Wish::End,
                Err(end) => match self.part(&end, shared, now) {
                    Some(wish) => return wish,
                    None => done = self.converse(shared, now),
                },
            }
        }
    }

    /// Begins to let the client go: what its shard has to do first, if there is anything.
    fn part(&mut self, end: &End, shared: &Shared, now: Instant) -> Option<Wish> {
        if let End::Leave(goodbye) = end {
            debug!(?goodbye, cursor = %self.session.cursor(), "a client is let go");
        }
        let farewell = self.wire.farewell(end);
        self.outgoing.keep_only_what_was_begun(|piece, sent| self.wire.message_end(piece, sent));
        (self.pong, self.stalled_since) = (None, None);
        let mut parting = Parting::new(end, shared, now);
        let mut first = None;
        if let Some(bookmark) = self.session.take_bookmark() {
            let (done, settled) = oneshot::channel();
            parting = parting.after(settled, farewell);
            first = Some(Wish::Settle { bookmark, done });
        } else {
            self.outgoing.push(farewell);
        }
        self.phase = Phase::Parting(Box::new(parting));
        first
    }

    /// Reads what has come, then says what there is to say.
    fn converse(&mut self, shared: &Shared, now: Instant) -> Result<Wish, End> {
        self.listen(shared, now)?;
        let wish = self.speak(shared, now)?;
        Ok(if matches!(wish, Wish::Rest) && self.readable { Wish::Turn } else { wish })
    }

    fn listen(&mut self, shared: &Shared, now: Instant) -> Result<(), End> {
        if !self.early.is_empty() {
            let early = std::mem::take(&mut self.early);
            self.hear(&early, shared, now)?;
        }
        if !self.readable {
            return Ok(());
        }
        let mut buffer = [0; READ_BYTES];
        for _ in 0..IN_A_ROW {
            if !self.readable {
                break;
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => return self.hear_no_more(),
                Ok(len) => self.hear(&buffer[..len], shared, now)?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// The client sends nothing more.
    fn hear_no_more(&mut self) -> Result<(), End> {
        let Phase::Parting(parting) = &mut self.phase else { return Err(End::Gone) };
        self.readable = false;
        parting.hang_up()
    }

    fn hear(&mut self, bytes: &[u8], shared: &Shared, now: Instant) -> Result<(), End> {
        if matches!(self.phase, Phase::Parting(_)) {
            return Ok(());
        }
        let (mut ping, mut answered) = (None, false);
        let heard = self.wire.hear(bytes, &mut |heard| match heard {
            Heard::Ping(payload) => ping = Some(payload),
            Heard::Pong => answered = true,
        });
        if let Some(payload) = ping {
            self.pong = Some(Box::new(Wire::pong(&payload)));
        }
        if answered {
            self.heartbeat = Heartbeat::after(now, &self.wire, shared);
        }
        heard
    }

    /// Sends what is due, until there is nothing more or the socket is full.
    fn speak(&mut self, shared: &Shared, now: Instant) -> Result<Wish, End> {
        for _ in 0..IN_A_ROW {
            if self.outgoing.is_empty()
                && let Some(wish) = self.fill(shared, now)?
            {
                return Ok(wish);
            }
            let progress = self.outgoing.write(&self.stream)?;
            if !self.outgoing.is_empty() {
                let since = if progress { None } else { self.stalled_since };
                self.stalled_since = Some(since.unwrap_or(now));
                return Ok(Wish::Rest);
            }
            self.stalled_since = None;
        }
        Ok(Wish::Turn)
    }

    /// Finds something to send, or else what there is to wait for.
    fn fill(&mut self, shared: &Shared, now: Instant) -> Result<Option<Wish>, End> {
        if let Some(pong) = self.pong.take() {
            self.outgoing.push(*pong);
            return Ok(None);
        }
        loop {
            let wish = match &mut self.phase {
                Phase::Following => self.follow(shared, now)?,
                Phase::Loading(loading) => match loading.try_recv() {
                    Ok(entries) => {
                        self.outgoing.extend(self.session.loaded(&entries));
                        self.phase = Phase::Following;
                        None
                    }
                    Err(TryRecvError::Empty) => Some(Wish::Rest),
                    // Whoever read it has ended, and so does the process.
                    Err(TryRecvError::Closed) => return Err(End::Gone),
                },
                Phase::Parting(parting) => match parting.next(&self.stream)? {
                    Some(farewell) => {
                        self.outgoing.push(farewell);
                        None
                    }
                    None => Some(Wish::Rest),
                },
            };
            if wish.is_some() || !self.outgoing.is_empty() {
                return Ok(wish);
            }
        }
    }

    /// Has the session take its next step.
    fn follow(&mut self, shared: &Shared, now: Instant) -> Result<Option<Wish>, End> {
        match self.session.step(&shared.sessions.hub, now) {
            Step::Send(bytes) => {
                self.outgoing.extend(bytes);
                Ok(None)
            }
            Step::Load { after, until } => {
                let (to, loading) = oneshot::channel();
                self.phase = Phase::Loading(loading);
                Ok(Some(Wish::Load { after, until, to }))
            }
            Step::Leave(goodbye) => Err(End::Leave(goodbye)),
            Step::Again => Ok(Some(Wish::Turn)),
            Step::Wait(at_most) => {
                self.ask_at = at_most.map(|wait| now + wait);
                Ok(Some(Wish::Rest))
            }
        }
    }

    /// Looks at what is overdue.
    fn judge(&mut self, shared: &Shared, now: Instant) -> Result<(), End> {
        self.ask_at = self.ask_at.filter(|at| *at > now);
        if let Phase::Parting(parting) = &self.phase {
            return parting.judge(&self.stream, now);
        }
        if self.stalled_since.is_some_and(|since| since + shared.sessions.limits.write_stall <= now) {
            // The kernel tells of room only when much of its buffer is free.
            if !self.outgoing.write(&self.stream)? {
                return Err(End::Leave(Goodbye::TooSlow));
            }
            self.stalled_since = (!self.outgoing.is_empty()).then_some(now);
        }
        // The answer may be here, unread.
        self.readable = true;
        self.listen(shared, now)?;
        match self.heartbeat {
            Heartbeat::AnswerBy(by) if by <= now => return Err(End::Leave(Goodbye::NoPong)),
            Heartbeat::SendAt(at) if at <= now => {
                // What is on its way shows it too, and an answer would have to wait for all of that.
                let is_said = self.outgoing.is_empty();
                if is_said {
                    self.outgoing.push(self.wire.heartbeat());
                }
                self.heartbeat = if is_said && self.wire.is_answered() {
                    Heartbeat::AnswerBy(now + shared.sessions.limits.ping_every)
                } else {
                    Heartbeat::after(now, &self.wire, shared)
                };
            }
            _ => {}
        }
        Ok(())
    }
}
