//! A shard: one thread and its connections. It waits for their sockets, for commands, and for the next deadline.

use super::connection::{Action, Connection};
use super::context::Context;
use super::shard_handle::{Commands, ShardHandle};
use crate::feed::Feed;
use crate::shutdown::Tasks;
use crate::tick::TickId;
use mio::event::Event;
use mio::{Events, Poll, Token, Waker};
use slab::Slab;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::{debug, error};

/// Events of one poll.
const EVENTS: usize = 1024;
/// Token of the waker. Connections have those of their keys.
const WAKER: Token = Token(usize::MAX);
/// Longest wait: some heartbeat is due before.
const MAX_WAIT: Duration = Duration::from_secs(3600);

/// One thread's connections.
pub(super) struct Shard {
    poll: Poll,
    handle: Arc<ShardHandle>,
    context: Arc<Context>,
    tasks: Tasks,
    connections: Slab<Connection>,
    /// Bound of the keys of all connections.
    extent: usize,
    /// Key at which the next broadcast begins: otherwise the same client would always be the last.
    first: usize,
    /// Head of the feed at the last broadcast.
    head: TickId,
    /// Keys of connections that want to run again.
    scheduled: Vec<usize>,
    /// Time before which nothing is overdue.
    due: Instant,
    /// Whether all connections have been told to close.
    draining: bool,
}

/// Ends the handle with the thread, also if a defect ends it.
struct EndGuard<'a>(&'a ShardHandle);

impl Drop for EndGuard<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Shard {
    pub(super) fn open(context: Arc<Context>, tasks: Tasks) -> io::Result<Shard> {
        let poll = Poll::new()?;
        let handle = Arc::new(ShardHandle::new(Waker::new(poll.registry(), WAKER)?));
        Ok(Shard {
            poll,
            handle,
            context,
            tasks,
            connections: Slab::new(),
            extent: 0,
            first: 0,
            head: TickId::ZERO,
            scheduled: Vec::new(),
            due: Instant::now() + MAX_WAIT,
            draining: false,
        })
    }

    pub(super) fn handle(&self) -> Arc<ShardHandle> {
        self.handle.clone()
    }

    /// Serves its connections until all of them are closed and no more come.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS);
        let handle = self.handle.clone();
        let _end = EndGuard(&handle);
        while !(self.draining && self.connections.is_empty() && handle.end_if_empty()) {
            let wait = if self.scheduled.is_empty() {
                self.due.saturating_duration_since(Instant::now())
            } else {
                Duration::ZERO
            };
            match self.poll.poll(&mut events, Some(wait)) {
                Err(error) if error.kind() != ErrorKind::Interrupted => {
                    error!(%error, "cannot wait for sockets");
                    return;
                }
                _ => {}
            }
            self.run_scheduled();
            events.iter().filter(|event| event.token() != WAKER).for_each(|event| self.on_event(event));
            self.drain_commands();
            self.broadcast();
            self.check_deadlines();
        }
    }

    fn on_event(&mut self, event: &Event) {
        let key = event.token().0;
        // A connection that ended earlier in this batch is gone.
        let Some(connection) = self.connections.get_mut(key) else { return };
        let now = Instant::now();
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            connection.set_readable();
        }
        let action = if event.is_error() {
            connection.on_error(&self.context, now)
        } else {
            connection.on_ready(&self.context, now)
        };
        self.apply(key, action);
    }

    fn run_scheduled(&mut self) {
        let now = Instant::now();
        for key in std::mem::take(&mut self.scheduled) {
            if let Some(connection) = self.connections.get_mut(key) {
                connection.is_scheduled = false;
            }
            self.run_connection(key, now);
        }
    }

    fn drain_commands(&mut self) {
        let Commands { adopted, completed, draining, .. } = self.handle.take();
        let now = Instant::now();
        for (mut connection, head) in adopted {
            let key = self.connections.vacant_key();
            if let Err(error) = connection.register(self.poll.registry(), Token(key)) {
                debug!(%error, "connection lost before it was served");
                continue;
            }
            self.connections.insert(connection);
            self.extent = self.extent.max(key + 1);
            let action = self.connections[key].begin(head, &self.context, now);
            self.apply(key, action);
            // A client that connects now has to be told, too.
            if self.draining {
                self.drain(key, now);
            }
        }
        // If another connection has the key by now, it finds nothing to do, which costs nothing.
        for key in completed {
            self.run_connection(key, now);
        }
        if draining && !self.draining {
            self.draining = true;
            for key in 0..self.extent {
                self.drain(key, now);
            }
        }
    }

    fn drain(&mut self, key: usize, now: Instant) {
        if let Some(connection) = self.connections.get_mut(key) {
            let action = connection.drain(&self.context, now);
            self.apply(key, action);
        }
    }

    /// Sends every connection that follows the feed what is new, if anything is.
    fn broadcast(&mut self) {
        let head = self.context.sessions.hub.head();
        if head == self.head || self.draining {
            return;
        }
        self.head = head;
        let now = Instant::now();
        self.first = if self.extent > 0 { (self.first + self.extent / 3 + 1) % self.extent } else { 0 };
        for key in (self.first..self.extent).chain(0..self.first) {
            if self.connections.get(key).is_some_and(Connection::follows) {
                self.run_connection(key, now);
            }
        }
    }

    fn check_deadlines(&mut self) {
        let now = Instant::now();
        if now < self.due {
            return;
        }
        self.due = now + MAX_WAIT;
        for key in 0..self.extent {
            let Some(connection) = self.connections.get_mut(key) else { continue };
            let deadline = connection.deadline(&self.context);
            if deadline <= now {
                let action = connection.on_deadline(&self.context, now);
                self.apply(key, action);
            } else {
                self.due = self.due.min(deadline);
            }
        }
    }

    fn run_connection(&mut self, key: usize, now: Instant) {
        if let Some(connection) = self.connections.get_mut(key) {
            let action = connection.on_ready(&self.context, now);
            self.apply(key, action);
        }
    }

    /// Schedules a connection to run again.
    fn schedule(&mut self, key: usize) {
        if !std::mem::replace(&mut self.connections[key].is_scheduled, true) {
            self.scheduled.push(key);
        }
    }

    /// Does what a connection needs.
    fn apply(&mut self, key: usize, action: Action) {
        match action {
            Action::Wait => {}
            Action::RunAgain => self.schedule(key),
            Action::LoadHistory { after, until, to } => {
                let handle = self.handle.clone();
                self.context.sessions.hub.load(&self.tasks, after, until, to, move || handle.complete(key));
                // There may be more to read in the meantime.
                self.schedule(key);
            }
            Action::SaveBookmark { bookmark, saved } => {
                let (sessions, handle) = (self.context.sessions.clone(), self.handle.clone());
                self.tasks.spawn(async move {
                    sessions.bookmarks.close(bookmark).await;
                    saved.send(()).ok();
                    handle.complete(key);
                });
            }
            Action::Remove => {
                self.connections.remove(key);
                return;
            }
        }
        if let Some(connection) = self.connections.get(key) {
            self.due = self.due.min(connection.deadline(&self.context));
        }
    }
}
