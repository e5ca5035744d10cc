//! A connection to Redis that all callers share. It opens when first used and is replaced after a failure.
//!
//! Every request has a deadline, and any error discards the connection: a demoted master answers PING and rejects
//! writes, and a half-open socket answers nothing.

use crate::store::contract::{Result, StoreError};
use crate::telemetry::metrics::{STORE_CONNECTS, STORE_ERRORS, STORE_SECONDS};
use ::redis::aio::MultiplexedConnection;
use ::redis::{AsyncConnectionConfig, Client, Cmd, FromRedisValue, RedisError};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use tokio::time::timeout;

/// The time within which a connection must be established.
pub(super) const CONNECT_DEADLINE: Duration = Duration::from_secs(2);
/// The time within which Redis must answer a command.
pub(super) const ANSWER_DEADLINE: Duration = Duration::from_secs(1);

/// A multiplexed connection, or none until a caller needs it.
pub(super) struct RedisConnection {
    client: Client,
    /// The connection and the number of the attempt that opened it. A tokio mutex: while one caller connects, the
    /// others wait for the same connection.
    current: Mutex<Option<(u64, MultiplexedConnection)>>,
    /// The number of attempts to connect that have ended.
    attempts: AtomicU64,
}

impl RedisConnection {
    /// A connection that is not open yet.
    pub(super) fn new(client: Client) -> RedisConnection {
        RedisConnection { client, current: Mutex::default(), attempts: AtomicU64::default() }
    }

    /// Runs one command.
    pub(super) async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T> {
        self.run(async |mut connection| command.query_async(&mut connection).await).await
    }

    /// Runs `request` on the connection, and discards the connection if the request fails.
    pub(super) async fn run<T>(
        &self,
        request: impl AsyncFnOnce(MultiplexedConnection) -> std::result::Result<T, RedisError>,
    ) -> Result<T> {
        let (number, connection) = self.connect().await?;
        let started = Instant::now();
        let answer = request(connection).await;
        STORE_SECONDS.histogram("").record(started.elapsed());
        if answer.is_err() {
            STORE_ERRORS.counter("").increment(1);
            let mut current = self.current.lock().await;
            // A late failure on an old connection must not discard the new one.
            if current.as_ref().is_some_and(|(current, _)| *current == number) {
                *current = None;
            }
        }
        answer.map_err(unavailable)
    }

    async fn connect(&self) -> Result<(u64, MultiplexedConnection)> {
        let attempts = self.attempts.load(Ordering::Relaxed);
        let mut current = self.current.lock().await;
        if let Some(current) = &*current {
            return Ok(current.clone());
        }
        // Fail fast: the attempt that this caller queued behind has just failed.
        if self.attempts.load(Ordering::Relaxed) > attempts {
            return Err(unavailable("the last attempt to connect has just failed"));
        }
        let config = connection_config();
        let connecting =
            timeout(CONNECT_DEADLINE, self.client.get_multiplexed_async_connection_with_config(&config)).await;
        let number = self.attempts.fetch_add(1, Ordering::Relaxed) + 1;
        let connection = connecting.map_err(timed_out("connecting"))?.map_err(unavailable)?;
        STORE_CONNECTS.counter("").increment(1);
        Ok(current.insert((number, connection)).clone())
    }
}

/// The deadlines of a connection for commands.
pub(super) fn connection_config() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_DEADLINE))
        .set_response_timeout(Some(ANSWER_DEADLINE))
}

/// Wraps an error of Redis or of the connection to it.
pub(super) fn unavailable(error: impl std::fmt::Display) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

/// Wraps the timeout of an operation. Its name is a gerund, for example `connecting`.
pub(super) fn timed_out<E>(operation: &'static str) -> impl Fn(E) -> StoreError {
    move |_| StoreError::Unavailable(format!("{operation} timed out"))
}
