//! The server that has the feed now: the one of the URL, the primary that the Sentinels name, or the node that owns the
//! slot of the feed in a cluster. All keys of a feed are in one slot, so one ordinary connection is enough in a
//! cluster.
//!
//! All Sentinels or nodes are asked at once, and the answer of most of them counts. If there are three or more, one
//! that is down does not delay the answer. One that is cut off from the others and still names the old primary is
//! outvoted.

use super::node::{Node, at, host_of, is_at};
use super::server::{RedisServer, failed, failed_to_connect, timed_out, unavailable};
use super::url::RedisAddress;
use crate::store::contract::{Result, StoreError};
use ::redis::{Client, ConnectionInfo, FromRedisValue, Value, cmd, from_redis_value};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// The mean time between two questions about where the feed is. They are asked only if the feed can move. If a primary
/// is cut off and another one replaces it, a replica of btcfeed that still uses the old one notices that within about
/// this time.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// The time between two attempts to subscribe to a Sentinel.
const SENTINEL_PAUSE: Duration = Duration::from_secs(1);
/// The channel in which a Sentinel announces a new primary.
const SWITCHES: &str = "+switch-master";

/// The server that has the feed, and the generation of a connection to it. Connections of earlier generations are
/// replaced.
pub(super) struct Location {
    pub(super) client: Client,
    pub(super) generation: u64,
}

impl Location {
    /// Returns the host and the port of the server, or the path of its socket.
    pub(super) fn address(&self) -> String {
        self.client.get_connection_info().addr().to_string()
    }
}

impl RedisServer {
    /// Returns the server that has the feed now.
    pub(super) async fn locate(&self) -> Result<Location> {
        let generation = self.generation();
        let info = match &self.address {
            RedisAddress::Server(info) => info.clone(),
            RedisAddress::Sentinel { sentinels, master, server } => at(server, &self.primary(sentinels, master).await?),
            RedisAddress::Cluster { nodes } => at(&nodes[0], &self.owner(nodes).await?),
        };
        let generation = self.note_address(&info.addr().to_string(), generation);
        Ok(Location { client: self.client(info)?, generation })
    }

    /// Returns the primary that most Sentinels name.
    async fn primary(&self, sentinels: &[ConnectionInfo], master: &str) -> Result<Node> {
        let mut command = cmd("SENTINEL");
        command.arg("GET-MASTER-ADDR-BY-NAME").arg(master);
        let ask = async |sentinel: &ConnectionInfo| {
            let answer: Option<Node> = self.ask(sentinel.clone(), &command).await?;
            answer.ok_or_else(|| {
                unavailable(format_args!("{}: the Sentinel knows no primary {master:?}", sentinel.addr()))
            })
        };
        let asks: FuturesUnordered<_> = sentinels.iter().map(ask).collect();
        agree(asks, sentinels.len(), self.timeout).await
    }

    /// Returns the node that owns the slot of the feed, according to most nodes.
    async fn owner(&self, seeds: &[ConnectionInfo]) -> Result<Node> {
        let mut nodes = seeds.to_vec();
        for known in self.known_nodes() {
            if !nodes.iter().any(|node| is_at(node, &known)) {
                nodes.push(at(&seeds[0], &known));
            }
        }
        let ask = async |node: &ConnectionInfo| {
            let slots: Vec<Vec<Value>> = self.ask(node.clone(), cmd("CLUSTER").arg("SLOTS")).await?;
            let ranges = slots.into_iter().filter_map(|range| SlotRange::read(range, node));
            let ranges: Vec<SlotRange> = ranges.collect();
            let owner = ranges.iter().find(|range| (range.first..=range.last).contains(&self.slot));
            let Some(owner) = owner else {
                return Err(unavailable(format_args!(
                    "{}: no node has the slot {} of the feed",
                    node.addr(),
                    self.slot
                )));
            };
            self.note_nodes(ranges.iter().flat_map(|range| range.nodes.iter().cloned()));
            Ok(owner.nodes[0].clone())
        };
        let count = nodes.len();
        let asks: FuturesUnordered<_> = nodes.iter().map(ask).collect();
        agree(asks, count, self.timeout).await
    }

    /// Sends a command over a connection of its own.
    async fn ask<T: FromRedisValue>(&self, info: ConnectionInfo, command: &::redis::Cmd) -> Result<T> {
        let address = info.addr().to_string();
        let client = self.client(info)?;
        let asking = async {
            let connecting = client.get_multiplexed_async_connection_with_config(&self.connection_config()).await;
            let mut connection = connecting.map_err(|error| failed_to_connect(&address)(&error))?;
            command.query_async(&mut connection).await.map_err(failed(&address))
        };
        timeout(self.connect_timeout(), asking).await.map_err(timed_out(&address, "connecting"))?
    }

    /// Waits until another server than the one at `address` has the feed, or a Sentinel announces one. Connections to
    /// the old server are then replaced. Never returns if the feed cannot move.
    pub(super) async fn moved_from(self: Arc<RedisServer>, address: String) {
        let asking = async {
            loop {
                sleep(ASK_EVERY.mul_f64(0.75 + fastrand::f64() / 2.0)).await;
                if self.locate().await.is_ok_and(|location| location.address() != address) {
                    return;
                }
            }
        };
        match &self.address {
            RedisAddress::Server(_) => pending().await,
            RedisAddress::Cluster { .. } => asking.await,
            RedisAddress::Sentinel { sentinels, master, .. } => {
                tokio::select! { () = asking => {}, () = self.switched(sentinels, master) => self.forget_address() }
            }
        }
    }

    /// Waits until a Sentinel announces another primary.
    async fn switched(&self, sentinels: &[ConnectionInfo], master: &str) {
        for sentinel in sentinels.iter().cycle() {
            let watching = async {
                let client = self.client(sentinel.clone()).ok()?;
                let connecting = timeout(self.connect_timeout(), client.get_async_pubsub()).await;
                let (mut sink, mut messages) = connecting.ok()?.ok()?.split();
                timeout(self.timeout, sink.subscribe(SWITCHES)).await.ok()?.ok()?;
                loop {
                    // A Sentinel whose machine is gone answers no ping.
                    match timeout(ASK_EVERY, messages.next()).await {
                        Ok(message) => {
                            let text: String = message?.get_payload().ok()?;
                            if text.split(' ').next() == Some(master) {
                                return Some(());
                            }
                        }
                        Err(_) => timeout(self.timeout, sink.ping::<Value>()).await.ok()?.map(drop).ok()?,
                    }
                }
            };
            if watching.await.is_some() {
                return;
            }
            sleep(SENTINEL_PAUSE).await;
        }
    }
}

/// A range of slots, and its nodes. The first node is the owner.
struct SlotRange {
    first: u16,
    last: u16,
    nodes: Vec<Node>,
}

impl SlotRange {
    /// Reads a range of the answer to `CLUSTER SLOTS`. A node without a host is on the host that was asked.
    fn read(range: Vec<Value>, asked: &ConnectionInfo) -> Option<SlotRange> {
        let mut range = range.into_iter();
        let first = from_redis_value(range.next()?).ok()?;
        let last = from_redis_value(range.next()?).ok()?;
        let node = |value| {
            let mut node = from_redis_value::<Vec<Value>>(value).ok()?.into_iter();
            let host: Option<String> = from_redis_value(node.next()?).ok()?;
            let port = from_redis_value(node.next()?).ok()?;
            Some((host.filter(|host| !host.is_empty()).unwrap_or_else(|| host_of(asked)), port))
        };
        let nodes: Vec<Node> = range.map_while(node).collect();
        (!nodes.is_empty()).then_some(SlotRange { first, last, nodes })
    }
}

/// Returns the answer that most of the `count` servers give, as soon as it is known. If most do not agree within the
/// time `patience`, the most frequent answer counts.
async fn agree(
    mut asks: FuturesUnordered<impl Future<Output = Result<Node>>>,
    count: usize,
    patience: Duration,
) -> Result<Node> {
    let mut answers: Vec<(Node, usize)> = Vec::new();
    let mut failure = None;
    let mut late = Box::pin(sleep(patience).fuse());
    loop {
        tokio::select! {
            answer = asks.next() => match answer {
                Some(Ok(node)) => {
                    match answers.iter_mut().find(|(known, _)| *known == node) {
                        Some((_, votes)) => *votes += 1,
                        None => answers.push((node, 1)),
                    }
                    if let Some((node, _)) = answers.iter().find(|(_, votes)| votes * 2 > count) {
                        return Ok(node.clone());
                    }
                    // One answer is enough if everybody else is late.
                    if futures_util::future::FusedFuture::is_terminated(&*late) {
                        break;
                    }
                }
                Some(Err(error)) => failure = Some(error),
                None => break,
            },
            () = &mut late => if !answers.is_empty() { break },
        }
    }
    let best = answers.into_iter().max_by_key(|(_, votes)| *votes).map(|(node, _)| node);
    best.ok_or_else(|| failure.unwrap_or_else(|| StoreError::Unavailable("nobody answers".to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn most_answers_count_and_late_ones_do_not() {
        let (old, new) = (("old".to_owned(), 1), ("new".to_owned(), 2));
        let ready = |node: &Node| std::future::ready(Ok(node.clone())).boxed();
        let never = || pending::<Result<Node>>().boxed();
        let failed = || std::future::ready(Err(unavailable("down"))).boxed();
        let ask = async |asks: Vec<futures_util::future::BoxFuture<'static, Result<Node>>>| {
            let count = asks.len();
            agree(asks.into_iter().collect(), count, Duration::from_millis(20)).await
        };
        assert_eq!(ask(vec![ready(&old), ready(&new), ready(&new)]).await.unwrap(), new);
        assert_eq!(ask(vec![ready(&new), never(), ready(&new)]).await.unwrap(), new);
        assert_eq!(ask(vec![never(), ready(&new), failed()]).await.unwrap(), new);
        assert!(ask(vec![failed(), failed()]).await.is_err());
    }
}
