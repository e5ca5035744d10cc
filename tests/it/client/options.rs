//! Options of a subscription: replay limit, client id, several addresses, local address.

use super::MS;
use crate::support::exchange::{Exchange, Mode};
use crate::support::foreign_server::{Answer, Server, tick as a_tick};
use crate::support::ports::free_address;
use crate::support::sdk::{TRANSPORTS, next, tick};
use crate::support::{embedded, entries, soon, until};
use btcfeed::client::{Client, GapCause, Start, Update};
use btcfeed::feed::FeedState;
use btcfeed::tick::TickId;
use std::net::IpAddr;
use tokio::net::TcpListener;

#[tokio::test]
async fn connected_has_the_state_of_the_feed() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[("BTCFEED_STALE_AFTER", "4s"), ("BTCFEED_DOWN_AFTER", "1h")]).await;
    replica.priced().await;
    for health in [FeedState::Live, FeedState::Stale] {
        if health == FeedState::Stale {
            exchange.set_all(&Mode::Status(500, None));
            replica.state("stale").await;
        }
        for transport in TRANSPORTS {
            let mut updates = Client::builder(&replica.address).transport(transport).build().unwrap().subscribe();
            let Update::Connected(connected) = next(&mut updates).await else { panic!("{transport:?}") };
            assert_eq!((connected.state, connected.reason.is_some()), (Some(health), true), "{transport:?}");
        }
    }
}

#[tokio::test]
async fn limited_replay_has_newest_ticks_and_a_gap() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    entries(&mut replica.connect("format=full&since=0").await, 8).await;
    for transport in TRANSPORTS {
        let client = Client::builder(&replica.address).transport(transport).start(Start::Since(TickId::ZERO)).limit(2);
        let mut updates = client.build().unwrap().subscribe();
        let Update::Connected(_) = next(&mut updates).await else { panic!("{transport:?}") };
        let Update::Gap(gap) = next(&mut updates).await else { panic!("{transport:?}") };
        assert_eq!(gap.reason, GapCause::ReplayLimit);
        let mut ticks = Vec::new();
        loop {
            match next(&mut updates).await {
                Update::Tick(tick) => ticks.push(tick.id),
                Update::Synced { .. } => break,
                other => panic!("{other:?}"),
            }
        }
        // New ticks may have arrived meanwhile.
        assert!(ticks[0] == gap.before && (2..20).contains(&ticks.len()), "{ticks:?} {gap:?}");
    }
}

#[tokio::test]
async fn client_id_resumes_after_the_last_tick() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    for transport in TRANSPORTS {
        let client = Client::builder(&replica.address)
            .transport(transport)
            .client_id(format!("shop-{transport:?}.4f9b2c71d0e85a36"));
        let client = client.build().unwrap();
        let mut updates = client.subscribe();
        tick(&mut updates).await;
        let last = tick(&mut updates).await.id;
        drop(updates);
        let ahead =
            async || replica.json(&format!("/v1/prices?after={last}")).await["prices"].as_array().unwrap().len();
        until("ten more ticks", async || ahead().await > 10).await;
        let first = tick(&mut client.subscribe()).await.id;
        // Ticks that were being sent when the client disconnected count as sent.
        let between = replica.json(&format!("/v1/prices?after={last}&until={first}")).await;
        assert!((1..=10).contains(&between["prices"].as_array().unwrap().len()), "{transport:?}: {between}");
    }
}

#[tokio::test]
async fn streams_rotate_through_all_addresses() {
    let mut servers = Vec::new();
    for _ in 0..3 {
        servers.push(Server::start(vec![Answer::messages(&[&a_tick(20, 10)], None)]).await);
    }
    let dead = free_address();
    let client = |dead: &[&str]| {
        let client = Client::builder(&servers[0].address.to_string()).retry(MS, 10 * MS);
        let client = servers[1..].iter().fold(client, |client, server| client.also_at(&server.address.to_string()));
        dead.iter().fold(client, |client, dead| client.also_at(dead)).build().unwrap()
    };
    let counts = || servers.iter().map(|server| server.requests().len()).collect::<Vec<_>>();
    let all = client(&[]);
    let mut streams: Vec<_> = (0..6).map(|_| all.subscribe()).collect();
    for stream in &mut streams {
        assert_eq!(soon("a tick", tick(stream)).await.id, TickId::from_ms(20));
    }
    assert_eq!(counts(), [2, 2, 2]);
    // Two of the five streams start at an address without a server, and then connect to the first server.
    let all = client(&[&dead, &dead]);
    let mut streams: Vec<_> = (0..5).map(|_| all.subscribe()).collect();
    for stream in &mut streams {
        soon("a tick", tick(stream)).await;
    }
    assert_eq!(counts(), [5, 3, 3]);
}

#[tokio::test]
async fn client_connects_from_its_local_address() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let from: IpAddr = "127.0.0.9".parse().unwrap();
    for transport in TRANSPORTS {
        let client = Client::builder(&listener.local_addr().unwrap().to_string()).transport(transport);
        let mut updates = client.local_address(from).build().unwrap().subscribe();
        tokio::select! {
            accepted = soon("a connection", listener.accept()) => assert_eq!(accepted.unwrap().1.ip(), from),
            update = updates.next() => panic!("{update:?}"),
        }
    }
}
