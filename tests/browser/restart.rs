//! The page while its only server is stopped and started again at the same address.

use super::driver::Browser;
use super::page::formatted;
use crate::support::exchange::Exchange;
use crate::support::ports::free_address;
use crate::support::replica::Replica;
use crate::support::{TestCluster, embedded, unbroken, until};
use rustix::process::Signal;
use serde_json::Value;
use std::time::{Duration, Instant};
use thirtyfour::Key;

/// Opens the page, and waits until it has the whole history. So it loads no part of the history later.
async fn open(replica: &Replica) -> Browser {
    let browser = Browser::open(&format!("http://{}/", replica.address)).await;
    browser.until_live().await;
    let first = &formatted(&replica.history().await, "USD")[0];
    until("the first price", async || {
        browser.run("document.getElementById('chart').focus()").await;
        browser.press(Key::Home).await;
        browser.attribute("#chart", "aria-valuetext").await.starts_with(&format!("${first}, "))
    })
    .await;
    browser
}

/// Stops the server, and waits until the page shows that it is disconnected.
async fn stop(browser: &Browser, mut replica: Replica) {
    replica.signal(Signal::TERM);
    assert!(replica.exit().await.success());
    let stopped = Instant::now();
    browser.until_text("#state", |text| text == "Disconnected").await;
    until("an open gap", async || browser.count(".gap.open[data-reason=disconnected]").await == 1).await;
    // A gap of at most two pixels, which are about 1.5 s here, has no label.
    until("a gap that is wide enough", async || stopped.elapsed() > Duration::from_secs(3)).await;
}

/// Waits until the page is live again and has a new price.
async fn until_back(browser: &Browser) {
    browser.until_live().await;
    let last = browser.text(".price").await;
    browser.until_text(".price", |price| price != last).await;
    until("the end of the gap", async || browser.count(".gap.open").await == 0).await;
    until("a price that is not old", async || browser.count(".quote.old:not([hidden])").await == 0).await;
}

/// Reads the curve, and asserts that it begins with the prices of `history`. Later prices are ignored. Returns the
/// gaps, each with the number of prices before it.
async fn read(browser: &Browser, history: &[Value]) -> Vec<(usize, String)> {
    let (mut prices, mut gaps) = (0, Vec::new());
    let history = formatted(history, "USD");
    for label in browser.read_curve().await {
        if !label.starts_with('$') {
            gaps.push((prices, label));
        } else if let Some(price) = history.get(prices) {
            assert!(label.starts_with(&format!("${price}, ")), "{label} is not {price}");
            prices += 1;
        }
    }
    assert!(prices > 5, "{prices} prices");
    gaps
}

/// Returns the duration of a gap as the page formats it.
fn duration(after: u64, before: u64) -> String {
    // Rounded half up, as in JavaScript.
    format!(", {} s", (before - after + 500) / 1000)
}

#[tokio::test]
async fn page_continues_after_a_restart() {
    let cluster = TestCluster::new().await;
    let address = free_address();
    // The feed stays live during a restart, so the server reports no gap.
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
    // The page itself shows a pause of more than ten seconds between two prices as a gap.
    let pauses = ids.windows(2).filter(|pair| pair[1] - pair[0] > 10_000).count();
    assert_eq!(gaps.len(), pauses, "{gaps:?}");
}

#[tokio::test]
async fn page_shows_the_gap_of_a_long_restart() {
    let cluster = TestCluster::new().await;
    let address = free_address();
    let settings = [("BTCFEED_LISTEN", &*address), ("BTCFEED_STALE_AFTER", "1s"), ("BTCFEED_DOWN_AFTER", "60s")];
    let replica = cluster.replica("r1", &settings).await;
    let browser = open(&replica).await;
    // The feed is stale after a second, so each restart leaves a gap.
    stop(&browser, replica).await;
    let replica = cluster.replica("r1", &settings).await;
    until_back(&browser).await;
    let history = replica.history().await;
    let reported: Vec<_> = history.iter().filter(|entry| entry["type"] == "gap").collect();
    assert!(!reported.is_empty(), "the restart left no gap");
    let gaps = read(&browser, &history).await;
    assert_eq!(gaps.len(), reported.len(), "{gaps:?} are not {reported:?}");
    for ((place, label), gap) in gaps.iter().zip(reported) {
        assert_eq!(gap["reason"], "source_outage");
        let (after, before) = (gap["after"].as_u64().unwrap(), gap["before"].as_u64().unwrap());
        let earlier = history.iter().filter(|entry| entry["type"] == "tick" && entry["id"].as_u64() <= Some(after));
        assert_eq!(*place, earlier.count(), "{label}");
        assert!(
            label.starts_with("No price from the sources, ") && label.contains(&duration(after, before)),
            "{label}"
        );
    }
}

#[tokio::test]
async fn page_keeps_its_history_if_the_server_lost_it() {
    let exchange = Exchange::start().await;
    let address = free_address();
    let settings = [("BTCFEED_LISTEN", &*address)];
    let replica = embedded(&exchange, &settings).await;
    let browser = open(&replica).await;
    // The page may get more entries after this, before the stop.
    let before = replica.history().await;
    stop(&browser, replica).await;
    let replica = embedded(&exchange, &settings).await;
    until_back(&browser).await;
    let after = replica.history().await;
    let read = browser.read_curve().await;
    let (old, new) = (formatted(&before, "USD"), formatted(&after, "USD"));
    let gap = read.iter().position(|label| !label.starts_with('$')).expect("a gap");
    assert!(read[gap].starts_with("Lost by the store, "), "{}", read[gap]);
    for (label, price) in read[..gap].iter().zip(&old).chain(read[gap + 1..].iter().zip(&new)) {
        assert!(label.starts_with(&format!("${price}, ")), "{label} is not {price}");
    }
    assert!(old.len() <= gap && read.len() > gap + 1);
}
