//! The channel on which Redis publishes new entries. Each subscription has its own connection.
//!
//! The connection is pinged. Otherwise a subscriber, which sends nothing else, might not detect a dead peer for hours.

use super::connection::{ANSWER_DEADLINE, CONNECT_DEADLINE, timed_out, unavailable};
use super::entry::decode_or_skip;
use crate::feed::Entry;
use crate::store::contract::{EntryStream, Result};
use ::redis::Client;
use ::redis::aio::{PubSubSink, PubSubStream};
use futures_util::{StreamExt, stream};
use std::time::Duration;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};

/// The time between two pings.
const PING_EVERY: Duration = Duration::from_secs(1);

/// A subscription to the channel of one feed.
struct ChannelSubscription {
    sink: PubSubSink,
    messages: PubSubStream,
    pings: Interval,
    /// True after an error. The stream then ends.
    failed: bool,
}

/// Subscribes to `channel`. The stream fails when its connection fails.
pub(super) async fn subscribe(client: &Client, channel: &str) -> Result<EntryStream> {
    let connecting = timeout(CONNECT_DEADLINE, client.get_async_pubsub());
    let (mut sink, messages) = connecting.await.map_err(timed_out("connecting"))?.map_err(unavailable)?.split();
    let subscribing = timeout(ANSWER_DEADLINE, sink.subscribe(channel));
    subscribing.await.map_err(timed_out("subscribing"))?.map_err(unavailable)?;
    let mut pings = interval(PING_EVERY);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let subscription = ChannelSubscription { sink, messages, pings, failed: false };
    Ok(stream::unfold(subscription, ChannelSubscription::next).boxed())
}

impl ChannelSubscription {
    async fn next(mut self) -> Option<(Result<Entry>, ChannelSubscription)> {
        if self.failed {
            return None;
        }
        let result = self.next_entry().await;
        self.failed = result.is_err();
        Some((result, self))
    }

    async fn next_entry(&mut self) -> Result<Entry> {
        loop {
            // Both arms are cancel-safe: a message stays in the stream, and a due ping stays due.
            tokio::select! {
                biased;
                message = self.messages.next() => {
                    let message = message.ok_or_else(|| unavailable("the subscription ended"))?;
                    if let Some(entry) = message.get_payload::<String>().ok().as_deref().and_then(decode_or_skip) {
                        return Ok(entry);
                    }
                }
                _ = self.pings.tick() => {
                    let ping = timeout(ANSWER_DEADLINE, self.sink.ping::<()>());
                    ping.await.map_err(timed_out("a ping of the subscription"))?.map_err(unavailable)?;
                }
            }
        }
    }
}
