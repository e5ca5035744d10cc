//! The SDK against real replicas, over connections that end, hang or cannot be opened.

mod options;
mod redundancy;
mod scenarios;

use crate::support::exchange::{Exchange, Mode};
use crate::support::ports::free_address;
use crate::support::proxy::Proxy;
use crate::support::sdk::{TRANSPORTS, end, next, tick};
use crate::support::{TIMEOUT, TestCluster, embedded, until};
use btcfeed::client::{Client, Error, GapCause, GapUpdate, Start, TickUpdate, Transport, Update, Updates};
use btcfeed::feed::FeedState;
use btcfeed::tick::{Currency, TickId};
use futures_util::future::join_all;
use rustix::process::Signal;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

const MS: Duration = Duration::from_millis(1);

#[tokio::test]
async fn prices_are_exact_and_disconnects_are_reported() {
    let exchange = Exchange::start().await;
    exchange.set_all(&Mode::Price("97116.170"));
    let replica = embedded(&exchange, &[("BTCFEED_SOURCES", "coinbase")]).await;
    let proxy = Proxy::start(replica.port()).await;
    for transport in TRANSPORTS {
        let client = Client::builder(&format!("ws://{}/ws", proxy.address)).transport(transport);
        let mut updates = client.build().unwrap().subscribe();
        let Update::Connected(connected) = next(&mut updates).await else { panic!("{transport:?}") };
        assert_eq!((connected.replica.as_deref(), connected.interval), (Some("r1"), Some(200 * MS)));
        assert_eq!(connected.address, updates.statistics().addresses[0].address);
        let first = tick(&mut updates).await;
        assert_eq!(first.prices[&Currency::Usd].to_string(), "97116.17");
        assert_eq!(first.sources[&Currency::Usd], ["coinbase"]);
        assert_eq!((first.method, first.spread[&Currency::Usd].to_string().as_str()), (1, "0.00"), "{transport:?}");
        assert_eq!(updates.last_id(), Some(first.id));
        proxy.cut();
        let (why, retry_in) = loop {
            match next(&mut updates).await {
                Update::Disconnected { why, retry_in } => break (why, retry_in),
                Update::Tick(_) | Update::Synced { .. } => {}
                other => panic!("{other:?}"),
            }
        };
        assert!(!why.is_empty() && retry_in <= 2100 * MS, "{why} {retry_in:?}");
        proxy.restore();
        while !matches!(next(&mut updates).await, Update::Connected(_)) {}
        let after = Client::builder(&replica.address).start(Start::After(first.id)).build().unwrap();
        assert_eq!(tick(&mut after.subscribe()).await.prev, first.id);
    }
}

#[tokio::test]
async fn dropping_the_stream_closes_the_connection() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    let proxy = Proxy::start(replica.port()).await;
    for transport in TRANSPORTS {
        let mut updates = Client::builder(&proxy.address.to_string()).transport(transport).build().unwrap().subscribe();
        tick(&mut updates).await;
        assert_eq!(proxy.open(), 1, "{transport:?}");
        drop(updates);
        until("the connection to be closed", async || proxy.open() == 0).await;
    }
}

#[tokio::test]
async fn hanging_connection_is_replaced() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    join_all(TRANSPORTS.map(async |transport| {
        let proxy = Proxy::start(replica.port()).await;
        let client = Client::builder(&proxy.address.to_string()).transport(transport).silence(1500 * MS);
        let mut updates = client.build().unwrap().subscribe();
        let mut last = tick(&mut updates).await.id;
        proxy.freeze();
        let frozen = Instant::now();
        let why = loop {
            match next(&mut updates).await {
                Update::Tick(tick) => last = tick.id,
                Update::Disconnected { why, .. } => break why,
                _ => {}
            }
        };
        // With gRPC, the HTTP/2 library sends pings, and has its own message for a missing answer.
        assert!(transport == Transport::Grpc || why == "received nothing for 1.5s", "{why}");
        assert!(frozen.elapsed() < 10_000 * MS, "{:?}", frozen.elapsed());
        assert_eq!(tick(&mut updates).await.prev, last, "nothing is lost");
    }))
    .await;
}

#[tokio::test]
async fn unpolled_stream_does_not_time_out() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    join_all(TRANSPORTS.map(async |transport| {
        let client = Client::builder(&replica.address).transport(transport).silence(1000 * MS).build().unwrap();
        let mut updates = client.subscribe();
        let mut last = tick(&mut updates).await.id;
        // The application is busy for longer than the client tolerates silence.
        sleep(2500 * MS).await;
        for _ in 0..12 {
            match next(&mut updates).await {
                Update::Tick(TickUpdate { id, prev, .. }) => assert_eq!(prev, std::mem::replace(&mut last, id)),
                Update::Synced { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }))
    .await;
}

#[tokio::test]
async fn heartbeats_keep_a_quiet_stream_alive() {
    let exchange = Exchange::start().await;
    let settings = [("BTCFEED_INTERVAL", "1h"), ("BTCFEED_HEARTBEAT", "1s"), ("BTCFEED_PING_EVERY", "1s")];
    let replica = embedded(&exchange, &settings).await;
    replica.priced().await;
    join_all(TRANSPORTS.map(async |transport| {
        let client = Client::builder(&replica.address).transport(transport).silence(4000 * MS);
        let mut updates = client.build().unwrap().subscribe();
        while !matches!(next(&mut updates).await, Update::Synced { .. }) {}
        let update = timeout(6000 * MS, updates.next()).await;
        assert!(update.is_err(), "{transport:?}: {update:?}");
    }))
    .await;
}

#[tokio::test]
async fn absent_server_is_retried_until_it_starts() {
    let exchange = Exchange::start().await;
    for transport in TRANSPORTS {
        let address = free_address();
        let client = Client::builder(&address).transport(transport).retry(10 * MS, 100 * MS).build().unwrap();
        let mut updates = client.subscribe();
        for _ in 0..5 {
            let update = next(&mut updates).await;
            let Update::Disconnected { why, retry_in } = update else { panic!("{update:?}") };
            assert!(why.contains("refused") && retry_in <= 100 * MS, "{why} {retry_in:?}");
        }
        let _replica = embedded(&exchange, &[("BTCFEED_LISTEN", &address)]).await;
        tick(&mut updates).await;
    }
}

#[tokio::test]
async fn permanent_rejection_ends_the_stream() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[("BTCFEED_CURRENCIES", "USD")]).await;
    for transport in TRANSPORTS {
        let builder = |address: &str| Client::builder(address).transport(transport);
        let client = builder(&replica.address).currencies([Currency::Eur]).build().unwrap();
        let error = end(&mut client.subscribe()).await;
        let Error::Refused { status: 400, detail } = error else { panic!("{error}") };
        assert!(detail.contains(r#"invalid currency "EUR": expected USD"#), "{detail}");
        let client = builder(&format!("{}/elsewhere", replica.address)).build().unwrap();
        let error = end(&mut client.subscribe()).await;
        assert!(matches!(error, Error::Refused { status: 404, .. }), "{error}");
    }
}

#[tokio::test]
async fn client_moves_to_another_replica() {
    let cluster = TestCluster::new().await;
    for (signal, message) in [(Signal::TERM, "this replica is stopping"), (Signal::KILL, "")] {
        let [mut first, second] = cluster.replicas().await;
        let proxy = Proxy::start(first.port()).await;
        let mut clients = Vec::new();
        for transport in TRANSPORTS {
            let client = Client::builder(&proxy.address.to_string()).transport(transport).build().unwrap();
            let mut updates = client.subscribe();
            let last = tick(&mut updates).await.id;
            clients.push((updates, last));
        }
        proxy.redirect(second.port());
        first.signal(signal);
        join_all(clients.into_iter().map(|(updates, last)| follow_elsewhere(updates, last, message))).await;
        first.exit().await;
    }
}

/// Reads until five ticks have come after a disconnect whose reason contains `message`. The `prev` of each tick must be
/// the id of the entry before it.
async fn follow_elsewhere(mut updates: Updates, mut last: TickId, message: &str) {
    let (mut lost, mut after) = (false, 0);
    while after < 5 {
        match next(&mut updates).await {
            Update::Tick(tick) => {
                assert_eq!(tick.prev, last);
                last = tick.id;
                after += u32::from(lost);
            }
            Update::Status(status) => last = status.id,
            Update::Disconnected { why, retry_in } => {
                assert!(why.contains(message) && retry_in < 2200 * MS, "{why} {retry_in:?}");
                lost = true;
            }
            // There was no leader for some time.
            Update::Gap(gap) => assert_eq!(gap.reason, GapCause::SourceOutage),
            _ => {}
        }
    }
}

#[tokio::test]
async fn gap_is_reported_once_with_its_reason() {
    let exchange = Exchange::start().await;
    let settings = [("BTCFEED_STALE_AFTER", "1s"), ("BTCFEED_DOWN_AFTER", "2s"), ("BTCFEED_SOURCES", "coinbase")];
    let replica = embedded(&exchange, &settings).await;
    let mut clients =
        TRANSPORTS.map(|transport| Client::builder(&replica.address).transport(transport).build().unwrap().subscribe());
    for updates in &mut clients {
        tick(updates).await;
    }
    exchange.set_all(&Mode::Status(500, None));
    let is_down = |update: &Update| matches!(update, Update::Status(status) if status.state == FeedState::Down);
    for updates in &mut clients {
        while !is_down(&next(updates).await) {}
    }
    exchange.set_all(&Mode::Good);
    for mut updates in clients {
        let started = Instant::now();
        let GapUpdate { after, before, reason, .. } = loop {
            assert!(started.elapsed() < TIMEOUT, "no gap was reported");
            if let Update::Gap(gap) = next(&mut updates).await {
                break gap;
            }
        };
        assert_eq!(reason, GapCause::SourceOutage);
        // A second report of the gap would come before this tick.
        let Update::Tick(tick) = next(&mut updates).await else { panic!("no tick follows the gap") };
        assert!(tick.id == before && after < before);
    }
}
