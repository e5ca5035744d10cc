//! Several tabs that share one connection.

use super::driver::Browser;
use super::sdk::{reading, seen};
use crate::support::exchange::Exchange;
use crate::support::replica::Replica;
use crate::support::{embedded, until};
use serde_json::Value;

async fn clients(replica: &Replica) -> f64 {
    replica.metric(r#"btcfeed_clients{transport="websocket"}"#).await
}

async fn is_shared(browser: &Browser) -> bool {
    browser.run("return window.feed?.connection.shared === true").await == true
}

/// Asserts that the current tab has got every entry since the first one, once and in order.
async fn assert_unbroken(browser: &Browser) {
    let seen: Vec<Value> = seen(browser).await;
    assert!(seen.iter().all(|update| update["type"] == "tick"), "{seen:?}");
    assert!(seen.windows(2).all(|pair| pair[1]["prev"] == pair[0]["id"]), "{seen:?}");
}

async fn until_more(browser: &Browser) {
    let count = seen(browser).await.len();
    until("three more updates", async || seen(browser).await.len() >= count + 3).await;
}

#[tokio::test]
async fn tabs_share_one_connection() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    // The browser shows the text of the script, because the page would open a connection itself.
    let page = format!("http://{}/btcfeed.js", replica.address);
    let script = reading("/btcfeed.js", "{ shared: true }");
    let browser = Browser::open(&page).await;
    browser.run(&script).await;
    until("the first tab to be live", async || browser.run("return window.feed?.connection.state").await == "live")
        .await;
    let first = browser.tab().await;
    let others = [browser.open_tab(&page).await, browser.open_tab(&page).await];
    for tab in &others {
        browser.show_tab(tab).await;
        browser.run(&script).await;
        until("the tab to share", async || is_shared(&browser).await).await;
        until_more(&browser).await;
    }
    until("one connection of three tabs", async || clients(&replica).await == 1.0).await;

    // The tab that holds the connection is closed. One of the others takes over.
    browser.show_tab(&first).await;
    assert!(!is_shared(&browser).await);
    browser.close_tab().await;
    for tab in &others {
        browser.show_tab(tab).await;
        until_more(&browser).await;
        assert_unbroken(&browser).await;
    }
    until("one connection of two tabs", async || clients(&replica).await == 1.0).await;

    // The last tab connects by itself.
    browser.close_tab().await;
    browser.show_tab(&others[0]).await;
    until_more(&browser).await;
    assert_unbroken(&browser).await;
    assert!(!is_shared(&browser).await && clients(&replica).await == 1.0);
    browser.run("feed.close()").await;
    until("no connection", async || clients(&replica).await == 0.0).await;
}

#[tokio::test]
async fn tab_without_locks_has_its_own_connection() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    let browser = Browser::open(&format!("http://{}/btcfeed.js", replica.address)).await;
    browser.run("Object.defineProperty(navigator, 'locks', { value: undefined })").await;
    browser.run(&reading("/btcfeed.js", "{ shared: true }")).await;
    until_more(&browser).await;
    assert!(!is_shared(&browser).await && clients(&replica).await == 1.0);
    let script = "import('/btcfeed.js').then(({ Feed }) => new Feed({ shared: true, changes: true }))
        .catch((error) => { window.problem = error.message })";
    browser.run(script).await;
    let expected = "invalid options with shared: expected neither changes, every, limit nor clientId";
    until("the error", async || browser.run("return window.problem ?? ''").await == expected).await;
}
