//! The connections that read the history. They are a pool, so that a long answer delays no other read and no write.
//!
//! The pool checks a connection with PING before each use. A connection that Redis closed while it was idle is replaced
//! without an error. If a connection breaks after the check, the command is retried once on another connection. That is
//! safe, because the command only reads.

use super::redirect::Redirect;
use super::server::{ConnectionRefusal, RedisServer, failed, failed_to_connect, timed_out, unavailable};
use crate::store::contract::{HISTORY_READERS, Result};
use crate::telemetry::metrics::{STORE_CONNECTS, STORE_ERRORS};
use ::redis::{Cmd, ErrorKind, FromRedisValue, ServerErrorKind};
use deadpool_redis::{Connection, Hook, HookError, Manager, Pool, PoolError};
use std::sync::Arc;
use std::time::SystemTime;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tracing::warn;

/// The purpose in the names of the connections.
const PURPOSE: &str = "history";

/// The pool of connections for reads.
pub(super) struct HistoryPool {
    server: Arc<RedisServer>,
    /// `None` until the first read, and after the pool could not connect or its server answered `MOVED`. It is a tokio
    /// mutex: while one caller finds out where the feed is, the others wait for the same pool.
    current: Mutex<Option<ServerPool>>,
    redirect: Redirect,
}

/// A pool of connections to one server.
#[derive(Clone)]
struct ServerPool {
    pool: Pool,
    generation: u64,
    /// The times at which the TLS files that its connections use were last changed.
    files: Vec<Option<SystemTime>>,
    /// Host and port, or path of the socket, for errors.
    address: Arc<str>,
}

impl HistoryPool {
    /// A pool without an open connection.
    pub(super) fn new(server: Arc<RedisServer>) -> HistoryPool {
        let redirect = Redirect::new(server.clone(), PURPOSE);
        HistoryPool { server, current: Mutex::default(), redirect }
    }

    /// Runs a command that only reads.
    pub(super) async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T> {
        self.try_query(command).await.inspect_err(|_| STORE_ERRORS.counter("").increment(1))
    }

    async fn try_query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T> {
        let mut is_retry = false;
        loop {
            let current = self.current().await?;
            let mut connection = match self.connect(&current).await {
                Ok(connection) => connection,
                // The feed may have moved to another server.
                Err(_) if !is_retry && self.server.can_move() => {
                    is_retry = true;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let error = match command.query_async(&mut connection).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if let Some(mut importer) = self.redirect.connection(&error).await {
                let answer = command.query_async(&mut importer).await;
                if answer.is_err() {
                    self.redirect.close().await;
                }
                return answer.map_err(failed(&current.address));
            }
            discard(connection);
            let has_moved = error.kind() == ErrorKind::Server(ServerErrorKind::Moved);
            if has_moved {
                self.forget(&current).await;
            }
            if is_retry || !(has_moved || error.is_unrecoverable_error()) {
                return Err(failed(&current.address)(error));
            }
            is_retry = true;
        }
    }

    /// Takes a connection from a pool.
    async fn connect(&self, current: &ServerPool) -> Result<Connection> {
        // Without this timeout, the pool would wait without a limit. The timeout covers the wait for a free connection,
        // the check, and the opening of a new connection if that is necessary.
        let connection = timeout(self.server.connect_timeout() + self.server.timeout, current.pool.get()).await;
        // If all connections are in use, the server is slow, and a new pool would only add to its load.
        let is_busy = connection.is_err() && current.pool.status().size == HISTORY_READERS;
        let error = match connection.map_err(timed_out(&current.address, "getting a connection")) {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)))) => {
                failed_to_connect(&current.address)(&error)
            }
            Ok(Err(PoolError::PostCreateHook(HookError::Message(reason)))) => unavailable(reason),
            Ok(Err(error)) => unavailable(error),
            Err(error) => error,
        };
        if !is_busy {
            self.forget(current).await;
        }
        Err(error)
    }

    /// Forgets a pool, so that the next read finds out where the feed is.
    async fn forget(&self, pool: &ServerPool) {
        self.current.lock().await.take_if(|current| std::ptr::eq(current.pool.manager(), pool.pool.manager()));
    }

    /// Returns the pool of the server that has the feed, and creates it if there is none. It has up to
    /// `HISTORY_READERS` connections, one for each read that runs at the same time.
    async fn current(&self) -> Result<ServerPool> {
        let mut current = self.current.lock().await;
        let files = self.server.tls().changed_at();
        if let Some(known) = current.as_mut().filter(|known| known.generation == self.server.generation()) {
            if known.files != files {
                // If the new files do not work, they are tried again after their next change, or when the old pool
                // cannot connect.
                known.files.clone_from(&files);
                match self.open_with_changed_files(files).await {
                    Ok(opened) => *known = opened,
                    Err(error) => warn!(%error, next = "keeping the open connections", "changed TLS files do not work"),
                }
            }
            return Ok(known.clone());
        }
        Ok(current.insert(self.open(files).await?).clone())
    }

    /// Creates a pool, and opens its first connection.
    async fn open_with_changed_files(&self, files: Vec<Option<SystemTime>>) -> Result<ServerPool> {
        self.server.tls().check().map_err(unavailable)?;
        let opened = self.open(files).await?;
        let first = timeout(self.server.connect_timeout() + self.server.timeout, opened.pool.get()).await;
        first.map_err(timed_out(&opened.address, "getting a connection"))?.map_err(unavailable)?;
        Ok(opened)
    }

    /// Creates a pool.
    async fn open(&self, files: Vec<Option<SystemTime>>) -> Result<ServerPool> {
        let location = self.server.locate().await?;
        let info = location.client.get_connection_info().clone();
        let manager = Manager::new_with_config(info, self.server.connection_config()).map_err(unavailable)?;
        let (server, address) = (self.server.clone(), Arc::<str>::from(location.address()));
        let named = address.clone();
        let prepare = Hook::async_fn(move |connection, _| {
            let (server, address) = (server.clone(), named.clone());
            Box::pin(async move {
                server.prepare(connection, &address, PURPOSE).await.map_err(|refusal| match refusal {
                    ConnectionRefusal::Error(error) => HookError::Backend(error),
                    ConnectionRefusal::Wrong(reason) => HookError::Message(reason.into()),
                })?;
                STORE_CONNECTS.counter("").increment(1);
                Ok(())
            })
        });
        let pool = Pool::builder(manager).max_size(HISTORY_READERS).post_create(prepare).build();
        let pool = pool.expect("only the pool's own timeouts, which are not set, could fail");
        Ok(ServerPool { pool, generation: location.generation, files, address })
    }
}

/// Removes a connection from the pool. After an error, the rest of an answer may still arrive on it.
fn discard(connection: Connection) {
    drop(Connection::take(connection));
}
