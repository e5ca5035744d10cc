//! A connection to Redis that all callers share. It opens when first used and is replaced after a failure.
//!
//! Every request has a deadline. An error discards the connection, because it may never work again: a demoted primary
//! rejects each write, and a half-open socket answers nothing. The errors `TRYAGAIN` and `ASK` only mean that the slot
//! of the feed is moving to another node. `TRYAGAIN` does not discard the connection. `ASK` discards it only if the
//! request then fails on that node, too.

use super::redirect::Redirect;
use super::server::{RedisServer, failed, unavailable};
use crate::store::contract::{Result, StoreError};
use crate::telemetry::metrics::{STORE_ERRORS, STORE_SECONDS};
use ::redis::aio::{ConnectionLike, MultiplexedConnection};
use ::redis::{Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, RedisResult, ScriptInvocation, ServerErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tokio::sync::Mutex;

/// `TRYAGAIN`: the slot is moving, and the node lacks some keys of the request. The connection stays usable.
const TRY_AGAIN: ErrorKind = ErrorKind::Server(ServerErrorKind::TryAgain);

/// A multiplexed connection, or none until a caller needs it.
pub(super) struct RedisConnection {
    server: Arc<RedisServer>,
    /// Purpose of the connection, which is a part of its name (`CLIENT SETNAME`).
    purpose: &'static str,
    /// A tokio mutex: while one caller connects, the others wait for the same connection.
    current: Mutex<Option<Open>>,
    /// The number of attempts to connect that have ended.
    attempts: AtomicU64,
    redirect: Redirect,
}

/// An open connection.
#[derive(Clone)]
struct Open {
    /// The number of the attempt that opened it.
    number: u64,
    /// The generation of the connection. The connection is replaced when [`RedisServer::generation`] has risen, because
    /// the feed has then moved, or has probably moved, to another server.
    generation: u64,
    /// Host and port, or path of the socket, for errors.
    address: Arc<str>,
    connection: MultiplexedConnection,
}

/// A request that can be sent again.
#[derive(Clone, Copy)]
pub(super) enum RedisRequest<'a, 's> {
    Command(&'a Cmd),
    Pipeline(&'a Pipeline),
    /// A function that creates a script call. It is called when the request is sent, because the arguments may contain
    /// the age of a record.
    Call(&'a (dyn Fn() -> ScriptInvocation<'s> + Sync)),
}

/// The reason why a request failed.
pub(super) enum RequestError {
    /// There is no connection.
    Connecting(StoreError),
    /// A server rejected the request, or did not answer. The address is that of the connection, even if the request was
    /// redirected.
    Answer(Arc<str>, RedisError),
}

impl RequestError {
    /// Returns the reason for clients, without an address.
    pub(super) fn public_reason(&self) -> String {
        match self {
            RequestError::Connecting(_) => "Redis cannot be reached".to_owned(),
            RequestError::Answer(_, error) => public_reason(error),
        }
    }
}

/// Returns the reason for clients: the code of the answer, if there is one.
pub(super) fn public_reason(error: &RedisError) -> String {
    match error.code() {
        Some(code) => format!("Redis rejects writes: {code}"),
        None => "Redis does not answer".to_owned(),
    }
}

impl From<RequestError> for StoreError {
    fn from(error: RequestError) -> StoreError {
        match error {
            RequestError::Connecting(error) => error,
            RequestError::Answer(address, error) => failed(&address)(error),
        }
    }
}

impl RedisRequest<'_, '_> {
    async fn send<T: FromRedisValue>(self, connection: &mut (impl ConnectionLike + Send)) -> RedisResult<T> {
        match self {
            RedisRequest::Command(command) => command.query_async(connection).await,
            RedisRequest::Pipeline(pipeline) => pipeline.query_async(connection).await,
            RedisRequest::Call(call) => call().invoke_async(connection).await,
        }
    }
}

impl RedisConnection {
    /// A connection that is not open yet.
    pub(super) fn new(server: Arc<RedisServer>, purpose: &'static str) -> RedisConnection {
        let redirect = Redirect::new(server.clone(), purpose);
        RedisConnection { server, purpose, current: Mutex::default(), attempts: AtomicU64::default(), redirect }
    }

    /// Runs one command.
    pub(super) async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T> {
        self.send(RedisRequest::Command(command)).await
    }

    /// Sends a request with [`try_send`](Self::try_send), for callers that do not distinguish the errors.
    pub(super) async fn send<T: FromRedisValue>(&self, request: RedisRequest<'_, '_>) -> Result<T> {
        self.try_send(request).await.map_err(StoreError::from)
    }

    /// Sends a request. If the answer is `ASK`, sends the request to the node that `ASK` names, too. If the request
    /// fails with another error than `TRYAGAIN`, discards the connection. Redis may have closed an idle connection (its
    /// setting `timeout`). So if a connection that was open before turns out to be closed, sends the request once more
    /// on a new one. The server may therefore execute a request twice.
    pub(super) async fn try_send<T: FromRedisValue>(
        &self,
        request: RedisRequest<'_, '_>,
    ) -> std::result::Result<T, RequestError> {
        let mut is_retry = false;
        loop {
            let connected = self.connect().await.inspect_err(|_| STORE_ERRORS.counter("").increment(1));
            let (Open { number, address, mut connection, .. }, is_new) = connected.map_err(RequestError::Connecting)?;
            let started = Instant::now();
            let answer = request.send(&mut connection).await;
            STORE_SECONDS.histogram("").record(started.elapsed());
            let error = match answer {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let error = match self.redirect.connection(&error).await {
                Some(mut importer) => match request.send(&mut importer).await {
                    Ok(answer) => return Ok(answer),
                    Err(error) => error,
                },
                None => error,
            };
            if error.kind() != TRY_AGAIN {
                self.discard(number).await;
                self.redirect.close().await;
            }
            if is_new || is_retry || !error.is_connection_dropped() {
                STORE_ERRORS.counter("").increment(1);
                return Err(RequestError::Answer(address, error));
            }
            is_retry = true;
        }
    }

    /// Returns the number of the open connection. Each connection has its own number. Opens a connection if there is
    /// none.
    pub(super) async fn number(&self) -> Result<u64> {
        Ok(self.connect().await?.0.number)
    }

    /// Discards the connection with this number. A late failure on an old connection must not discard the new one.
    async fn discard(&self, number: u64) {
        self.current.lock().await.take_if(|current| current.number == number);
    }

    /// Returns the connection, and true if this call has opened it.
    async fn connect(&self) -> Result<(Open, bool)> {
        let attempts = self.attempts.load(Ordering::Relaxed);
        let mut current = self.current.lock().await;
        if let Some(current) = current.as_ref().filter(|current| current.generation == self.server.generation()) {
            return Ok((current.clone(), false));
        }
        // Fail fast: the attempt that this caller queued behind has just failed.
        if self.attempts.load(Ordering::Relaxed) > attempts {
            return Err(unavailable("the last attempt to connect has just failed"));
        }
        *current = None;
        let connecting = async {
            let location = self.server.locate().await?;
            let config = self.server.connection_config();
            let connection = self.server.connect(&location.client, self.purpose, &config).await?;
            Ok::<_, StoreError>((location, connection))
        };
        let connected = connecting.await;
        let number = self.attempts.fetch_add(1, Ordering::Relaxed) + 1;
        let (location, connection) = connected?;
        let (generation, address) = (location.generation, Arc::from(location.address()));
        Ok((current.insert(Open { number, generation, address, connection }).clone(), true))
    }
}
