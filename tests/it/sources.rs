//! Whatever one exchange answers, the feed goes on with the others, and no wrong price gets in.

use crate::support::exchange::{Exchange, Mode};
use crate::support::{embedded, entries, unbroken, until};
use serde_json::json;

/// Slow enough that on a busy machine only those are late who are told to be: a poll waits for 60 % of it.
const SLOW: (&str, &str) = ("BTCFEED_INTERVAL", "5s");

#[tokio::test]
async fn a_bad_answer_is_left_out_and_named_and_the_feed_goes_on_with_the_others() {
    let cases = [
        ("status 500", Mode::Status(500, None), "HTTP 500 Internal Server Error"),
        ("too many requests", Mode::Status(429, Some("1")), "HTTP 429 Too Many Requests"),
        (
            "an HTML page",
            Mode::Body("<html><title>Just a moment...</title></html>"),
            "not the documented answer, it begins",
        ),
        ("an empty object", Mode::Body("{}"), "not the documented answer"),
        ("nothing at all", Mode::Body(""), "not the documented answer"),
        ("half of an answer", Mode::Truncated, "the answer broke off"),
        ("an endless answer", Mode::Endless, "longer than 65536 bytes"),
        ("silence", Mode::Silent, "no answer within 3s"),
        ("a redirect", Mode::Redirect, "HTTP 302 Found"),
        ("a price of nothing", Mode::Price("0.00"), r#"invalid price "0.00": expected a decimal"#),
        ("a price that is no number", Mode::Price("NaN"), r#"invalid price "NaN": expected a decimal"#),
    ];
    let run = cases.map(async |(what, mode, reason)| {
        let exchange = Exchange::start().await;
        exchange.set("coinbase", mode);
        let replica = embedded(&exchange, &[SLOW]).await;
        let seen = entries(&mut replica.connect("format=full&since=0&currency=USD,EUR").await, 2).await;
        unbroken(&seen);
        for tick in &seen {
            assert_eq!(tick["sources"]["USD"], json!(["kraken", "bitstamp"]), "{what}: {tick}");
        }
        let told = replica.logged("the source fails").await;
        assert_eq!(told["source"], "coinbase");
        assert!(told["reason"].as_str().unwrap().contains(reason), "{what}: {told}");
    });
    futures_util::future::join_all(run).await;
}

#[tokio::test]
async fn a_request_that_hangs_costs_the_source_that_currency_only() {
    let exchange = Exchange::start().await;
    exchange.set("coinbase BTC-EUR", Mode::Silent);
    let replica = embedded(&exchange, &[SLOW]).await;
    for tick in entries(&mut replica.connect("format=full&since=0&currency=USD,EUR").await, 2).await {
        assert_eq!(tick["sources"]["USD"], json!(["coinbase", "kraken", "bitstamp"]), "{tick}");
        assert_eq!(tick["sources"]["EUR"], json!(["kraken", "bitstamp"]), "{tick}");
    }
}

#[tokio::test]
async fn an_old_price_or_one_far_from_the_others_does_not_count() {
    for mode in [Mode::Old, Mode::Price("9711.61")] {
        let exchange = Exchange::start().await;
        exchange.set("bitstamp", mode.clone());
        let replica = embedded(&exchange, &[SLOW]).await;
        for tick in entries(&mut replica.connect("format=full&since=0").await, 2).await {
            assert_eq!(tick["sources"]["USD"], json!(["coinbase", "kraken"]), "{mode:?}: {tick}");
        }
    }
}

#[tokio::test]
async fn a_source_that_asks_to_be_left_alone_is_and_one_that_comes_back_counts_again() {
    let exchange = Exchange::start().await;
    exchange.set("kraken", Mode::Status(429, Some("3")));
    // Long enough for the answer to be read, even on a busy machine, before the wait for it is over.
    let replica = embedded(&exchange, &[("BTCFEED_INTERVAL", "1s")]).await;
    let mut client = replica.connect("format=full&since=0").await;
    replica.logged("the source asks to be left alone").await;
    exchange.set("kraken", Mode::Good);
    until("kraken to count again", async || {
        entries(&mut client, 1).await[0]["sources"]["USD"] == json!(["coinbase", "kraken", "bitstamp"])
    })
    .await;
    let asked = exchange.asked("kraken", "");
    // It notes when it was asked, which on a busy machine may be a little later; nor is every request then answered in time.
    let rests = asked.windows(2).map(|pair| pair[1].duration_since(pair[0]).as_secs_f64());
    let rest = rests.fold(0.0, f64::max);
    assert!(rest > 2.5, "asked again after {rest} s, and not for three seconds was the wish");
}

#[tokio::test]
async fn the_median_of_the_answers_is_the_price() {
    let exchange = Exchange::start().await;
    exchange.set("coinbase", Mode::Price("97100.1"));
    exchange.set("kraken", Mode::Price("97120.25"));
    exchange.set("bitstamp", Mode::Price("97110"));
    let replica = embedded(&exchange, &[SLOW]).await;
    assert!(replica.connect("").await.text().await.ends_with(r#""price":97110}"#));
    exchange.set("coinbase", Mode::Status(500, None));
    let mut client = replica.connect("").await;
    until("a price of two", async || client.text().await.ends_with(r#""price":97115.13}"#)).await;
}

#[tokio::test]
async fn one_currency_without_a_price_is_a_gap_for_those_who_chose_it() {
    let exchange = Exchange::start().await;
    // The answers for one pair are fine, those for the other are not: only Kraken has both in one answer.
    exchange.set("kraken", Mode::Body(KRAKEN_WITHOUT_EUR));
    let settings = [("BTCFEED_SOURCES", "kraken"), ("BTCFEED_STALE_AFTER", "3s")];
    let replica = embedded(&exchange, &settings).await;
    let mut client = replica.connect("format=full&currency=USD,EUR&since=0").await;
    until("the feed to be stale", async || {
        let message = client.json().await;
        assert!(message["type"] != "tick" || message["prices"].get("EUR").is_none());
        message["state"] == "stale" && message["reason"].as_str().unwrap().starts_with("no price in EUR")
    })
    .await;
    // Somebody who chose euros only is shown the chain all the same, and no price of another currency.
    let mut euros = replica.connect("format=full&currency=EUR&since=0").await;
    let seen = entries(&mut euros, 3).await;
    unbroken(&seen);
    assert_eq!(seen[0]["prices"], json!({}));
}

const KRAKEN_WITHOUT_EUR: &str = r#"{"error":[],"result":{"XXBTZUSD":{"c":["97000.10000","0.00067643"]}}}"#;
