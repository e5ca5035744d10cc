//! What a client asks for besides prices, and what it is told first.

use super::{TRANSPORTS, next, tick};
use crate::support::exchange::{Exchange, Mode};
use crate::support::{embedded, entries, until};
use btcfeed::client::{Client, GapReason, Start, Update};
use btcfeed::feed::State;
use btcfeed::tick::TickId;

#[tokio::test]
async fn connected_tells_how_the_feed_is() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[("BTCFEED_STALE_AFTER", "2s")]).await;
    for health in [None, Some(State::Stale)] {
        if health.is_some() {
            until("a price", async || replica.get("/v1/prices/latest").await.0 == 200).await;
            exchange.set_all(&Mode::Status(500, None));
            let is_stale = async || replica.history().await.last().unwrap()["state"] == "stale";
            until("the feed to be stale", is_stale).await;
        }
        for transport in TRANSPORTS {
            let mut updates = Client::builder(&replica.address).transport(transport).build().unwrap().subscribe();
            let Update::Connected(connected) = next(&mut updates).await else { panic!("{transport:?}") };
            assert_eq!((connected.state, connected.reason.is_some()), (health, health.is_some()), "{transport:?}");
        }
    }
}

#[tokio::test]
async fn of_a_replay_come_only_the_newest_ticks_and_a_word_about_the_rest() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    entries(&mut replica.connect("format=full&since=0").await, 8).await;
    for transport in TRANSPORTS {
        let client = Client::builder(&replica.address).transport(transport).start(Start::Since(TickId::ZERO)).limit(2);
        let mut updates = client.build().unwrap().subscribe();
        let Update::Connected(_) = next(&mut updates).await else { panic!("{transport:?}") };
        let Update::Gap(gap) = next(&mut updates).await else { panic!("{transport:?}") };
        assert_eq!(gap.reason, GapReason::ReplayLimit);
        let mut ticks = Vec::new();
        loop {
            match next(&mut updates).await {
                Update::Tick(tick) => ticks.push(tick.id),
                Update::Synced { .. } => break,
                other => panic!("{other:?}"),
            }
        }
        // One may have come meanwhile.
        assert!(ticks[0] == gap.before && (2..5).contains(&ticks.len()), "{ticks:?} {gap:?}");
    }
}

#[tokio::test]
async fn a_client_that_is_known_by_its_name_goes_on_where_it_was() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    for transport in TRANSPORTS {
        let client = Client::builder(&replica.address).transport(transport).client_id(format!("shop-{transport:?}"));
        let client = client.build().unwrap();
        let mut updates = client.subscribe();
        tick(&mut updates).await;
        let last = tick(&mut updates).await.id;
        drop(updates);
        let ahead =
            async || replica.json(&format!("/v1/prices?after={last}")).await["prices"].as_array().unwrap().len();
        until("the feed to be far ahead", async || ahead().await > 10).await;
        let first = tick(&mut client.subscribe()).await.id;
        // What was on its way when it went counts as sent.
        let between = replica.json(&format!("/v1/prices?after={last}&until={first}")).await;
        assert!((1..6).contains(&between["prices"].as_array().unwrap().len()), "{transport:?}: {between}");
    }
}
