//! The server that has the feed: connections to it, each with a deadline and a name.

use super::node::{Node, slot};
use super::options::{InvalidUrl, RedisOptions, RedisTls};
use super::rights::Need;
use super::url::RedisAddress;
use crate::store::contract::{Result, StoreError};
use crate::telemetry::metrics::STORE_CONNECTS;
use crate::text::excerpt;
use ::redis::aio::MultiplexedConnection;
use ::redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, ErrorKind, RedisError, RedisResult, ServerErrorKind,
    Value, from_redis_value, pipe,
};
use secrecy::ExposeSecret;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::timeout;

/// The error of a cluster's node that does not own the slot of a key.
const MOVED: ErrorKind = ErrorKind::Server(ServerErrorKind::Moved);
/// The maximum number of nodes of a cluster that are asked where the feed is, besides those in the URL.
const MAX_NODES: usize = 16;
/// The time to connect, as a multiple of the time for an answer. It is longer, because connecting takes up to four
/// round trips: TCP, TLS, authentication, and the name of the connection.
const CONNECT_FACTOR: u32 = 3;
/// Maximum length of an error of the server.
const MAX_ERROR: usize = 200;

/// The server of a feed, and how to connect to it.
pub(super) struct RedisServer {
    pub(super) address: RedisAddress,
    /// The slot of the feed in a cluster.
    pub(super) slot: u16,
    /// A key of the feed.
    key: String,
    /// A channel that nobody reads. A message to it shows if the server has `SPUBLISH`.
    channel: String,
    tls: RedisTls,
    replica: String,
    /// The time within which Redis must answer a command.
    pub(super) timeout: Duration,
    /// The number of replicas of Redis that must have an entry before the next one is written.
    pub(super) min_acks: usize,
    /// The time of the clock of Redis minus that of this machine's clock.
    pub(super) clock_ahead_ms: AtomicI64,
    /// The newest id that a script is known to have written.
    pub(super) newest: AtomicU64,
    /// What is known about where the feed is. A std mutex, which is held only to read or to change it.
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// A number that rises when the feed has moved, or has probably moved, to another server. Older connections are
    /// replaced.
    generation: u64,
    address: Option<String>,
    /// The nodes of the cluster.
    nodes: BTreeSet<Node>,
    /// True if messages for a channel go only to the nodes of its slot (`SPUBLISH`).
    is_sharded: bool,
}

/// The reason why a connection cannot be used.
pub(super) enum ConnectionRefusal {
    /// An error of the server or of the connection.
    Error(RedisError),
    /// The server cannot serve the feed, at least not now.
    Wrong(String),
}

impl From<RedisError> for ConnectionRefusal {
    fn from(error: RedisError) -> ConnectionRefusal {
        ConnectionRefusal::Error(error)
    }
}

impl RedisServer {
    /// A server to which there is no connection yet.
    pub(super) fn new(options: &RedisOptions) -> std::result::Result<RedisServer, InvalidUrl> {
        let address = RedisAddress::parse(options.url.expose_secret())?;
        // The name of a connection has only printable characters and no spaces.
        let printable = |c: char| if c.is_ascii_graphic() { c } else { '_' };
        Ok(RedisServer {
            address,
            slot: slot(&options.key_prefix),
            key: format!("{{{}}}:lease", options.key_prefix),
            channel: format!("{{{}}}:check", options.key_prefix),
            tls: options.tls.clone(),
            replica: options.replica.chars().map(printable).collect(),
            timeout: options.timeout,
            min_acks: options.min_acks,
            clock_ahead_ms: AtomicI64::default(),
            newest: AtomicU64::default(),
            known: Mutex::default(),
        })
    }

    /// Returns the number of the database.
    pub(super) fn database(&self) -> i64 {
        match &self.address {
            RedisAddress::Server(info) | RedisAddress::Sentinel { server: info, .. } => info.redis_settings().db(),
            RedisAddress::Cluster { .. } => 0,
        }
    }

    /// Returns the uses for which rights are needed.
    pub(super) fn needs(&self) -> Vec<Need> {
        let is_cluster = matches!(self.address, RedisAddress::Cluster { .. });
        let uses =
            [(Need::Lead, true), (Need::Candles, true), (Need::Acks, self.min_acks > 0), (Need::Cluster, is_cluster)];
        uses.into_iter().filter_map(|(need, is_used)| is_used.then_some(need)).collect()
    }

    /// Returns the time within which a connection must be established.
    pub(super) fn connect_timeout(&self) -> Duration {
        self.timeout * CONNECT_FACTOR
    }

    /// Returns the deadlines of a connection.
    pub(super) fn connection_config(&self) -> AsyncConnectionConfig {
        AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connect_timeout()))
            .set_response_timeout(Some(self.timeout))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the generation that a connection must have. Connections of earlier generations are replaced.
    pub(super) fn generation(&self) -> u64 {
        self.known().generation
    }

    /// Notes the address of the server that has the feed. Returns the generation of a connection to it. `generation` is
    /// the generation at the start of the search for this server. If the address has not changed, it is also that of
    /// the connection. The connection is then replaced if [`forget_address`](Self::forget_address) was called during
    /// the search, because that call has raised the generation.
    pub(super) fn note_address(&self, address: &str, generation: u64) -> u64 {
        let mut known = self.known();
        if known.address.as_deref().is_some_and(|known| known == address) {
            return generation;
        }
        known.generation += u64::from(known.address.is_some());
        known.address = Some(address.to_owned());
        known.generation
    }

    /// Notes that the feed has probably moved. The next request connects again.
    pub(super) fn forget_address(&self) {
        self.known().generation += 1;
    }

    /// Returns true if the feed can move to a server with another address.
    pub(super) fn can_move(&self) -> bool {
        !matches!(self.address, RedisAddress::Server(_))
    }

    /// Returns the nodes of the cluster that are known.
    pub(super) fn known_nodes(&self) -> Vec<Node> {
        self.known().nodes.iter().cloned().collect()
    }

    /// Notes the nodes of the cluster.
    pub(super) fn note_nodes(&self, nodes: impl Iterator<Item = Node>) {
        self.known().nodes = nodes.take(MAX_NODES).collect();
    }

    /// Returns the name of the command that sends a message on a channel.
    pub(super) fn publish_command(&self) -> &'static str {
        if self.known().is_sharded { "SPUBLISH" } else { "PUBLISH" }
    }

    /// Returns the name of the command that subscribes to a channel.
    pub(super) fn subscribe_command(&self) -> &'static str {
        if self.known().is_sharded { "SSUBSCRIBE" } else { "SUBSCRIBE" }
    }

    /// Returns the files of TLS.
    pub(super) fn tls(&self) -> &RedisTls {
        &self.tls
    }

    /// Returns a client of the server `info`.
    pub(super) fn client(&self, info: ConnectionInfo) -> Result<Client> {
        let settings = info.redis_settings().clone().set_skip_set_lib_name();
        let info = info.set_redis_settings(settings);
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

    /// Opens a connection, names it, and checks that its server can have the feed.
    pub(super) async fn connect(
        &self,
        client: &Client,
        purpose: &str,
        config: &AsyncConnectionConfig,
    ) -> Result<MultiplexedConnection> {
        let address = address(client);
        let connecting = async {
            let mut connection = client.get_multiplexed_async_connection_with_config(config).await?;
            self.prepare(&mut connection, &address, purpose).await?;
            Ok(connection)
        };
        let connection = timeout(self.connect_timeout(), connecting).await;
        let connection = connection.map_err(timed_out(&address, "connecting"))?.map_err(|refusal| match refusal {
            ConnectionRefusal::Error(error) => self.explain(client, &error),
            ConnectionRefusal::Wrong(reason) => unavailable(reason),
        })?;
        STORE_CONNECTS.counter("").increment(1);
        Ok(connection)
    }

    /// Opens a connection to the node that imports the slot of the feed, and names it.
    pub(super) async fn connect_to_importer(
        &self,
        client: &Client,
        purpose: &str,
    ) -> RedisResult<MultiplexedConnection> {
        let mut connection = client.get_multiplexed_async_connection_with_config(&self.connection_config()).await?;
        let mut name = pipe();
        name.cmd("CLIENT").arg("SETNAME").arg(self.connection_name(purpose)).ignore().ignore_errors();
        name.exec_async(&mut connection).await?;
        Ok(connection)
    }

    fn connection_name(&self, purpose: &str) -> String {
        format!("btcfeed/{}/{purpose}", self.replica)
    }

    /// Wraps an error of connecting, with a hint if TLS may be the cause: a server that requires a client certificate
    /// just closes the connection, and a server without TLS waits for more bytes.
    fn explain(&self, client: &Client, error: &RedisError) -> StoreError {
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

    /// Gives a connection its name, which `CLIENT LIST` shows, and checks that its server is a primary that can have
    /// the keys of the feed. A missing right is no error, with one exception: the right to `ROLE` with Sentinel.
    pub(super) async fn prepare(
        &self,
        connection: &mut MultiplexedConnection,
        address: &str,
        purpose: &str,
    ) -> std::result::Result<(), ConnectionRefusal> {
        let mut commands = pipe();
        commands.cmd("CLIENT").arg("SETNAME").arg(self.connection_name(purpose));
        commands.cmd("ROLE").cmd("PTTL").arg(&self.key);
        let is_cluster = matches!(self.address, RedisAddress::Cluster { .. });
        if is_cluster {
            commands.cmd("SPUBLISH").arg(&self.channel).arg("");
        }
        let answers: Vec<RedisResult<Value>> = commands.ignore_errors().query_async(connection).await?;
        let Some([_, role, key]) = answers.first_chunk() else {
            return Err(ConnectionRefusal::Wrong(format!(
                "{address}: the server has not answered every command of the feed"
            )));
        };
        match role {
            Ok(role) => self.check_role(address, role)?,
            // The right to `ROLE` is needed only with Sentinel: there, an old primary may still be running.
            Err(error) if matches!(self.address, RedisAddress::Sentinel { .. }) => {
                return Err(ConnectionRefusal::Wrong(format!("{address}: ROLE is needed with Sentinel: {error}")));
            }
            Err(_) => {}
        }
        match key {
            Err(error) if error.kind() == MOVED && is_cluster => {
                self.forget_address();
                Err(ConnectionRefusal::Wrong(format!("{address}: the slot of the feed has moved")))
            }
            Err(error) if error.kind() == MOVED => Err(ConnectionRefusal::Wrong(format!(
                "{address} is a node of a cluster, but does not own the slot of this feed: \
                 begin REDIS_URL with redis+cluster://{address}"
            ))),
            // Redis loads its data, the cluster is down, or a replica of Redis has lost its primary.
            Err(error) if matches!(error.code(), Some("LOADING" | "CLUSTERDOWN" | "MASTERDOWN")) => {
                Err(ConnectionRefusal::Wrong(format!("{address}: {error}")))
            }
            _ => {
                if is_cluster {
                    self.known().is_sharded = answers.get(3).is_some_and(RedisResult::is_ok);
                }
                Ok(())
            }
        }
    }

    /// Checks the answer to `ROLE`.
    fn check_role(&self, address: &str, role: &Value) -> std::result::Result<(), ConnectionRefusal> {
        let words: Vec<Value> = from_redis_value(role.clone()).unwrap_or_default();
        let word = |place: usize| words.get(place).and_then(|word| from_redis_value::<String>(word.clone()).ok());
        let is_named = matches!(self.address, RedisAddress::Server(_));
        match word(0).as_deref() {
            Some("slave") if is_named => {
                let primary = format!("{}:{}", word(1).unwrap_or_default(), word(2).unwrap_or_default());
                Err(ConnectionRefusal::Wrong(format!(
                    "{address} is a replica of {primary}, expected the primary: name {primary} in REDIS_URL"
                )))
            }
            Some("slave") => {
                Err(ConnectionRefusal::Wrong(format!("{address} is a replica, waiting for it to become the primary")))
            }
            Some("sentinel") => {
                let masters: Vec<String> =
                    words.get(1).and_then(|names| from_redis_value(names.clone()).ok()).unwrap_or_default();
                let name = masters.first().map_or("NAME", String::as_str);
                Err(ConnectionRefusal::Wrong(format!(
                    "{address} is a Sentinel, expected a Redis: set REDIS_URL to redis+sentinel://{address}/0?master={name}"
                )))
            }
            _ => Ok(()),
        }
    }
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

/// Returns the text of an error. The text is cut, because it may contain an answer of any length.
fn text(error: &RedisError) -> String {
    excerpt(&error.to_string(), MAX_ERROR)
}

/// Wraps a timeout. `operation` is the subject of the message, such as `connecting` or `a ping of the subscription`.
pub(super) fn timed_out<E>(address: &str, operation: &'static str) -> impl Fn(E) -> StoreError {
    move |_| StoreError::Unavailable(format!("{address}: {operation} timed out"))
}

/// Returns `password`, `DNS` or `TLS` if the text of an error shows that this is the cause. A wrong password is not
/// only an error of connecting: an open connection can report it, too.
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
