//! A connection to Redis that all callers share. It opens when first used and is replaced after a failure.
//!
//! Every request has a deadline, and any error discards the connection: a demoted master answers PING and rejects
//! writes, and a half-open socket answers nothing.

use crate::store::contract::{Result, StoreError};
use crate::telemetry::metrics::{STORE_CONNECTS, STORE_ERRORS, STORE_SECONDS};
use ::redis::aio::MultiplexedConnection;
use ::redis::{AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, RedisError};
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
    /// Host and port, or path of the socket, for errors.
    pub(super) address: String,
    /// The connection and the number of the attempt that opened it. A tokio mutex: while one caller connects, the
    /// others wait for the same connection.
    current: Mutex<Option<(u64, MultiplexedConnection)>>,
    /// The number of attempts to connect that have ended.
    attempts: AtomicU64,
}

impl RedisConnection {
    /// A connection that is not open yet.
    pub(super) fn new(client: Client) -> RedisConnection {
        let address = address(&client);
        RedisConnection { client, address, current: Mutex::default(), attempts: AtomicU64::default() }
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
        let connected = self.connect().await.inspect_err(|_| STORE_ERRORS.counter("").increment(1));
        let (number, connection) = connected?;
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
        answer.map_err(failed(&self.address))
    }

    async fn connect(&self) -> Result<(u64, MultiplexedConnection)> {
        let attempts = self.attempts.load(Ordering::Relaxed);
        let mut current = self.current.lock().await;
        if let Some(current) = &*current {
            return Ok(current.clone());
        }
        // Fail fast: the attempt that this caller queued behind has just failed.
        if self.attempts.load(Ordering::Relaxed) > attempts {
            return Err(unavailable(format_args!("{}: the last attempt to connect has just failed", self.address)));
        }
        let config = connection_config();
        let connecting =
            timeout(CONNECT_DEADLINE, self.client.get_multiplexed_async_connection_with_config(&config)).await;
        let number = self.attempts.fetch_add(1, Ordering::Relaxed) + 1;
        let connection =
            connecting.map_err(timed_out(&self.address, "connecting"))?.map_err(failed_to_connect(&self.address))?;
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

/// Returns the host and the port of a server, or the path of its socket.
pub(super) fn address(client: &Client) -> String {
    client.get_connection_info().addr().to_string()
}

/// Wraps an error whose text is complete. [`failed`] is for errors of the Redis library.
pub(super) fn unavailable(error: impl std::fmt::Display) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

/// Wraps an error of the server at `address` or of the connection to it. The text begins with the address, and with
/// the cause if [`failed_step`] finds one.
pub(super) fn failed(address: &str) -> impl Fn(RedisError) -> StoreError {
    move |error| {
        let step = failed_step(&error).map(|step| format!("{step}: ")).unwrap_or_default();
        StoreError::Unavailable(format!("{address}: {step}{error}"))
    }
}

/// Wraps an error of connecting to the server at `address`.
pub(super) fn failed_to_connect(address: &str) -> impl Fn(RedisError) -> StoreError {
    move |error| {
        let step = failed_step(&error).unwrap_or("connect");
        StoreError::Unavailable(format!("{address}: {step}: {error}"))
    }
}

/// Wraps a timeout. `operation` is the subject of the message, such as `connecting` or `a ping of the subscription`.
pub(super) fn timed_out<E>(address: &str, operation: &'static str) -> impl Fn(E) -> StoreError {
    move |_| StoreError::Unavailable(format!("{address}: {operation} timed out"))
}

/// Returns `password`, `DNS` or `TLS` if the text of an error shows that this is the cause. An open connection can also
/// report a wrong password.
fn failed_step(error: &RedisError) -> Option<&'static str> {
    let text = error.to_string();
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if error.kind() == ErrorKind::AuthenticationFailed || has(&["NOAUTH", "WRONGPASS"]) {
        Some("password")
    } else if has(&["lookup address", "Name or service", "resolve"]) {
        Some("DNS")
    } else if has(&["certificate", "corrupt message", "tls", "TLS"]) {
        Some("TLS")
    } else {
        None
    }
}
