//! The connections that read the history. They are a pool, so that a long answer delays no other read and no write.
//!
//! The pool checks a connection with PING before each use. A connection that Redis closed while it was idle is replaced
//! without an error. If a connection breaks after the check, the command is retried once on another connection. That is
//! safe, because the command only reads.

use super::connection::{
    ANSWER_DEADLINE, CONNECT_DEADLINE, address, connection_config, failed, failed_to_connect, timed_out, unavailable,
};
use crate::store::contract::{HISTORY_READERS, Result};
use ::redis::{Client, Cmd, FromRedisValue, RedisError};
use deadpool_redis::{Connection, Manager, Pool, PoolError};
use std::time::Duration;
use tokio::time::timeout;

/// The time within which the pool must provide a connection. It includes the wait for a free connection, the check, and
/// the opening of a new connection if that is necessary.
const POOL_DEADLINE: Duration = CONNECT_DEADLINE.saturating_add(ANSWER_DEADLINE);

/// The pool of connections for reads.
pub(super) struct HistoryPool {
    pool: Pool,
    /// Host and port, for errors.
    address: String,
}

impl HistoryPool {
    /// A pool with a connection for each of the clients' reads. None is open yet.
    pub(super) fn new(client: &Client) -> std::result::Result<HistoryPool, RedisError> {
        let manager = Manager::new_with_config(client.get_connection_info().clone(), connection_config())?;
        let pool = Pool::builder(manager).max_size(HISTORY_READERS).build();
        let pool = pool.expect("only the pool's own timeouts, which are not set, could fail");
        Ok(HistoryPool { pool, address: address(client) })
    }

    /// Runs a command that only reads.
    pub(super) async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T> {
        let mut connection = self.connect().await?;
        let mut answer = command.query_async(&mut connection).await;
        if answer.as_ref().is_err_and(RedisError::is_unrecoverable_error) {
            discard(connection);
            connection = self.connect().await?;
            answer = command.query_async(&mut connection).await;
        }
        if answer.is_err() {
            discard(connection);
        }
        answer.map_err(failed(&self.address))
    }

    async fn connect(&self) -> Result<Connection> {
        // Without this timeout, the pool would wait without a limit.
        let connection = timeout(POOL_DEADLINE, self.pool.get()).await;
        match connection.map_err(timed_out(&self.address, "getting a connection"))? {
            Ok(connection) => Ok(connection),
            Err(PoolError::Backend(error)) => Err(failed_to_connect(&self.address)(error)),
            Err(error) => Err(unavailable(error)),
        }
    }
}

/// Removes a connection from the pool. After an error, the rest of an answer may still arrive on it.
fn discard(connection: Connection) {
    drop(Connection::take(connection));
}
