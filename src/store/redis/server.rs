//! The server that has the feed: connections to it, each with a deadline and a name.

use super::options::{InvalidUrl, RedisOptions, RedisTls};
use super::url::RedisAddress;
use crate::store::contract::{Result, StoreError};
use crate::telemetry::metrics::STORE_CONNECTS;
use crate::text::excerpt;
use ::redis::aio::MultiplexedConnection;
use ::redis::{AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, ErrorKind, RedisError, RedisResult, cmd};
use secrecy::ExposeSecret;
use std::time::Duration;
use tokio::time::timeout;

/// The time to connect, as a multiple of the time for an answer. Connecting takes up to four round trips: TCP, TLS,
/// authentication, and the name of the connection.
const ROUND_TRIPS: u32 = 3;
/// Maximum length of an error of the server.
const MAX_ERROR: usize = 200;

/// The server of a feed, and how to connect to it.
pub(super) struct RedisServer {
    address: RedisAddress,
    tls: RedisTls,
    replica: String,
    /// The time within which Redis must answer a command.
    pub(super) timeout: Duration,
}

impl RedisServer {
    /// A server to which there is no connection yet.
    pub(super) fn new(options: &RedisOptions) -> std::result::Result<RedisServer, InvalidUrl> {
        let address = RedisAddress::parse(options.url.expose_secret())?;
        // The name of a connection has only printable characters and no spaces.
        let printable = |c: char| if c.is_ascii_graphic() { c } else { '_' };
        let replica = options.replica.chars().map(printable).collect();
        Ok(RedisServer { address, tls: options.tls.clone(), replica, timeout: options.timeout })
    }

    /// Returns the number of the database.
    pub(super) fn database(&self) -> i64 {
        let RedisAddress::Server(info) = &self.address;
        info.redis_settings().db()
    }

    /// Returns the time within which a connection must be established.
    pub(super) fn connect_timeout(&self) -> Duration {
        self.timeout * ROUND_TRIPS
    }

    /// Returns the deadlines of a connection.
    pub(super) fn connection_config(&self) -> AsyncConnectionConfig {
        AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connect_timeout()))
            .set_response_timeout(Some(self.timeout))
    }

    /// Returns how to connect to the server that has the feed.
    pub(super) fn locate(&self) -> Result<Client> {
        let RedisAddress::Server(info) = &self.address;
        let info = info.clone();
        let settings = info.redis_settings().clone().set_skip_set_lib_name();
        self.with_tls(info.set_redis_settings(settings))
    }

    fn with_tls(&self, info: ConnectionInfo) -> Result<Client> {
        let address = info.addr().to_string();
        let failed = |error: &dyn std::fmt::Display| unavailable(format_args!("{address}: TLS: {error}"));
        match info.addr() {
            ConnectionAddr::TcpTls { .. } if self.tls != RedisTls::default() => {
                let files = self.tls.read().map_err(|error| failed(&error))?;
                Client::build_with_tls(info, files).map_err(|error| failed(&error))
            }
            _ => Client::open(info).map_err(|error| failed(&error)),
        }
    }

    /// Opens a connection and names it.
    pub(super) async fn connect(
        &self,
        client: &Client,
        purpose: &str,
        config: &AsyncConnectionConfig,
    ) -> Result<MultiplexedConnection> {
        let address = address(client);
        let connecting = async {
            let mut connection = client.get_multiplexed_async_connection_with_config(config).await?;
            self.prepare(&mut connection, purpose).await?;
            Ok(connection)
        };
        let connection = timeout(self.connect_timeout(), connecting).await;
        let connection =
            connection.map_err(timed_out(&address, "connecting"))?.map_err(|error| self.explain(client, &error))?;
        STORE_CONNECTS.counter("").increment(1);
        Ok(connection)
    }

    /// Wraps an error of connecting. A server that requires a client certificate just closes the connection, and one
    /// without TLS waits for more bytes.
    pub(super) fn explain(&self, client: &Client, error: &RedisError) -> StoreError {
        let info = client.get_connection_info();
        let is_tls = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
        let is_closed = error.is_connection_dropped() && !error.is_connection_refusal();
        if !is_tls || !(is_closed || error.is_timeout()) {
            return failed_to_connect(&address(client))(error);
        }
        let hint = match self.tls.certificate {
            None => "does this port use TLS, and does it require a client certificate (BTCFEED_REDIS_CERT)?",
            Some(_) => "does this port use TLS, and does it accept the certificate BTCFEED_REDIS_CERT?",
        };
        unavailable(format_args!("{}: TLS: {error}: {hint}", info.addr()))
    }

    /// Gives a connection its name, which `CLIENT LIST` shows.
    pub(super) async fn prepare(&self, connection: &mut MultiplexedConnection, purpose: &str) -> RedisResult<()> {
        let name = format!("btcfeed/{}/{purpose}", self.replica);
        let named: RedisResult<()> = cmd("CLIENT").arg("SETNAME").arg(name).query_async(connection).await;
        // The name only informs operators, so a server that does not allow it can be used all the same.
        named.or_else(|error| if is_answer(&error) { Ok(()) } else { Err(error) })
    }
}

/// Returns true if the server answered with this error, so that the connection works.
fn is_answer(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension)
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
        StoreError::Unavailable(format!("{address}: {step}{}", text(&error)))
    }
}

/// Wraps an error of connecting to the server at `address`.
pub(super) fn failed_to_connect(address: &str) -> impl Fn(&RedisError) -> StoreError {
    move |error| {
        let step = failed_step(error).unwrap_or("connect");
        StoreError::Unavailable(format!("{address}: {step}: {}", text(error)))
    }
}

/// Returns the text of an error. It may contain an answer of the server of any length.
fn text(error: &RedisError) -> String {
    excerpt(&error.to_string(), MAX_ERROR)
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
    } else if has(&["certificate", "Certificate", "corrupt message", "tls", "TLS", "fatal alert"]) {
        Some("TLS")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_error_of_the_server_is_cut() {
        let error = RedisError::from((ErrorKind::Client, "long", "x".repeat(16_000)));
        let StoreError::Unavailable(text) = failed("redis:6379")(error) else { panic!("another error") };
        assert!(text.starts_with("redis:6379: ") && text.ends_with('…') && text.chars().count() < 220, "{text}");
    }
}
