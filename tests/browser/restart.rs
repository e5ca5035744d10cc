//! The page while the only server that it has is stopped and started again at the same address.

use super::driver::Browser;
use super::page::written;
use crate::support::exchange::Exchange;
use crate::support::ports::free_port;
use crate::support::replica::Replica;
use crate::support::{TestCluster, embedded, unbroken, until};
use rustix::process::Signal;
use serde_json::Value;
use thirtyfour::Key;

/// Opens the page, and waits until it has all of the history, so that nothing of it is asked for later.
async fn open(replica: &Replica) -> Browser {
    let browser = Browser::open(&format!("http://{}/", replica.address)).await;
    browser.until_live().await;
    let first = &written(&replica.history().await, "USD")[0];
    until("the first price", async || {
        browser.run("document.getElementById('chart').focus()").await;
        browser.press(Key::Home).await;
        browser.attribute("#chart", "aria-valuetext").await.starts_with(&format!("${first}, "))
    })
    .await;
    browser
}

/// Stops the server, and waits until the page says that it is gone and shows since when.
async fn stop(browser: &Browser, mut replica: Replica) {
    replica.signal(Signal::TERM);
    assert!(replica.exit().await.success());
    browser.until_text("#state", |text| text == "Disconnected").await;
    until("the hole", async || browser.count(".gap.open[data-reason=disconnected]").await == 1).await;
}

/// Waits until the page is live again by itself, and a price has come since.
async fn until_back(browser: &Browser) {
    browser.until_live().await;
    let last = browser.text(".price").await;
    browser.until_text(".price", |price| price != last).await;
    until("the hole to be over", async || browser.count(".gap.open").await == 0).await;
    until("a price that is not old", async || browser.count(".quote.old:not([hidden])").await == 0).await;
}

/// What the page reads out of its curve: the prices, which are what the history begins with, and the gaps among them with how many
/// prices stand before each.
async fn read(browser: &Browser, history: &[Value]) -> Vec<(usize, String)> {
    let (mut prices, mut gaps) = (0, Vec::new());
    let history = written(history, "USD");
    for said in browser.read_curve().await {
        if !said.starts_with('$') {
            gaps.push((prices, said));
        } else if let Some(price) = history.get(prices) {
            assert!(said.starts_with(&format!("${price}, ")), "{said} is not {price}");
            prices += 1;
        }
    }
    assert!(prices > 5, "{prices} prices");
    gaps
}

/// How long a gap was as the page says it.
fn duration(after: u64, before: u64) -> String {
    // Halves go up, as they do in JavaScript.
    format!(", {} s", (before - after + 500) / 1000)
}

#[tokio::test]
async fn a_page_goes_on_by_itself_when_its_server_is_started_again_and_misses_nothing() {
    let cluster = TestCluster::new().await;
    let address = format!("127.0.0.1:{}", free_port());
    // Without a price for a while the feed is well, so it tells no gap.
    let settings = [("BTCFEED_LISTEN", &*address), ("BTCFEED_STALE_AFTER", "10m"), ("BTCFEED_DOWN_AFTER", "20m")];
    let mut replica = cluster.replica("r1", &settings).await;
    let browser = open(&replica).await;
    for _ in 0..2 {
        stop(&browser, replica).await;
        replica = cluster.replica("r1", &settings).await;
        until_back(&browser).await;
    }
    let history = replica.history().await;
    let ids = unbroken(&history);
    let gaps = read(&browser, &history).await;
    // A pause of more than ten seconds is shown as one, even if nobody said that something is missing.
    let pauses = ids.windows(2).filter(|pair| pair[1] - pair[0] > 10_000).count();
    assert_eq!(gaps.len(), pauses, "{gaps:?}");
}

#[tokio::test]
async fn a_page_whose_server_was_away_for_long_shows_the_gap_that_the_feed_tells() {
    let cluster = TestCluster::new().await;
    let address = format!("127.0.0.1:{}", free_port());
    let settings = [("BTCFEED_LISTEN", &*address), ("BTCFEED_STALE_AFTER", "1s"), ("BTCFEED_DOWN_AFTER", "60s")];
    let replica = cluster.replica("r1", &settings).await;
    let browser = open(&replica).await;
    // Shown is what has been missing for longer than a second.
    stop(&browser, replica).await;
    let replica = cluster.replica("r1", &settings).await;
    until_back(&browser).await;
    let history = replica.history().await;
    let told: Vec<_> = history.iter().filter(|entry| entry["type"] == "gap").collect();
    assert!(!told.is_empty(), "the time without a server is no gap");
    let gaps = read(&browser, &history).await;
    assert_eq!(gaps.len(), told.len(), "{gaps:?} are not {told:?}");
    for ((place, said), told) in gaps.iter().zip(told) {
        assert_eq!(told["reason"], "source_outage");
        let (after, before) = (told["after"].as_u64().unwrap(), told["before"].as_u64().unwrap());
        let earlier = history.iter().filter(|entry| entry["type"] == "tick" && entry["id"].as_u64() <= Some(after));
        assert_eq!(*place, earlier.count(), "{said}");
        assert!(said.starts_with("No price from the sources, ") && said.contains(&duration(after, before)), "{said}");
    }
}

#[tokio::test]
async fn a_page_whose_server_has_forgotten_everything_keeps_what_it_had_and_says_that_the_rest_is_lost() {
    let exchange = Exchange::start().await;
    let address = format!("127.0.0.1:{}", free_port());
    let settings = [("BTCFEED_LISTEN", &*address)];
    let replica = embedded(&exchange, &settings).await;
    let browser = open(&replica).await;
    // The page has seen more of it in the end.
    let before = replica.history().await;
    stop(&browser, replica).await;
    let replica = embedded(&exchange, &settings).await;
    until_back(&browser).await;
    let after = replica.history().await;
    let read = browser.read_curve().await;
    let (old, new) = (written(&before, "USD"), written(&after, "USD"));
    let gap = read.iter().position(|said| !said.starts_with('$')).expect("a gap");
    assert!(read[gap].starts_with("Lost by the store, "), "{}", read[gap]);
    for (said, price) in read[..gap].iter().zip(&old).chain(read[gap + 1..].iter().zip(&new)) {
        assert!(said.starts_with(&format!("${price}, ")), "{said} is not {price}");
    }
    assert!(old.len() <= gap && read.len() > gap + 1);
}
