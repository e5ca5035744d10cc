//! The connections that read the history. They are a pool, so that a long answer delays no other read and no write.
//!
//! The pool checks a connection with PING before each use. A connection that Redis closed while it was idle is replaced
//! without an error. If a connection breaks after the check, the command is retried once on another connection. That is
//! safe, because the command only reads.

use super::server::{RedisServer, address, failed, failed_to_connect, timed_out, unavailable};
use crate::store::contract::{HISTORY_READERS, Result};
use ::redis::{Cmd, FromRedisValue, RedisError};
use deadpool_redis::{Connection, Hook, HookError, Manager, Pool, PoolError};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::timeout;

/// The pool of connections for reads.
pub(super) struct HistoryPool {
    server: Arc<RedisServer>,
    /// The pool and the address of its server. There is none until a caller needs it, or after it could not connect. A
    /// std mutex, which is held only to clone or to replace the pool.
    current: Mutex<Option<(Arc<str>, Pool)>>,
}

impl HistoryPool {
    /// A pool without an open connection.
    pub(super) fn new(server: Arc<RedisServer>) -> HistoryPool {
        HistoryPool { server, current: Mutex::default() }
    }

    /// Runs a command that only reads.
    pub(super) async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T> {
        let (mut address, mut connection) = self.connect().await?;
        let mut answer = command.query_async(&mut connection).await;
        if answer.as_ref().is_err_and(RedisError::is_unrecoverable_error) {
            discard(connection);
            (address, connection) = self.connect().await?;
            answer = command.query_async(&mut connection).await;
        }
        if answer.is_err() {
            discard(connection);
        }
        answer.map_err(failed(&address))
    }

    async fn connect(&self) -> Result<(Arc<str>, Connection)> {
        let (address, pool) = self.pool()?;
        // Without this timeout, the pool would wait without a limit. It covers the wait for a free connection, the
        // check, and the opening of a new connection if that is necessary.
        let connection = timeout(self.server.connect_timeout() + self.server.timeout, pool.get()).await;
        let error = match connection.map_err(timed_out(&address, "getting a connection")) {
            Ok(Ok(connection)) => return Ok((address, connection)),
            Ok(Err(PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)))) => {
                failed_to_connect(&address)(&error)
            }
            Ok(Err(error)) => unavailable(error),
            Err(error) => error,
        };
        self.lock().take_if(|(_, current)| std::ptr::eq(current.manager(), pool.manager()));
        Err(error)
    }

    /// Returns the pool, and creates it if there is none. It has a connection for each of the clients' reads.
    fn pool(&self) -> Result<(Arc<str>, Pool)> {
        let mut current = self.lock();
        if let Some(current) = &*current {
            return Ok(current.clone());
        }
        let client = self.server.locate()?;
        let info = client.get_connection_info().clone();
        let manager = Manager::new_with_config(info, self.server.connection_config()).map_err(unavailable)?;
        let server = self.server.clone();
        let prepare = Hook::async_fn(move |connection, _| {
            let server = server.clone();
            Box::pin(async move { server.prepare(connection, "history").await.map_err(HookError::Backend) })
        });
        let pool = Pool::builder(manager).max_size(HISTORY_READERS).post_create(prepare).build();
        let pool = pool.expect("only the pool's own timeouts, which are not set, could fail");
        Ok(current.insert((address(&client).into(), pool)).clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(Arc<str>, Pool)>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes a connection from the pool. After an error, the rest of an answer may still arrive on it.
fn discard(connection: Connection) {
    drop(Connection::take(connection));
}
