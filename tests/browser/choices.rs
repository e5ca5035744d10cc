//! The choice of a currency and a range, also by keyboard.

use super::driver::Browser;
use super::page::formatted;
use crate::support::exchange::Exchange;
use crate::support::replica::Replica;
use crate::support::{embedded, until};
use serde_json::Value;
use thirtyfour::prelude::*;

async fn start() -> (Exchange, Replica) {
    let exchange = Exchange::start().await;
    // With this interval, every exchange answers in time.
    let replica = embedded(&exchange, &[("BTCFEED_INTERVAL", "500ms")]).await;
    (exchange, replica)
}

#[tokio::test]
async fn chosen_currency_is_kept_in_the_address() {
    let (_exchange, replica) = start().await;
    let browser = Browser::open(&format!("http://{}/", replica.address)).await;
    browser.until_live().await;
    browser.click("label:has([value='EUR'])").await;
    let price = browser.until_text(".quote[data-currency=EUR] .price", |text| text.starts_with('€')).await;
    let history = replica.json("/v1/prices?format=full&currency=EUR&limit=100000").await;
    let known = formatted(history["prices"].as_array().unwrap(), "EUR");
    assert!(known.contains(&price.replace(['€', '\n'], "")), "{price} was never a price");
    assert_eq!(browser.text(".quote[data-currency=USD] .price").await, "", "USD is hidden");
    until("EUR in the title", async || browser.title().await.starts_with('€')).await;
    assert!(browser.read_curve().await.iter().all(|label| label.starts_with('€')));

    browser.click("label:has([value='USD,EUR'])").await;
    until("two curves", async || browser.count(".market").await == 2).await;
    // Both curves share one axis, so they show changes in percent.
    let tags = browser.run("return [...document.querySelectorAll('.tag')].map((tag) => tag.textContent).sort()").await;
    let is_change = |tag: &Value, name: &str| {
        let tag = tag.as_str().unwrap();
        tag.starts_with(name) && tag.ends_with('%')
    };
    assert!(is_change(&tags[0], "EUR ") && is_change(&tags[1], "USD "), "{tags}");
    let known = |label: &String| label.starts_with('$') && label.contains("%), €") && label.contains("%), ");
    assert!(browser.read_curve().await.iter().all(known));
    browser.reload().await;
    until("both again", async || browser.count(".market").await == 2).await;
    browser.until_text(".quote[data-currency=EUR] .price", |text| text.starts_with('€')).await;
}

#[tokio::test]
async fn invalid_choice_in_the_address_is_corrected() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[("BTCFEED_CURRENCIES", "EUR")]).await;
    let browser = Browser::open(&format!("http://{}/#currency=GBP&range=7h", replica.address)).await;
    let hash = async || browser.run("return location.hash").await;
    until("the corrected address", async || hash().await == "#currency=EUR&range=15m").await;
    browser.until_text("#summary", |text| text.starts_with("In the last 15 minutes")).await;
    browser.run("location.hash = '#currency=eur&range=6h'").await;
    until("the accepted address", async || hash().await == "#currency=EUR&range=6h").await;
    browser.run("location.hash = '#range=99h'").await;
    until("the corrected address", async || hash().await == "#currency=EUR&range=15m").await;
    browser.run("location.hash = '#currency=eur,EUR&range=6h'").await;
    until("one currency", async || hash().await == "#currency=EUR&range=6h").await;
    // Before the page knows the currencies of the feed, the server rejects its choice.
    let messages = browser.console_messages().await;
    assert!(messages.iter().all(|message| message.contains("network")), "{messages:?}");
    browser.go("about:blank").await;
    browser.go(&format!("http://{}/", replica.address)).await;
    browser.until_live().await;
    assert_eq!(hash().await, "", "the address contains only what the user has chosen");
}

#[tokio::test]
async fn only_currencies_of_the_feed_can_be_chosen() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[("BTCFEED_CURRENCIES", "EUR")]).await;
    let browser = Browser::open(&format!("http://{}/", replica.address)).await;
    browser.until_live().await;
    browser.until_text(".quote[data-currency=EUR] .price", |text| text.starts_with('€')).await;
    let script =
        "return [...document.querySelectorAll('label:not([hidden]) [name=currency]:disabled')].map((it) => it.value)";
    assert_eq!(browser.run(script).await, serde_json::json!(["USD", "USD,EUR"]));
}

#[tokio::test]
async fn chart_covers_the_chosen_range() {
    let cluster = crate::support::TestCluster::new().await;
    // The ticks of an hour and a half, one each second.
    cluster.redis.fill(5400).await;
    let replica = cluster.replica("r1", &[]).await;
    let browser = Browser::open(&format!("http://{}/", replica.address)).await;
    browser.until_live().await;
    let points = async || browser.attribute(".market", "data-points").await.parse::<usize>().unwrap_or(0);
    until("a quarter of an hour", async || (850..2000).contains(&points().await)).await;
    browser.click("label:has([value='1h'])").await;
    until("an hour", async || (3550..5000).contains(&points().await)).await;
    assert!(browser.text(".change").await.ends_with("in the last hour"));
    assert_eq!(browser.text("#begin").await, "", "the feed began before the range");
    // Long ranges are drawn from candles. New ticks update the last candle.
    browser.click("label:has([value='6h'])").await;
    until("candles of two minutes", async || (45..48).contains(&points().await)).await;
    let curve = browser.text(".tag").await;
    until("the end to move", async || browser.text(".tag").await != curve).await;
    browser.until_text("#begin", |text| text.starts_with("The feed began ")).await;
    browser.click("label:has([value='24h'])").await;
    until("candles of ten minutes", async || (9..12).contains(&points().await)).await;
    assert!(browser.attribute(".candles.up", "d").await.len() > 100, "the lowest and highest prices are shown");
    // The chart still covers the whole day, and marks the time without data.
    let share = "return document.querySelector('.void .veil').width.baseVal.value / document.querySelector('.grid:not(.faint)').getBBox().width";
    let share = browser.run(share).await.as_f64().unwrap();
    assert!((0.92..0.96).contains(&share), "{share} of the day is without data");
    assert_eq!(browser.text(".void").await, "No data");
}

#[tokio::test]
async fn candles_are_loaded_once_for_a_long_range() {
    let (_exchange, replica) = start().await;
    let history = replica.history().await;
    let (first, id) = (&formatted(&history, "USD")[0], &history[0]["id"]);
    let browser = Browser::open(&format!("http://{}/#range=24h", replica.address)).await;
    browser.until_live().await;
    until("four seconds", async || browser.run("return performance.now() > 4000").await == true).await;
    let requests =
        "return performance.getEntriesByType('resource').filter(({ name }) => name.includes('&limit=3000')).length";
    assert_eq!(browser.run(requests).await, 1);
    // The curve begins at the first price, and the page says that the feed began there.
    let begin = format!(", Open ${first}, ");
    until(&begin, async || browser.read_curve().await[0].contains(&begin)).await;
    let script = format!("return new Date({id}).toLocaleTimeString('en-US', {{ hour: 'numeric', minute: '2-digit' }})");
    let minute = browser.run(&script).await.as_str().unwrap().to_owned();
    browser.until_text("#begin", |text| text == format!("The feed began at {minute}.")).await;
    browser.until_text(".change", |text| text.ends_with(&format!(" since {minute}"))).await;
    let ahead = "const right = document.querySelector('.drawing .grid:not(.faint)').getBBox().width
        return [...document.querySelectorAll('.candles')].some((it) => it.getBBox().x + it.getBBox().width > right + 1)";
    assert_eq!(browser.run(ahead).await, false, "nothing is drawn in the future");
}

#[tokio::test]
async fn keyboard_reaches_every_control() {
    let (_exchange, replica) = start().await;
    let browser = Browser::open(&format!("http://{}/", replica.address)).await;
    browser.until_live().await;
    let focused = async || {
        let script = "const it = document.activeElement; return it.id || it.value || it.textContent";
        browser.run(script).await.as_str().unwrap().to_owned()
    };
    browser.press(Key::Tab).await;
    assert_eq!(focused().await, "USD");
    browser.press(Key::Right).await;
    browser.until_text(".quote[data-currency=EUR] .price", |text| text.starts_with('€')).await;
    browser.press(Key::Tab).await;
    assert_eq!(focused().await, "15m");
    browser.press(Key::Right).await;
    browser.until_text("#summary", |text| text.contains("In the last hour")).await;
    let ring = "return getComputedStyle(document.querySelector('[value=\"1h\"] + span')).outlineStyle";
    assert_eq!(browser.run(ring).await, "solid", "the focus is visible");
    for button in ["-", "+", "0"] {
        browser.press(Key::Tab).await;
        assert_eq!(focused().await, button);
    }
    browser.press(Key::Tab).await;
    assert_eq!(focused().await, "chart");
    browser.press(Key::Left).await;
    let read = browser.text(".tip").await;
    assert!(read.starts_with('€'), "{read}");
    assert_eq!(browser.attribute("#chart", "aria-valuetext").await, read.replace('\n', ", "));
    browser.press(Key::Left).await;
    assert_ne!(browser.text(".tip").await, read);
    browser.press(Key::Escape).await;
    assert_eq!(browser.text(".tip").await, "");
    let own = ["how it is made", "audit", "Bitstamp", "Coinbase Exchange", "Kraken"];
    let opened = ["The chart as a table", "Show the price on your page"];
    let links = ["latest", "history", "btcfeed.js", "API reference", "auto"];
    browser.until_text("#sources tbody", |text| text.contains("Kraken")).await;
    for last in own.into_iter().chain(opened).chain(links) {
        browser.press(Key::Tab).await;
        assert_eq!(focused().await, last);
    }
}
