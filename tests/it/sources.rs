//! The real adapters against simulated exchanges. No answer of an exchange puts an invalid price into the feed. The
//! feed continues with the other exchanges.

use crate::support::exchange::{Exchange, Mode};
use crate::support::{embedded, entries, soon, unbroken, until};
use btcfeed::aggregate::{Aggregator, Options, Poll, Rules};
use btcfeed::source::{self, Endpoint};
use btcfeed::tick::{Currencies, Currency, TickId};
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

/// Time for an answer. It is long because the machine may be busy.
const DEADLINE: Duration = Duration::from_secs(8);

/// Returns an aggregator of the sources that `exchange` simulates.
fn sources(exchange: &Exchange) -> Aggregator {
    let sources = exchange.urls("r1").map(|(name, url)| {
        let endpoint = Endpoint { url: Some(url.into()), key: None, least_interval: Some(Duration::ZERO) };
        source::find(name).unwrap().open(&endpoint).unwrap()
    });
    let options = Options {
        currencies: Currencies::USD_EUR,
        deadline: DEADLINE,
        rules: Rules {
            interval: Duration::from_secs(5),
            max_age: Duration::from_secs(60),
            outlier_share: "0.01".parse().unwrap(),
            clamp_share: "0.005".parse().unwrap(),
            min_sources: 2,
            frozen_polls: 24,
        },
    };
    Aggregator::new(sources.into(), options)
}

async fn poll(sources: &mut Aggregator) -> Poll {
    soon("a poll", sources.poll(TickId::now())).await
}

/// Returns the sources of a price, and the price.
fn price(poll: &Poll, currency: Currency) -> (Vec<String>, String) {
    let tick = poll.tick.as_ref().expect("a tick");
    (tick.sources[&currency].clone(), tick.prices[&currency].to_string())
}

/// Returns the reason why `source` contributed no price.
fn reason(poll: &Poll, source: &str) -> String {
    let fault = poll.faults.iter().find(|fault| fault.source == source);
    fault.unwrap_or_else(|| panic!("{source} has no fault")).reason.clone()
}

#[tokio::test]
async fn bad_answer_is_left_out_with_its_reason() {
    let cases = [
        (Mode::Status(500, None), "HTTP 500 Internal Server Error"),
        (Mode::Status(429, Some("1")), "HTTP 429 Too Many Requests"),
        (Mode::Body("<html><title>Just a moment...</title></html>"), "the answer is not as documented, it begins"),
        (Mode::Body("{}"), "the answer is not as documented"),
        (Mode::Body(""), "the answer is not as documented"),
        (Mode::Truncated, "the answer was cut off"),
        (Mode::Endless, "longer than 65536 bytes"),
        (Mode::Silent, "no answer within 8s"),
        (Mode::Redirect, "HTTP 302 Found"),
        (Mode::Price("0.00"), "neither a last trade nor a book with two sides"),
        (Mode::Price("NaN"), r#"invalid price "NaN": expected a decimal"#),
    ];
    join_all(cases.map(async |(mode, expected)| {
        let exchange = Exchange::start().await;
        exchange.set("coinbase", mode.clone());
        let poll = poll(&mut sources(&exchange)).await;
        for currency in [Currency::Usd, Currency::Eur] {
            assert_eq!(price(&poll, currency).0, ["kraken", "bitstamp"], "{mode:?}");
        }
        let reason = reason(&poll, "coinbase");
        assert!(reason.contains(expected), "{mode:?}: {reason}");
    }))
    .await;
}

#[tokio::test]
async fn hanging_request_costs_one_currency() {
    let exchange = Exchange::start().await;
    exchange.set("coinbase BTC-EUR", Mode::Silent);
    let poll = poll(&mut sources(&exchange)).await;
    assert_eq!(price(&poll, Currency::Usd).0, ["coinbase", "kraken", "bitstamp"]);
    assert_eq!(price(&poll, Currency::Eur).0, ["kraken", "bitstamp"]);
}

#[tokio::test]
async fn old_or_deviating_price_is_left_out() {
    for mode in [Mode::Old, Mode::Price("9711.61")] {
        let exchange = Exchange::start().await;
        exchange.set("bitstamp", mode.clone());
        let poll = poll(&mut sources(&exchange)).await;
        assert_eq!(price(&poll, Currency::Usd).0, ["coinbase", "kraken"], "{mode:?}");
    }
}

#[tokio::test]
async fn retry_after_is_obeyed_and_then_forgotten() {
    let exchange = Exchange::start().await;
    exchange.set("kraken", Mode::Status(429, Some("2")));
    let mut sources = sources(&exchange);
    let first = poll(&mut sources).await;
    assert!(reason(&first, "kraken").contains("429"));
    exchange.set("kraken", Mode::Good);
    let started = Instant::now();
    until("kraken to contribute again", async || {
        price(&poll(&mut sources).await, Currency::Usd).0 == ["coinbase", "kraken", "bitstamp"]
    })
    .await;
    let [first, second] = exchange.requests("kraken", "")[..] else { panic!("kraken was asked too often") };
    let pause = second.duration_since(first);
    assert!(pause > Duration::from_millis(1900), "asked again after {pause:?}");
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[tokio::test]
async fn price_is_the_median_of_the_answers() {
    let exchange = Exchange::start().await;
    exchange.set("coinbase", Mode::Price("97100.1"));
    exchange.set("kraken", Mode::Price("97120.25"));
    exchange.set("bitstamp", Mode::Price("97110"));
    let mut sources = sources(&exchange);
    assert_eq!(price(&poll(&mut sources).await, Currency::Usd).1, "97110.00");
    exchange.set("coinbase", Mode::Status(500, None));
    assert_eq!(price(&poll(&mut sources).await, Currency::Usd).1, "97115.12", "half to even");
}

#[tokio::test]
async fn long_error_of_an_exchange_is_cut_everywhere() {
    let exchange = Exchange::start().await;
    let answer = format!(r#"{{"error":["EGeneral:{}"]}}"#, "x".repeat(16_000));
    exchange.set("kraken", Mode::Body(answer.leak()));
    // With this interval, the answer arrives before the deadline of the poll, even on a busy machine.
    let settings = [
        ("BTCFEED_SOURCES", "kraken"),
        ("BTCFEED_INTERVAL", "1s"),
        ("BTCFEED_STALE_AFTER", "3s"),
        ("BTCFEED_LOG_FORMAT", "json"),
    ];
    let replica = embedded(&exchange, &settings).await;
    let mut client = replica.connect("format=full&since=0").await;
    let mut status = Value::Null;
    until("a status", async || {
        status = client.json().await;
        status["type"] == "status"
    })
    .await;
    let hello = replica.connect("format=full&hello=true").await.json().await;
    let report: Value = serde_json::from_str(&replica.get("/v1/status").await.1).unwrap();
    let line = replica.logged("source failed").remove(0);
    for (place, message, field) in
        [("status", status, "reason"), ("hello", hello, "reason"), ("report", report, "reason"), ("log", line, "cause")]
    {
        let text = message[field].as_str().unwrap_or_else(|| panic!("{place}: {message}"));
        assert!(text.contains("EGeneral:xxx") && text.len() <= 300, "{place} has {} bytes: {text}", text.len());
        assert!(message.to_string().len() <= 1500, "{place}: {message}");
    }
}

#[tokio::test]
async fn missing_currency_makes_the_feed_stale() {
    let exchange = Exchange::start().await;
    // Of the three exchanges, only Kraken gives both prices in one answer.
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
    // A client that chose euros gets the ticks without a price, and no price in another currency.
    let mut euros = replica.connect("format=full&currency=EUR&since=0").await;
    let seen = entries(&mut euros, 3).await;
    unbroken(&seen);
    assert_eq!(seen[0]["prices"], json!({}));
}

const KRAKEN_WITHOUT_EUR: &str = r#"{"error":[],"result":{"XXBTZUSD":{"c":["97000.10000","0.00067643"]}}}"#;
