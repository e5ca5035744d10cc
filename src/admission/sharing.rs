//! Exchange of the [usage of addresses](super::address_usage) between replicas, through the store.

use super::address_limits::AddressLimits;
use crate::store::{MessageStream, Result, Store};
use futures_util::StreamExt;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tracing::debug;

/// Time between two reports, and between two attempts to reach the store.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// Exchanges reports until the future is dropped. Returns at once if the store serves only one replica. While the store
/// is unavailable, only usage on this replica counts.
pub(crate) async fn run(limits: &AddressLimits, store: &dyn Store) {
    loop {
        let result = match store.messages().await {
            Ok(None) => return,
            Ok(Some(messages)) => {
                limits.set_shared(true);
                exchange(limits, store, messages).await
            }
            Err(error) => Err(error),
        };
        limits.set_shared(false);
        debug!(error = ?result.err(), "the limits of addresses ignore usage on other replicas");
        sleep(REPORT_EVERY).await;
    }
}

/// Exchanges reports until the store fails.
async fn exchange(limits: &AddressLimits, store: &dyn Store, mut messages: MessageStream) -> Result<()> {
    let mut timer = interval(REPORT_EVERY);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // Both arms are cancel-safe: a message stays in the stream, and a due report stays due.
        tokio::select! {
            message = messages.next() => match message {
                Some(message) => limits.charge(&message?),
                None => return Ok(()),
            },
            _ = timer.tick() => {
                if let Some(report) = limits.report() {
                    store.broadcast(&report).await?;
                }
            }
        }
    }
}
