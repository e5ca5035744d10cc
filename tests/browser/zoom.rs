//! Zooming and moving the chart with mouse, finger and keyboard.

use super::driver::{Browser, Screen};
use crate::support::replica::Replica;
use crate::support::{TestCluster, until};
use thirtyfour::Key;

/// Starts a feed with the ticks of an hour, one each second.
async fn start() -> (TestCluster, Replica) {
    let cluster = TestCluster::new().await;
    cluster.redis.fill(3600).await;
    let replica = cluster.replica("r1", &[]).await;
    (cluster, replica)
}

async fn points(browser: &Browser) -> usize {
    browser.attribute(".market", "data-points").await.parse().unwrap_or(0)
}

/// Returns the text of the period that is shown.
async fn period(browser: &Browser) -> String {
    let change = browser.text(".quote:not([hidden]) .change").await;
    change.split_once(") ").map_or(change.clone(), |(_, period)| period.to_owned())
}

#[tokio::test]
async fn mouse_zooms_and_moves_the_chart() {
    let (_cluster, replica) = start().await;
    let browser = Browser::open(&format!("http://{}/", replica.address)).await;
    browser.until_live().await;
    until("a quarter of an hour", async || points(&browser).await > 850).await;
    browser.turn_wheel("#chart", 0, -400).await;
    until("fewer points", async || (300..700).contains(&points(&browser).await)).await;
    // The pointer is in the middle of the chart. The zoom keeps the tick under the pointer in place, so the newest tick
    // is no longer shown.
    assert!(period(&browser).await.starts_with("from "), "{}", period(&browser).await);
    assert_eq!(browser.count(".end").await, 0);
    let before = period(&browser).await;
    browser.drag("#chart", 200).await;
    until("an earlier period", async || period(&browser).await != before).await;
    browser.turn_wheel("#chart", 2000, 0).await;
    until("the newest tick", async || browser.count(".end").await == 1).await;
    browser.click("#zoom [value='0']").await;
    until("the whole range", async || points(&browser).await > 850).await;
    assert_eq!(period(&browser).await, "in the last 15 minutes");
    // The chart shows the whole range, so it cannot zoom out, and the wheel scrolls the page.
    browser.set_size(1200, 500).await;
    browser.turn_wheel("#chart", 0, 100).await;
    until("a scrolled page", async || browser.run("return scrollY").await.as_f64().unwrap() > 20.0).await;
}

#[tokio::test]
async fn keys_zoom_and_move_the_chart() {
    let (_cluster, replica) = start().await;
    let browser = Browser::open(&format!("http://{}/#range=1h", replica.address)).await;
    browser.until_live().await;
    until("an hour", async || points(&browser).await > 3500).await;
    browser.run("document.getElementById('chart').focus()").await;
    for _ in 0..3 {
        browser.press("+").await;
    }
    until("a quarter of an hour", async || (800..1000).contains(&points(&browser).await)).await;
    assert_eq!(browser.count(".end").await, 1, "a live chart stays live");
    browser.press_with_shift(Key::Left).await;
    until("an earlier period", async || browser.count(".end").await == 0).await;
    browser.press_with_shift(Key::Right).await;
    until("the newest tick", async || browser.count(".end").await == 1).await;
    browser.press("-").await;
    until("more points", async || points(&browser).await > 1200).await;
    browser.press("0").await;
    until("an hour", async || points(&browser).await > 3500).await;
}

#[tokio::test]
async fn fingers_zoom_the_chart() {
    let (_cluster, replica) = start().await;
    let browser = Browser::open_on(Screen::Phone, &format!("http://{}/", replica.address)).await;
    browser.until_live().await;
    until("a quarter of an hour", async || points(&browser).await > 850).await;
    browser.pinch("#chart", 2.5).await;
    until("fewer points", async || (100..700).contains(&points(&browser).await)).await;
    until("the whole range", async || {
        browser.pinch("#chart", 0.5).await;
        points(&browser).await > 850
    })
    .await;
    assert_eq!(browser.run("return visualViewport.scale").await, 1, "the page itself is not zoomed");
}
