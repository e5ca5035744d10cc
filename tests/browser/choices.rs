//! What one chooses: the currency, the range, and by keyboard too.

use super::driver::Browser;
use super::page::written;
use crate::support::exchange::Exchange;
use crate::support::replica::Replica;
use crate::support::{embedded, until};
use thirtyfour::prelude::*;

async fn cluster() -> (Exchange, Replica) {
    let exchange = Exchange::start().await;
    // Slow enough for no answer to be late.
    let replica = embedded(&exchange, &[("BTCFEED_INTERVAL", "500ms")]).await;
    (exchange, replica)
}

#[tokio::test]
async fn one_chooses_dollars_euros_or_both_and_the_address_remembers_it() {
    let (_exchange, replica) = cluster().await;
    let browser = Browser::open(&format!("http://{}/", replica.address)).await;
    browser.until_live().await;
    browser.click("label:has([value='EUR'])").await;
    let price = browser.until_text(".quote[data-currency=EUR] .price", |text| text.starts_with('€')).await;
    let history = replica.json("/v1/prices?format=full&currency=EUR&limit=100000").await;
    let known = written(history["prices"].as_array().unwrap(), "EUR");
    assert!(known.contains(&price.replace(['€', '\n'], "")), "{price} was never a price");
    assert_eq!(browser.text(".quote[data-currency=USD] .price").await, "", "dollars are gone");
    until("euros in the title", async || browser.title().await.starts_with('€')).await;
    assert!(browser.read_curve().await.iter().all(|said| said.starts_with('€')));

    browser.click("label:has([value='USD,EUR'])").await;
    until("two curves", async || browser.count(".market").await == 2).await;
    let names = browser.run("return [...document.querySelectorAll('.name')].map((name) => name.textContent)").await;
    assert_eq!(names, serde_json::json!(["USD", "EUR"]), "each says what it is");
    assert!(browser.read_curve().await.iter().all(|said| said.starts_with('$') && said.contains(", €")));
    browser.reload().await;
    until("both again", async || browser.count(".market").await == 2).await;
    browser.until_text(".quote[data-currency=EUR] .price", |text| text.starts_with('€')).await;
}

#[tokio::test]
async fn an_address_that_asks_for_what_there_is_not_is_put_right() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[("BTCFEED_CURRENCIES", "EUR")]).await;
    let browser = Browser::open(&format!("http://{}/#currency=GBP&range=7h", replica.address)).await;
    let hash = async || browser.run("return location.hash").await;
    until("what is shown", async || hash().await == "#currency=EUR&range=15m").await;
    browser.until_text("#summary", |text| text.starts_with("In the last 15 minutes")).await;
    browser.run("location.hash = '#currency=eur&range=6h'").await;
    until("what was asked for", async || hash().await == "#currency=EUR&range=6h").await;
    browser.run("location.hash = '#range=99h'").await;
    until("what is shown", async || hash().await == "#currency=EUR&range=15m").await;
    browser.go("about:blank").await;
    browser.go(&format!("http://{}/", replica.address)).await;
    browser.until_live().await;
    assert_eq!(hash().await, "", "who asked for nothing has nothing in the address");
}

#[tokio::test]
async fn a_feed_of_one_currency_shows_that_and_offers_no_other() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[("BTCFEED_CURRENCIES", "EUR")]).await;
    let browser = Browser::open(&format!("http://{}/", replica.address)).await;
    browser.until_live().await;
    browser.until_text(".quote[data-currency=EUR] .price", |text| text.starts_with('€')).await;
    let script = "return [...document.querySelectorAll('[name=currency]:disabled')].map((it) => it.value)";
    assert_eq!(browser.run(script).await, serde_json::json!(["USD", "USD,EUR"]));
}

#[tokio::test]
async fn one_chooses_the_range_and_sees_as_far_back() {
    let cluster = crate::support::TestCluster::new().await;
    // An hour and a half, a tick a second.
    let ids = cluster.redis.fill(5400).await;
    let replica = cluster.replica("r1", &[]).await;
    let browser = Browser::open(&format!("http://{}/", replica.address)).await;
    browser.until_live().await;
    let points = async || browser.attribute(".market", "data-points").await.parse::<usize>().unwrap_or(0);
    until("a quarter of an hour", async || (850..2000).contains(&points().await)).await;
    browser.click("label:has([value='1h'])").await;
    until("an hour", async || (3550..5000).contains(&points().await)).await;
    assert!(browser.text(".change").await.ends_with("in the last hour"));
    assert_eq!(browser.text("#begin").await, "", "there is more than that");
    // As candles, of which the newest is made of what comes.
    browser.click("label:has([value='6h'])").await;
    until("candles of a minute", async || (88..95).contains(&points().await)).await;
    let curve = browser.attribute(".curve", "d").await;
    until("the end to move", async || browser.attribute(".curve", "d").await != curve).await;
    browser.until_text("#begin", |text| text.starts_with("The feed began at ")).await;
    browser.click("label:has([value='24h'])").await;
    until("candles of five minutes", async || (17..22).contains(&points().await)).await;
    assert!(browser.attribute(".spread", "d").await.len() > 100, "the lowest and the highest are shown");
    drop(ids);
}

#[tokio::test]
async fn candles_are_asked_for_once_and_drawn_from_the_first_price_to_the_last() {
    let (_exchange, replica) = cluster().await;
    let history = replica.history().await;
    let (first, id) = (&written(&history, "USD")[0], &history[0]["id"]);
    let browser = Browser::open(&format!("http://{}/#range=24h", replica.address)).await;
    browser.until_live().await;
    until("some seconds", async || browser.run("return performance.now() > 4000").await == true).await;
    let asked =
        "return performance.getEntriesByType('resource').filter(({ name }) => name.includes('/v1/candles')).length";
    assert_eq!(browser.run(asked).await, 1);
    // From no earlier moment than there was a price, and it says that this is all there is.
    let time = async |seconds: &str| {
        let script = format!(
            "return new Date({id}).toLocaleTimeString('en-US', {{ hour: 'numeric', minute: '2-digit' {seconds} }})"
        );
        browser.run(&script).await.as_str().unwrap().to_owned()
    };
    let begin = format!("${first}, {}", time(", second: '2-digit'").await);
    until(&begin, async || browser.read_curve().await[0] == begin).await;
    let minute = time("").await;
    browser.until_text("#begin", |text| text == format!("The feed began at {minute}.")).await;
    browser.until_text(".change", |text| text.ends_with(&format!(" since {minute}"))).await;
    let ahead = browser.run("return document.querySelector('.end').cx.baseVal.value > document.querySelector('.drawing .grid:not(.faint)').getBBox().width").await;
    assert_eq!(ahead, false, "nothing is drawn in the future");
}

#[tokio::test]
async fn everything_can_be_done_by_keyboard() {
    let (_exchange, replica) = cluster().await;
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
    assert_eq!(browser.run(ring).await, "solid", "one sees where one is");
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
    for last in ["latest", "history", "btcfeed.js", "API reference", "auto"] {
        browser.press(Key::Tab).await;
        assert_eq!(focused().await, last);
    }
}
