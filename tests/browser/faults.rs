//! The page during faults: it reports them, recovers by itself, and shows what is missing.

use super::driver::Browser;
use super::page::formatted;
use crate::support::exchange::{Exchange, Mode};
use crate::support::nginx::Nginx;
use crate::support::proxy::Proxy;
use crate::support::{TestCluster, embedded, until};
use rustix::process::Signal;

/// The deadline of a poll is 60 % of the interval. With this interval, an exchange's error arrives before the deadline,
/// even on a busy machine.
const SLOW: (&str, &str) = ("BTCFEED_INTERVAL", "500ms");

#[tokio::test]
async fn page_moves_to_another_replica_without_a_gap() {
    let cluster = TestCluster::new().await;
    let replicas: [_; 2] = cluster.replicas().await;
    let nginx = Nginx::start(&[&replicas[0].address, &replicas[1].address]).await;
    let browser = Browser::open(&format!("http://{}/", nginx.address)).await;
    browser.until_live().await;
    let serving = browser.until_text("#replica", |name| name.starts_with('r')).await;
    let (killed, other) = if serving == "r1" { (0, 1) } else { (1, 0) };
    replicas[killed].signal(Signal::KILL);
    let other_name = format!("r{}", other + 1);
    browser.until_text("#replica", |name| name == other_name).await;
    browser.until_live().await;
    let last = browser.text(".price").await;
    browser.until_text(".price", |price| price != last).await;

    until("a curve without a gap", async || browser.count(".gap").await == 0).await;
    let mut read = Vec::new();
    until("a curve with some points", async || {
        read = browser.read_curve().await;
        read.len() > 10
    })
    .await;
    let history = formatted(&replicas[other].history().await, "USD");
    for (place, label) in read.iter().enumerate().take(history.len()) {
        assert!(label.starts_with(&format!("${}, ", history[place])), "{place}: {label} is not {}", history[place]);
    }
}

#[tokio::test]
async fn disconnected_page_reports_it_and_catches_up() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    let proxy = Proxy::start(replica.port()).await;
    let browser = Browser::open(&format!("http://{}/", proxy.address)).await;
    browser.until_live().await;
    proxy.cut();
    browser.until_text("#state", |text| text == "Disconnected").await;
    browser.until_text("#trouble", |text| text.contains("The page reconnects automatically")).await;
    browser.until_text("#age", |text| text.contains("ago, reconnecting")).await;
    assert!(browser.title().await.starts_with("(!) "));
    assert_eq!(browser.count(".quote:not([hidden]).old").await, 1, "an old price is marked");
    until("an open gap", async || browser.count(".gap.open[data-reason=disconnected]").await == 1).await;
    proxy.restore();
    browser.until_live().await;
    until("a curve without a gap", async || browser.count(".gap").await == 0).await;
    until("no old price", async || browser.count(".old").await == 0).await;
    let history = formatted(&replica.history().await, "USD");
    for (label, price) in browser.read_curve().await.iter().zip(&history) {
        assert!(label.starts_with(&format!("${price}, ")), "{label} is not {price}");
    }
}

#[tokio::test]
async fn outage_is_shown_and_becomes_a_gap() {
    let exchange = Exchange::start().await;
    let settings = [SLOW, ("BTCFEED_STALE_AFTER", "2s"), ("BTCFEED_DOWN_AFTER", "5s")];
    let replica = embedded(&exchange, &settings).await;
    let browser = Browser::open(&format!("http://{}/", replica.address)).await;
    browser.until_live().await;
    // The browser records the states, because this test could be too slow to see each of them.
    let keep = "window.states = []; const state = document.getElementById('state');
        new MutationObserver(() => states.push(state.innerText.trim())).observe(state, { childList: true, characterData: true, subtree: true })";
    browser.run(keep).await;
    exchange.set_all(&Mode::Status(500, None));
    browser.until_text("#state", |text| text == "Down").await;
    let states = browser.run("return states").await;
    assert!(states.as_array().unwrap().contains(&"Stale".into()), "it was {states}");
    let trouble = browser.until_text("#trouble", |text| !text.is_empty()).await;
    assert!(trouble.starts_with("No price in USD and EUR: coinbase: HTTP 500"), "{trouble}");
    assert!(trouble.ends_with(". The server polls the sources again every few seconds."), "{trouble}");
    until("the outage", async || browser.count(".gap.open[data-reason=source_outage]").await == 1).await;
    assert_eq!(browser.count(".quote:not([hidden]).old").await, 1);
    assert!(browser.title().await.starts_with("(!) "));

    exchange.set_all(&Mode::Good);
    browser.until_live().await;
    until("the gap", async || browser.count(".gap:not(.open)[data-reason=source_outage]").await == 1).await;
    until("no old price", async || browser.count(".old").await == 0).await;
    browser.until_text("#trouble", str::is_empty).await;
    assert!(browser.text("#summary").await.contains("USD: No price from the sources ("));
    // The curve is interrupted, and a screen reader gets the reason.
    assert_eq!(browser.attribute(".curve", "d").await.matches('M').count(), 2, "the curve has two parts");
    let read = browser.read_curve().await;
    let gaps: Vec<_> = read.iter().filter(|label| label.starts_with("No price from the sources, ")).collect();
    assert!(gaps.len() == 1 && gaps[0].contains("coinbase: HTTP 500"), "{gaps:?}");
    // A page that is opened later shows the same.
    browser.reload().await;
    browser.until_live().await;
    until("the gap again", async || browser.count(".gap[data-reason=source_outage]").await == 1).await;
}

#[tokio::test]
async fn page_detects_a_server_without_a_store() {
    let mut cluster = TestCluster::new().await;
    let replica = cluster.replica("r1", &[("BTCFEED_STALE_AFTER", "2s"), ("BTCFEED_DOWN_AFTER", "60s")]).await;
    let browser = Browser::open(&format!("http://{}/#currency=USD,EUR", replica.address)).await;
    browser.until_live().await;
    let known = |text: &str, reason: &str| {
        let (before, after) = ("Connected, but without new prices in USD and EUR.", "New prices appear automatically.");
        text == format!("{before} {reason} {after}")
    };
    cluster.redis.kill().await;
    browser.until_text("#trouble", |text| known(text, "The server cannot reach its store.")).await;
    browser.until_text("#state", |text| text == "Stale").await;
    cluster.redis.run().await;
    browser.until_live().await;
    browser.until_text("#trouble", str::is_empty).await;
    // From here on, the page's requests for `/v1/status` fail. Without a report, the page shows the feed as live until
    // the newest price is two minutes old.
    browser.run("const ask = fetch; window.fetch = (url, ...rest) => ask(`${url}`.includes('/v1/status') ? '/none' : url, ...rest)").await;
    cluster.exchange.set_all(&Mode::Status(500, None));
    browser.until_text("#trouble", |text| text.starts_with("No price in USD and EUR: ")).await;
    cluster.exchange.set_all(&Mode::Good);
    browser.until_live().await;
    cluster.redis.kill().await;
    until("the notice", async || {
        // Each attempt moves the page's clock forward by another minute, because a late tick can still correct it.
        browser.run("const was = Date.now; Date.now = () => was() + 60e3").await;
        known(&browser.text("#trouble").await, "The server may be cut off from the feed.")
    })
    .await;
    browser.until_text("#state", |text| text == "Stale").await;
}

#[tokio::test]
async fn one_failing_currency_leaves_the_other_live() {
    let exchange = Exchange::start().await;
    let settings =
        [SLOW, ("BTCFEED_STALE_AFTER", "2s"), ("BTCFEED_DOWN_AFTER", "60s"), ("BTCFEED_SOURCES", "coinbase")];
    let replica = embedded(&exchange, &settings).await;
    let browser = Browser::open(&format!("http://{}/#currency=USD,EUR", replica.address)).await;
    browser.until_live().await;
    exchange.set("coinbase BTC-EUR", Mode::Status(500, None));
    until("the outage", async || browser.count(".quote[data-currency=EUR].old").await == 1).await;
    assert_eq!(browser.count(".quote[data-currency=USD]:not(.old)").await, 1);
    assert_eq!(browser.count(".gap").await, 1);
    browser.until_text("#state", |text| text == "Stale: EUR").await;
    // A page that is opened later shows the same, for any range.
    for range in ["24h", "15m"] {
        browser.go("about:blank").await;
        browser.go(&format!("http://{}/#currency=EUR&range={range}", replica.address)).await;
        browser.until_text("#state", |text| text == "Stale: EUR").await;
        browser.until_text("#trouble", |text| text.starts_with("No price in EUR: coinbase: HTTP 500")).await;
    }
    exchange.set_all(&Mode::Status(500, None));
    browser.until_text("#trouble", |text| text.ends_with(" No new price in USD either.")).await;
    assert_eq!(browser.text("#state").await, "Stale");
}

#[tokio::test]
async fn page_follows_the_clock_of_the_feed() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    let browser = Browser::open(&format!("http://{}/", replica.address)).await;
    browser.until_live().await;
    for hours in [1, -2] {
        browser.run(&format!("const was = Date.now; Date.now = () => was() + {hours} * 3600e3")).await;
        // The page first uses the new clock, and after the next tick the clock of the feed.
        let price = browser.text(".price").await;
        browser.until_text(".price", |text| text != price).await;
        browser.until_text("#age", |text| text == "Updated now").await;
        until("a curve of two points", async || browser.attribute(".curve", "d").await.contains('L')).await;
        until("a curve without a gap", async || browser.count(".gap").await + browser.count(".old").await == 0).await;
        browser.until_text("#state", |text| text == "Live").await;
    }
}

#[tokio::test]
async fn price_older_than_the_range_has_its_age() {
    let cluster = TestCluster::new().await;
    let ids = cluster.redis.fill(1500).await;
    // Only the first tick, 25 minutes ago, has a price in euros.
    let first = format!(
        r#"{{"id":{},"prev":0,"type":"tick","prices":{{"USD":"97000.10","EUR":"89000.20"}},"sources":{{"USD":["kraken"],"EUR":["kraken"]}}}}"#,
        ids[0]
    );
    let mut pipe = ::redis::pipe();
    pipe.zrembyscore("{btcfeed}:ticks", ids[0], ids[0]).ignore().zadd("{btcfeed}:ticks", first, ids[0]).ignore();
    let _: () = pipe.query_async(&mut cluster.redis.connection().await).await.unwrap();
    cluster.exchange.set("coinbase BTC-EUR", Mode::Status(500, None));
    let settings = [("BTCFEED_SOURCES", "coinbase"), ("BTCFEED_STALE_AFTER", "2h"), ("BTCFEED_DOWN_AFTER", "3h")];
    let replica = cluster.replica("r1", &settings).await;
    let browser = Browser::open(&format!("http://{}/#currency=EUR", replica.address)).await;
    browser.until_text(".quote[data-currency=EUR] .price", |text| text.replace('\n', "") == "€89,000.20").await;
    browser.until_text("#age", |text| text.starts_with("Updated 2") && text.ends_with(" min ago")).await;
    assert_eq!(browser.count(".quote[data-currency=EUR].old").await, 1);
    let trouble = "No new price in EUR. The next one appears automatically.";
    browser.until_text("#trouble", |text| text == trouble).await;
}
