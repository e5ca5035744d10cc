//! Requests to the cluster node that imports the slot of the feed. While a slot moves, the keys that have moved already
//! are reached only there, by requests that begin with `ASKING` (Redis Cluster specification, "ASK redirection").

use super::node::{Node, at};
use super::server::RedisServer;
use super::url::RedisAddress;
use ::redis::aio::{ConnectionLike, MultiplexedConnection};
use ::redis::{Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, ServerErrorKind, Value, pipe};
use futures_util::FutureExt;
use std::sync::Arc;
use tokio::sync::Mutex;

/// Connection to the node that imports the slot. It is opened when an `ASK` error names that node.
pub(super) struct Redirect {
    server: Arc<RedisServer>,
    purpose: &'static str,
    current: Mutex<Option<(Node, Asking)>>,
}

/// A connection whose requests begin with `ASKING`.
#[derive(Clone)]
pub(super) struct Asking(MultiplexedConnection);

impl Redirect {
    pub(super) fn new(server: Arc<RedisServer>, purpose: &'static str) -> Redirect {
        Redirect { server, purpose, current: Mutex::default() }
    }

    /// Returns a connection to the node that an `ASK` error names. Returns `None` for any other error, or if the node
    /// cannot be reached.
    pub(super) async fn connection(&self, error: &RedisError) -> Option<Asking> {
        if error.kind() != ErrorKind::Server(ServerErrorKind::Ask) {
            return None;
        }
        let RedisAddress::Cluster { nodes } = &self.server.address else { return None };
        let (host, port) = error.redirect_node()?.0.rsplit_once(':')?;
        let node = (host.to_owned(), port.parse().ok()?);
        let mut current = self.current.lock().await;
        if let Some((_, connection)) = current.as_ref().filter(|(known, _)| *known == node) {
            return Some(connection.clone());
        }
        let client = self.server.client(at(&nodes[0], &node)).ok()?;
        let connection = self.server.connect_to_importer(&client, self.purpose).await.ok()?;
        Some(current.insert((node, Asking(connection))).1.clone())
    }

    /// Closes the connection.
    pub(super) async fn close(&self) {
        *self.current.lock().await = None;
    }
}

impl ConnectionLike for Asking {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        let mut asking = pipe();
        asking.cmd("ASKING").add_command(command.clone());
        async move {
            let answer = self.0.send_packed_commands(&asking, 0, 2).await?.pop().unwrap_or(Value::Nil);
            answer.extract_error()
        }
        .boxed()
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        _: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        let mut asking = pipe();
        for command in pipeline.cmd_iter() {
            asking.cmd("ASKING").add_command(command.clone());
        }
        async move {
            let answers = self.0.send_packed_commands(&asking, 0, 2 * count).await?;
            Ok(answers.into_iter().skip(1).step_by(2).collect())
        }
        .boxed()
    }

    fn get_db(&self) -> i64 {
        0
    }
}
