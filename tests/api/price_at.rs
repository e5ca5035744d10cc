//! `/v1/prices/at`: the price in force at a moment, in a gap, and on average.

use super::server::{TestServer, both, history, ids, usd};
use btcfeed::tick::TickId;
use serde_json::{Value, json};

#[tokio::test]
async fn price_at_a_moment_is_the_last_before_it() {
    let entries = history([both("97000.10", "89000"), usd("97000.20"), both("97000.30", "89000.5")]);
    let ids = ids(&entries);
    let server = TestServer::with(&[], &entries).await;
    let at =
        async |time: u64, rest: &str| server.json(&format!("/v1/prices/at?time={time}{rest}")).await["prices"].clone();
    let price = |price: Value, id: u64, age: u64| json!([{"currency": "USD", "price": price, "id": id, "age_ms": age}]);
    assert_eq!(at(ids[0], "").await, price(json!(97000.10), ids[0], 0));
    assert_eq!(at(ids[1] - 1, "").await, price(json!(97000.10), ids[0], 999));
    assert_eq!(at(ids[1] + 7, "").await, price(json!(97000.20), ids[1], 7));
    let euro = at(ids[2] - 1, "&currency=EUR").await;
    assert_eq!(
        (&euro[0]["price"], &euro[0]["age_ms"]),
        (&json!(89000), &json!(1999)),
        "a tick without euros changes nothing"
    );
    let average = at(ids[1] + 500, "&window=1s&currency=USD,EUR").await;
    assert_eq!((&average[0]["average"], &average[0]["covered"]), (&json!(97000.15), &json!(1.0)));
    let early = at(ids[0] + 250, "&window=1s").await;
    assert_eq!((&early[0]["average"], &early[0]["covered"]), (&json!(97000.10), &json!(0.25)));
    let now = server.json("/v1/prices/at").await;
    assert_eq!(now["prices"][0]["id"], json!(ids[2]));
}

#[tokio::test]
async fn moment_without_a_price_is_not_found() {
    let mut back = usd("97000.30");
    let entries = history([usd("97000.10"), usd("97000.20"), back.clone()]);
    let ids = ids(&entries);
    back["outages"] = json!([{"after": ids[1], "currencies": ["USD"]}]);
    let mut entries = entries;
    entries[2].event = serde_json::from_value(back).unwrap();
    let server = TestServer::with(&[], &entries).await;
    let path = |time: u64| format!("/v1/prices/at?time={time}");
    let answer = server.get(&path(ids[1] + 1)).await;
    assert_eq!(answer.status, 404);
    let gap = format!("the feed has a gap after {} and before {} (source_outage)", ids[1], ids[2]);
    assert!(answer.text().contains(&gap), "{}", answer.text());
    let window = server.json(&format!("{}&window=2s", path(ids[1] + 500))).await["prices"][0].clone();
    assert_eq!((window.get("price"), &window["average"], &window["covered"]), (None, &json!(97000.10), &json!(0.5)));
    assert_eq!(server.get(&path(ids[0] - 1)).await.status, 404, "before the oldest entry");
    let future = server.get(&path(ids[2] + 3_600_000)).await;
    assert!(future.status == 404 && future.text().contains("in the future"), "{}", future.text());
}

#[tokio::test]
async fn settled_price_is_cached() {
    let entries = history([usd("97000.10"), usd("97000.20")]);
    let (ids, server) = (ids(&entries), TestServer::with(&[], &entries).await);
    let settled = server.get(&format!("/v1/prices/at?time={}", ids[0] + 5)).await;
    assert!(settled.header("cache-control").starts_with("public, max-age="), "{}", settled.header("cache-control"));
    let path = format!("/v1/prices/at?time={}", ids[1] + 5);
    let newest = server.get(&path).await;
    assert_eq!(newest.header("cache-control"), "no-cache, no-transform");
    assert_eq!(server.get_with(&path, &[("if-none-match", newest.header("etag"))]).await.status, 304);
}

#[tokio::test]
async fn outage_of_one_currency_is_known_at_once() {
    // Dollars come every second, euros only once.
    let events = [both("97000.10", "89000")].into_iter().chain(vec![usd("97000.20"); 80]);
    let entries = history(events);
    let (ids, server) = (ids(&entries), TestServer::with(&[], &entries).await);
    let path = |time: u64| format!("/v1/prices/at?time={time}&currency=EUR");
    assert_eq!(server.json(&path(ids[0])).await["prices"][0]["price"], json!(89000));
    for time in [ids[0] + 1, ids[3], ids[14]] {
        let answer = server.get(&path(time)).await;
        let gap = format!("the feed has a gap after {} (source_outage)", ids[0]);
        assert!(answer.status == 404 && answer.text().contains(&gap), "{}", answer.text());
    }
    let window = format!("{}&window=2s", path(ids[0] + 1000));
    assert_eq!(server.get(&window).await.status, 404, "no part of the window has a price");
    let dollars = server.json(&format!("/v1/prices/at?time={}&window=10s", ids[40])).await;
    assert_eq!(dollars["prices"][0]["covered"], json!(1.0));
}

#[tokio::test]
async fn window_with_too_many_entries_is_refused() {
    let mut entries = history(vec![usd("97000.10"); 100_050]);
    let last = entries.last().unwrap().id.ms();
    // One tick every 30 ms.
    for (entry, place) in entries.iter_mut().rev().zip(0_u64..) {
        entry.id = TickId::from_ms(last - place * 30);
        entry.prev = TickId::from_ms(last - (place + 1) * 30);
    }
    let server = TestServer::with(&[("BTCFEED_INTERVAL", "30ms")], &entries).await;
    let hour = server.get(&format!("/v1/prices/at?time={last}&window=1h")).await;
    assert!(hour.status == 400 && hour.text().contains("more than 100000 entries"), "{}", hour.text());
    let minute = server.json(&format!("/v1/prices/at?time={last}&window=1m")).await;
    assert_eq!((&minute["prices"][0]["covered"], &minute["prices"][0]["id"]), (&json!(1.0), &json!(last)));
}
