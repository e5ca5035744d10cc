//! Subscriptions to channels of Redis. Each has its own connection.
//!
//! The connection is pinged. Otherwise a subscriber, which sends nothing else, might not detect a dead peer for hours.
//! The connection uses the protocol RESP3, in which a connection with a subscription can also send commands.

use super::server::{RedisServer, failed, unavailable};
use crate::store::contract::{EntryStream, MessageStream, Result};
use crate::store::entry::decode_or_skip;
use ::redis::aio::MultiplexedConnection;
use ::redis::{Client, Msg, ProtocolVersion, PushInfo, PushKind, RedisResult, cmd};
use futures_util::future::{BoxFuture, Fuse, FusedFuture};
use futures_util::{FutureExt, StreamExt, stream};
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{self, Receiver};
use tokio::time::{Interval, MissedTickBehavior, interval};

/// The time between two pings.
const PING_EVERY: Duration = Duration::from_secs(1);
/// The maximum number of messages that wait. If there are more, the subscription ends, so that a flood needs no more
/// memory. A subscriber to entries then reads the history.
const MAX_WAITING: usize = 1024;
/// The purpose of the subscription to entries.
const LIVE: &str = "live";

/// A subscription to one channel.
struct ChannelSubscription {
    /// Host and port, or path of the socket, for errors.
    address: String,
    connection: MultiplexedConnection,
    messages: Receiver<PushInfo>,
    /// True if there were too many messages.
    is_full: Arc<AtomicBool>,
    pings: Interval,
    /// The ping that waits for its answer. Messages are read meanwhile.
    ping: Fuse<BoxFuture<'static, RedisResult<()>>>,
    /// Ends when another server has the feed. Never ends if the purpose is not [`LIVE`].
    moved: BoxFuture<'static, ()>,
    /// The server, and its generation.
    place: (Arc<RedisServer>, u64),
    /// True after an error. The stream then ends.
    failed: bool,
}

/// Subscribes to a channel with entries. The stream fails when its connection fails.
pub(super) async fn subscribe_to_entries(server: &Arc<RedisServer>, channel: &str) -> Result<EntryStream> {
    let decode = async |message: Result<String>| match message {
        Ok(json) => decode_or_skip(&json).map(Ok),
        Err(error) => Some(Err(error)),
    };
    Ok(subscribe(server, channel, LIVE).await?.filter_map(decode).boxed())
}

/// Subscribes to a channel. The stream fails when its connection fails. `purpose` is a part of the connection's name.
pub(super) async fn subscribe(server: &Arc<RedisServer>, channel: &str, purpose: &str) -> Result<MessageStream> {
    let location = server.locate().await?;
    let address = location.address();
    let info = location.client.get_connection_info().clone();
    let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    let client = Client::open(info.set_redis_settings(settings)).map_err(unavailable)?;
    let (sender, messages) = mpsc::channel(MAX_WAITING);
    let is_full = Arc::new(AtomicBool::new(false));
    let full = is_full.clone();
    let config = server.connection_config().set_push_sender(move |push: PushInfo| {
        sender.try_send(push).inspect_err(|error| {
            if matches!(error, TrySendError::Full(_)) {
                full.store(true, Ordering::Relaxed);
            }
        })
    });
    let mut connection = server.connect(&client, purpose, &config).await?;
    let command = server.subscribe_command();
    cmd(command).arg(channel).exec_async(&mut connection).await.map_err(failed(&address))?;
    let mut pings = interval(PING_EVERY);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let ping = Fuse::terminated();
    // One subscription of a process asks where the feed is. The others learn it from the generation.
    let asks = purpose == LIVE;
    let moved = if asks { server.clone().moved_from(address.clone()).boxed() } else { pending().boxed() };
    let place = (server.clone(), location.generation);
    let failed = false;
    let subscription =
        ChannelSubscription { address, connection, messages, is_full, pings, ping, moved, place, failed };
    Ok(stream::unfold(subscription, ChannelSubscription::next).boxed())
}

impl ChannelSubscription {
    async fn next(mut self) -> Option<(Result<String>, ChannelSubscription)> {
        if self.failed {
            return None;
        }
        let result = self.next_message().await;
        self.failed = result.is_err();
        Some((result, self))
    }

    async fn next_message(&mut self) -> Result<String> {
        let ended = || unavailable(format_args!("{}: the subscription ended", self.address));
        let moved = || unavailable(format_args!("{}: another server has the feed now", self.address));
        loop {
            if self.is_full.load(Ordering::Relaxed) {
                return Err(unavailable(format_args!("{}: more than {MAX_WAITING} messages wait", self.address)));
            }
            // All arms are cancel-safe: a message stays in the channel, a due ping stays due, and a sent one is kept.
            tokio::select! {
                biased;
                push = self.messages.recv() => match push {
                    Some(PushInfo { kind: PushKind::Disconnection | PushKind::Unsubscribe | PushKind::SUnsubscribe, .. }) | None => return Err(ended()),
                    Some(push) => {
                        if let Some(Ok(text)) = Msg::from_push_info(push).map(|message| message.get_payload()) {
                            return Ok(text);
                        }
                    }
                },
                pong = &mut self.ping, if !self.ping.is_terminated() => pong.map_err(failed(&self.address))?,
                () = &mut self.moved => return Err(moved()),
                _ = self.pings.tick(), if self.ping.is_terminated() => {
                    if self.place.0.generation() != self.place.1 {
                        return Err(moved());
                    }
                    let mut connection = self.connection.clone();
                    self.ping = async move { cmd("PING").exec_async(&mut connection).await }.boxed().fuse();
                }
            }
        }
    }
}
