//! The SDK on a feed that has no updates for a long time.

use crate::support::embedded;
use crate::support::exchange::Exchange;
use crate::support::sdk::{TRANSPORTS, next};
use btcfeed::client::{Client, Update};
use futures_util::future::join_all;
use std::time::Duration;
use tokio::time::timeout;

#[tokio::test]
async fn default_heartbeats_keep_a_quiet_stream_alive() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[("BTCFEED_INTERVAL", "1h")]).await;
    replica.priced().await;
    join_all(TRANSPORTS.map(async |transport| {
        // The server sends a heartbeat every 15 or 20 s.
        let client = Client::builder(&replica.address).transport(transport).silence(Duration::from_secs(25));
        let mut updates = client.build().unwrap().subscribe();
        while !matches!(next(&mut updates).await, Update::Synced { .. }) {}
        let update = timeout(Duration::from_secs(60), updates.next()).await;
        assert!(update.is_err(), "{transport:?}: {update:?}");
    }))
    .await;
}
