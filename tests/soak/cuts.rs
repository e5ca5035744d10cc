//! The SDK over a connection that breaks at random moments.

use crate::support::embedded;
use crate::support::exchange::Exchange;
use crate::support::proxy::Proxy;
use crate::support::replica::Replica;
use crate::support::sdk::{TRANSPORTS, next};
use btcfeed::client::{Client, GapCause, GapUpdate, Start, Transport, Update};
use btcfeed::tick::{Currency, TickId};
use futures_util::future::join_all;
use std::time::Duration;
use tokio::time::Instant;

const MS: Duration = Duration::from_millis(1);
/// Time for which connections break.
const BREAK_FOR: Duration = Duration::from_secs(60);

/// What a client received: each entry with its contents, and the gaps.
#[derive(Debug, Default, PartialEq)]
struct Received {
    entries: Vec<(TickId, String)>,
    gaps: Vec<GapUpdate>,
}

impl Received {
    fn push(&mut self, update: Update) {
        match update {
            Update::Tick(tick) => self.entries.push((tick.id, format!("{:?} {:?}", tick.prices, tick.sources))),
            Update::Status(status) => self.entries.push((status.id, format!("{:?} {}", status.state, status.reason))),
            // On a busy machine an exchange may have answered too late.
            Update::Gap(gap) if gap.reason == GapCause::SourceOutage => self.gaps.push(gap),
            Update::Connected(_) | Update::Disconnected { .. } | Update::Synced { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn client_gets_each_update_once_over_bad_links() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[("BTCFEED_INTERVAL", "100ms")]).await;
    join_all(TRANSPORTS.map(|transport| read_over_a_bad_link(&replica, transport))).await;
}

async fn read_over_a_bad_link(replica: &Replica, transport: Transport) {
    let proxy = Proxy::start(replica.port()).await;
    let client = Client::builder(&proxy.address.to_string())
        .transport(transport)
        .currencies([Currency::Usd, Currency::Eur])
        .start(Start::Since(TickId::ZERO))
        .silence(1500 * MS)
        .retry(20 * MS, 200 * MS);
    let mut updates = client.build().unwrap().subscribe();
    let (mut received, mut connected, mut lost) = (Received::default(), 0, 0);
    let end = Instant::now() + BREAK_FOR;
    let read = async {
        // The goal is the newest entry of the feed when the connections stop breaking.
        let mut goal = None;
        while goal.is_none_or(|goal| received.entries.last().is_none_or(|(last, _)| *last < goal)) {
            let update = next(&mut updates).await;
            connected += u32::from(matches!(update, Update::Connected(_)));
            lost += u32::from(matches!(update, Update::Disconnected { .. }));
            received.push(update);
            if Instant::now() > end && goal.is_none() {
                let history = replica.history().await;
                goal = history.last().map(|entry| TickId::from_ms(entry["id"].as_u64().unwrap()));
            }
        }
    };
    tokio::join!(proxy.break_until(end), read);
    // A client on a good link receives the same updates.
    let good =
        Client::builder(&replica.address).currencies([Currency::Usd, Currency::Eur]).start(Start::Since(TickId::ZERO));
    let (mut good, mut expected) = (good.build().unwrap().subscribe(), Received::default());
    while expected.entries.len() < received.entries.len() {
        expected.push(next(&mut good).await);
    }
    assert_eq!(received, expected);
    let history: Vec<_> = replica.history().await.iter().filter_map(|entry| entry["id"].as_u64()).collect();
    let ids: Vec<_> = received.entries.iter().map(|(id, _)| id.ms()).collect();
    assert_eq!(ids, history[..ids.len()]);
    println!("{transport:?}: {} entries over {connected} connections", ids.len());
    // An event stream asks its clients to wait before they reconnect.
    let min = if transport == Transport::Sse { 8 } else { 20 };
    assert!(connected > min && lost > min, "{connected} connections, {lost} lost");
    assert!(ids.len() > 100, "{} entries", ids.len());
}
