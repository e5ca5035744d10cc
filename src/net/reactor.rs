//! Streams on raw sockets: a few threads, each of which waits for thousands of sockets.
//!
//! A connection is a cursor and a few bytes of state. While it is idle, it has no task, no timer and no buffer. When
//! the head moves, each thread (a shard) visits its connections, and sends each of them the entries after its cursor.
//! All connections share the encoded bytes. The protocol decides what to send, and the session decides when. The
//! reactor only schedules.
//!
//! A shard waits for sockets, commands and deadlines, and never for the store. Work that must wait for the store runs
//! in a task. The task wakes the shard when the work is done.
//!
//! The files in layer order: each uses only those before it.
//!
//! | module | what it is |
//! |---|---|
//! | `context` | state that all shards share |
//! | `input_budget` | bound on the input of a client |
//! | `stream_protocol` | WebSocket and server-sent events on a raw socket |
//! | `heartbeat` | pings and their deadlines |
//! | `send_queue` | bytes to send |
//! | `channel` | a socket, plain or over TLS |
//! | `closing` | close of a connection |
//! | `action` | the phase of a connection, and its requests to the shard |
//! | `connection` | one client |
//! | `shard_counts` | counts of a shard |
//! | `shard_handle` | commands for a shard |
//! | `shard` | one thread with its connections |

mod action;
mod channel;
mod closing;
mod connection;
mod context;
pub(crate) mod heartbeat;
pub(crate) mod input_budget;
mod send_queue;
mod shard;
mod shard_counts;
mod shard_handle;
pub(crate) mod stream_protocol;

use super::client_stream::RawSocket;
use super::connection_limit::Permit;
use super::socket::set_user_timeout;
use crate::session::{Session, Sessions};
use crate::shutdown::{CriticalTask, Drain, Tasks};
use connection::Connection;
use context::Context;
use shard::Shard;
use shard_handle::ShardHandle;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use stream_protocol::StreamProtocol;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// Handle of the reactor: distributes new connections over the shards.
pub(crate) struct Reactor {
    shards: Vec<Arc<ShardHandle>>,
    /// Shard that gets the next connection.
    next: AtomicUsize,
    context: Arc<Context>,
}

/// Shards whose threads have not been started.
pub(crate) struct Shards(Vec<Shard>);

impl Reactor {
    /// Creates one shard for each worker thread of the runtime.
    ///
    /// # Errors
    /// If this process has too many open file descriptors.
    pub(crate) fn open(sessions: Arc<Sessions>, heartbeat: Duration, tasks: &Tasks) -> io::Result<(Reactor, Shards)> {
        let context = Arc::new(Context::new(sessions, heartbeat));
        let workers = 0..Handle::current().metrics().num_workers();
        let shards: Vec<_> = workers.map(|_| Shard::open(context.clone(), tasks.clone())).collect::<Result<_, _>>()?;
        let handles = shards.iter().map(Shard::handle).collect();
        Ok((Reactor { shards: handles, next: AtomicUsize::new(0), context }, Shards(shards)))
    }

    /// Takes over a socket. `head` is sent before the output of the session. `early` are bytes that the client has
    /// already sent after its request. The client counts as connected until `permit` is dropped.
    pub(crate) fn adopt(
        &self,
        socket: RawSocket,
        protocol: StreamProtocol,
        session: Session,
        permit: Permit,
        head: Vec<u8>,
        early: Box<[u8]>,
    ) {
        if let Err(error) = set_user_timeout(&socket.socket, self.user_timeout(&protocol)) {
            debug!(peer = %permit.peer(), %error, "connection lost before it was served");
            return;
        }
        let connection = Connection::new(socket, protocol, session, permit, early, &self.context);
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        self.shards[next % self.shards.len()].adopt(connection, head);
    }

    /// Returns the `TCP_USER_TIMEOUT` of a connection. The kernel cannot distinguish a dead client from a client that
    /// reads nothing, and the latter should get a close reason. A protocol with pings has no such timeout, because its
    /// pings detect a dead client. For other protocols the timeout is so long that the limit on write stalls applies
    /// first.
    fn user_timeout(&self, protocol: &StreamProtocol) -> Option<Duration> {
        (!protocol.answers_heartbeats()).then(|| self.context.sessions.limits.write_stall * 3)
    }

    /// Wakes the shards whenever the head has moved. During the drain, it makes them close one group of connections
    /// after the other. Returns when all connections are being closed.
    pub(crate) async fn watch_feed(&self, drain: &Drain) {
        let mut head = self.context.sessions.hub.watch_head();
        // The hub is dropped after its watchers, so waiting cannot fail.
        for group in drain.groups() {
            while let Some(Ok(())) = group.run_until_cancelled(head.changed()).await {
                self.shards.iter().for_each(|shard| shard.wake());
            }
            self.shards.iter().for_each(|shard| shard.drain_group());
        }
        drain.done().cancelled().await;
        self.context.start_draining();
        self.shards.iter().for_each(|shard| shard.drain());
    }
}

impl Reactor {
    /// Makes the shards run all sessions, so that those whose permission has ended are closed.
    pub(crate) fn recheck(&self) {
        self.shards.iter().for_each(|shard| shard.recheck());
    }
}

impl Shards {
    /// Starts the threads. They end when the reactor drains and all connections are closed. If a thread fails, it
    /// cancels `stop`.
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
