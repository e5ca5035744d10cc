//! A shard: one thread and its connections. It waits for their sockets, for its inbox, and for the next deadline.

use super::Shared;
use super::connection::{Connection, Wish};
use crate::feed::Feed;
use crate::server::follow::load;
use crate::shutdown::Tasks;
use crate::tick::TickId;
use mio::event::Event;
use mio::{Events, Poll, Token, Waker};
use slab::Slab;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tracing::{debug, error};

/// Events taken at once.
const EVENTS: usize = 1024;
/// The token of the inbox; connections have those of their places.
const INBOX: Token = Token(usize::MAX);
/// The longest rest: there is always some heartbeat due before.
const LONGEST_REST: Duration = Duration::from_secs(3600);

/// What others have for a shard.
pub(super) struct Inbox {
    waker: Waker,
    /// A std lock: held to put something in or to take everything out.
    mail: Mutex<Mail>,
}

#[derive(Default)]
struct Mail {
    /// Each with what is to be sent to it first.
    newcomers: Vec<(Connection, Vec<u8>)>,
    /// The places of connections for which something is done that they waited for.
    told: Vec<usize>,
    /// Whether everybody is to be let go.
    closed: bool,
    /// Whether there is nobody any more who would read this.
    ended: bool,
}

impl Inbox {
    /// Hands a connection over, with what is to be sent first. Where nobody is there any more it is dropped.
    pub(super) fn adopt(&self, connection: Connection, head: Vec<u8>) {
        {
            let mut mail = self.mail();
            if mail.ended {
                return;
            }
            mail.newcomers.push((connection, head));
        }
        self.wake();
    }

    /// Has everybody let go.
    pub(super) fn close(&self) {
        self.mail().closed = true;
        self.wake();
    }

    /// Has the shard look at its mail and at the feed.
    pub(super) fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            error!(%error, "a shard cannot be woken");
        }
    }

    /// Whether there are no newcomers, and then there will be none.
    fn end_if_empty(&self) -> bool {
        let mut mail = self.mail();
        mail.ended = mail.newcomers.is_empty();
        mail.ended
    }

    fn tell(&self, place: usize) {
        self.mail().told.push(place);
        self.wake();
    }

    fn mail(&self) -> MutexGuard<'_, Mail> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sees that nothing is put where nobody takes it out.
struct Ended<'a>(&'a Inbox);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        let mut mail = self.0.mail();
        mail.ended = true;
        mail.newcomers.clear();
    }
}

pub(super) struct Shard {
    poll: Poll,
    inbox: Arc<Inbox>,
    shared: Arc<Shared>,
    tasks: Tasks,
    connections: Slab<Connection>,
    /// All connections have places below this.
    extent: usize,
    /// Where the next round begins, or the same client would always be the last.
    first: usize,
    /// The feed's head at the last round.
    head: TickId,
    /// Places of connections that want another turn.
    turns: Vec<usize>,
    /// Before this nothing is overdue.
    due: Instant,
    /// Whether everybody has been told to go.
    leaving: bool,
}

impl Shard {
    pub(super) fn open(shared: Arc<Shared>, tasks: Tasks) -> io::Result<Shard> {
        let poll = Poll::new()?;
        let inbox = Arc::new(Inbox { waker: Waker::new(poll.registry(), INBOX)?, mail: Mutex::default() });
        let (connections, turns, due) = (Slab::new(), Vec::new(), Instant::now() + LONGEST_REST);
        let head = TickId::ZERO;
        Ok(Shard { poll, inbox, shared, tasks, connections, extent: 0, first: 0, head, turns, due, leaving: false })
    }

    pub(super) fn inbox(&self) -> Arc<Inbox> {
        self.inbox.clone()
    }

    /// Serves its connections until everybody has been let go.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS);
        let inbox = self.inbox.clone();
        // Also where a defect ends this thread.
        let _ended = Ended(&inbox);
        while !(self.leaving && self.connections.is_empty() && inbox.end_if_empty()) {
            let rest =
                if self.turns.is_empty() { self.due.saturating_duration_since(Instant::now()) } else { Duration::ZERO };
            match self.poll.poll(&mut events, Some(rest)) {
                Err(error) if error.kind() != ErrorKind::Interrupted => {
                    error!(%error, "sockets cannot be waited for");
                    return;
                }
                _ => {}
            }
            self.take_turns();
            events.iter().filter(|event| event.token() != INBOX).for_each(|event| self.ready(event));
            self.read_mail();
            self.go_round();
            self.look_at_deadlines();
        }
    }

    fn ready(&mut self, event: &Event) {
        let place = event.token().0;
        // One that ended earlier in this very batch is not there any more.
        let Some(connection) = self.connections.get_mut(place) else { return };
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            connection.set_readable();
        }
        let wish = connection.drive(&self.shared, Instant::now());
        self.grant(place, wish);
    }

    fn take_turns(&mut self) {
        let now = Instant::now();
        for place in std::mem::take(&mut self.turns) {
            if let Some(connection) = self.connections.get_mut(place) {
                connection.is_noted = false;
            }
            self.drive(place, now);
        }
    }

    fn read_mail(&mut self) {
        let (newcomers, told, closed) = {
            let mut mail = self.inbox.mail();
            (std::mem::take(&mut mail.newcomers), std::mem::take(&mut mail.told), mail.closed)
        };
        let now = Instant::now();
        for (mut connection, head) in newcomers {
            let place = self.connections.vacant_key();
            if let Err(error) = connection.register(self.poll.registry(), Token(place)) {
                debug!(%error, "a connection is gone before it is served");
                continue;
            }
            self.connections.insert(connection);
            self.extent = self.extent.max(place + 1);
            let wish = self.connections[place].begin(head, &self.shared, now);
            self.grant(place, wish);
            // Who comes now does so to be told.
            if self.leaving {
                self.drain(place, now);
            }
        }
        // Where another connection has the place by now, that looks for nothing, which costs nothing.
        for place in told {
            self.drive(place, now);
        }
        if closed && !self.leaving {
            self.leaving = true;
            for place in 0..self.extent {
                self.drain(place, now);
            }
        }
    }

    fn drain(&mut self, place: usize, now: Instant) {
        if let Some(connection) = self.connections.get_mut(place) {
            let wish = connection.drain(&self.shared, now);
            self.grant(place, wish);
        }
    }

    /// Gives everybody who follows the feed what is new, if anything is.
    fn go_round(&mut self) {
        let head = self.shared.sessions.hub.head();
        if head == self.head || self.leaving {
            return;
        }
        self.head = head;
        let now = Instant::now();
        self.first = if self.extent > 0 { (self.first + self.extent / 3 + 1) % self.extent } else { 0 };
        for place in (self.first..self.extent).chain(0..self.first) {
            if self.connections.get(place).is_some_and(Connection::follows) {
                self.drive(place, now);
            }
        }
    }

    fn look_at_deadlines(&mut self) {
        let now = Instant::now();
        if now < self.due {
            return;
        }
        self.due = now + LONGEST_REST;
        for place in 0..self.extent {
            let Some(connection) = self.connections.get_mut(place) else { continue };
            let deadline = connection.deadline(&self.shared);
            if deadline <= now {
                let wish = connection.overdue(&self.shared, now);
                self.grant(place, wish);
            } else {
                self.due = self.due.min(deadline);
            }
        }
    }

    fn drive(&mut self, place: usize, now: Instant) {
        if let Some(connection) = self.connections.get_mut(place) {
            let wish = connection.drive(&self.shared, now);
            self.grant(place, wish);
        }
    }

    /// Notes that a connection wants another turn.
    fn note(&mut self, place: usize) {
        if !std::mem::replace(&mut self.connections[place].is_noted, true) {
            self.turns.push(place);
        }
    }

    /// Does what a connection wants.
    fn grant(&mut self, place: usize, wish: Wish) {
        match wish {
            Wish::Rest => {}
            Wish::Turn => self.note(place),
            Wish::Load { after, until, to } => {
                let inbox = self.inbox.clone();
                load(&self.tasks, &self.shared.sessions.hub, after, until, to, move || inbox.tell(place));
                // There may be more to read meanwhile.
                self.note(place);
            }
            Wish::Settle { bookmark, done } => {
                let (sessions, inbox) = (self.shared.sessions.clone(), self.inbox.clone());
                self.tasks.spawn(async move {
                    sessions.bookmarks.close(bookmark).await;
                    done.send(()).ok();
                    inbox.tell(place);
                });
            }
            Wish::End => {
                self.connections.remove(place);
                return;
            }
        }
        if let Some(connection) = self.connections.get(place) {
            self.due = self.due.min(connection.deadline(&self.shared));
        }
    }
}
