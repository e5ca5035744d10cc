//! Shard: one thread with its connections. It waits for their sockets, for commands, and for the next deadline.

use super::action::Action;
use super::connection::Connection;
use super::context::Context;
use super::shard_counts::ShardCounts;
use super::shard_handle::{Commands, ShardHandle};
use crate::feed::Feed;
use crate::shutdown::{GROUPS, Tasks};
use crate::tick::TickId;
use mio::event::Event;
use mio::{Events, Poll, Token, Waker};
use slab::Slab;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::{debug, error};

/// Maximum number of events of one poll.
const MAX_EVENTS: usize = 1024;
/// Token of the waker. The token of a connection is its key.
const WAKER: Token = Token(usize::MAX);
/// Time that a shard waits if no deadline is earlier, for example because it has no connections.
const MAX_WAIT: Duration = Duration::from_secs(3600);

/// Connections of one thread.
pub(super) struct Shard {
    poll: Poll,
    handle: Arc<ShardHandle>,
    context: Arc<Context>,
    tasks: Tasks,
    connections: Slab<Connection>,
    /// Exclusive upper bound of the keys of all connections.
    key_bound: usize,
    /// The key at which the last broadcast began. It changes each time, so that no client is always the last one.
    first: usize,
    /// Head of the feed at the last broadcast.
    head: TickId,
    /// Keys of connections to run again.
    scheduled: Vec<usize>,
    /// Lower bound of all deadlines.
    due: Instant,
    /// Number of groups of connections that are being closed.
    drained_groups: usize,
    /// True if all connections are being closed.
    draining: bool,
    counts: ShardCounts,
}

/// Guard that ends the handle together with the thread, even if the thread panics.
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
            key_bound: 0,
            first: 0,
            head: TickId::ZERO,
            scheduled: Vec::new(),
            due: Instant::now() + MAX_WAIT,
            drained_groups: 0,
            draining: false,
            counts: ShardCounts::new(),
        })
    }

    pub(super) fn handle(&self) -> Arc<ShardHandle> {
        self.handle.clone()
    }

    /// Serves the connections. Returns when the shard drains and all of them are closed.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(MAX_EVENTS);
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
            self.counts.report();
        }
        self.counts.report();
    }

    fn on_event(&mut self, event: &Event) {
        let key = event.token().0;
        // The connection may have been removed earlier in this batch.
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
        let Commands { adopted, completed, rechecking, drained_groups, draining, .. } = self.handle.take();
        let now = Instant::now();
        for (mut connection, head) in adopted {
            let key = self.connections.vacant_key();
            if let Err(error) = connection.register(self.poll.registry(), Token(key)) {
                debug!(%error, "connection lost before it was served");
                continue;
            }
            self.connections.insert(connection);
            self.key_bound = self.key_bound.max(key + 1);
            let action = self.connections[key].begin(head, &self.context, now);
            self.apply(key, action);
            // A client that connects while the shard drains also gets a close reason.
            if self.draining {
                self.drain(key, now);
            }
        }
        // If the key belongs to another connection by now, running that connection does no harm.
        for key in completed {
            self.run_connection(key, now);
        }
        for group in self.drained_groups..drained_groups {
            for key in (group..self.key_bound).step_by(GROUPS) {
                self.drain(key, now);
            }
        }
        self.drained_groups = drained_groups;
        if rechecking {
            for key in 0..self.key_bound {
                self.run_connection(key, now);
            }
        }
        if draining && !self.draining {
            self.draining = true;
            for key in 0..self.key_bound {
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

    /// Sends the new entries, if there are any, to all connections that follow the feed.
    fn broadcast(&mut self) {
        let head = self.context.sessions.hub.head();
        if head == self.head || self.draining {
            return;
        }
        self.head = head;
        let now = Instant::now();
        self.first = if self.key_bound > 0 { (self.first + self.key_bound / 3 + 1) % self.key_bound } else { 0 };
        for key in (self.first..self.key_bound).chain(0..self.first) {
            if self.connections.get(key).is_some_and(Connection::follows) {
                self.run_connection(key, now);
                if self.connections.get(key).is_some_and(Connection::follows) {
                    self.counts.note_live(head);
                }
            }
        }
        self.counts.end_broadcast(head);
    }

    fn check_deadlines(&mut self) {
        let now = Instant::now();
        if now < self.due {
            return;
        }
        self.due = now + MAX_WAIT;
        for key in 0..self.key_bound {
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

    fn apply(&mut self, key: usize, action: Action) {
        if let Some(connection) = self.connections.get_mut(key) {
            self.counts.add(connection.take_counts());
        }
        match action {
            Action::Wait => {}
            Action::RunAgain => self.schedule(key),
            Action::LoadHistory { after, until, audits, to } => {
                let (handle, reset) = (self.handle.clone(), self.handle.clone());
                self.connections[key].open_account(move || reset.complete(key));
                self.context.sessions.hub.load(&self.tasks, after, until, audits, to, move || handle.complete(key));
                // Meanwhile the socket may have more input.
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
            Action::CountMemory => {
                let handle = self.handle.clone();
                self.connections[key].count_memory(move || handle.complete(key));
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
