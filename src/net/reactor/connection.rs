//! One client's connection: drives a session over a raw socket, by the rules of its protocol.
//!
//! It never waits. It reads and writes what the socket has and accepts at the moment, and tells its shard what it needs next.

use super::closing::Closing;
use super::context::Context;
use super::heartbeat::Heartbeat;
use super::send_queue::SendQueue;
use super::stream_protocol::{ClientEvent, CloseCause, StreamProtocol};
use crate::feed::Entry;
use crate::net::connection_limit::Permit;
use crate::session::{Bookmark, CloseReason, Session, Step};
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

/// Bytes of one read, and the reads, or writes, that a connection may do in a row before others run.
const READ_BYTES: usize = 2048;
const MAX_IN_A_ROW: usize = 4;

/// What a connection needs from its shard.
pub(super) enum Action {
    /// Nothing until something happens.
    Wait,
    /// To run again, after the others.
    RunAgain,
    /// A part of the history, to be sent to `to`.
    LoadHistory { after: TickId, until: TickId, to: oneshot::Sender<Vec<Arc<Entry>>> },
    /// Its bookmark saved, and `saved` notified.
    SaveBookmark { bookmark: Bookmark, saved: oneshot::Sender<()> },
    /// To be dropped.
    Remove,
}

enum Phase {
    /// It follows the feed.
    Following,
    /// A part of the history is being read for it.
    Loading(oneshot::Receiver<Vec<Arc<Entry>>>),
    /// It is being closed.
    Closing(Box<Closing>),
}

/// This side of a client's connection.
pub(super) struct Connection {
    socket: TcpStream,
    protocol: StreamProtocol,
    session: Session,
    queue: SendQueue,
    phase: Phase,
    /// Whether there may be something to read.
    readable: bool,
    /// Whether the client has shut down its sending side.
    half_closed: bool,
    /// Whether its shard has noted that it wants to run again.
    pub(super) is_scheduled: bool,
    /// Answer to the newest ping: only that one needs an answer (RFC 6455 §5.5.3).
    pong: Option<Box<Bytes>>,
    heartbeat: Heartbeat,
    /// Time since which the socket has accepted nothing.
    stalled_since: Option<Instant>,
    /// Time at which the session wants to be asked again even if nothing has happened.
    ask_at: Option<Instant>,
    /// What the client sent before the connection came here.
    early: Box<[u8]>,
    /// Held until the socket is closed: fields are dropped in order.
    permit: Permit,
}

impl Connection {
    pub(super) fn new(
        socket: std::net::TcpStream,
        protocol: StreamProtocol,
        session: Session,
        permit: Permit,
        early: Box<[u8]>,
        context: &Context,
    ) -> Connection {
        Connection {
            socket: TcpStream::from_std(socket),
            heartbeat: Heartbeat::after(Instant::now(), &protocol, context),
            protocol,
            session,
            queue: SendQueue::default(),
            phase: Phase::Following,
            readable: true,
            half_closed: false,
            is_scheduled: false,
            pong: None,
            stalled_since: None,
            ask_at: None,
            early,
            permit,
        }
    }

    /// Has the poll report, under this token, when the socket can be read or, after it was full, written to.
    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.socket.register(registry, token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Sends `head` before anything is read, together with the first bytes of the session in one packet.
    pub(super) fn begin(&mut self, head: Vec<u8>, context: &Context, now: Instant) -> Action {
        self.attempt(context, now, |connection, context, now| {
            if head.is_empty() {
                return connection.run(context, now);
            }
            connection.queue.push(head.into());
            let filled = connection.fill(context, now);
            // An empty socket accepts a whole head, so nothing can cut it.
            connection.queue.write(&connection.socket)?;
            match filled? {
                Some(Action::Wait) | None => connection.run(context, now),
                Some(action) => Ok(action),
            }
        })
    }

    /// Returns whether it has nothing to send and waits for the feed to move.
    pub(super) fn follows(&self) -> bool {
        self.queue.is_empty() && matches!(self.phase, Phase::Following)
    }

    /// Notes that there is something to read.
    pub(super) fn set_readable(&mut self) {
        self.readable = !self.half_closed;
    }

    /// Returns the time by which [`on_deadline`](Self::on_deadline) has to be called.
    pub(super) fn deadline(&self, context: &Context) -> Instant {
        match &self.phase {
            Phase::Closing(closing) => closing.deadline(),
            Phase::Following | Phase::Loading(_) => {
                let stalled = self.stalled_since.map(|since| since + context.sessions.limits.write_stall);
                [stalled, self.ask_at].into_iter().flatten().fold(self.heartbeat.due(), Instant::min)
            }
        }
    }

    /// Does everything that can be done without waiting.
    pub(super) fn on_ready(&mut self, context: &Context, now: Instant) -> Action {
        self.attempt(context, now, Connection::run)
    }

    /// Checks what is overdue, then does everything that can be done without waiting.
    pub(super) fn on_deadline(&mut self, context: &Context, now: Instant) -> Action {
        self.attempt(context, now, |connection, context, now| {
            connection.check_deadlines(context, now)?;
            connection.run(context, now)
        })
    }

    /// Ends the connection after its socket reported an error, which also tells of a client that is gone for good.
    pub(super) fn on_error(&mut self, context: &Context, now: Instant) -> Action {
        if self.half_closed { Action::Remove } else { self.on_ready(context, now) }
    }

    /// Closes the connection because the replica stops.
    pub(super) fn drain(&mut self, context: &Context, now: Instant) -> Action {
        match &mut self.phase {
            Phase::Following | Phase::Loading(_) => {
                self.attempt(context, now, |_, _, _| Err(CloseCause::Local(CloseReason::Draining)))
            }
            Phase::Closing(closing) => {
                closing.hurry(now);
                Action::Wait
            }
        }
    }

    fn attempt(
        &mut self,
        context: &Context,
        now: Instant,
        act: impl FnOnce(&mut Connection, &Context, Instant) -> Result<Action, CloseCause>,
    ) -> Action {
        let mut done = act(self, context, now);
        loop {
            match done {
                Ok(action) => return action,
                Err(CloseCause::Gone) => return Action::Remove,
                Err(cause) => match self.begin_close(&cause, context, now) {
                    Some(action) => return action,
                    None => done = self.run(context, now),
                },
            }
        }
    }

    /// Begins to close the connection. Returns what its shard has to do first, if anything.
    fn begin_close(&mut self, cause: &CloseCause, context: &Context, now: Instant) -> Option<Action> {
        if let CloseCause::Local(reason) = cause {
            debug!(peer = %self.permit.peer(), ?reason, cursor = %self.session.cursor(), "closing a stream");
        }
        let message = self.protocol.close_message(cause);
        self.queue.keep_partial_message(|piece, sent| self.protocol.message_end(piece, sent));
        (self.pong, self.stalled_since) = (None, None);
        let mut closing = Closing::new(cause, context, now);
        if self.half_closed {
            closing.peer_closed().ok()?;
        }
        let mut first = None;
        if let Some(bookmark) = self.session.take_bookmark() {
            let (saved, is_saved) = oneshot::channel();
            closing = closing.after(is_saved, message);
            first = Some(Action::SaveBookmark { bookmark, saved });
        } else {
            self.queue.push(message);
        }
        self.phase = Phase::Closing(Box::new(closing));
        first
    }

    /// Reads what has arrived, then sends what there is to send.
    fn run(&mut self, context: &Context, now: Instant) -> Result<Action, CloseCause> {
        self.read_socket(context, now)?;
        let action = self.flush(context, now)?;
        Ok(if matches!(action, Action::Wait) && self.readable { Action::RunAgain } else { action })
    }

    fn read_socket(&mut self, context: &Context, now: Instant) -> Result<(), CloseCause> {
        if !self.early.is_empty() {
            let early = std::mem::take(&mut self.early);
            self.handle_input(&early, context, now)?;
        }
        let mut buffer = [0; READ_BYTES];
        for _ in 0..MAX_IN_A_ROW {
            if !self.readable {
                break;
            }
            match self.socket.read(&mut buffer) {
                Ok(0) => return self.handle_end_of_input(),
                Ok(len) => self.handle_input(&buffer[..len], context, now)?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Handles the end of what the client sends. Only a failed write tells whether the client still reads.
    fn handle_end_of_input(&mut self) -> Result<(), CloseCause> {
        (self.readable, self.half_closed) = (false, true);
        match &mut self.phase {
            Phase::Closing(closing) => closing.peer_closed(),
            Phase::Following | Phase::Loading(_) if self.protocol.survives_half_close() => Ok(()),
            Phase::Following | Phase::Loading(_) => Err(CloseCause::Gone),
        }
    }

    fn handle_input(&mut self, bytes: &[u8], context: &Context, now: Instant) -> Result<(), CloseCause> {
        if matches!(self.phase, Phase::Closing(_)) {
            return Ok(());
        }
        let (mut ping, mut answered) = (None, false);
        let read = self.protocol.read(bytes, &mut |event| match event {
            ClientEvent::Ping(payload) => ping = Some(payload),
            ClientEvent::Pong => answered = true,
        });
        if let Some(payload) = ping {
            self.pong = Some(Box::new(StreamProtocol::pong(&payload)));
        }
        if answered {
            self.heartbeat = Heartbeat::after(now, &self.protocol, context);
        }
        read
    }

    /// Sends what is due, until there is nothing more or the socket is full.
    fn flush(&mut self, context: &Context, now: Instant) -> Result<Action, CloseCause> {
        for _ in 0..MAX_IN_A_ROW {
            if self.queue.is_empty()
                && let Some(action) = self.fill(context, now)?
            {
                return Ok(action);
            }
            let progress = self.queue.write(&self.socket)?;
            if !self.queue.is_empty() {
                let since = if progress { None } else { self.stalled_since };
                self.stalled_since = Some(since.unwrap_or(now));
                return Ok(Action::Wait);
            }
            self.stalled_since = None;
        }
        Ok(Action::RunAgain)
    }

    /// Queues something to send, or returns what to wait for.
    fn fill(&mut self, context: &Context, now: Instant) -> Result<Option<Action>, CloseCause> {
        if let Some(pong) = self.pong.take() {
            self.queue.push(*pong);
            return Ok(None);
        }
        loop {
            let action = match &mut self.phase {
                Phase::Following => self.step(context, now)?,
                Phase::Loading(loading) => match loading.try_recv() {
                    Ok(entries) => {
                        self.queue.extend(self.session.loaded(&entries));
                        self.phase = Phase::Following;
                        None
                    }
                    Err(TryRecvError::Empty) => Some(Action::Wait),
                    // The reader has ended, and so does the process.
                    Err(TryRecvError::Closed) => return Err(CloseCause::Gone),
                },
                Phase::Closing(closing) => match closing.next(&self.socket)? {
                    Some(message) => {
                        self.queue.push(message);
                        None
                    }
                    None => Some(Action::Wait),
                },
            };
            if action.is_some() || !self.queue.is_empty() {
                return Ok(action);
            }
        }
    }

    /// Has the session take its next step.
    fn step(&mut self, context: &Context, now: Instant) -> Result<Option<Action>, CloseCause> {
        match self.session.step(&context.sessions.hub, now) {
            Step::Send(bytes) => {
                self.queue.extend(bytes);
                Ok(None)
            }
            Step::Load { after, until } => {
                let (to, loading) = oneshot::channel();
                self.phase = Phase::Loading(loading);
                Ok(Some(Action::LoadHistory { after, until, to }))
            }
            Step::Close(reason) => Err(CloseCause::Local(reason)),
            Step::Again => Ok(Some(Action::RunAgain)),
            Step::Wait(at_most) => {
                self.ask_at = at_most.map(|wait| now + wait);
                Ok(Some(Action::Wait))
            }
        }
    }

    fn check_deadlines(&mut self, context: &Context, now: Instant) -> Result<(), CloseCause> {
        self.ask_at = self.ask_at.filter(|at| *at > now);
        if let Phase::Closing(closing) = &self.phase {
            return closing.check_deadline(&self.socket, now);
        }
        if self.stalled_since.is_some_and(|since| since + context.sessions.limits.write_stall <= now) {
            // The kernel reports room only when much of its buffer is free.
            if !self.queue.write(&self.socket)? {
                return Err(CloseCause::Local(CloseReason::TooSlow));
            }
            self.stalled_since = (!self.queue.is_empty()).then_some(now);
        }
        // The answer may have arrived and not been read.
        self.set_readable();
        self.read_socket(context, now)?;
        match self.heartbeat {
            Heartbeat::AnswerBy(by) if by <= now => return Err(CloseCause::Local(CloseReason::NoPong)),
            Heartbeat::SendAt(at) if at <= now => {
                // Data that is being sent is as good as a heartbeat, and an answer would have to wait for all of it.
                let is_idle = self.queue.is_empty();
                if is_idle {
                    self.queue.push(self.protocol.heartbeat());
                }
                self.heartbeat = if is_idle && self.protocol.answers_heartbeats() {
                    Heartbeat::AnswerBy(now + context.sessions.limits.ping_every)
                } else {
                    Heartbeat::after(now, &self.protocol, context)
                };
            }
            _ => {}
        }
        Ok(())
    }
}
