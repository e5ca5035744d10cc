//! Candles, compared with the ticks that they are made of.

use super::server::{TestServer, history, ids, ticks, usd};
use btcfeed::feed::Entry;
use btcfeed::tick::TickId;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const MINUTE_MS: u64 = 60_000;

/// Returns the start of the interval that contains `id`.
fn start(id: u64, length_ms: u64) -> u64 {
    id - id % length_ms
}

/// A tick of the history: its id, and its prices in cents.
struct PricedTick {
    id: u64,
    usd: u64,
    eur: Option<u64>,
}

/// Returns a history with prices that move. Every third tick has a price in euros, except between the 400th and the
/// 520th tick: at least one whole minute has no price in euros.
fn moving_prices(count: usize) -> (Vec<Entry>, Vec<PricedTick>) {
    let usd: Vec<_> = (0..count as u64).map(|place| 9_700_000 + place * 7919 % 10_007).collect();
    let text = |cents: u64| format!("{}.{:02}", cents / 100, cents % 100);
    let eur = |place: usize| (place.is_multiple_of(3) && !(400..520).contains(&place)).then_some(usd[place] - 800_000);
    let events = (0..count).map(|place| {
        let mut prices = json!({"USD": text(usd[place])});
        if let Some(eur) = eur(place) {
            prices["EUR"] = text(eur).into();
        }
        json!({"type": "tick", "prices": prices, "sources": {}})
    });
    let entries = history(events);
    let priced = ids(&entries).into_iter().enumerate();
    let priced = priced.map(|(place, id)| PricedTick { id, usd: usd[place], eur: eur(place) }).collect();
    (entries, priced)
}

/// Returns open, high, low and close of prices in cents.
fn open_high_low_close(prices: impl Iterator<Item = u64>) -> Option<[u64; 4]> {
    let prices: Vec<_> = prices.collect();
    Some([*prices.first()?, *prices.iter().max()?, *prices.iter().min()?, *prices.last()?])
}

fn cents(price: &Value) -> u64 {
    // A float is exact enough for prices of this size.
    (price.as_f64().unwrap() * 100.0).round() as u64
}

#[tokio::test]
async fn candles_equal_their_ticks_for_any_window() {
    let (entries, ticks) = moving_prices(900);
    for window in ["100", "20000"] {
        let server = TestServer::with(&[("BTCFEED_WINDOW", window)], &entries).await;
        for (interval, minutes) in [("1m", 1), ("5m", 5), ("15m", 15), ("1h", 60), ("4h", 240), ("1d", 1440)] {
            let length_ms = minutes * MINUTE_MS;
            let answer = server.json(&format!("/v1/candles?interval={interval}&currency=USD,EUR")).await;
            let mut groups: BTreeMap<u64, Vec<_>> = BTreeMap::new();
            for tick in &ticks {
                groups.entry(start(tick.id, length_ms)).or_default().push(tick);
            }
            let candles = answer["candles"].as_array().unwrap();
            assert_eq!((&answer["interval"], &answer["next"]), (&interval.into(), &Value::Null));
            assert_eq!(answer["gaps"], json!([]));
            assert_eq!(candles.len(), groups.len());
            for (candle, (id, ticks)) in candles.iter().zip(groups) {
                assert_eq!((candle["id"].as_u64(), candle["ticks"].as_u64()), (Some(id), Some(ticks.len() as u64)));
                assert_eq!(candle["timedate"], TickId::from_ms(id).timedate());
                let usd = open_high_low_close(ticks.iter().map(|tick| tick.usd));
                let eur = open_high_low_close(ticks.iter().filter_map(|tick| tick.eur));
                for (currency, expected) in [("USD", usd), ("EUR", eur)] {
                    let prices = &candle["prices"][currency];
                    let found = ["open", "high", "low", "close"].map(|name| &prices[name]);
                    assert_eq!(prices.is_null(), expected.is_none(), "{candle}");
                    assert_eq!(expected.map(|_| found.map(cents)), expected, "{candle}");
                }
            }
            let without_euros = candles.iter().filter(|candle| candle["prices"]["EUR"].is_null()).count();
            assert!(without_euros > 0 || length_ms > MINUTE_MS, "one minute has no price in euros");
        }
    }
}

#[tokio::test]
async fn newest_candle_grows_with_each_tick() {
    let server = TestServer::new().await;
    let newest = async || server.json("/v1/candles").await["candles"].as_array().unwrap().last().cloned();
    assert_eq!(newest().await, None);
    let mut ticks: Vec<(u64, u64)> = Vec::new();
    for price in ["97000.10", "97000.30", "97000.20"] {
        let id = server.append(usd(price)).await;
        ticks.push((id, cents(&price.parse().unwrap())));
        let newest = newest().await.unwrap();
        // A minute may end between two ticks.
        let of_candle: Vec<_> =
            ticks.iter().filter(|(other, _)| start(*other, MINUTE_MS) == start(id, MINUTE_MS)).collect();
        assert_eq!(
            (newest["id"].as_u64(), newest["ticks"].as_u64()),
            (Some(start(id, MINUTE_MS)), Some(of_candle.len() as u64))
        );
        let expected = open_high_low_close(of_candle.iter().map(|(_, cents)| *cents)).unwrap();
        assert_eq!(["open", "high", "low", "close"].map(|name| cents(&newest["prices"]["USD"][name])), expected);
    }
}

#[tokio::test]
async fn candle_pages_and_formats_agree() {
    let (entries, _) = moving_prices(900);
    let server = TestServer::with(&[], &entries).await;
    let whole = server.json("/v1/candles?currency=EUR,USD").await;
    let (mut pages, mut next) = (Vec::new(), Value::from(0));
    while !next.is_null() {
        let page = server.json(&format!("/v1/candles?currency=EUR,USD&limit=4&after={next}")).await;
        assert!(page["candles"].as_array().unwrap().len() <= 4);
        pages.extend(page["candles"].as_array().unwrap().clone());
        next = page["next"].clone();
    }
    assert_eq!(whole["candles"], Value::from(pages));

    let lines = server.get("/v1/candles?currency=EUR,USD&format=ndjson").await;
    let lines: Vec<Value> = lines.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(whole["candles"], Value::from(lines));

    let table = server.get("/v1/candles?currency=EUR,USD&format=csv").await;
    let mut table = csv::Reader::from_reader(&table.body[..]);
    assert_eq!(table.headers().unwrap(), &["id", "timedate", "ticks", "currency", "open", "high", "low", "close"][..]);
    let rows: Vec<_> = table.records().map(Result::unwrap).collect();
    let candles = whole["candles"].as_array().unwrap();
    // Some minutes have no price in euros.
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
async fn every_replica_omits_incomplete_candles() {
    let entries = ticks(300);
    // Entries that are more than 150 s older than the newest one have expired.
    let retention = [("BTCFEED_RETENTION", "150s")];
    let server = TestServer::with(&retention, &entries).await;
    let kept_from = ids(&entries)[299] - 150_000;
    let first_complete = start(kept_from + MINUTE_MS - 1, MINUTE_MS);
    let answer = server.json("/v1/candles").await;
    assert_eq!(answer["candles"][0]["id"], first_complete);
    assert_eq!(answer["gaps"], json!([{"after": 0, "before": first_complete, "reason": "history_expired"}]));
    // A replica that started after the expired entries were deleted gives the same answer.
    let kept: Vec<_> = entries.into_iter().filter(|entry| entry.id.ms() >= kept_from).collect();
    let later = TestServer::with(&retention, &kept).await;
    assert_eq!(later.json("/v1/candles").await, answer);
    assert_eq!(later.json(&format!("/v1/candles?since={first_complete}")).await["gaps"], json!([]));
}
