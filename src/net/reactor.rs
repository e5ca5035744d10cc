//! Streams on raw sockets: a few threads, each of which waits for thousands of sockets at once.
//!
//! A connection here is a cursor and a few words. While nothing happens it has no task, no timer and no buffer. When the
//! feed moves, each thread (a shard) visits its connections and sends each of them what comes after its cursor, in bytes
//! that all share. The protocol decides what to send and the session when; the reactor only schedules.
//!
//! Whatever has to wait for something other than a socket, above all for the store, runs as a task of the runtime, which
//! wakes the shard when it is done.
//!
//! In layer order: a file uses only those before it.

mod closing;
mod connection;
mod context;
pub(crate) mod heartbeat;
mod send_queue;
mod shard;
mod shard_handle;
pub(crate) mod stream_protocol;

use super::connection_limit::Permit;
use super::socket::set_user_timeout;
use crate::session::{Session, Sessions};
use crate::shutdown::{CriticalTask, Tasks};
use connection::Connection;
use context::Context;
use shard::Shard;
use shard_handle::ShardHandle;
use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use stream_protocol::StreamProtocol;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// Entrance for connections: distributes them over the shards.
pub(crate) struct Reactor {
    shards: Vec<Arc<ShardHandle>>,
    /// Shard that gets the next connection.
    next: AtomicUsize,
    context: Arc<Context>,
}

/// Threads that hold the connections, not started yet.
pub(crate) struct Shards(Vec<Shard>);

impl Reactor {
    /// Creates a shard for each worker thread of the runtime.
    ///
    /// # Errors
    /// If the kernel has no more descriptors for this process.
    pub(crate) fn open(sessions: Arc<Sessions>, heartbeat: Duration, tasks: &Tasks) -> io::Result<(Reactor, Shards)> {
        let context = Arc::new(Context::new(sessions, heartbeat));
        let workers = 0..Handle::current().metrics().num_workers();
        let shards: Vec<_> = workers.map(|_| Shard::open(context.clone(), tasks.clone())).collect::<Result<_, _>>()?;
        let handles = shards.iter().map(Shard::handle).collect();
        Ok((Reactor { shards: handles, next: AtomicUsize::new(0), context }, Shards(shards)))
    }

    /// Takes over a non-blocking socket. `head` is what the client is to be sent first, `early` is what it has sent behind
    /// its request. The client counts as connected until `permit` is dropped.
    pub(crate) fn adopt(
        &self,
        socket: TcpStream,
        protocol: StreamProtocol,
        session: Session,
        permit: Permit,
        head: Vec<u8>,
        early: Box<[u8]>,
    ) {
        if let Err(error) = set_user_timeout(&socket, self.user_timeout(&protocol)) {
            debug!(peer = %permit.peer(), %error, "connection lost before it was served");
            return;
        }
        let connection = Connection::new(socket, protocol, session, permit, early, &self.context);
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        self.shards[next % self.shards.len()].adopt(connection, head);
    }

    /// Returns how long the kernel keeps a connection whose client acknowledges nothing. The kernel cannot tell a client
    /// that is gone from one that reads nothing, and the latter should be told why it is evicted. So there is no such
    /// bound where pings find out who is gone. Elsewhere our own bound, and the time for a close, come first.
    fn user_timeout(&self, protocol: &StreamProtocol) -> Option<Duration> {
        (!protocol.answers_heartbeats()).then(|| self.context.sessions.limits.write_stall * 3)
    }

    /// Wakes the shards whenever the feed has moved, until `drain`, when they are to close all connections.
    pub(crate) async fn watch_feed(&self, drain: &CancellationToken) {
        let mut head = self.context.sessions.hub.watch_head();
        // The hub outlives its watchers, so waiting cannot fail.
        while let Some(Ok(())) = drain.run_until_cancelled(head.changed()).await {
            self.shards.iter().for_each(|shard| shard.wake());
        }
        self.context.start_draining();
        self.shards.iter().for_each(|shard| shard.drain());
    }
}

impl Shards {
    /// Starts the threads. They end when all connections are closed. A thread that fails stops the replica (`stop`).
    pub(crate) fn spawn(self, tasks: &Tasks, stop: &CancellationToken) {
        for shard in self.0 {
            let guard = CriticalTask::new("streaming", stop);
            tasks.spawn_thread(move || {
                shard.run();
                drop(guard);
            });
        }
    }
}
