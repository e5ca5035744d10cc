//! Subscriptions to channels of Redis. Each has its own connection.
//!
//! The connection is pinged. Otherwise a subscriber, which sends nothing else, might not detect a dead peer for hours.

use super::connection::{
    ANSWER_DEADLINE, CONNECT_DEADLINE, address, failed, failed_to_connect, timed_out, unavailable,
};
use crate::store::contract::{EntryStream, MessageStream, Result};
use crate::store::entry::decode_or_skip;
use ::redis::Client;
use ::redis::aio::{PubSubSink, PubSubStream};
use futures_util::{StreamExt, stream};
use std::time::Duration;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};

/// The time between two pings.
const PING_EVERY: Duration = Duration::from_secs(1);

/// A subscription to one channel.
struct ChannelSubscription {
    /// Host and port, for errors.
    address: String,
    sink: PubSubSink,
    messages: PubSubStream,
    pings: Interval,
    /// True after an error. The stream then ends.
    failed: bool,
}

/// Subscribes to a channel with entries. The stream fails when its connection fails.
pub(super) async fn subscribe_to_entries(client: &Client, channel: &str) -> Result<EntryStream> {
    let decode = async |message: Result<String>| match message {
        Ok(json) => decode_or_skip(&json).map(Ok),
        Err(error) => Some(Err(error)),
    };
    Ok(subscribe(client, channel).await?.filter_map(decode).boxed())
}

/// Subscribes to a channel. The stream fails when its connection fails.
pub(super) async fn subscribe(client: &Client, channel: &str) -> Result<MessageStream> {
    let address = address(client);
    let connecting = timeout(CONNECT_DEADLINE, client.get_async_pubsub()).await;
    let connection = connecting.map_err(timed_out(&address, "connecting"))?.map_err(failed_to_connect(&address))?;
    let (mut sink, messages) = connection.split();
    let subscribing = timeout(ANSWER_DEADLINE, sink.subscribe(channel)).await;
    subscribing.map_err(timed_out(&address, "subscribing"))?.map_err(failed(&address))?;
    let mut pings = interval(PING_EVERY);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let subscription = ChannelSubscription { address, sink, messages, pings, failed: false };
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
        loop {
            // Both arms are cancel-safe: a message stays in the stream, and a due ping stays due.
            tokio::select! {
                biased;
                message = self.messages.next() => {
                    let message =
                        message.ok_or_else(|| unavailable(format_args!("{}: the subscription ended", self.address)))?;
                    if let Ok(text) = message.get_payload() {
                        return Ok(text);
                    }
                }
                _ = self.pings.tick() => {
                    let ping = timeout(ANSWER_DEADLINE, self.sink.ping::<()>());
                    ping.await.map_err(timed_out(&self.address, "a ping of the subscription"))?.map_err(failed(&self.address))?;
                }
            }
        }
    }
}
