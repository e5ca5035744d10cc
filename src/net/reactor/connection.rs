//! One client's connection, which drives a session over a raw socket.
//!
//! It never blocks. It reads and writes as much as the socket allows at once, and returns an [`Action`] for its shard.

mod input;

use super::action::{Action, Phase};
use super::channel::Channel;
use super::closing::Closing;
use super::context::Context;
use super::heartbeat::Heartbeat;
use super::send_queue::SendQueue;
use super::stream_protocol::{CloseCause, StreamProtocol};
use crate::net::client_memory::Account;
use crate::net::client_stream::RawSocket;
use crate::net::connection_limit::Permit;
use crate::session::{ClientGuard, CloseReason, Counts, Session, Step, StreamTransport};
use bytes::Bytes;
use mio::{Registry, Token};
use std::io;
use std::time::Instant;
use tokio::sync::oneshot::{self, error::TryRecvError};
use tracing::{Span, debug};

/// Maximum number of reads in a row, and of times that the queue is filled and sent, before other connections run.
const MAX_IN_A_ROW: usize = 4;

/// Connection of one client.
pub(super) struct Connection {
    channel: Channel,
    protocol: StreamProtocol,
    session: Session,
    queue: SendQueue,
    phase: Phase,
    /// True if there may be something to read.
    readable: bool,
    /// True if the client has shut down its sending side.
    half_closed: bool,
    /// True if the shard has scheduled the connection to run again.
    pub(super) is_scheduled: bool,
    /// Answer to the newest ping. Older pings need no answer (RFC 6455 §5.5.3).
    pong: Option<Box<Bytes>>,
    heartbeat: Heartbeat,
    /// The time since which the socket has accepted no data.
    stalled_since: Option<Instant>,
    /// The time of the session's next step, unless another event causes a step before.
    step_at: Option<Instant>,
    /// The account of the part of the history that is being loaded or is in the queue.
    account: Option<Box<Account>>,
    /// The bytes that the client sent before the handoff.
    early: Box<[u8]>,
    _counted: ClientGuard,
    /// Span of the request, for log lines, if lines of the level `debug` are logged.
    span: Option<Box<Span>>,
    /// Held until the socket is closed. It is the last field, because fields are dropped in order.
    permit: Permit,
}

impl Connection {
    pub(super) fn new(
        socket: RawSocket,
        protocol: StreamProtocol,
        session: Session,
        permit: Permit,
        early: Box<[u8]>,
        context: &Context,
    ) -> Connection {
        Connection {
            channel: Channel::new(socket),
            heartbeat: Heartbeat::after(Instant::now(), &protocol, context),
            _counted: ClientGuard::new(session.transport()),
            protocol,
            session,
            queue: SendQueue::default(),
            phase: Phase::Following,
            readable: true,
            half_closed: false,
            is_scheduled: false,
            pong: None,
            stalled_since: None,
            step_at: None,
            account: None,
            early,
            span: Some(Span::current()).filter(|span| !span.is_disabled()).map(Box::new),
            permit,
        }
    }

    /// Registers the socket. The shard then gets an event with `token` when the socket becomes readable or writable.
    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.channel.register(registry, token)
    }

    /// Sends `head` and the first output of the session, in one packet if they fit, before anything is read.
    pub(super) fn begin(&mut self, head: Vec<u8>, context: &Context, now: Instant) -> Action {
        self.attempt(context, now, |connection, context, now| {
            if head.is_empty() {
                return connection.run(context, now);
            }
            connection.queue.push(head.into());
            let filled = connection.fill(context, now);
            // The head is sent before an error of `fill` is handled, because a close drops what is left in the queue.
            // The send buffer of a new socket has room for the whole head.
            connection.channel.write(&mut connection.queue)?;
            match filled? {
                Some(Action::Wait) | None => connection.run(context, now),
                Some(action) => Ok(action),
            }
        })
    }

    /// Opens an account for a part of the history. If the memory for clients is used up and this account is chosen,
    /// `reset` is called. It must make the shard run the connection, which then closes.
    pub(super) fn open_account(&mut self, reset: impl Fn() + Send + Sync + 'static) {
        self.account = Some(Box::new(self.permit.memory().open(reset)));
    }

    /// Counts the memory that the connection holds. `reset` is as in [`open_account`](Self::open_account).
    pub(super) fn count_memory(&mut self, reset: impl Fn() + Send + Sync + 'static) {
        self.channel.count_memory(self.permit.memory(), reset);
    }

    /// Returns whether the connection has nothing to send and waits for the feed to move.
    pub(super) fn follows(&self) -> bool {
        self.queue.is_empty() && matches!(self.phase, Phase::Following)
    }

    /// Returns the transport, and the counts of entries and bytes since the last call.
    pub(super) fn take_counts(&mut self) -> (StreamTransport, Counts, u64) {
        (self.session.transport(), self.session.take_counts(), self.queue.take_sent())
    }

    /// Notes that the socket can be read.
    pub(super) fn set_readable(&mut self) {
        self.readable = !self.half_closed;
    }

    /// Returns the time by which [`on_deadline`](Self::on_deadline) must be called.
    pub(super) fn deadline(&self, context: &Context) -> Instant {
        match &self.phase {
            Phase::Closing(closing) => closing.deadline(),
            Phase::Following | Phase::Loading(_) => {
                let stalled = self.stalled_since.map(|since| since + context.sessions.limits.write_stall);
                [stalled, self.step_at].into_iter().flatten().fold(self.heartbeat.due(), Instant::min)
            }
        }
    }

    /// Reads, steps and writes as far as possible without blocking.
    pub(super) fn on_ready(&mut self, context: &Context, now: Instant) -> Action {
        self.attempt(context, now, Connection::run)
    }

    /// Checks all deadlines, and then reads, steps and writes as [`on_ready`](Self::on_ready) does.
    pub(super) fn on_deadline(&mut self, context: &Context, now: Instant) -> Action {
        self.attempt(context, now, |connection, context, now| {
            connection.check_deadlines(context, now)?;
            connection.run(context, now)
        })
    }

    /// Handles an error of the socket. After a half-close, it means that the client no longer reads.
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
            if done.is_err() {
                self.mark_sent();
            }
            match done {
                Ok(action) => return action,
                Err(CloseCause::Gone) => {
                    self.channel.end();
                    return Action::Remove;
                }
                Err(cause) => match self.begin_close(&cause, context, now) {
                    Some(action) => return action,
                    None => done = self.run(context, now),
                },
            }
        }
    }

    /// Begins to close the connection. Returns the action that its shard must do first, if there is one.
    fn begin_close(&mut self, cause: &CloseCause, context: &Context, now: Instant) -> Option<Action> {
        cause.count();
        let (span, client) = (self.span.as_deref().and_then(Span::id), self.permit.client());
        debug!(parent: span, %client, ?cause, cursor = %self.session.cursor(), "closing a stream");
        if self.channel.is_reset() {
            // Its memory is needed now, and a close message would have to wait until the client reads.
            self.channel.discard_unsent().ok();
            return Some(Action::Remove);
        }
        let message = self.protocol.close_message(cause);
        self.queue.keep_partial_message(self.channel.sealed(), |piece, sent| self.protocol.message_end(piece, sent));
        self.channel.close_account();
        (self.pong, self.stalled_since, self.account) = (None, None, None);
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

    /// Moves the client's bookmark if the socket has accepted all bytes. Usually the next step moves it, but there may
    /// be no next step.
    fn mark_sent(&self) {
        if self.queue.is_empty() {
            self.session.mark_sent();
        }
    }

    /// Reads the input that has arrived, and then sends the output that is due.
    fn run(&mut self, context: &Context, now: Instant) -> Result<Action, CloseCause> {
        // A connection that is being closed has no account, and gets none.
        let is_closing = matches!(self.phase, Phase::Closing(_));
        let is_reset = self.account.as_ref().is_some_and(|account| account.is_reset()) || self.channel.is_reset();
        if is_reset && !is_closing {
            return Err(CloseCause::Local(CloseReason::TooSlow));
        }
        self.read_socket(context, now)?;
        Ok(match self.flush(context, now)? {
            Action::Wait if self.readable => Action::RunAgain,
            Action::Wait if !is_closing && self.channel.has_uncounted_memory() => Action::CountMemory,
            action => action,
        })
    }

    /// Sends the output that is due, until the session waits or the socket is full.
    fn flush(&mut self, context: &Context, now: Instant) -> Result<Action, CloseCause> {
        for _ in 0..MAX_IN_A_ROW {
            if self.queue.is_empty()
                && let Some(action) = self.fill(context, now)?
            {
                return Ok(action);
            }
            let progress = self.channel.write(&mut self.queue)?;
            if !self.queue.is_empty() {
                let since = if progress { None } else { self.stalled_since };
                self.stalled_since = Some(since.unwrap_or(now));
                return Ok(Action::Wait);
            }
            self.stalled_since = None;
            self.account = self.account.take().filter(|_| matches!(self.phase, Phase::Loading(_)));
        }
        Ok(Action::RunAgain)
    }

    /// Fills the queue, or returns an action if there is nothing to send now.
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
                        let bytes = self.session.loaded(&entries);
                        self.account.iter().for_each(|account| account.set(bytes.iter().map(Bytes::len).sum()));
                        self.queue.extend(bytes);
                        self.phase = Phase::Following;
                        None
                    }
                    Err(TryRecvError::Empty) => Some(Action::Wait),
                    // The task that loads has been cancelled, so the process is stopping.
                    Err(TryRecvError::Closed) => return Err(CloseCause::Gone),
                },
                Phase::Closing(closing) => match closing.next(&mut self.channel)? {
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

    /// Runs the next step of the session.
    fn step(&mut self, context: &Context, now: Instant) -> Result<Option<Action>, CloseCause> {
        match self.session.step(&context.sessions.hub, now) {
            Step::Send(bytes) => {
                self.queue.extend(bytes);
                Ok(None)
            }
            Step::Load { after, until, audits } => {
                let (to, loading) = oneshot::channel();
                self.phase = Phase::Loading(loading);
                Ok(Some(Action::LoadHistory { after, until, audits, to }))
            }
            Step::Close(reason) => Err(CloseCause::Local(reason)),
            Step::Again => Ok(Some(Action::RunAgain)),
            Step::Wait(at_most) => {
                self.step_at = at_most.map(|wait| now + wait);
                Ok(Some(Action::Wait))
            }
        }
    }

    fn check_deadlines(&mut self, context: &Context, now: Instant) -> Result<(), CloseCause> {
        self.step_at = self.step_at.filter(|at| *at > now);
        if let Phase::Closing(closing) = &self.phase {
            return closing.check_deadline(&self.channel, now);
        }
        if self.stalled_since.is_some_and(|since| since + context.sessions.limits.write_stall <= now) {
            // The kernel reports a writable socket only when much of its buffer is free. A write may succeed earlier.
            if !self.channel.write(&mut self.queue)? {
                return Err(CloseCause::Local(CloseReason::TooSlow));
            }
            self.stalled_since = (!self.queue.is_empty()).then_some(now);
        }
        // The pong may have arrived but not been read.
        self.set_readable();
        self.read_socket(context, now)?;
        match self.heartbeat {
            Heartbeat::AnswerBy(by) if by <= now => return Err(CloseCause::Local(CloseReason::NoPong)),
            Heartbeat::SendAt(at) if at <= now => {
                // While data is being sent, no heartbeat is needed. It would wait behind the data, so its answer would
                // be late.
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
