//! The WebSocket as a client sees it: formats, replays and gaps.

use crate::support::exchange::{Exchange, Mode};
use crate::support::{TestCluster, embedded, entries, fields, unbroken, until};
use serde_json::Value;

#[tokio::test]
async fn update_has_the_fields_of_its_format() {
    let exchange = Exchange::start().await;
    // With this interval, every exchange answers in time, even on a busy machine.
    let replica = embedded(&exchange, &[("BTCFEED_INTERVAL", "3s")]).await;
    let update = replica.connect("").await.json().await;
    assert_eq!(fields(&update), ["timedate", "price"]);
    assert!(update["price"].is_number() && update["timedate"].as_str().unwrap().ends_with('Z'));

    let update = replica.connect("format=timestamp&currency=EUR").await.json().await;
    assert_eq!(fields(&update), ["timestamp", "price"]);
    let price = update["price"].as_f64().unwrap();
    assert!((80_000.0..95_000.0).contains(&price), "{price} is not in euros");

    let mut both = replica.connect("currency=USD&currency=EUR").await;
    let updates = [both.json().await, both.json().await];
    assert_eq!(fields(&updates[0]), ["timedate", "price", "currency"]);
    assert_eq!([&updates[0]["currency"], &updates[1]["currency"]], ["USD", "EUR"]);
    assert_eq!(updates[0]["timedate"], updates[1]["timedate"]);

    let full = replica.connect("format=full&currencies=usd,eur").await.json().await;
    assert_eq!(
        fields(&full),
        ["type", "id", "prev", "timedate", "prices", "sources", "method", "confidence", "spread"]
    );
    assert_eq!(full["sources"]["USD"], serde_json::json!(["coinbase", "kraken", "bitstamp"]));
}

#[tokio::test]
async fn price_has_two_decimals() {
    let exchange = Exchange::start().await;
    exchange.set_all(&Mode::Price("97116.1"));
    let replica = embedded(&exchange, &[("BTCFEED_SOURCES", "coinbase")]).await;
    assert!(replica.connect("").await.text().await.ends_with(r#""price":97116.10}"#));
}

#[tokio::test]
async fn client_gets_the_latest_tick_at_once() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[("BTCFEED_INTERVAL", "1h")]).await;
    replica.priced().await;
    let mut client = replica.connect("format=full").await;
    assert_eq!(client.json().await["type"], "tick");
    assert_eq!(client.json().await["type"], "synced");
}

#[tokio::test]
async fn every_name_of_since_replays_from_a_time() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    let first = entries(&mut replica.connect("format=full&since=0").await, 4).await;
    let third = &first[2];
    let (timedate, ms) = (third["timedate"].as_str().unwrap(), third["id"].as_u64().unwrap());
    for since in [
        format!("since={timedate}"),
        format!("since_date={ms}"),
        format!("start_timedate={}.{:03}", ms / 1000, ms % 1000),
        format!("since={}", ms - 1),
        format!("after={}", first[1]["id"]),
    ] {
        let replayed = entries(&mut replica.connect(&format!("format=full&{since}")).await, 2).await;
        assert_eq!(replayed, first[2..4], "{since}");
    }
    let url = format!("ws://{}/ws?format=full&after={ms}", replica.address);
    let after = entries(&mut crate::support::client::Client::connect(&url).await, 1).await;
    assert_eq!(after, first[3..4]);
}

#[tokio::test]
async fn synced_separates_replay_and_live() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    entries(&mut replica.connect("format=full").await, 5).await;
    let mut client = replica.connect("format=full&since=0").await;
    let (mut seen, mut synced) = (Vec::new(), Vec::new());
    while seen.len() < 10 {
        let message = client.json().await;
        match message["type"].as_str().unwrap() {
            "synced" => synced.push((seen.len(), message["id"].clone())),
            _ => seen.push(message),
        }
    }
    unbroken(&seen);
    let [(at, id)] = &synced[..] else { panic!("synced came {} times", synced.len()) };
    assert!(*at >= 5 && *id == seen[at - 1]["id"], "synced has the id of the last entry of the replay");
}

#[tokio::test]
async fn cursor_ahead_of_the_feed_waits_or_starts_live() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    let head = entries(&mut replica.connect("format=full").await, 1).await[0]["id"].as_u64().unwrap();
    let next = entries(&mut replica.connect("format=full&after=9999999999999").await, 1).await;
    assert!(next[0]["id"].as_u64().unwrap() > head);
    // The client got some ticks from another replica that was ahead of this one. They must not be sent twice.
    let ahead = next[0]["id"].as_u64().unwrap() + 3000;
    let mut client = replica.connect(&format!("format=full&after={ahead}")).await;
    assert_eq!(client.json().await["type"], "synced");
    let mut message = client.json().await;
    if message["type"] == "gap" {
        message = client.json().await;
    }
    assert!(message["id"].as_u64().unwrap() > ahead);
}

#[tokio::test]
async fn expired_cursor_gets_a_gap_and_the_rest() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[("BTCFEED_RETENTION", "10s"), ("BTCFEED_INTERVAL", "500ms")]).await;
    let first = entries(&mut replica.connect("format=full&since=0").await, 1).await[0]["id"].as_u64().unwrap();
    let oldest = async || replica.history().await.iter().find(|message| message["type"] == "tick").unwrap().clone();
    until("the first tick to expire", async || oldest().await["prev"].as_u64().unwrap() > first).await;
    let mut client = replica.connect(&format!("format=full&after={first}")).await;
    let (gap, next) = (client.json().await, client.json().await);
    assert_eq!((&gap["type"], &gap["reason"]), (&"gap".into(), &"history_expired".into()), "{gap}");
    assert_eq!((gap["after"].as_u64(), &gap["before"]), (Some(first), &next["id"]));
    // A client whose format has no gaps gets the remaining ticks, too.
    assert_eq!(fields(&replica.connect("since=0").await.json().await), ["timedate", "price"]);
}

#[tokio::test]
async fn entries_before_the_window_come_from_the_store() {
    let cluster = TestCluster::new().await;
    let kept = cluster.redis.fill(1700).await;
    let replica = cluster.replica("r1", &[("BTCFEED_WINDOW", "100"), ("BTCFEED_STALE_AFTER", "60s")]).await;
    let replayed = entries(&mut replica.connect("format=full&since=0").await, 1705).await;
    assert_eq!(unbroken(&replayed)[..1700], kept);
    let resumed = entries(&mut replica.connect(&format!("format=full&after={}", kept[3])).await, 1700).await;
    assert_eq!(resumed[..1696], replayed[4..1700]);
    // A long answer over REST is one JSON document, although the replica reads it from the store in pages.
    let history = replica.json("/v1/prices?format=full&limit=100000").await;
    assert_eq!(history["prices"].as_array().unwrap()[..1705], replayed);
    assert_eq!(history["next"], Value::Null);
    let page = replica.json("/v1/prices?format=full&limit=1200").await;
    assert_eq!(page["prices"].as_array().unwrap()[..], replayed[..1200]);
    assert_eq!(page["next"], kept[1199]);
}

#[tokio::test]
async fn unknown_cursor_gets_a_history_lost_gap() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    let all = entries(&mut replica.connect("format=full&since=0").await, 2).await;
    let unknown = all[0]["id"].as_u64().unwrap() + 1;
    let mut client = replica.connect(&format!("format=full&after={unknown}")).await;
    let gap = client.json().await;
    assert_eq!((&gap["reason"], gap["after"].as_u64()), (&"history_lost".into(), Some(unknown)));
    assert_eq!(client.json().await, all[1]);
}
