//! A connection to Redis that is made when it is needed, shared by whoever needs it, and made anew when it fails.

use super::{ANSWER_DEADLINE, CONNECT_DEADLINE, Result, StoreError, away, late};
use ::redis::aio::MultiplexedConnection;
use ::redis::{AsyncConnectionConfig, Client, RedisError};
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Mutex;
use tokio::time::timeout;

/// A connection, or the place for one.
#[derive(Default)]
pub(super) struct Link {
    /// A tokio mutex: while one caller connects, the others wait for the same connection.
    connection: Mutex<Option<(u64, MultiplexedConnection)>>,
    /// How many attempts to connect have ended. The connection's number is that of the attempt that made it.
    attempts: AtomicU64,
}

impl Link {
    /// Asks something over the connection, and drops the connection if that fails: there is no telling what is still in it.
    pub(super) async fn ask<T>(
        &self,
        client: &Client,
        ask: impl AsyncFnOnce(MultiplexedConnection) -> std::result::Result<T, RedisError>,
    ) -> Result<T> {
        let (number, connection) = self.connect(client).await?;
        let answer = ask(connection).await;
        if answer.is_err() {
            let mut current = self.connection.lock().await;
            // A straggler on an old connection must not take the new one down.
            if current.as_ref().is_some_and(|(current, _)| *current == number) {
                *current = None;
            }
        }
        answer.map_err(away)
    }

    async fn connect(&self, client: &Client) -> Result<(u64, MultiplexedConnection)> {
        let attempts = self.attempts.load(Ordering::Relaxed);
        let mut current = self.connection.lock().await;
        if let Some(current) = &*current {
            return Ok(current.clone());
        }
        // Whoever waited for an attempt that failed has waited long enough.
        if self.attempts.load(Ordering::Relaxed) > attempts {
            return Err(StoreError::Away("connecting has just failed".to_owned()));
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_DEADLINE))
            .set_response_timeout(Some(ANSWER_DEADLINE));
        let connecting = timeout(CONNECT_DEADLINE, client.get_multiplexed_async_connection_with_config(&config)).await;
        let number = self.attempts.fetch_add(1, Ordering::Relaxed) + 1;
        let connection = connecting.map_err(late("connecting"))?.map_err(away)?;
        Ok(current.insert((number, connection)).clone())
    }
}
