//! Candles, beside the ticks that they are made of.

use crate::support::exchange::Exchange;
use crate::support::{SERVE, TestCluster, embedded, until};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const MINUTE: u64 = 60_000;

fn start(id: u64, length: u64) -> u64 {
    id - id % length
}

/// A history of one tick every second with prices that move, in euros now and then, but never from the 400th to the 520th, in
/// which there is a whole minute: ids, and prices in cents.
async fn fill(cluster: &TestCluster, count: u64) -> Vec<(u64, u64, Option<u64>)> {
    let prices: Vec<_> = (0..count).map(|place| 9_700_000 + place * 7919 % 10_007).collect();
    let price = |cents: u64| format!("{}.{:02}", cents / 100, cents % 100);
    let in_euros =
        |place: usize, usd: u64| (place.is_multiple_of(3) && !(400..520).contains(&place)).then_some(usd - 800_000);
    let events = prices.iter().enumerate().map(|(place, usd)| {
        let mut prices = json!({"USD": price(*usd)});
        in_euros(place, *usd).inspect(|eur| prices["EUR"] = price(*eur).into());
        json!({"type": "tick", "prices": prices, "sources": {}})
    });
    let ids = cluster.redis.write(events.collect()).await;
    ids.into_iter().zip(prices).enumerate().map(|(place, (id, usd))| (id, usd, in_euros(place, usd))).collect()
}

/// Open, high, low and close of prices in cents, as decimals with two places.
fn ohlc(prices: impl Iterator<Item = u64>) -> Option<[u64; 4]> {
    let prices: Vec<_> = prices.collect();
    Some([*prices.first()?, *prices.iter().max()?, *prices.iter().min()?, *prices.last()?])
}

fn cents(price: &Value) -> u64 {
    // A test may make a float of what is a small number.
    (price.as_f64().unwrap() * 100.0).round() as u64
}

#[tokio::test]
async fn a_candle_is_what_its_ticks_were_with_any_window() {
    let cluster = TestCluster::new().await;
    let ticks = fill(&cluster, 900).await;
    for window in ["100", "20000"] {
        let settings = [("BTCFEED_WINDOW", window), SERVE];
        let replica = cluster.replica(&format!("w{window}"), &settings).await;
        for (interval, length) in [("1m", MINUTE), ("5m", 5 * MINUTE), ("1h", 60 * MINUTE)] {
            let answer = replica.json(&format!("/v1/candles?interval={interval}&currency=USD,EUR")).await;
            let mut groups: BTreeMap<u64, Vec<_>> = BTreeMap::new();
            for tick in &ticks {
                groups.entry(start(tick.0, length)).or_default().push(*tick);
            }
            let candles = answer["candles"].as_array().unwrap();
            assert_eq!((&answer["interval"], &answer["next"]), (&interval.into(), &Value::Null));
            assert_eq!(answer["gaps"], json!([]));
            assert_eq!(candles.len(), groups.len());
            for (candle, (id, ticks)) in candles.iter().zip(groups) {
                assert_eq!((candle["id"].as_u64(), candle["ticks"].as_u64()), (Some(id), Some(ticks.len() as u64)));
                assert_eq!(candle["timedate"], btcfeed::tick::TickId::from_ms(id).timedate());
                let usd = ohlc(ticks.iter().map(|(_, usd, _)| *usd));
                let eur = ohlc(ticks.iter().filter_map(|(_, _, eur)| *eur));
                for (currency, expected) in [("USD", usd), ("EUR", eur)] {
                    let prices = &candle["prices"][currency];
                    let told = ["open", "high", "low", "close"].map(|name| &prices[name]);
                    assert_eq!(prices.is_null(), expected.is_none(), "{candle}");
                    assert_eq!(expected.map(|_| told.map(cents)), expected, "{candle}");
                }
            }
            let without_euros = candles.iter().filter(|candle| candle["prices"]["EUR"].is_null()).count();
            assert!(without_euros > 0 || length > MINUTE, "there is a minute without euros");
        }
    }
}

#[tokio::test]
async fn the_newest_candle_grows_and_others_do_not_change() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    let newest = async || {
        let answer = replica.json("/v1/candles").await;
        answer["candles"].as_array().unwrap().last().cloned().unwrap_or_default()
    };
    until("a candle", async || newest().await["ticks"].as_u64() >= Some(2)).await;
    let before = newest().await;
    until("another tick", async || newest().await != before).await;
    let (newest, history) = (newest().await, replica.history().await);
    let ticks = history.iter().filter(|entry| start(entry["id"].as_u64().unwrap(), MINUTE) == newest["id"]);
    assert!(newest["ticks"].as_u64().unwrap() <= ticks.count() as u64);
}

#[tokio::test]
async fn candles_are_paged_by_next_and_the_same_in_every_form() {
    let cluster = TestCluster::new().await;
    fill(&cluster, 900).await;
    let replica = cluster.replica("r1", &[SERVE]).await;
    let whole = replica.json("/v1/candles?currency=EUR,USD").await;
    let (mut pages, mut next) = (Vec::new(), Value::from(0));
    while !next.is_null() {
        let page = replica.json(&format!("/v1/candles?currency=EUR,USD&limit=4&after={next}")).await;
        assert!(page["candles"].as_array().unwrap().len() <= 4);
        pages.extend(page["candles"].as_array().unwrap().clone());
        next = page["next"].clone();
    }
    assert_eq!(whole["candles"], Value::from(pages));

    let (_, lines) = replica.get("/v1/candles?currency=EUR,USD&format=ndjson").await;
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(whole["candles"], Value::from(lines));

    let (_, table) = replica.get("/v1/candles?currency=EUR,USD&format=csv").await;
    let mut table = csv::Reader::from_reader(table.as_bytes());
    assert_eq!(table.headers().unwrap(), &["id", "timedate", "ticks", "currency", "open", "high", "low", "close"][..]);
    let rows: Vec<_> = table.records().map(Result::unwrap).collect();
    let candles = whole["candles"].as_array().unwrap();
    // The newest minute may have begun a moment ago, and have no price in euros yet.
    let expected = candles.iter().flat_map(|candle| {
        ["USD", "EUR"].into_iter().filter_map(|currency| {
            let prices = candle["prices"].get(currency)?;
            let prices = ["open", "high", "low", "close"].map(|name| cents(&prices[name]));
            Some((candle["id"].to_string(), currency.to_owned(), prices))
        })
    });
    let read = rows.iter().map(|row| {
        let prices = [4, 5, 6, 7].map(|column| cents(&serde_json::from_str(&row[column]).unwrap()));
        (row[0].to_owned(), row[3].to_owned(), prices)
    });
    assert_eq!(read.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
}

#[tokio::test]
async fn what_can_no_longer_change_may_be_kept_and_what_can_is_asked_for_again() {
    let cluster = TestCluster::new().await;
    let ticks = fill(&cluster, 300).await;
    let replica = cluster.replica("r1", &[SERVE]).await;
    let first = start(ticks[0].0, MINUTE);
    let ask = async |query: &str, tag: Option<&str>| {
        let headers: Vec<_> = tag.map(|tag| ("if-none-match", tag)).into_iter().collect();
        replica.ask(&format!("/v1/candles?{query}"), &headers).await
    };
    let age = (btcfeed::tick::TickId::now().ms() - first) / 1000;
    let settled = ask(&format!("until={}", first + MINUTE), None).await;
    let kept = settled.headers()["cache-control"].to_str().unwrap().to_owned();
    let seconds: u64 =
        kept.strip_prefix("public, max-age=").unwrap().strip_suffix(", immutable").unwrap().parse().unwrap();
    // Kept for a day from its first moment on.
    assert!(seconds <= 86_400 - age && seconds > 86_400 - age - 30, "{kept}");
    let tag = settled.headers()["etag"].to_str().unwrap();
    let query = format!("until={}", first + MINUTE);
    let (mut kept, mut again) = (settled.headers()["cache-control"].clone(), ask(&query, Some(tag)).await);
    // What is left of the time counts down, so both must be asked for in the same second.
    until("the same words with 304", async || {
        let same = again.headers()["cache-control"] == kept;
        if !same {
            kept = ask(&query, None).await.headers()["cache-control"].clone();
            again = ask(&query, Some(tag)).await;
        }
        same
    })
    .await;
    assert_eq!((again.status().as_u16(), &again.headers()["cache-control"]), (304, &kept));
    assert_eq!(again.text().await.unwrap(), "");

    let open = ask("", None).await;
    assert_eq!(open.headers()["cache-control"], "no-cache");
    let tag = open.headers()["etag"].to_str().unwrap().to_owned();
    assert_eq!(ask("", Some(&tag)).await.status().as_u16(), 304, "nothing has come");
    cluster.redis.append_tick(ticks[299].0).await;
    until("a tick to change the answer", async || ask("", Some(&tag)).await.status().as_u16() == 200).await;
    assert_eq!(ask(&format!("until={}", first + MINUTE), Some(&tag)).await.status().as_u16(), 200, "another answer");
}

#[tokio::test]
async fn a_candle_that_is_not_all_there_any_more_is_left_out_and_told_on_every_replica_alike() {
    let cluster = TestCluster::new().await;
    let ticks = fill(&cluster, 300).await;
    // What is 150 seconds older than the newest has expired.
    let retention = [("BTCFEED_RETENTION", "150s"), SERVE];
    let r1 = cluster.replica("r1", &retention).await;
    let kept_from = ticks[299].0 - 150_000;
    let whole = start(kept_from + MINUTE - 1, MINUTE);
    let answer = r1.json("/v1/candles").await;
    assert_eq!(answer["candles"][0]["id"], whole);
    let gap = json!([{"after": 0, "before": whole, "reason": "history_expired"}]);
    assert_eq!(answer["gaps"], gap);
    let mut connection = cluster.redis.connection().await;
    let max = format!("({kept_from}");
    redis::cmd("ZREMRANGEBYSCORE")
        .arg("{btcfeed}:ticks")
        .arg("-inf")
        .arg(max)
        .exec_async(&mut connection)
        .await
        .unwrap();
    let r2 = cluster.replica("r2", &retention).await;
    assert_eq!(r2.json("/v1/candles").await, answer);
    assert_eq!(r2.json(&format!("/v1/candles?since={whole}")).await["gaps"], json!([]));
}
