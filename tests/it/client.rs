//! The SDK against the real server, over lines that break in every way that lines break.

mod options;

use crate::support::exchange::{Exchange, Mode};
use crate::support::proxy::Proxy;
use crate::support::replica::Replica;
use crate::support::{TIMEOUT, TestCluster, embedded, soon, until};
use btcfeed::client::{Client, Error, Gap, GapReason, Start, Tick, Transport, Update, Updates};
use btcfeed::tick::{Currency, TickId};
use rustix::process::Signal;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

const TRANSPORTS: [Transport; 3] = [Transport::WebSocket, Transport::Sse, Transport::Grpc];
const MS: Duration = Duration::from_millis(1);

/// The next update; an error is a failure of the test.
async fn next(updates: &mut Updates) -> Update {
    soon("an update", updates.next()).await.expect("it goes on").expect("it goes on")
}

async fn tick(updates: &mut Updates) -> Tick {
    loop {
        if let Update::Tick(tick) = next(updates).await {
            return tick;
        }
    }
}

/// What ends a subscription.
async fn end(updates: &mut Updates) -> Error {
    let error = loop {
        match soon("the end", updates.next()).await.expect("an error comes before the end") {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(updates.next().await.is_none(), "after an error it is over");
    error
}

#[tokio::test]
async fn for_a_minute_of_cuts_at_random_moments_every_update_comes_once_and_in_order() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[("BTCFEED_INTERVAL", "100ms")]).await;
    let each = TRANSPORTS.map(|transport| a_minute_of_cuts(&replica, transport));
    futures_util::future::join_all(each).await;
}

/// What came, in order: ids with what they brought, and the gaps before them.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    entries: Vec<(TickId, String)>,
    gaps: Vec<Gap>,
}

impl Seen {
    fn take(&mut self, update: Update) {
        match update {
            Update::Tick(tick) => self.entries.push((tick.id, format!("{:?} {:?}", tick.prices, tick.sources))),
            Update::Status(status) => self.entries.push((status.id, format!("{:?} {}", status.state, status.reason))),
            // On a busy machine an exchange may have been late.
            Update::Gap(gap) if gap.reason == GapReason::SourceOutage => self.gaps.push(gap),
            Update::Connected(_) | Update::Disconnected { .. } | Update::Synced { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn a_minute_of_cuts(replica: &Replica, transport: Transport) {
    let proxy = Proxy::start(replica.port()).await;
    let client = Client::builder(&proxy.address.to_string())
        .transport(transport)
        .currencies(Currency::ALL)
        .start(Start::Since(TickId::ZERO))
        .silence(1500 * MS)
        .retry(20 * MS, 200 * MS);
    let mut updates = client.build().unwrap().subscribe();
    let (mut seen, mut connected, mut lost) = (Seen::default(), 0, 0);
    let over = Instant::now() + Duration::from_secs(60);
    let mischief = async {
        while Instant::now() < over {
            sleep(fastrand::u32(0..700) * MS).await;
            match fastrand::u32(0..10) {
                0..4 => {
                    proxy.cut();
                    sleep(fastrand::u32(0..300) * MS).await;
                    proxy.restore();
                }
                4..9 => proxy.break_after(fastrand::usize(1..2000)),
                _ => proxy.freeze(),
            }
        }
        proxy.break_after(usize::MAX);
    };
    let read = async {
        // Until it has what was there when the minute was over.
        let mut goal = None;
        while goal.is_none_or(|goal| seen.entries.last().is_none_or(|(last, _)| *last < goal)) {
            let update = next(&mut updates).await;
            connected += u32::from(matches!(update, Update::Connected(_)));
            lost += u32::from(matches!(update, Update::Disconnected { .. }));
            seen.take(update);
            if Instant::now() > over && goal.is_none() {
                let history = replica.history().await;
                goal = history.last().map(|entry| TickId::from_ms(entry["id"].as_u64().unwrap()));
            }
        }
    };
    tokio::join!(mischief, read);
    // What one gets who was never cut off.
    let calm = Client::builder(&replica.address).currencies(Currency::ALL).start(Start::Since(TickId::ZERO));
    let (mut calm, mut expected) = (calm.build().unwrap().subscribe(), Seen::default());
    while expected.entries.len() < seen.entries.len() {
        expected.take(next(&mut calm).await);
    }
    assert_eq!(seen, expected);
    let history: Vec<_> = replica.history().await.iter().filter_map(|entry| entry["id"].as_u64()).collect();
    let ids: Vec<_> = seen.entries.iter().map(|(id, _)| id.ms()).collect();
    assert_eq!(ids, history[..ids.len()]);
    println!("{transport:?}: {} entries over {connected} connections", ids.len());
    // An event stream asks its clients not to come back at once.
    let least = if transport == Transport::Sse { 8 } else { 20 };
    assert!(connected > least && lost > least, "{connected} connections, {lost} lost");
    assert!(ids.len() > 100, "{} entries", ids.len());
}

#[tokio::test]
async fn prices_come_exactly_and_each_connection_is_told_with_its_end() {
    let exchange = Exchange::start().await;
    exchange.set_all(&Mode::Price("97116.170"));
    let replica = embedded(&exchange, &[("BTCFEED_SOURCES", "coinbase"), ("BTCFEED_REPLICA", "r1")]).await;
    let proxy = Proxy::start(replica.port()).await;
    for transport in TRANSPORTS {
        let client = Client::builder(&format!("ws://{}/ws", proxy.address)).transport(transport);
        let mut updates = client.build().unwrap().subscribe();
        let Update::Connected(connected) = next(&mut updates).await else { panic!("{transport:?}") };
        assert_eq!((connected.replica.as_deref(), connected.interval), (Some("r1"), Some(200 * MS)));
        let first = tick(&mut updates).await;
        assert_eq!(first.prices[&Currency::Usd].to_string(), "97116.170");
        assert_eq!(first.sources[&Currency::Usd], ["coinbase"]);
        assert_eq!(updates.last_id(), Some(first.id));
        proxy.cut();
        let lost = loop {
            match next(&mut updates).await {
                Update::Disconnected { why, retry_in } => break (why, retry_in),
                Update::Tick(_) | Update::Synced { .. } => {}
                other => panic!("{other:?}"),
            }
        };
        assert!(!lost.0.is_empty() && lost.1 <= 2100 * MS, "{lost:?}");
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
async fn a_line_that_hangs_is_noticed() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    let proxy = Proxy::start(replica.port()).await;
    for transport in TRANSPORTS {
        let client = Client::builder(&proxy.address.to_string()).transport(transport).silence(1500 * MS);
        let mut updates = client.build().unwrap().subscribe();
        let before = tick(&mut updates).await;
        proxy.freeze();
        let frozen = Instant::now();
        let mut last = before.id;
        let why = loop {
            match next(&mut updates).await {
                Update::Tick(tick) => last = tick.id,
                Update::Disconnected { why, .. } => break why,
                _ => {}
            }
        };
        // HTTP/2 has pings of its own, and words for it that are its library's.
        assert!(transport == Transport::Grpc || why == "nothing was heard for 1.5s", "{why}");
        assert!(frozen.elapsed() < 10_000 * MS, "{:?}", frozen.elapsed());
        let next = tick(&mut updates).await;
        assert_eq!(next.prev, last, "nothing is lost by it");
    }
}

#[tokio::test]
async fn a_stream_that_nobody_polled_for_a_while_is_not_taken_for_a_dead_line() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    for transport in TRANSPORTS {
        let client = Client::builder(&replica.address).transport(transport).silence(1000 * MS).build().unwrap();
        let mut updates = client.subscribe();
        let mut last = tick(&mut updates).await.id;
        sleep(2500 * MS).await;
        for _ in 0..12 {
            match next(&mut updates).await {
                Update::Tick(Tick { id, prev, .. }) => assert_eq!(prev, std::mem::replace(&mut last, id)),
                Update::Synced { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_feed_with_nothing_to_say_is_not_taken_for_a_dead_line() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[("BTCFEED_INTERVAL", "1h")]).await;
    replica.priced().await;
    let quiet = TRANSPORTS.map(async |transport| {
        // The server's signs of life come every 15 or 20 s.
        let client = Client::builder(&replica.address).transport(transport).silence(25_000 * MS);
        let mut updates = client.build().unwrap().subscribe();
        while !matches!(next(&mut updates).await, Update::Synced { .. }) {}
        let silence = timeout(32_000 * MS, updates.next()).await;
        assert!(silence.is_err(), "{transport:?}: {silence:?}");
    });
    futures_util::future::join_all(quiet).await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_tried_again_until_it_is() {
    let exchange = Exchange::start().await;
    for transport in TRANSPORTS {
        let address = format!("127.0.0.1:{}", crate::support::ports::free_port());
        let client = Client::builder(&address).transport(transport).retry(10 * MS, 100 * MS).build().unwrap();
        let mut updates = client.subscribe();
        for _ in 0..5 {
            let update = next(&mut updates).await;
            let Update::Disconnected { why, retry_in } = update else { panic!("{update:?}") };
            assert!(why.contains("refused") && retry_in <= 100 * MS, "{why} {retry_in:?}");
        }
        let replica = embedded(&exchange, &[("BTCFEED_LISTEN", &address)]).await;
        tick(&mut updates).await;
        drop(replica);
    }
}

#[tokio::test]
async fn what_the_server_would_refuse_again_ends_it_with_the_servers_words() {
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
async fn a_replica_that_stops_or_dies_is_left_for_another_and_nothing_is_missed() {
    let cluster = TestCluster::new().await;
    for transport in TRANSPORTS {
        for (signal, said) in [(Signal::TERM, "this replica is stopping"), (Signal::KILL, "")] {
            let [mut first, second] = cluster.replicas().await;
            let proxy = Proxy::start(first.port()).await;
            let client = Client::builder(&proxy.address.to_string()).transport(transport).build().unwrap();
            let mut updates = client.subscribe();
            let mut last = tick(&mut updates).await.id;
            proxy.redirect(second.port());
            first.signal(signal);
            let (mut lost, mut after) = (false, 0);
            while after < 5 {
                match next(&mut updates).await {
                    Update::Tick(tick) => {
                        assert_eq!(tick.prev, last, "{transport:?} {signal:?}");
                        last = tick.id;
                        after += u32::from(lost);
                    }
                    Update::Status(status) => last = status.id,
                    Update::Disconnected { why, retry_in } => {
                        assert!(why.contains(said) && retry_in < 2200 * MS, "{why} {retry_in:?}");
                        lost = true;
                    }
                    // The time without a leader.
                    Update::Gap(gap) => assert_eq!(gap.reason, GapReason::SourceOutage),
                    _ => {}
                }
            }
            assert!(lost);
            first.exit().await;
        }
    }
}

#[tokio::test]
async fn a_gap_is_told_once_with_its_reason() {
    let exchange = Exchange::start().await;
    let settings = [("BTCFEED_STALE_AFTER", "1s"), ("BTCFEED_DOWN_AFTER", "2s"), ("BTCFEED_SOURCES", "coinbase")];
    let replica = embedded(&exchange, &settings).await;
    for transport in TRANSPORTS {
        let mut updates = Client::builder(&replica.address).transport(transport).build().unwrap().subscribe();
        tick(&mut updates).await;
        exchange.set_all(&Mode::Status(500, None));
        loop {
            if let Update::Status(status) = next(&mut updates).await
                && status.state == btcfeed::feed::FeedState::Down
            {
                break;
            }
        }
        exchange.set_all(&Mode::Good);
        let begun = Instant::now();
        let gap = loop {
            assert!(begun.elapsed() < 3 * TIMEOUT, "no gap was told");
            if let Update::Gap(gap) = next(&mut updates).await {
                break gap;
            }
        };
        let Gap { after, before, reason, .. } = gap;
        assert_eq!(reason, GapReason::SourceOutage);
        let tick = tick(&mut updates).await;
        assert!(tick.id == before && after < before);
    }
}
