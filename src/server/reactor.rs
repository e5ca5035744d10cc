//! The streams on raw sockets: a few threads, each of which waits for thousands of sockets at once.
//!
//! A connection here is a cursor and a few words. While nothing happens it has no task, no timer and no buffer of its own:
//! when the feed moves, its thread (a shard) goes from one to the next and sends each what stands after its cursor, which
//! are bytes that all share. What is said is the [`Wire`]'s, when to say it the session's; here is only who has his turn.
//!
//! Whatever has to wait for something else than a socket, the store above all, is done by a task of the runtime, which
//! wakes the shard when it is done.

mod connection;
mod heartbeat;
mod outgoing;
mod parting;
mod shard;
mod wire;

pub(super) use heartbeat::Heartbeat;
pub(super) use wire::{End, Heard, Wire};

use crate::server::listener::{Peer, bound_silence};
use crate::session::{Session, Sessions};
use crate::shutdown::{Tasks, Vital};
use connection::Connection;
use shard::{Inbox, Shard};
use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// What all connections have in common.
struct Shared {
    sessions: Arc<Sessions>,
    /// How often an event stream says that it is still there.
    heartbeat: Duration,
    /// When the reactor was made: what is to happen every so often is counted from here.
    began: Instant,
    /// Whether everybody is being let go.
    draining: AtomicBool,
}

impl Shared {
    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

/// Where connections are handed over.
pub(super) struct Reactor {
    inboxes: Vec<Arc<Inbox>>,
    /// Which shard gets the next connection.
    next: AtomicUsize,
    shared: Arc<Shared>,
}

/// The threads that hold the connections, not started yet.
pub(super) struct Shards(Vec<Shard>);

impl Reactor {
    /// A shard for each thread that the runtime works with.
    ///
    /// # Errors
    /// If the kernel has no more descriptors for us.
    pub(super) fn open(sessions: Arc<Sessions>, heartbeat: Duration, tasks: &Tasks) -> io::Result<(Reactor, Shards)> {
        let shared = Arc::new(Shared { sessions, heartbeat, began: Instant::now(), draining: AtomicBool::new(false) });
        let workers = 0..Handle::current().metrics().num_workers();
        let shards: Vec<_> = workers.map(|_| Shard::open(shared.clone(), tasks.clone())).collect::<Result<_, _>>()?;
        let inboxes = shards.iter().map(Shard::inbox).collect();
        Ok((Reactor { inboxes, next: AtomicUsize::new(0), shared }, Shards(shards)))
    }

    /// Takes over a socket that does not block. `head` is what its client is still to be told of the answer to its request,
    /// `early` is what it has sent behind that. The client counts as connected until `peer` is dropped.
    pub(super) fn adopt(
        &self,
        stream: TcpStream,
        wire: Wire,
        session: Session,
        peer: Peer,
        head: Vec<u8>,
        early: Box<[u8]>,
    ) {
        if let Err(error) = bound_silence(&stream, self.bound(&wire)) {
            debug!(%error, "a connection is gone before it is served");
            return;
        }
        let connection = Connection::new(stream, wire, session, peer, early, &self.shared);
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        self.inboxes[next % self.inboxes.len()].adopt(connection, head);
    }

    /// How long the kernel keeps a connection whose client acknowledges nothing. It does not tell one that is gone from one
    /// that reads nothing, to which we would rather say why it is let go. So where pings find out who is gone there is no
    /// such bound, and elsewhere ours and the time for a goodbye come first.
    fn bound(&self, wire: &Wire) -> Option<Duration> {
        (!wire.is_answered()).then(|| self.shared.sessions.limits.write_stall * 3)
    }

    /// Wakes the shards whenever the feed has moved, until `drain`, when they are to let everybody go.
    pub(super) async fn ring(&self, drain: &CancellationToken) {
        let mut head = self.shared.sessions.hub.watch_head();
        // The hub outlives its watchers, so waiting cannot fail.
        while let Some(Ok(())) = drain.run_until_cancelled(head.changed()).await {
            self.inboxes.iter().for_each(|inbox| inbox.wake());
        }
        self.shared.draining.store(true, Ordering::Relaxed);
        self.inboxes.iter().for_each(|inbox| inbox.close());
    }
}

impl Shards {
    /// Starts the threads, which end when everybody has been let go. One that fails takes the replica with it (`stop`).
    pub(super) fn spawn(self, tasks: &Tasks, stop: &CancellationToken) {
        for shard in self.0 {
            let vital = Vital::new("streaming", stop);
            tasks.spawn_thread(move || {
                shard.run();
                drop(vital);
            });
        }
    }
}
